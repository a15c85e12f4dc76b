// The loop of the pools' gradients: each output pixel gives to the pixels under its window.
//
// Windows overlap, so a task is one image and one stretch of channels: no two tasks write the same element, and windows
// are taken in order, whatever the threads.
#pragma once

#include <algorithm>

#include "base/checked.h"
#include "devices/cpu/exec/exec_registry.h"
#include "types/pool_window.h"

namespace hai::cpu {

inline constexpr int64_t kPoolGradientChannels = 64;  // of a task

// What lies under one window: taps inside the picture, as offsets of elements into x and y.
struct WindowTaps {
  int64_t first;  // element of x of the first tap
  int64_t rows, columns;
  int64_t row_stride, column_stride;
  int64_t out;       // element of y
  int64_t channels;  // of this task
  int64_t divisor;   // of an average
};

// Zeroes dx and calls body(taps) for every window that sees anything. `x`, `y`: dims of the pool's input and output.
template <typename Body>
void for_each_window(ThreadPool& threads, const PoolWindow& window, const Dims& x, const Dims& y, float* dx,
                     Body&& body) {
  const int64_t channels = x[3];
  const int64_t stretches = ceil_div(channels, kPoolGradientChannels);
  threads.parallel(x[0] * stretches, [&](int64_t task, int) {
    const int64_t image = task / stretches;
    const int64_t channel = task % stretches * kPoolGradientChannels;
    WindowTaps taps{};
    taps.channels = std::min(kPoolGradientChannels, channels - channel);
    taps.row_stride = window.dilations[0] * x[2] * channels;
    taps.column_stride = window.dilations[1] * channels;
    const int64_t pixels = x[1] * x[2];
    for (int64_t p = 0; p < pixels; ++p)
      std::fill_n(dx + (image * pixels + p) * channels + channel, taps.channels, 0.0F);
    for (int64_t i = 0; i < y[1]; ++i) {
      const TapRange rows = inside_taps(window, 0, x[1], i);
      for (int64_t j = 0; j < y[2]; ++j) {
        const TapRange columns = inside_taps(window, 1, x[2], j);
        if (rows.count == 0 || columns.count == 0) continue;
        taps.first = (image * pixels + rows.first * x[2] + columns.first) * channels + channel;
        taps.rows = rows.count;
        taps.columns = columns.count;
        taps.out = ((image * y[1] + i) * y[2] + j) * channels + channel;
        taps.divisor = pool_divisor(window, 0, x[1], i) * pool_divisor(window, 1, x[2], j);
        body(static_cast<const WindowTaps&>(taps));
      }
    }
  });
}

}  // namespace hai::cpu
