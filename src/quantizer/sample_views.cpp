// Mirrored and enlarged pictures, from what the network reads, so that preprocessing is not asked again.
//
// A view is a picture that the float model answers too: labels are not needed, and what mirroring does to letters does
// not matter, since both models see the same. Views of one picture are no independent pictures; who counts them keeps
// them together.
#include "quantizer/sample_views.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/result.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kLeastSide = 16;
constexpr int64_t kColors = 3;

// How a picture lies in memory: offset of (row, column, channel) of one picture.
struct Layout {
  int64_t height = 0;
  int64_t width = 0;
  bool channels_last = false;

  int64_t offset(int64_t y, int64_t x, int64_t c) const {
    return channels_last ? (y * width + x) * kColors + c : (c * height + y) * width + x;
  }
};

bool is_picture(const ops::Tensor& tensor, Layout& layout) {
  if (tensor.dtype != DataType::kF32 || tensor.dims.rank != 4) return false;
  layout.channels_last = tensor.dims[1] != kColors;
  const int first = layout.channels_last ? 1 : 2;
  layout.height = tensor.dims[first];
  layout.width = tensor.dims[first + 1];
  return tensor.dims[layout.channels_last ? 3 : 1] == kColors && layout.height >= kLeastSide &&
         layout.width >= kLeastSide;
}

// Where an output coordinate is read: two neighbours and the share of the second.
struct Tap {
  int64_t first = 0;
  int64_t second = 0;
  float share = 0;
};

std::vector<Tap> taps(int64_t size, int64_t begin, int64_t length, bool mirrored) {
  std::vector<Tap> out;
  for (int64_t i = 0; i < size; ++i) {
    const double at = (static_cast<double>(mirrored ? size - 1 - i : i) + 0.5) * static_cast<double>(length) /
                          static_cast<double>(size) -
                      0.5;
    const double inside = std::clamp(at, 0.0, static_cast<double>(length - 1));
    const auto first = static_cast<int64_t>(inside);
    out.push_back({begin + first, begin + std::min(first + 1, length - 1),
                   static_cast<float>(inside - static_cast<double>(first))});
  }
  return out;
}

}  // namespace

int view_count(std::span<const ops::Tensor> sample) {
  Layout layout;
  return sample.size() == 1 && is_picture(sample[0], layout) ? kSampleViews : 1;
}

std::vector<ops::Tensor> sample_view(const std::vector<ops::Tensor>& sample, int view) {
  if (view == 0) return sample;
  Layout layout;
  HAI_CHECK(view > 0 && view < view_count(sample) && is_picture(sample[0], layout));
  struct Window {
    bool whole, mirrored, low, right;
  };
  constexpr std::array<Window, kSampleViews> kWindows = {{{true, false, false, false},
                                                          {true, true, false, false},
                                                          {false, false, false, false},
                                                          {false, true, true, true},
                                                          {false, false, false, true},
                                                          {false, true, true, false}}};
  const Window& window = kWindows[static_cast<size_t>(view)];
  const int64_t height = window.whole ? layout.height : layout.height * 7 / 8;
  const int64_t width = window.whole ? layout.width : layout.width * 7 / 8;
  const std::vector<Tap> rows = taps(layout.height, window.low ? layout.height - height : 0, height, false);
  const std::vector<Tap> columns = taps(layout.width, window.right ? layout.width - width : 0, width, window.mirrored);
  std::vector<ops::Tensor> out = sample;
  const auto* source = data_of<float>(sample[0].view());
  auto* target = data_of<float>(out[0].mutable_view());
  const int64_t picture = layout.height * layout.width * kColors;
  for (int64_t n = 0; n < sample[0].dims[0]; ++n, source += picture, target += picture) {
    for (int64_t y = 0; y < layout.height; ++y) {
      const Tap& row = rows[static_cast<size_t>(y)];
      for (int64_t x = 0; x < layout.width; ++x) {
        const Tap& column = columns[static_cast<size_t>(x)];
        for (int64_t c = 0; c < kColors; ++c) {
          const auto mixed = [&](int64_t line) {
            const float a = source[layout.offset(line, column.first, c)];
            return a + column.share * (source[layout.offset(line, column.second, c)] - a);
          };
          const float a = mixed(row.first);
          target[layout.offset(y, x, c)] = a + row.share * (mixed(row.second) - a);
        }
      }
    }
  }
  return out;
}

}  // namespace hai::quantizer
