// Shape rules: see the header. One function per operator, each in the order check, compute, bound the result.
//
// Invariants: the sizes that come in are >= 0 and came through checked() themselves; attributes are any 64-bit numbers.
// What comes out has rank <= kMaxRank and at most kMaxElements elements. It knows nothing of data types.
#include "types/shape_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/checked.h"

namespace hai::shape_rules {
namespace {

// Sizes of pictures and parameters of windows stay below these, so that no sum or product of two overflows.
constexpr int64_t kMaxSide = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxWindow = int64_t{1} << 24;

template <typename... Args>
Rule<Shape> refuse(fmt::format_string<Args...> format, Args&&... args) {
  return Rule<Shape>::refuse(fmt::format(format, std::forward<Args>(args)...));
}

std::string text(const Shape& shape) { return to_string(shape, {}); }

// An element count as a product of one number and any symbols.
struct Count {
  int64_t number = 1;
  std::vector<int32_t> symbols;  // sorted, with repetition
  bool overflow = false;

  void multiply(const Dim& dim) {
    const auto product = checked_mul(number, dim.value);
    overflow = overflow || !product;
    number = product.value_or(0);
    if (dim.is_symbolic()) symbols.insert(std::upper_bound(symbols.begin(), symbols.end(), dim.symbol), dim.symbol);
  }
};

std::vector<int64_t> ones_when_empty(std::span<const int64_t> steps, size_t count) {
  return steps.empty() ? std::vector<int64_t>(count, 1) : std::vector<int64_t>(steps.begin(), steps.end());
}

}  // namespace

Rule<Shape> checked(Shape shape) {
  if (shape.size() > static_cast<size_t>(kMaxRank)) {
    return refuse("the result has rank {}, at most {} is supported", shape.size(), kMaxRank);
  }
  Count count;
  for (const Dim& dim : shape) {
    if (dim.value < 0) return refuse("the result would have shape {}, with a negative size", text(shape));
    count.multiply(dim);
  }
  if (count.overflow || count.number > kMaxElements) {
    return refuse("the result would have shape {}: more than 2^54 elements", text(shape));
  }
  return shape;
}

Rule<int> axis(int64_t axis, size_t rank) {
  const auto signed_rank = static_cast<int64_t>(rank);
  if (axis < -signed_rank || axis >= signed_rank) {
    return Rule<int>::refuse(fmt::format("axis {} is out of range for rank {}", axis, rank));
  }
  return static_cast<int>(axis < 0 ? axis + signed_rank : axis);
}

Rule<std::vector<int>> axes(std::span<const int64_t> given, size_t rank) {
  std::vector<int> out;
  for (const int64_t one : given) {
    const Rule<int> normal = axis(one, rank);
    if (!normal) return Rule<std::vector<int>>::refuse(normal.reason());
    if (std::find(out.begin(), out.end(), *normal) != out.end()) {
      return Rule<std::vector<int>>::refuse(fmt::format("axis {} is given twice", one));
    }
    out.push_back(*normal);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Rule<Shape> concat(std::span<const Shape* const> inputs, int axis) {
  if (inputs.empty()) return refuse("there is nothing to join");
  Shape out = *inputs[0];
  const auto along = static_cast<size_t>(axis);
  for (size_t i = 1; i < inputs.size(); ++i) {
    const Shape& next = *inputs[i];
    if (next.size() != out.size()) {
      return refuse("input {} has shape {} and input 0 has shape {}: ranks differ", i, text(next), text(*inputs[0]));
    }
    for (size_t d = 0; d < out.size(); ++d) {
      if (d != along && next[d] != out[d]) {
        return refuse("input {} has shape {} and input 0 has shape {}: only axis {} may differ", i, text(next),
                      text(*inputs[0]), axis);
      }
    }
    Dim& total = out[along];
    // An empty part adds nothing, whatever the symbol.
    if (next[along].value == 0) continue;
    if (total.value == 0) total.symbol = next[along].symbol;
    if (total.symbol != next[along].symbol) {
      return refuse("axis {} joins a symbolic and a fixed size ({} and {}); bind the symbol to a number", axis,
                    text(*inputs[0]), text(next));
    }
    const auto sum = checked_add(total.value, next[along].value);
    if (!sum) return refuse("the sizes of axis {} sum past 2^63", axis);
    total.value = *sum;
  }
  return checked(std::move(out));
}

Rule<std::vector<Shape>> split(const Shape& x, int axis, std::span<const int64_t> sizes) {
  using Shapes = std::vector<Shape>;
  const Dim& dim = x[static_cast<size_t>(axis)];
  if (dim.is_symbolic()) {
    return Rule<Shapes>::refuse(fmt::format("axis {} has a symbolic size; bind the symbol to a number", axis));
  }
  if (sizes.empty()) return Rule<Shapes>::refuse("there are no parts");
  Shapes out;
  int64_t total = 0;
  for (const int64_t size : sizes) {
    const auto sum = checked_add(total, size);
    if (size < 0 || !sum) return Rule<Shapes>::refuse(fmt::format("a part has size {}", size));
    total = *sum;
    out.push_back(x);
    out.back()[static_cast<size_t>(axis)] = size;
  }
  if (total != dim.value) {
    return Rule<Shapes>::refuse(fmt::format("the parts sum to {}, axis {} has size {}", total, axis, dim.value));
  }
  return out;
}

Rule<Shape> slice(const Shape& x, std::span<const int64_t> starts, std::span<const int64_t> ends,
                  std::span<const int64_t> given_axes, std::span<const int64_t> given_steps) {
  const std::vector<int64_t> steps = ones_when_empty(given_steps, given_axes.size());
  if (starts.size() != given_axes.size() || ends.size() != given_axes.size() || steps.size() != given_axes.size()) {
    return refuse("starts, ends, axes and steps must have as many entries: {}, {}, {}, {}", starts.size(), ends.size(),
                  given_axes.size(), steps.size());
  }
  const auto sorted = axes(given_axes, x.size());
  if (!sorted) return Rule<Shape>::refuse(sorted.reason());
  Shape out = x;
  for (size_t i = 0; i < given_axes.size(); ++i) {
    Dim& dim = out[static_cast<size_t>(*axis(given_axes[i], x.size()))];
    const int64_t start = starts[i];
    const int64_t end = ends[i];
    const int64_t step = steps[i];
    if (dim.is_symbolic()) {
      if (start == 0 && end == INT64_MAX && step == 1) continue;
      return refuse("axis {} has a symbolic size and can only be taken whole; bind the symbol to a number",
                    given_axes[i]);
    }
    if (step == 0 || step > kMaxElements || step < -kMaxElements) {
      return refuse("axis {} has step {}; steps are not zero and at most 2^54", given_axes[i], step);
    }
    const int64_t low = step > 0 ? 0 : -1;
    const int64_t high = step > 0 ? dim.value : dim.value - 1;
    if (start < low || start > high || end < low || end > high) {
      return refuse("axis {} of size {}: start {} and end {} must lie in [{}, {}] for step {}", given_axes[i],
                    dim.value, start, end, low, high, step);
    }
    const int64_t span = step > 0 ? end - start : start - end;
    dim.value = span <= 0 ? 0 : (span - 1) / (step > 0 ? step : -step) + 1;
  }
  return checked(std::move(out));
}

Rule<Shape> pad(const Shape& x, std::span<const int64_t> pads, std::string_view mode) {
  if (mode != "constant" && mode != "reflect" && mode != "edge") {
    return refuse("mode \"{}\" is none of constant, reflect, edge", mode);
  }
  if (pads.size() != 2 * x.size()) {
    return refuse("pads has {} entries; rank {} needs {}", pads.size(), x.size(), 2 * x.size());
  }
  Shape out = x;
  for (size_t d = 0; d < x.size(); ++d) {
    const int64_t before = pads[d];
    const int64_t after = pads[d + x.size()];
    if (before < 0 || after < 0) {
      return refuse("axis {} has padding {} and {}; to cut use slice", d, before, after);
    }
    if (before == 0 && after == 0) continue;
    if (x[d].is_symbolic()) return refuse("axis {} has a symbolic size and cannot be padded", d);
    if (mode == "reflect" && (before >= x[d].value || after >= x[d].value)) {
      return refuse("axis {} of size {} cannot be reflected by {} and {}: less than the size is possible", d,
                    x[d].value, before, after);
    }
    if (mode == "edge" && x[d].value == 0) return refuse("axis {} is empty and has no edge to repeat", d);
    if (before > kMaxElements || after > kMaxElements) return refuse("axis {} has padding past 2^54", d);
    out[d].value += before + after;
  }
  return checked(std::move(out));
}

Rule<Shape> reshape(const Shape& x, std::span<const int64_t> target) {
  if (target.size() > static_cast<size_t>(kMaxRank)) {
    return refuse("the shape has {} entries, at most {} are supported", target.size(), kMaxRank);
  }
  Shape out;
  Count have;
  for (const Dim& dim : x) have.multiply(dim);
  Count want;
  std::optional<size_t> inferred;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] < -1) return refuse("entry {} of the shape is {}", i, target[i]);
    if (target[i] == 0 && i >= x.size()) return refuse("entry {} copies a dimension that {} does not have", i, text(x));
    if (target[i] == -1 && inferred) return refuse("entries {} and {} of the shape are both -1", *inferred, i);
    if (target[i] == -1) {
      inferred = i;
      out.emplace_back(1);
      continue;
    }
    out.push_back(target[i] == 0 ? x[i] : Dim(target[i]));
    want.multiply(out.back());
  }
  const std::string wanted = fmt::format("[{}]", fmt::join(target, ", "));
  if (have.overflow || want.overflow) return refuse("{} to {} has more than 2^63 elements", text(x), wanted);
  if (inferred) {
    std::vector<int32_t> rest;
    std::set_difference(have.symbols.begin(), have.symbols.end(), want.symbols.begin(), want.symbols.end(),
                        std::back_inserter(rest));
    if (want.number == 0 || have.number % want.number != 0 || rest.size() > 1 ||
        have.symbols.size() != want.symbols.size() + rest.size()) {
      return refuse("{} cannot become {}: the rest does not divide", text(x), wanted);
    }
    out[*inferred] = Dim(have.number / want.number, rest.empty() ? -1 : rest[0]);
  } else if (have.number != want.number || have.symbols != want.symbols) {
    return refuse("{} cannot become {}: the numbers of elements differ", text(x), wanted);
  }
  return checked(std::move(out));
}

