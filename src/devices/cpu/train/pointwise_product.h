// PointwiseProduct: a 1x1 convolution of stride 1 over images that are larger than the last cache, f32, whose weights
// each run brings. It has the bits of Convolution.
//
// The image is fetched line by line while the pixels before are multiplied, and a large result goes through a block of
// scratch and past the caches.
#pragma once

#include "devices/cpu/exec/convolution.h"

namespace hai::cpu {

class PointwiseProduct {
 public:
  static bool fits(const ConvolutionGeometry& geometry);
  PointwiseProduct(const ConvolutionGeometry& geometry, Isa isa);

  int64_t scratch_bytes_per_thread() const;
  // Whether a run over so many images is worth it; else Convolution's blocks are better shared among threads.
  bool is_large(int64_t images) const;
  // buffers.panels: of Convolution; its bias padded to whole panels.
  void run(float low, float high, const Convolution::Buffers& buffers, ThreadPool& threads) const;

 private:
  int64_t pixels() const { return geometry_.out_rows * geometry_.out_cols; }

  ConvolutionGeometry geometry_;
  Isa isa_;
  int64_t columns_;  // of a panel
  int64_t block_pixels_;
};

}  // namespace hai::cpu
