// Folding of operators over known integer tensors (shapes), symbols included.
//
// Method: one small function per group of operators, each over Dims: a product may hold one symbol, a sum only like
// terms, a comparison is decided by the symbol's bounds. What does not stay a Dim gives std::nullopt, and the caller
// converts the node the ordinary way. Integers wrap nowhere: an overflow gives std::nullopt as well. Only integers and
// booleans: a Cast to float leaves this file.
// Invariant: for numbers the results are those of ONNX (division truncates, Mod follows Python unless fmod is set).
#include "importers/onnx/shape_arithmetic.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>

#include "base/checked.h"

namespace hai::onnx_import {
namespace {

using Folded = std::optional<std::vector<KnownInts>>;
using Inputs = std::span<const KnownInts* const>;

struct FoldContext {
  const OnnxNode& node;
  Inputs inputs;
  int64_t opset;
  std::span<const Symbol> symbols;

  const KnownInts* input(size_t i) const { return i < inputs.size() ? inputs[i] : nullptr; }

  template <typename T>
  const T* attribute(std::string_view key) const {
    const auto it = node.attributes.find(key);
    return it == node.attributes.end() ? nullptr : std::get_if<T>(&it->second);
  }
  int64_t integer(std::string_view key, int64_t fallback) const {
    const auto* value = attribute<int64_t>(key);
    return value != nullptr ? *value : fallback;
  }
  // The integers of operand `i`, else of attribute `key`; std::nullopt when there are none or they are symbolic.
  std::optional<std::vector<int64_t>> list(size_t i, std::string_view key) const {
    if (const KnownInts* found = input(i)) {
      if (!found->is_numeric()) return std::nullopt;
      std::vector<int64_t> out;
      for (const Dim& dim : found->values) out.push_back(dim.value);
      return out;
    }
    const auto* found = attribute<std::vector<int64_t>>(key);
    return found != nullptr ? std::optional(*found) : std::nullopt;
  }
};

Folded one(KnownInts result) {
  if (static_cast<int64_t>(result.values.size()) > kMaxKnownInts || result.dims.size() > size_t{kMaxRank}) {
    return std::nullopt;
  }
  std::vector<KnownInts> out;
  out.push_back(std::move(result));
  return out;
}

std::optional<int64_t> count_of(const std::vector<int64_t>& dims) {
  int64_t count = 1;
  for (const int64_t dim : dims) {
    const auto product = dim < 0 ? std::nullopt : checked_mul(count, dim);
    if (!product) return std::nullopt;
    count = *product;
  }
  return count <= kMaxKnownInts ? std::optional(count) : std::nullopt;
}

std::optional<size_t> axis_of(int64_t raw, size_t rank) {
  const auto limit = static_cast<int64_t>(rank);
  if (raw < -limit || raw >= limit) return std::nullopt;
  return static_cast<size_t>(raw < 0 ? raw + limit : raw);
}

// --- elements ---

std::optional<Dim> add(const Dim& a, const Dim& b) {
  if (a.value == 0) return b;
  if (b.value == 0) return a;
  if (a.symbol != b.symbol) return std::nullopt;
  const auto sum = checked_add(a.value, b.value);
  if (!sum) return std::nullopt;
  return *sum == 0 ? Dim(0) : Dim(*sum, a.symbol);
}

std::optional<Dim> negate(const Dim& a) {
  if (a.value == INT64_MIN) return std::nullopt;
  return Dim(-a.value, a.symbol);
}

std::optional<Dim> multiply(const Dim& a, const Dim& b) {
  if (a.is_symbolic() && b.is_symbolic()) return std::nullopt;
  const auto product = checked_mul(a.value, b.value);
  if (!product) return std::nullopt;
  return *product == 0 ? Dim(0) : Dim(*product, a.is_symbolic() ? a.symbol : b.symbol);
}

std::optional<Dim> divide(const Dim& a, const Dim& b) {
  if (b.value == 0 || (a.value == INT64_MIN && b.value == -1)) return std::nullopt;
  if (b.is_symbolic()) {
    if (a.value == 0) return Dim(0);
    if (a.symbol != b.symbol) return std::nullopt;
    return Dim(a.value / b.value);  // k N / m N
  }
  if (a.is_symbolic() && a.value % b.value != 0) return std::nullopt;
  return Dim(a.value / b.value, a.symbol);
}

std::optional<Dim> modulo(const Dim& a, const Dim& b, bool like_c) {
  if (b.is_symbolic() || b.value == 0 || b.value == -1) return std::nullopt;
  const int64_t remainder = a.value % b.value;
  if (a.is_symbolic()) return remainder == 0 ? std::optional(Dim(0)) : std::nullopt;
  return Dim(!like_c && remainder != 0 && (remainder < 0) != (b.value < 0) ? remainder + b.value : remainder);
}

struct Bounds {
  int64_t low;
  int64_t high;
};
std::optional<Bounds> bounds_of(const Dim& dim, std::span<const Symbol> symbols) {
  if (!dim.is_symbolic()) return Bounds{dim.value, dim.value};
  const Symbol& symbol = symbols[static_cast<size_t>(dim.symbol)];
  const auto a = checked_mul(dim.value, symbol.min);
  const auto b = checked_mul(dim.value, symbol.max);
  if (!a || !b) return std::nullopt;
  return Bounds{std::min(*a, *b), std::max(*a, *b)};
}

// -1, 0, 1 as a <, ==, > b for every value of the symbols; std::nullopt when it depends.
std::optional<int> compare(const Dim& a, const Dim& b, std::span<const Symbol> symbols) {
  if (a == b) return 0;
  const auto x = bounds_of(a, symbols);
  const auto y = bounds_of(b, symbols);
  if (!x || !y) return std::nullopt;
  if (x->high < y->low) return -1;
  if (x->low > y->high) return 1;
  if (x->low == x->high && y->low == y->high) return x->low == y->low ? 0 : (x->low < y->low ? -1 : 1);
  return std::nullopt;
}

// --- broadcasting ---

std::optional<std::vector<int64_t>> broadcast(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  std::vector<int64_t> out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) return std::nullopt;
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

// The elements of `known` as if it had the shape `dims`. Precondition: broadcastable, few elements.
std::vector<Dim> spread(const KnownInts& known, const std::vector<int64_t>& dims, int64_t count) {
  std::vector<Dim> out;
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i;
    int64_t at = 0;
    int64_t stride = 1;
    for (size_t k = 0; k < dims.size(); ++k) {
      const int64_t size = dims[dims.size() - 1 - k];
      const int64_t index = rest % size;
      rest /= size;
      if (k >= known.dims.size()) continue;
      const int64_t own = known.dims[known.dims.size() - 1 - k];
      at += (own == 1 ? 0 : index) * stride;
      stride *= own;
    }
    out.push_back(known.values[static_cast<size_t>(at)]);
  }
  return out;
}

using BinaryElement = std::function<std::optional<Dim>(const Dim&, const Dim&)>;

Folded fold_pair(const KnownInts& a, const KnownInts& b, DataType dtype, const BinaryElement& element) {
  const auto dims = broadcast(a.dims, b.dims);
  const auto count = dims ? count_of(*dims) : std::nullopt;
  if (!count) return std::nullopt;
  const std::vector<Dim> left = spread(a, *dims, *count);
  const std::vector<Dim> right = spread(b, *dims, *count);
  KnownInts out{dtype, *dims, {}};
  for (size_t i = 0; i < left.size(); ++i) {
    const auto result = element(left[i], right[i]);
    if (!result) return std::nullopt;
    out.values.push_back(*result);
  }
  return one(std::move(out));
}

Folded fold_binary(const FoldContext& context) {
  const KnownInts* a = context.input(0);
  const KnownInts* b = context.input(1);
  const std::string& op = context.node.op_type;
  const auto symbols = context.symbols;
  if (a == nullptr) return std::nullopt;
  if ((op == "Min" || op == "Max") && context.inputs.size() == 1) return one(*a);
  if (b == nullptr || context.inputs.size() > 2) return std::nullopt;
  const auto truth = [](bool value) { return std::optional(Dim(value ? 1 : 0)); };
  if (op == "Add") return fold_pair(*a, *b, a->dtype, add);
  if (op == "Mul") return fold_pair(*a, *b, a->dtype, multiply);
  if (op == "Div") return fold_pair(*a, *b, a->dtype, divide);
  if (op == "Sub") {
    return fold_pair(*a, *b, a->dtype, [](const Dim& x, const Dim& y) -> std::optional<Dim> {
      const auto minus = negate(y);
      return minus ? add(x, *minus) : std::nullopt;
    });
  }
  if (op == "Mod") {
    const bool like_c = context.integer("fmod", 0) != 0;
    return fold_pair(*a, *b, a->dtype, [&](const Dim& x, const Dim& y) { return modulo(x, y, like_c); });
  }
  if (op == "And")
    return fold_pair(*a, *b, DataType::kBool,
                     [&](const Dim& x, const Dim& y) { return truth(x.value != 0 && y.value != 0); });
  if (op == "Or")
    return fold_pair(*a, *b, DataType::kBool,
                     [&](const Dim& x, const Dim& y) { return truth(x.value != 0 || y.value != 0); });
  if (op == "Xor")
    return fold_pair(*a, *b, DataType::kBool,
                     [&](const Dim& x, const Dim& y) { return truth((x.value != 0) != (y.value != 0)); });
  const bool chooses = op == "Min" || op == "Max";
  return fold_pair(*a, *b, chooses ? a->dtype : DataType::kBool, [&](const Dim& x, const Dim& y) -> std::optional<Dim> {
    const auto order = compare(x, y, symbols);
    if (!order) return std::nullopt;
    if (op == "Min") return *order <= 0 ? x : y;
    if (op == "Max") return *order >= 0 ? x : y;
    if (op == "Equal") return truth(*order == 0);
    if (op == "Less") return truth(*order < 0);
    if (op == "LessOrEqual") return truth(*order <= 0);
    if (op == "Greater") return truth(*order > 0);
    return truth(*order >= 0);  // GreaterOrEqual
  });
}

Folded fold_unary(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  if (x == nullptr || context.inputs.size() != 1) return std::nullopt;
  KnownInts out = *x;
  for (Dim& dim : out.values) {
    if (context.node.op_type == "Not") {
      dim = Dim(dim.value == 0 ? 1 : 0);
    } else if (context.node.op_type == "Neg" || (context.node.op_type == "Abs" && dim.value < 0)) {
      const auto negated = negate(dim);
      if (!negated) return std::nullopt;
      dim = *negated;
    }
  }
  return one(std::move(out));  // Identity, Floor, Ceil: integers are what they are
}

Folded fold_cast(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  if (x == nullptr) return std::nullopt;
  KnownInts out = *x;
  switch (context.integer("to", 0)) {  // TensorProto::DataType
    case 6:
      out.dtype = DataType::kI32;
      break;
    case 7:
      out.dtype = DataType::kI64;
      break;
    case 9:
      out.dtype = DataType::kBool;
      for (Dim& dim : out.values) dim = Dim(dim.value != 0 ? 1 : 0);  // a symbol is at least 1
      break;
    default:
      return std::nullopt;
  }
  for (const Dim& dim : out.values) {
    if (out.dtype == DataType::kI32 && (dim.value > INT32_MAX || dim.value < INT32_MIN)) return std::nullopt;
  }
  return one(std::move(out));
}

// --- moving elements ---

// The elements at `indices` along `axis`: what Gather, Slice and Split have in common.
KnownInts take(const KnownInts& x, size_t axis, const std::vector<int64_t>& indices) {
  KnownInts out{x.dtype, x.dims, {}};
  out.dims[axis] = static_cast<int64_t>(indices.size());
  int64_t inner = 1;
  for (size_t i = axis + 1; i < x.dims.size(); ++i) inner *= x.dims[i];
  int64_t outer = 1;
  for (size_t i = 0; i < axis; ++i) outer *= x.dims[i];
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t index : indices) {
      const auto begin = x.values.begin() + (o * x.dims[axis] + index) * inner;
      out.values.insert(out.values.end(), begin, begin + inner);
    }
  }
  return out;
}

