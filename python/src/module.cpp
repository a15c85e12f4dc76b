// hai_toolkit._core: the native module. It only gathers the bindings of the rooms; see binding.h.
//
// Errors: a Result's error is raised as hai_toolkit.HaiError(code, message); the class lives in Python and is looked up
// when it is first needed.
#include "binding.h"
#include "devices/sd3403/simulator/install.h"

namespace hai::python {
namespace {

void translate(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const ErrorException& exception) {
    const Error& error = exception.error();
    const std::string message = error.where.empty() ? error.message : error.where + ": " + error.message;
    const nb::object type = nb::module_::import_("hai_toolkit.errors").attr("HaiError");
    const nb::object instance = type("HAI-" + error.id, message);
    PyErr_SetObject(type.ptr(), instance.ptr());
  }
}

}  // namespace
}  // namespace hai::python

NB_MODULE(_core, module) {  // NOLINT: the macro's names are nanobind's
  hai::sd3403::install_simulator();
  module.doc() =
      "HAI's compiler, quantizer and runtime, as the Python package uses them. Not a public interface: use "
      "hai_toolkit.";
  nanobind::register_exception_translator(hai::python::translate);
  hai::python::bind_graph(module);
  hai::python::bind_compile(module);
  hai::python::bind_runtime(module);
  hai::python::bind_training(module);
  hai::python::bind_checkpoint(module);
  hai::python::bind_data(module);
  hai::python::bind_metrics(module);
  hai::python::bind_accuracy(module);
  hai::python::bind_reference(module);
  hai::python::bind_replay(module);
  hai::python::bind_board(module);
}
