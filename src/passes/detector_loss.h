// The losses of YOLOv5 and YOLOX detectors, as nodes over a model that answers boxes.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::passes {

// Gains as in published training: they are scaled by 3 / levels, that of the classes by classes / 80 and that of
// objectness by (largest side / 640)^2.
struct DetectorLossOptions {
  double box_gain = 0.05;
  double objectness_gain = 1.0;
  double class_gain = 0.5;
  double anchor_threshold = 4.0;  // most times that a box's side and an anchor's may differ
  double max_boxes = 128;         // of a picture: rows of its labels
};

// Checks numbers. Error P524.
Status check_detector_options(const DetectorLossOptions& options);

// The labels that the loss takes: [N, max_boxes, 5], class, centre x, y, width, height in pixels of the input, class -1
// where there is none. `prediction` is the model's output.
ir::TensorType detector_labels_type(const ir::Graph& graph, const DetectorLossOptions& options, ir::ValueId prediction);

// Labels are of that type. Error P525.
Status check_labels(const ir::Graph& graph, const DetectorLossOptions& options, ir::ValueId prediction,
                    ir::ValueId labels);

// Adds the loss: CIoU of the boxes, binary cross-entropy of objectness (whose target is the CIoU) and of classes, each
// a mean over what is assigned, level by level, in the whole batch; objectness over all rows, weighted 4, 1, 0.4 from
// the finest of three levels on. Published code multiplies this by the size of the batch.
//
// `prediction` [N, rows, 5 + classes]: centre, size in pixels, objectness, classes, decoded in the graph from logits
// that a sigmoid reads; anchors and strides are what the graph makes of logits of zero. Errors: P523 it is no such
// output, with what is wrong; P525.
Result<ir::ValueId> append_yolov5_loss(ir::Graph& graph, const DetectorLossOptions& options, ir::ValueId prediction,
                                       ir::ValueId labels);

// Adds the loss of YOLOX: 5 (1 - IoU^2) of the boxes, binary cross-entropy of objectness and of classes (whose targets
// are scaled by the IoU), each a sum over the whole batch divided by the number of rows that answer; SimOTA says which
// do. No gains are taken from `options`.
//
// `prediction` [N, rows, 5 + classes]: as published YOLOX graphs answer, with boxes that are not decoded (data/
// detections.h) and sigmoids for objectness and classes; rows of strides 8, 16 and 32. Errors: P529 it is no such
// output, with what is wrong; P525.
Result<ir::ValueId> append_yolox_loss(ir::Graph& graph, const DetectorLossOptions& options, ir::ValueId prediction,
                                      ir::ValueId labels);

}  // namespace hai::passes
