// Steps of training through the references, for comparisons with other frameworks in f64.
//
// Slow and exact. Numbers cross as f64, whatever type the step computes in.
// No logic of its own.
#include "binding.h"
#include "compiler/reference_step.h"
#include "compiler/training.h"
#include "format/model.h"
#include "ops/reference.h"

namespace hai::python {
namespace {

using Doubles = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::vector<int64_t> shape_of(const ops::Tensor& tensor) {
  return {tensor.dims.size.begin(), tensor.dims.size.begin() + tensor.dims.rank};
}

// (loss, norm of the gradients, [(name, shape, values)]) after one step.
nb::tuple reference_step(const std::string& path, const std::string& train, bool double_precision, int64_t batch,
                         const std::vector<Doubles>& inputs, double learning_rate) {
  std::vector<std::vector<double>> values;
  for (const Doubles& input : inputs) values.emplace_back(input.data(), input.data() + input.size());
  compiler::ReferenceStep step;
  {
    const nb::gil_scoped_release release;
    const format::ModelFile file = value_or_raise(format::read_model_file(path));
    step = value_or_raise(compiler::reference_step(file, value_or_raise(compiler::parse_training(train)),
                                                   double_precision ? DataType::kF64 : DataType::kF32, batch, values,
                                                   learning_rate));
  }
  nb::list states;
  for (const compiler::ReferenceState& state : step.states) {
    const std::vector<double> after = ops::load_all_f64(state.after.view());
    states.append(
        nb::make_tuple(state.name, shape_of(state.after),
                       nb::bytes(reinterpret_cast<const char*>(after.data()), after.size() * sizeof(double))));
  }
  return nb::make_tuple(step.loss, step.gradient_norm, states);
}

}  // namespace

void bind_reference(nb::module_& module) {
  module.def("reference_step", &reference_step, nb::arg("path"), nb::arg("train"), nb::arg("double_precision"),
             nb::arg("batch"), nb::arg("inputs"), nb::arg("learning_rate"));
}

}  // namespace hai::python
