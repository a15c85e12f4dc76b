// Update files: what turns one model file into a newer one, far smaller than the newer one where only a part was
// trained.
//
// An update carries the digest of the one model it is for, and of the one it makes; applied to another it is refused.
// What it makes is the newer file to the last byte. It is a container (format/container.h), every byte under a digest.
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"
#include "base/result.h"

namespace hai::training {

struct ModelUpdate {
  std::string
      base;  // digest of the model that it is for, in hexadecimal: that of header and table, as of `hai inspect`
  std::string result;
  int64_t base_bytes = 0;
  int64_t result_bytes = 0;
  int64_t changed_bytes = 0;  // of the result, that are not the base's
  int64_t update_bytes = 0;   // of the update file
};

// Writes `path`, which makes model `to` of model `from`. Both are verified first. Errors: those of reading a model.
Result<ModelUpdate> make_update(const std::string& from, const std::string& to, const std::string& path,
                                FileSystem& file_system = FileSystem::real());

// What an update says of itself, all of it verified. Errors: E070 it is no update, or a malformed one.
Result<ModelUpdate> read_update(const std::string& path);

struct AppliedUpdate {
  ModelUpdate update;
  bool was_there = false;  // the model at `output` was the newer one already: nothing was done
};
// Makes the newer model of `model` and `update` at `output`, which may be `model` itself: then the old one is kept as
// MODEL.previous (training/previous_model.h). The newer one is verified whole before it gets its name, so after a loss
// of power `output` is what it was or the newer model. Errors: E070; E071 the model is not the one that the update is
// for; E072 the model's file is damaged; E073 what came out is not what the update promises.
Result<AppliedUpdate> apply_update(const std::string& model, const std::string& update, const std::string& output,
                                   FileSystem& file_system = FileSystem::real());

}  // namespace hai::training