Folded fold_gather(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  const KnownInts* indices = context.input(1);
  if (x == nullptr || indices == nullptr || !indices->is_numeric()) return std::nullopt;
  const auto axis = axis_of(context.integer("axis", 0), x->dims.size());
  if (!axis) return std::nullopt;
  std::vector<int64_t> wanted;
  for (const Dim& index : indices->values) {
    const int64_t size = x->dims[*axis];
    if (index.value < -size || index.value >= size) return std::nullopt;
    wanted.push_back(index.value < 0 ? index.value + size : index.value);
  }
  std::vector<int64_t> dims = x->dims;
  dims[*axis] = static_cast<int64_t>(wanted.size());
  if (!count_of(dims)) return std::nullopt;
  KnownInts out = take(*x, *axis, wanted);
  out.dims.erase(out.dims.begin() + static_cast<int64_t>(*axis));
  out.dims.insert(out.dims.begin() + static_cast<int64_t>(*axis), indices->dims.begin(), indices->dims.end());
  return one(std::move(out));
}

Folded fold_slice(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  const auto starts = context.list(1, "starts");
  const auto ends = context.list(2, "ends");
  if (x == nullptr || !starts || !ends || starts->size() != ends->size()) return std::nullopt;
  auto axes = context.list(3, "axes");
  auto steps = context.list(4, "steps");
  if ((context.input(3) != nullptr && !axes) || (context.input(4) != nullptr && !steps)) return std::nullopt;
  if (!axes) {
    axes.emplace(starts->size());
    std::iota(axes->begin(), axes->end(), 0);
  }
  if (!steps) steps.emplace(starts->size(), 1);
  if (axes->size() != starts->size() || steps->size() != starts->size()) return std::nullopt;
  KnownInts out = *x;
  for (size_t i = 0; i < starts->size(); ++i) {
    const auto axis = axis_of((*axes)[i], out.dims.size());
    const int64_t step = (*steps)[i];
    if (!axis || step == 0 || step < -kMaxKnownInts) return std::nullopt;
    const int64_t size = out.dims[*axis];
    const auto clamp = [&](int64_t at) {
      const int64_t low = step > 0 ? 0 : -1;
      const int64_t high = step > 0 ? size : size - 1;
      return std::clamp(at < 0 ? std::max(at + size, low) : at, low, high);
    };
    // A negative end that counts back past the start means "through the first element" for negative steps.
    const int64_t end = clamp((*ends)[i] < -size ? -size - 1 : (*ends)[i]);
    std::vector<int64_t> indices;
    for (int64_t at = clamp((*starts)[i] < -size ? -size : (*starts)[i]); step > 0 ? at < end : at > end;) {
      indices.push_back(at);
      if (step > size - at) break;
      at += step;
    }
    out = take(out, *axis, indices);
  }
  return one(std::move(out));
}

