// What a training would take on the board, for Python (devices/sd3403/exec/training_time.h).
#include "binding.h"
#include "devices/sd3403/exec/training_time.h"
#include "format/model.h"

namespace hai::python {

void bind_board(nb::module_& module) {
  module.def(
      "training_time",
      [](const std::string& path, int64_t frozen_samples, int64_t steps, int64_t batch, int64_t measured_samples) {
        sd3403::TrainingTime time;
        {
          const nb::gil_scoped_release release;
          const format::ModelFile file = value_or_raise(format::read_model_file(path));
          time = value_or_raise(sd3403::training_time(file, {frozen_samples, steps, batch, measured_samples}));
        }
        return std::tuple(time.machine.name, time.frozen_npu_seconds, time.frozen_host_seconds, time.step_seconds,
                          time.measuring_seconds, time.frozen_npu_cycles);
      },
      nb::arg("path"), nb::arg("frozen_samples"), nb::arg("steps"), nb::arg("batch"), nb::arg("measured_samples"));
}

}  // namespace hai::python