Rule<Shape> transpose(const Shape& x, std::span<const int64_t> permutation) {
  std::vector<bool> seen(x.size(), false);
  Shape out;
  for (const int64_t from : permutation) {
    const bool inside = from >= 0 && from < static_cast<int64_t>(x.size());
    if (!inside || permutation.size() != x.size() || seen[static_cast<size_t>(from)]) {
      return refuse("[{}] is no permutation of the {} axes", fmt::join(permutation, ", "), x.size());
    }
    seen[static_cast<size_t>(from)] = true;
    out.push_back(x[static_cast<size_t>(from)]);
  }
  if (out.size() != x.size()) return refuse("the permutation is empty, the rank is {}", x.size());
  return checked(std::move(out));
}

Rule<Shape> expand(const Shape& x, std::span<const int64_t> target) {
  if (target.size() < x.size() || target.size() > static_cast<size_t>(kMaxRank)) {
    return refuse("the shape has {} entries; rank {} needs {} to {}", target.size(), x.size(), x.size(), kMaxRank);
  }
  Shape out;
  const size_t added = target.size() - x.size();
  for (size_t i = 0; i < target.size(); ++i) {
    const bool keep = target[i] == -1;
    if (target[i] < -1 || (keep && i < added)) return refuse("entry {} of the shape is {}", i, target[i]);
    const Dim from = i < added ? Dim(1) : x[i - added];
    if (keep || from == Dim(target[i])) {
      out.push_back(from);
    } else if (from == Dim(1)) {
      out.emplace_back(target[i]);
    } else {
      return refuse("{} does not broadcast to [{}]: entry {}", text(x), fmt::join(target, ", "), i);
    }
  }
  return checked(std::move(out));
}

