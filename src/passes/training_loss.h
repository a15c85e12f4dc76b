// Losses: what a training graph makes small, as nodes over a prediction and a target.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "passes/detector_loss.h"

namespace hai::passes {

struct LossOptions {
  // cross_entropy  -sum over the last axis of target log softmax(prediction); target: shares of the classes
  // bce            binary cross-entropy of sigmoid(prediction), element by element
  // focal          bce weighted by (1 - p of the truth)^gamma (Lin et al. 2017), and by alpha of the positive class
  // mse, huber     of the difference; huber is delta^2 times smooth
  // dice           1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) a sample, p = sigmoid(prediction) (after Milletari et
  //                al. 2016; the ones keep empty masks defined)
  // dice_cross_entropy  of maps of classes: cross_entropy of the pixels, and dice of softmax(prediction) as a mean over
  //                the classes; of one class both with a sigmoid
  // yolov5, yolox  of boxes, objectness and classes; target: labels (detector_loss.h)
  std::string kind = "cross_entropy";
  double label_smoothing = 0;  // of cross_entropy, in [0, 1)
  int64_t class_axis = -1;     // of dice_cross_entropy: where the classes are, 1 of what PyTorch answers
  double delta = 1;            // of huber
  double gamma = 2;            // of focal
  double alpha = 0.25;         // of focal; negative: both classes weigh the same
  DetectorLossOptions detector;

  // Of cross_entropy, for learning one task after the other; each adds columns to the target (target_type()).
  bool sample_weights = false;   // the mean is that of weight loss
  bool class_mask = false;       // classes of mask 0 take no part in the softmax
  std::string distill = "none";  // mse (Buzzega et al. 2020) or kd (Hinton et al. 2015) towards the answers of before
  double temperature = 2;        // of kd, whose term is multiplied by its square
};

// "cross_entropy, bce, ..." for messages.
const std::vector<std::string_view>& loss_names();

// Of the target: labels for detectors, else the prediction's, but for the options that add columns behind the shares of
// the C classes, in this order: C of the mask (class_mask); C of the answers of before, with a weight of their own
// behind them (distill; an answer below -1e8 is none, and that class is left out of the comparison); the weight of the
// sample (sample_weights).
ir::TensorType target_type(const ir::Graph& graph, const LossOptions& options, ir::ValueId prediction);

// "classes=10,mask,old,weight": what the columns of a target of this width are, where they are more than shares of
// classes; else empty.
std::string target_layout(const LossOptions& options, int64_t width);

// Adds the nodes of a loss: one number, the mean over all samples (and over all elements, or rows of classes, of
// each). `prediction` holds logits where the loss has a softmax or a sigmoid of its own; `target` has its type
// (detectors: labels).
//
// `class_axis` counted from the front, of a prediction with classes there; std::nullopt where it has none.
std::optional<size_t> class_axis_of(const LossOptions& options, const ir::TensorType& prediction);

// Errors: P520 no such loss, P521 an option out of range, P522 prediction and target do not fit, P526 to P528 options
// that do not go together; those of detectors.
Result<ir::ValueId> append_loss(ir::Graph& graph, const LossOptions& options, ir::ValueId prediction,
                                ir::ValueId target);

}  // namespace hai::passes
