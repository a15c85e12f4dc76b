// Labelled pictures for training: from a folder with a subfolder a class, or from a list of paths and labels, and their
// split into what is trained on and what is held out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/picture_folder.h"
#include "types/preprocessing.h"

namespace hai::data {

struct LabelledPicture {
  std::filesystem::path path;
  int32_t label = 0;  // into LabelledSet::classes
};

struct LabelledSet {
  std::vector<std::string> classes;
  std::vector<LabelledPicture> pictures;  // by class, then by path; of a list in its order
  bool numbered = false;                  // classes are numbers of outputs: they have no names of their own
};

// `source`: a folder, whose subfolders are the classes, in byte order of their names (those that start with a dot are
// passed over), or a .csv file of `path,label` (fields may be in quotes; a first line `path,label` is a header; paths
// are relative to the file). Labels of a list that are all whole numbers number the outputs, else they name classes, in
// byte order. Files are not opened. Errors: D070, D081, D082 no classes there, D071 a class without pictures, D072 a
// line of the list that is none, D073 a label that the model has no output for, D074 a picture listed twice, D075
// another number of classes than the model has outputs, D076 fewer than two classes.
Result<LabelledSet> list_labelled(const std::filesystem::path& source, int64_t class_count);

// The same for a model that learns more classes over time: those that it knows are `known`, and new ones take the next
// of its `class_count` outputs, in byte order. A known class needs no pictures here. The set's classes are as many as
// the outputs; `known` grows by those that are new, and the names behind it are empty. Labels that are numbers make all
// classes up to the largest known. Errors: those above, D075 where there are more than outputs.
Result<LabelledSet> list_growing(const std::filesystem::path& source, int64_t class_count,
                                 std::vector<std::string>& known);

// Reads every picture once and takes out those that cannot be decoded or preprocessed; the report names them. The same
// whatever `threads`. Errors: D077 a class that no picture is left of; an unsound rule.
Result<PictureReport> drop_unreadable(LabelledSet& set, const Preprocessing& rule, int threads);

struct Split {
  std::vector<size_t> training;  // indices of pictures, ascending
  std::vector<size_t> held_out;
};
// Holds `share` of each class out: rounded, but at least one picture and never all. One seed, one split. Errors: D078 a
// share out of range, D079 a class of one picture, of which none can be held out.
Result<Split> split_by_class(const LabelledSet& set, double share, uint64_t seed);

}  // namespace hai::data