Folded fold_concat(const FoldContext& context) {
  if (context.inputs.empty()) return std::nullopt;
  for (const KnownInts* x : context.inputs) {
    if (x == nullptr) return std::nullopt;
  }
  const KnownInts& first = *context.inputs[0];
  const auto axis = axis_of(context.integer("axis", 0), first.dims.size());
  if (!axis) return std::nullopt;
  KnownInts out{first.dtype, first.dims, {}};
  out.dims[*axis] = 0;
  int64_t outer = 1;
  size_t total = 0;
  for (size_t i = 0; i < *axis; ++i) outer *= first.dims[i];
  for (const KnownInts* x : context.inputs) {
    auto same = x->dims;
    total += x->values.size();
    if (same.size() != first.dims.size() || total > size_t{kMaxKnownInts}) return std::nullopt;
    out.dims[*axis] += same[*axis];
    same[*axis] = first.dims[*axis];
    if (same != first.dims) return std::nullopt;
  }
  for (int64_t o = 0; o < outer; ++o) {
    for (const KnownInts* x : context.inputs) {
      const auto chunk = static_cast<int64_t>(x->values.size()) / std::max<int64_t>(outer, 1);
      out.values.insert(out.values.end(), x->values.begin() + o * chunk, x->values.begin() + (o + 1) * chunk);
    }
  }
  return one(std::move(out));
}