Rule<Shape> expand_over(const Shape& x, std::span<const int64_t> target, const Shape& batch) {
  if (batch.empty()) return refuse("the tensor that gives the batch has no axis");
  if (target.empty() || target[0] != -1) return refuse("with a batch the first entry of the shape must be -1");
  if (x.size() == target.size() && x[0] != Dim(1)) return refuse("{} has a first axis that is not 1", text(x));
  std::vector<int64_t> once(target.begin(), target.end());
  once[0] = 1;
  Rule<Shape> out = expand(x, once);
  if (!out) return out;
  Shape shape = *std::move(out);
  shape[0] = batch[0];
  return checked(std::move(shape));
}

Rule<Shape> gather(const Shape& x, const Shape& indices, int axis) {
  const auto along = static_cast<size_t>(axis);
  Shape out(x.begin(), x.begin() + axis);
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), x.begin() + axis + 1, x.end());
  const bool no_indices =
      std::any_of(indices.begin(), indices.end(), [](const Dim& dim) { return !dim.is_symbolic() && dim.value == 0; });
  if (!x[along].is_symbolic() && x[along].value == 0 && !no_indices) {
    return refuse("axis {} is empty: there is nothing to gather", axis);
  }
  return checked(std::move(out));
}

Rule<Shape> reduce(const Shape& x, std::span<const int> axes, bool keep_dims) {
  Shape out;
  for (size_t d = 0; d < x.size(); ++d) {
    if (std::find(axes.begin(), axes.end(), static_cast<int>(d)) == axes.end()) {
      out.push_back(x[d]);
    } else if (keep_dims) {
      out.emplace_back(1);
    }
  }
  return checked(std::move(out));
}

