// The self-check before a quantized graph is handed out.
//
// Method: correlations. Over all elements, and for each channel of an output by itself: a detector that has lost its
// scores still has its boxes, and boxes in pixels outweigh scores below one in any figure over all elements. A channel
// counts when its values in the float model vary by at least a thousandth of the liveliest channel's. An output has
// collapsed when it does not follow the float one as a whole, when a third of its channels do not, or when more than
// half of it is noise. The limits are far from where a usable model lies (0.9 and more): this finds ruins, metrics find
// tenths of a point.
#include "quantizer/self_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quantizer/compiled_graph.h"

namespace hai::quantizer {
namespace {

constexpr double kLeastSqnrDb = 3.0;  // half as much noise as signal
constexpr double kLeastCorrelation = 0.3;
constexpr double kLeastPeak = 1e-3;
constexpr int64_t kLeastFieldElements = 64;

// Sums for the correlation of pairs.
struct Pairs {
  double n = 0;
  double a = 0;
  double b = 0;
  double aa = 0;
  double bb = 0;
  double ab = 0;
  double low = 0;
  double high = 0;

  void add(double x, double y) {
    low = n == 0 ? x : std::min(low, x);
    high = n == 0 ? x : std::max(high, x);
    n += 1;
    a += x;
    b += y;
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  double correlation() const {
    const double covariance = ab - a * b / n;
    const double spread = std::sqrt(std::max(aa - a * a / n, 0.0) * std::max(bb - b * b / n, 0.0));
    return spread > 0 ? covariance / spread : 0.0;
  }
};

// The axis along which channels, fields or classes lie: of exported networks the second of four, else the smaller one
// of the last two.
int field_axis(const Dims& dims) {
  if (dims.rank == 4) return 1;
  if (dims.rank == 3) return dims[1] < dims[2] ? 1 : 2;
  return dims.rank - 1;
}

int64_t stride_behind(const Dims& dims, int axis) {
  int64_t stride = 1;
  for (int i = axis + 1; i < dims.rank; ++i) stride *= dims[i];
  return stride;
}

bool same_largest(const TensorView& expected, const TensorView& actual, int64_t row, int64_t width) {
  const float* a = data_of<float>(expected) + row * width;
  const float* b = data_of<float>(actual) + row * width;
  return std::max_element(a, a + width) - a == std::max_element(b, b + width) - b;
}

void compare_fields(const std::vector<TensorView>& expected, const std::vector<TensorView>& actual, OutputCheck& out) {
  const Dims& dims = expected[0].dims;
  if (dims.rank < 2 || dims.rank > 4) return;
  const int axis = field_axis(dims);
  const int64_t fields = dims[axis];
  const int64_t inner = stride_behind(dims, axis);
  int64_t total = 0;
  std::vector<Pairs> pairs(static_cast<size_t>(fields));
  for (size_t s = 0; s < expected.size(); ++s) {
    total += expected[s].count();
    for (int64_t i = 0; i < expected[s].count(); ++i) {
      pairs[static_cast<size_t>(i / inner % fields)].add(static_cast<double>(data_of<float>(expected[s])[i]),
                                                         static_cast<double>(data_of<float>(actual[s])[i]));
    }
  }
  if (fields == 0 || total / fields < kLeastFieldElements) return;
  double liveliest = 0;
  for (const Pairs& field : pairs) liveliest = std::max(liveliest, field.high - field.low);
  for (const Pairs& field : pairs) {
    if (field.high - field.low < kLeastPeak * liveliest || liveliest == 0) continue;
    ++out.fields;
    out.lost_fields += field.correlation() < kLeastCorrelation ? 1 : 0;
  }
}

}  // namespace

bool SelfCheck::collapsed() const {
  return std::any_of(outputs.begin(), outputs.end(), [](const OutputCheck& output) { return output.collapsed; });
}

std::vector<size_t> held_back_samples(size_t sample_count) {
  std::vector<size_t> indices;
  if (sample_count < 16) return indices;
  const size_t count = std::min<size_t>(8, sample_count / 8);
  for (size_t i = 0; i < count; ++i) indices.push_back((2 * i + 1) * sample_count / (2 * count));
  return indices;
}

OutputCheck compare_outputs(const std::vector<TensorView>& expected, const std::vector<TensorView>& actual) {
  OutputCheck out;
  Pairs all;
  double noise = 0;
  int64_t rows = 0;
  int64_t agreeing = 0;
  for (size_t s = 0; s < expected.size(); ++s) {
    for (int64_t i = 0; i < expected[s].count(); ++i) {
      const auto x = static_cast<double>(data_of<float>(expected[s])[i]);
      const auto y = static_cast<double>(data_of<float>(actual[s])[i]);
      all.add(x, y);
      noise += (x - y) * (x - y);
    }
    const Dims& dims = expected[s].dims;
    if (dims.rank != 2 || dims[1] < 2) continue;
    for (int64_t row = 0; row < dims[0]; ++row) {
      ++rows;
      agreeing += same_largest(expected[s], actual[s], row, dims[1]) ? 1 : 0;
    }
  }
  if (all.n == 0) return out;
  if (rows > 0) out.agreement = static_cast<double>(agreeing) / static_cast<double>(rows);
  out.sqnr_db = all.aa > 0 && noise > 0 ? 10 * std::log10(all.aa / noise) : noise > 0 ? -300.0 : 300.0;
  out.cosine = all.aa > 0 && all.bb > 0 ? all.ab / std::sqrt(all.aa * all.bb) : noise > 0 ? 0.0 : 1.0;
  const bool constant = all.high == all.low;  // nothing to follow
  out.correlation = noise == 0 || constant ? 1.0 : all.correlation();
  compare_fields(expected, actual, out);
  const bool lost = out.correlation < kLeastCorrelation || (constant && out.sqnr_db < 0);
  out.collapsed = lost || 3 * out.lost_fields > out.fields || (!constant && out.sqnr_db < kLeastSqnrDb);
  return out;
}

Result<SelfCheck> check_outputs(const ir::Graph& quantized, const NextSample& samples,
                                const std::vector<std::vector<ops::Tensor>>& expected, int threads) {
  SelfCheck result;
  if (expected.empty()) {
    result.not_run = "fewer than 16 samples: none was held back";
    return result;
  }
  HAI_TRY(CompiledGraph compiled, CompiledGraph::make(quantized, threads));
  std::vector<std::vector<ops::Tensor>> actual;
  for (;;) {
    HAI_TRY(const auto sample, samples());
    if (!sample) break;
    HAI_TRY(const std::vector<TensorView> outputs, compiled.run(*sample));
    std::vector<ops::Tensor> copies;
    for (const TensorView& output : outputs) {
      copies.push_back(ops::Tensor::zeros(output.dtype, output.dims));
      std::memcpy(copies.back().storage.data(), output.data, copies.back().storage.size());
    }
    actual.push_back(std::move(copies));
  }
  HAI_CHECK(actual.size() == expected.size());
  result.sample_count = static_cast<int64_t>(expected.size());
  for (size_t o = 0; o < quantized.outputs().size(); ++o) {
    if (expected[0][o].dtype != DataType::kF32) continue;
    std::vector<TensorView> a;
    std::vector<TensorView> b;
    for (size_t s = 0; s < expected.size(); ++s) {
      a.push_back(expected[s][o].view());
      b.push_back(actual[s][o].view());
      HAI_CHECK(a.back().count() == b.back().count());
    }
    result.outputs.push_back(compare_outputs(a, b));
    result.outputs.back().output = quantized.value(quantized.outputs()[o]).name;
  }
  return result;
}

}  // namespace hai::quantizer