Folded fold_split(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  if (x == nullptr) return std::nullopt;
  const auto axis = axis_of(context.integer("axis", 0), x->dims.size());
  if (!axis || context.node.outputs.empty()) return std::nullopt;
  auto sizes = context.list(1, "split");
  const auto parts = static_cast<int64_t>(context.node.outputs.size());
  if (!sizes) {
    const int64_t chunk = ceil_div(x->dims[*axis], parts);
    sizes.emplace(static_cast<size_t>(parts), chunk);
    sizes->back() = x->dims[*axis] - chunk * (parts - 1);
  }
  std::vector<KnownInts> out;
  int64_t at = 0;
  for (const int64_t size : *sizes) {
    if (size < 0 || size > x->dims[*axis] - at) return std::nullopt;
    std::vector<int64_t> indices(static_cast<size_t>(size));
    std::iota(indices.begin(), indices.end(), at);
    out.push_back(take(*x, *axis, indices));
    at += size;
  }
  if (at != x->dims[*axis] || out.size() != context.node.outputs.size()) return std::nullopt;
  return out;
}

Folded fold_reshape(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  const auto target = context.list(1, "shape");
  if (x == nullptr || !target) return std::nullopt;
  const bool allow_zero = context.integer("allowzero", 0) != 0;
  std::vector<int64_t> dims = *target;
  int64_t known = 1;
  std::optional<size_t> open;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !allow_zero && i < x->dims.size()) dims[i] = x->dims[i];
    if (dims[i] == -1 && !open) {
      open = i;
      continue;
    }
    const auto product = dims[i] < 0 ? std::nullopt : checked_mul(known, dims[i]);
    if (!product) return std::nullopt;
    known = *product;
  }
  const auto count = static_cast<int64_t>(x->values.size());
  if (open) {
    if (known == 0 || count % known != 0) return std::nullopt;
    dims[*open] = count / known;
  } else if (known != count) {
    return std::nullopt;
  }
  return one({x->dtype, dims, x->values});
}