Rule<Shape> pool(const Shape& x, const PoolWindow& window) {
  if (x.size() != 4) return refuse("the input has rank {}; NHWC has 4", x.size());
  Shape out = x;
  for (size_t d = 0; d < 2; ++d) {
    const std::string_view side = d == 0 ? "height" : "width";
    const Dim& size = x[d + 1];
    const int64_t kernel = window.kernel[d];
    const int64_t stride = window.strides[d];
    const int64_t dilation = window.dilations[d];
    const int64_t before = window.pads[d];
    const int64_t after = window.pads[d + 2];
    if (size.is_symbolic()) return refuse("the {} is symbolic; bind it to a number", side);
    if (size.value < 1 || size.value > kMaxSide) return refuse("the {} is {}, allowed are 1 to 2^31", side, size.value);
    for (const int64_t one : {kernel, stride, dilation}) {
      if (one < 1 || one > kMaxWindow) {
        return refuse("{}: kernel {}, stride {} and dilation {} must lie in 1 to 2^24", side, kernel, stride, dilation);
      }
    }
    const int64_t reach = dilation * (kernel - 1) + 1;
    if (before < 0 || after < 0 || before >= reach || after >= reach) {
      return refuse("{}: padding {} and {} must lie in 0 to {}, less than the reach of the kernel", side, before, after,
                    reach - 1);
    }
    const int64_t room = size.value + before + after - reach;
    if (room < 0) {
      return refuse("{}: the kernel reaches over {}, the padded input has {}", side, reach, room + reach);
    }
    int64_t count = room / stride + 1;
    if (window.ceil_mode && room % stride != 0) {
      ++count;
      if ((count - 1) * stride >= size.value + before) --count;  // it would see nothing but end padding
    }
    out[d + 1] = count;
  }
  return checked(std::move(out));
}

Rule<Shape> resize(const Shape& x, std::span<const int64_t> sizes, std::span<const double> scales) {
  if (x.size() != 4) return refuse("the input has rank {}; NHWC has 4", x.size());
  const bool by_size = sizes.size() == 2 && scales.empty();
  if (!by_size && !(scales.size() == 2 && sizes.empty())) {
    return refuse("give either two sizes or two scales (height, width), not {} and {}", sizes.size(), scales.size());
  }
  Shape out = x;
  for (size_t d = 0; d < 2; ++d) {
    const Dim& size = x[d + 1];
    if (size.is_symbolic()) return refuse("axis {} has a symbolic size; bind the symbol to a number", d + 1);
    if (size.value < 1 || size.value > kMaxSide) {
      return refuse("axis {} has size {}, allowed are 1 to 2^31", d + 1, size.value);
    }
    double wanted = by_size ? static_cast<double>(sizes[d]) : 0.0;
    if (!by_size) {
      if (!(scales[d] > 0.0) || !std::isfinite(scales[d]))
        return refuse("scale {} is not positive and finite", scales[d]);
      wanted = std::floor(static_cast<double>(size.value) * scales[d]);
    }
    if (wanted < 1.0 || wanted > static_cast<double>(kMaxSide)) {
      return refuse("axis {} of size {} would have size {}, allowed are 1 to 2^31", d + 1, size.value, wanted);
    }
    out[d + 1] = by_size ? sizes[d] : static_cast<int64_t>(wanted);
  }
  return checked(std::move(out));
}

}  // namespace hai::shape_rules
