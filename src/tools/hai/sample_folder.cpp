// Samples from a folder.
//
// Method: paths are collected first, sorted, and thinned evenly, so that a folder sorted by class gives all its parts;
// files are read one at a time. A file that cannot be read never ends the work: it is named, counted and passed over;
// the caller decides what to do when none is left.
#include "tools/hai/sample_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "data/image.h"
#include "data/preprocess.h"
#include "tools/hai_device/npy.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"

namespace hai::tools {
namespace {

namespace fs = std::filesystem;

// Pictures and .npy files of the whole tree, or, for several inputs, the folders that hold one .npy an input.
Result<std::vector<fs::path>> collect(const std::string& folder, const std::vector<std::string>& inputs) {
  std::vector<fs::path> paths;
  std::error_code failure;
  fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, failure);
  for (; !failure && it != fs::recursive_directory_iterator(); it.increment(failure)) {
    const fs::path& path = it->path();
    std::error_code ignored;
    if (inputs.size() == 1) {
      if (it->is_regular_file(ignored) && (data::is_image_path(path) || path.extension() == ".npy"))
        paths.push_back(path);
    } else if (it->is_directory(ignored)) {
      const bool whole = std::all_of(inputs.begin(), inputs.end(), [&](const std::string& name) {
        return fs::is_regular_file(path / (name + ".npy"), ignored);
      });
      if (whole) paths.push_back(path);
    }
  }
  if (failure) {
    return make_error(StatusCode::kNotFound, "L070", "{}: the folder cannot be read: {}", folder, failure.message());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<fs::path> spread(const std::vector<fs::path>& paths, int64_t wanted) {
  const auto total = static_cast<int64_t>(paths.size());
  if (wanted <= 0 || wanted >= total) return paths;
  std::vector<fs::path> chosen;
  for (int64_t i = 0; i < wanted; ++i) chosen.push_back(paths[static_cast<size_t>(i * total / wanted)]);
  return chosen;
}

}  // namespace

Result<SampleFolder> SampleFolder::open(const std::string& folder, const ir::Graph& graph,
                                        std::optional<Preprocessing> rule, int64_t limit) {
  SampleFolder samples;
  std::vector<std::string> names;
  for (const ir::ValueId id : graph.inputs()) {
    samples.inputs_.push_back({graph.value(id).name, graph.value(id).type});
    names.push_back(graph.value(id).name);
  }
  HAI_TRY(const std::vector<fs::path> all, collect(folder, names));
  if (all.empty()) {
    std::string wanted = "pictures (.jpg, .png) or .npy files";
    if (names.size() > 1) {
      wanted = "subfolders, one a sample, with ";
      for (size_t i = 0; i < names.size(); ++i) wanted += (i == 0 ? "" : ", ") + names[i] + ".npy";
    }
    return make_error(StatusCode::kNotFound, "L071", "{}: no samples in this folder; the model takes {}", folder,
                      wanted);
  }
  samples.rule_ = std::move(rule);
  const auto picture = std::find_if(all.begin(), all.end(), data::is_image_path);
  if (picture != all.end() && !samples.rule_) {
    return make_error(StatusCode::kInvalidArgument, "L072",
                      "{} is a picture, but neither model says how pictures become its input; compile one of them with "
                      "--resize, --mean and --std, or give .npy files",
                      picture->string());
  }
  samples.paths_ = spread(all, limit);
  return samples;
}

Result<ops::Tensor> SampleFolder::read_picture(const fs::path& path) const {
  HAI_TRY(const data::Image image, data::read_image(path));
  const Preprocessing& rule = *rule_;
  ops::Tensor tensor = ops::Tensor::zeros(DataType::kF32, rule.layout == PictureLayout::kNchw
                                                              ? Dims{1, rule.channels(), rule.height, rule.width}
                                                              : Dims{1, rule.height, rule.width, rule.channels()});
  const MutableTensorView view = tensor.mutable_view();
  HAI_TRY_STATUS(data::preprocess(image, rule, std::span(data_of<float>(view), static_cast<size_t>(view.count()))));
  return tensor;
}

Result<ops::Tensor> SampleFolder::read_array(const fs::path& path, const Input& input) const {
  HAI_TRY(const api::Tensor array, read_npy(path.string()));
  const Shape& shape = input.type.shape;
  const bool fits = array.dims().size() == shape.size() &&
                    std::equal(shape.begin(), shape.end(), array.dims().begin(), [](const Dim& dim, int64_t size) {
                      return dim.is_symbolic() ? size > 0 : dim.value == size;
                    });
  if (array.dtype() != static_cast<int32_t>(input.type.dtype) || !fits) {
    return make_error(StatusCode::kInvalidArgument, "L073", "{} holds {}{}, which input \"{}\" ({}) does not take",
                      path.string(), data_type_name(static_cast<DataType>(array.dtype())),
                      to_string(Dims(array.dims())), input.name, data_type_name(input.type.dtype));
  }
  ops::Tensor tensor;
  tensor.dtype = input.type.dtype;
  tensor.dims = Dims(array.dims());
  const auto* bytes = static_cast<const std::byte*>(array.data());
  tensor.storage.assign(bytes, bytes + array.size_bytes());
  return tensor;
}

Result<std::vector<ops::Tensor>> SampleFolder::read(const fs::path& path) const {
  std::vector<ops::Tensor> sample;
  for (const Input& input : inputs_) {
    HAI_TRY(ops::Tensor tensor, data::is_image_path(path) ? read_picture(path)
                                : inputs_.size() == 1     ? read_array(path, input)
                                                          : read_array(path / (input.name + ".npy"), input));
    sample.push_back(std::move(tensor));
  }
  return sample;
}

Result<std::optional<std::vector<ops::Tensor>>> SampleFolder::next() {
  while (done_ < paths_.size()) {
    const fs::path& path = paths_[done_++];
    show_progress(fmt::format("comparing: {} of {} samples", done_, paths_.size()));
    auto sample = read(path);
    if (sample) return std::optional<std::vector<ops::Tensor>>(std::move(*sample));
    skipped_.emplace_back(path.string(), sample.error().to_string());
    end_progress();
    note("skipped: {}", sample.error().to_string());
  }
  return std::optional<std::vector<ops::Tensor>>();
}

}  // namespace hai::tools
