// The model that a newer one replaced: kept beside it as PATH.previous, and brought back.
//
// Every step writes whole files (AtomicFileWriter), so after a loss of power at any moment the model at PATH is the old
// one or the new one, and calling the same function again ends what was begun.
#pragma once

#include <string>

#include "base/file.h"
#include "base/result.h"

namespace hai::training {

std::string previous_path(const std::string& path);  // PATH.previous
std::string replaced_path(const std::string& path);  // PATH.replaced: what a rollback took away

// Digest of the model file at `path` in hexadecimal, of header and table alone; empty where there is none that is whole
// so far.
std::string model_digest(const std::string& path);

// Copies a file of any size; the new one is there as a whole or not at all.
Status copy_file(const std::string& from, const std::string& to, FileSystem& file_system = FileSystem::real());

// Before `path` is written: where it holds the model of this digest, that is kept as PATH.previous. Anything else there
// is not kept; so calling it before each write of a training keeps the one that was there first.
Status keep_previous(const std::string& path, const std::string& digest, FileSystem& file_system = FileSystem::real());

// Removes temporary files that processes which are gone left behind, killed while they wrote `path` or a file beside it
// whose name begins so.
void remove_leftovers(const std::string& path);

struct RolledBack {
  std::string digest;           // of the model that is at `path` now
  std::string replaced_digest;  // of that which lies as PATH.replaced; empty: there was none, or it was broken
};
// Brings PATH.previous back, once every digest in it was found right; what was at `path` lies as PATH.replaced then.
// Errors: E060 nothing was kept; those of reading it, and then nothing was changed.
Result<RolledBack> roll_back(const std::string& path, FileSystem& file_system = FileSystem::real());

}  // namespace hai::training