// Squeeze, Unsqueeze, Flatten.
Folded fold_rank_change(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  if (x == nullptr || (context.inputs.size() > 1 && context.inputs[1] != nullptr && !context.inputs[1]->is_numeric())) {
    return std::nullopt;
  }
  KnownInts out = *x;
  const auto axes = context.list(1, "axes");
  if (context.node.op_type == "Squeeze") {
    std::vector<bool> gone(x->dims.size(), false);
    for (size_t i = 0; !axes && i < gone.size(); ++i) gone[i] = x->dims[i] == 1;
    for (const int64_t raw : axes.value_or(std::vector<int64_t>())) {
      const auto axis = axis_of(raw, x->dims.size());
      if (!axis || x->dims[*axis] != 1) return std::nullopt;
      gone[*axis] = true;
    }
    out.dims.clear();
    for (size_t i = 0; i < gone.size(); ++i) {
      if (!gone[i]) out.dims.push_back(x->dims[i]);
    }
    return one(std::move(out));
  }
  if (!axes) return std::nullopt;
  const size_t rank = x->dims.size() + axes->size();
  if (rank > size_t{kMaxRank}) return std::nullopt;
  std::vector<bool> fresh(rank, false);
  for (const int64_t raw : *axes) {
    const auto axis = axis_of(raw, rank);
    if (!axis || fresh[*axis]) return std::nullopt;
    fresh[*axis] = true;
  }
  out.dims.clear();
  size_t next = 0;
  for (const bool is_fresh : fresh) out.dims.push_back(is_fresh ? 1 : x->dims[next++]);
  return one(std::move(out));
}

Folded fold_expand(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  const auto target = context.list(1, "");
  if (x == nullptr || !target) return std::nullopt;
  const auto dims = broadcast(x->dims, *target);
  const auto count = dims ? count_of(*dims) : std::nullopt;
  if (!count) return std::nullopt;
  return one({x->dtype, *dims, spread(*x, *dims, *count)});
}

Folded fold_tile(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  const auto repeats = context.list(1, "");
  if (x == nullptr || !repeats || repeats->size() != x->dims.size()) return std::nullopt;
  KnownInts out = *x;
  for (size_t axis = 0; axis < repeats->size(); ++axis) {
    const int64_t repeat = (*repeats)[axis];
    const auto size = repeat < 0 ? std::nullopt : checked_mul(out.dims[axis], repeat);
    if (!size || *size > kMaxKnownInts) return std::nullopt;
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < *size; ++i) indices.push_back(i % out.dims[axis]);
    if (static_cast<int64_t>(out.values.size()) * std::max<int64_t>(repeat, 1) > kMaxKnownInts) return std::nullopt;
    out = take(out, axis, indices);
  }
  return one(std::move(out));
}

Folded fold_where(const FoldContext& context) {
  const KnownInts* condition = context.input(0);
  const KnownInts* a = context.input(1);
  const KnownInts* b = context.input(2);
  if (condition == nullptr || a == nullptr || b == nullptr) return std::nullopt;
  auto dims = broadcast(a->dims, b->dims);
  if (dims) dims = broadcast(*dims, condition->dims);
  const auto count = dims ? count_of(*dims) : std::nullopt;
  if (!count) return std::nullopt;
  const auto choices = spread(*condition, *dims, *count);
  const auto left = spread(*a, *dims, *count);
  const auto right = spread(*b, *dims, *count);
  KnownInts out{a->dtype, *dims, {}};
  for (size_t i = 0; i < choices.size(); ++i) out.values.push_back(choices[i].value != 0 ? left[i] : right[i]);
  return one(std::move(out));
}

