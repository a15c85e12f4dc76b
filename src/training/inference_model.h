// A model file without what only a training needs: what is sent to devices that run a model and do not train it.
#pragma once

#include "base/result.h"
#include "format/model.h"

namespace hai::training {

// The programs of `file`, the weights that they read in their old order, preprocessing and metadata. Two models that
// came of one file by training have their constants at the same places, so an update between them (model_update.h)
// holds what changed alone. Precondition: `file` was verified; its weights are one piece. `file` keeps the weights
// alive.
format::ModelFile inference_model(const format::ModelFile& file);

}  // namespace hai::training