Folded fold_range(const FoldContext& context) {
  if (context.inputs.size() != 3) return std::nullopt;
  for (const KnownInts* x : context.inputs) {
    if (x == nullptr || x->values.size() != 1 || !x->is_numeric()) return std::nullopt;
  }
  const int64_t start = context.inputs[0]->values[0].value;
  const int64_t limit = context.inputs[1]->values[0].value;
  const int64_t delta = context.inputs[2]->values[0].value;
  if (delta == 0) return std::nullopt;
  KnownInts out{context.inputs[0]->dtype, {}, {}};
  for (int64_t at = start; delta > 0 ? at < limit : at > limit;) {
    if (static_cast<int64_t>(out.values.size()) >= kMaxKnownInts) return std::nullopt;
    out.values.emplace_back(at);
    const auto next = checked_add(at, delta);
    if (!next) break;
    at = *next;
  }
  out.dims = {static_cast<int64_t>(out.values.size())};
  return one(std::move(out));
}

Folded fold_constant_of_shape(const FoldContext& context) {
  const auto dims = context.list(0, "");
  const auto* value = context.attribute<OnnxTensor>("value");
  const auto count = dims ? count_of(*dims) : std::nullopt;
  if (!count || value == nullptr || value->dtype != DataType::kI64 || value->data->bytes().size() != 8) {
    return std::nullopt;
  }
  int64_t element = 0;
  std::memcpy(&element, value->data->bytes().data(), sizeof(element));
  return one({DataType::kI64, *dims, std::vector<Dim>(static_cast<size_t>(*count), Dim(element))});
}

// Over all elements of a vector: what exporters need.
Folded fold_reduce(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  const auto axes = context.list(1, "axes");
  if (x == nullptr || x->dims.size() != 1 || x->values.empty() || (axes && axes->size() > 1) ||
      context.integer("noop_with_empty_axes", 0) != 0) {
    return std::nullopt;
  }
  Dim total = x->values[0];
  for (size_t i = 1; i < x->values.size(); ++i) {
    const auto next = context.node.op_type == "ReduceProd" ? multiply(total, x->values[i]) : add(total, x->values[i]);
    if (!next) return std::nullopt;
    total = *next;
  }
  const bool keep = context.integer("keepdims", 1) != 0;
  return one({x->dtype, keep ? std::vector<int64_t>{1} : std::vector<int64_t>{}, {total}});
}

Folded fold_transpose(const FoldContext& context) {
  const KnownInts* x = context.input(0);
  if (x == nullptr || x->dims.size() > 1) return std::nullopt;
  return one(*x);
}

using Fold = Folded (*)(const FoldContext&);

const std::map<std::string_view, Fold>& folds() {
  static const std::map<std::string_view, Fold> kFolds = {
      {"Add", fold_binary},
      {"Sub", fold_binary},
      {"Mul", fold_binary},
      {"Div", fold_binary},
      {"Mod", fold_binary},
      {"Min", fold_binary},
      {"Max", fold_binary},
      {"And", fold_binary},
      {"Or", fold_binary},
      {"Xor", fold_binary},
      {"Equal", fold_binary},
      {"Less", fold_binary},
      {"LessOrEqual", fold_binary},
      {"Greater", fold_binary},
      {"GreaterOrEqual", fold_binary},
      {"Not", fold_unary},
      {"Neg", fold_unary},
      {"Abs", fold_unary},
      {"Identity", fold_unary},
      {"Floor", fold_unary},
      {"Ceil", fold_unary},
      {"Cast", fold_cast},
      {"Gather", fold_gather},
      {"Slice", fold_slice},
      {"Concat", fold_concat},
      {"Split", fold_split},
      {"Reshape", fold_reshape},
      {"Squeeze", fold_rank_change},
      {"Unsqueeze", fold_rank_change},
      {"Expand", fold_expand},
      {"Tile", fold_tile},
      {"Where", fold_where},
      {"Range", fold_range},
      {"ConstantOfShape", fold_constant_of_shape},
      {"ReduceProd", fold_reduce},
      {"ReduceSum", fold_reduce},
      {"Transpose", fold_transpose},
  };
  return kFolds;
}

}  // namespace

bool is_shape_operator(std::string_view op_type) { return folds().find(op_type) != folds().end(); }

std::optional<std::vector<KnownInts>> fold_known(const OnnxNode& node, std::span<const KnownInts* const> inputs,
                                                 int64_t opset, std::span<const Symbol> symbols) {
  const auto it = folds().find(node.op_type);
  if (it == folds().end() || !node.domain.empty()) return std::nullopt;
  return it->second({node, inputs, opset, symbols});
}

}  // namespace hai::onnx_import
