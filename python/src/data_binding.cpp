// The data room for Python: pictures become a model's input through the same code as on the device.
//
// Arrays are RGB, [height, width, 3] u8, C order; outputs are f32 in the layout of the rule.
#include <nanobind/stl/pair.h>

#include "binding.h"
#include "data/picture_folder.h"
#include "data/preprocess.h"
#include "preprocessing_rule.h"

namespace hai::python {
namespace {

using Pixels = nb::ndarray<const uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;

data::Image image_from(const Pixels& pixels) {
  if (pixels.shape(0) > static_cast<size_t>(data::kMaxImageSide) ||
      pixels.shape(1) > static_cast<size_t>(data::kMaxImageSide)) {
    throw ErrorException(make_error(StatusCode::kOutOfRange, "Y009",
                                    "a picture of {}x{} pixels: the longest side is {}", pixels.shape(1),
                                    pixels.shape(0), data::kMaxImageSide));
  }
  return {static_cast<int>(pixels.shape(1)), static_cast<int>(pixels.shape(0)),
          std::vector<uint8_t>(pixels.data(), pixels.data() + pixels.size())};
}

nb::object array_from(data::Image image) {
  auto* memory = new std::vector<uint8_t>(std::move(image.pixels));
  const nb::capsule owner(memory, [](void* pointer) noexcept { delete static_cast<std::vector<uint8_t>*>(pointer); });
  return nb::cast(nb::ndarray<nb::numpy, uint8_t>(
      memory->data(), {static_cast<size_t>(image.height), static_cast<size_t>(image.width), 3}, owner));
}

Preprocessing rule_from(const nb::dict& fields) {
  Preprocessing rule;
  rule.input = nb::cast<std::string>(fields["input"]);
  rule.width = nb::cast<int32_t>(fields["width"]);
  rule.height = nb::cast<int32_t>(fields["height"]);
  const auto choice = [&](const char* name, int limit) {
    const int value = nb::cast<int>(fields[name]);
    if (value < 0 || value >= limit)
      throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y013", "preprocessing: {} is {}, it must be 0..{}",
                                      name, value, limit - 1));
    return static_cast<uint8_t>(value);
  };
  rule.color_order = static_cast<ColorOrder>(choice("color_order", 3));
  rule.layout = static_cast<PictureLayout>(choice("layout", 2));
  rule.resize_rule = static_cast<ResizeRule>(choice("resize_rule", 4));
  rule.interpolation = static_cast<Interpolation>(choice("interpolation", 3));
  rule.resize_size = nb::cast<int32_t>(fields["resize_size"]);
  const auto mean = nb::cast<std::vector<float>>(fields["mean"]);
  const auto scale = nb::cast<std::vector<float>>(fields["scale"]);
  if (mean.size() != 3 || scale.size() != 3)
    throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y014",
                                    "preprocessing: mean and scale need 3 numbers, not {} and {}", mean.size(),
                                    scale.size()));
  std::copy(mean.begin(), mean.end(), rule.mean.begin());
  std::copy(scale.begin(), scale.end(), rule.scale.begin());
  rule.pad_value = nb::cast<float>(fields["pad_value"]);
  return rule;
}

}  // namespace

Preprocessing preprocessing_from(const nb::dict& fields) {
  Preprocessing rule = rule_from(fields);
  raise_if_error(data::verify(rule));
  return rule;
}

namespace {

// The folder's next picture as (path, pixels), None at the end; what was skipped as (path, error code, message).
// As os.fsdecode() gives it: a name need not be UTF-8.
nb::object path_object(const std::filesystem::path& path) {
  const std::string& bytes = path.native();
  return nb::steal(PyUnicode_DecodeFSDefaultAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size())));
}

// For people: bytes that are no UTF-8 are shown as escapes.
nb::object text_object(const std::string& text) {
  return nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace"));
}

void bind_picture_folder(nb::module_& module) {
  nb::class_<data::PictureFolder>(module, "PictureFolder")
      .def("next",
           [](data::PictureFolder& folder) -> nb::object {
             auto picture = [&] {
               const nb::gil_scoped_release release;
               return value_or_raise(folder.next());
             }();
             if (!picture) return nb::none();
             return nb::make_tuple(path_object(picture->path), array_from(std::move(picture->image)));
           })
      .def("rewind", &data::PictureFolder::rewind)
      .def("wanted_count", [](const data::PictureFolder& folder) { return folder.report().wanted_count; })
      .def("read_count", [](const data::PictureFolder& folder) { return folder.report().read_count; })
      .def("skipped",
           [](const data::PictureFolder& folder) {
             nb::list list;
             for (const auto& [path, error] : folder.report().skipped)
               list.append(nb::make_tuple(path_object(path), text_object(error.to_string())));
             return list;
           })
      .def("blank",
           [](const data::PictureFolder& folder) {
             nb::list list;
             for (const auto& path : folder.report().blank) list.append(path_object(path));
             return list;
           })
      .def("text", [](const data::PictureFolder& folder) { return text_object(folder.report().to_string()); });
  module.def(
      "open_picture_folder",
      [](const std::string& folder, int64_t limit) { return value_or_raise(data::PictureFolder::open(folder, limit)); },
      nb::arg("folder"), nb::arg("limit"));
}

}  // namespace

void bind_data(nb::module_& module) {
  bind_picture_folder(module);
  module.def(
      "read_image", [](const std::string& path) { return array_from(value_or_raise(data::read_image(path))); },
      nb::arg("path"));
  module.def(
      "list_images",
      [](const std::string& folder) {
        nb::list names;
        for (const auto& path : value_or_raise(data::list_images(folder))) names.append(path_object(path));
        return names;
      },
      nb::arg("folder"));
  module.def(
      "resize",
      [](const Pixels& pixels, int width, int height, int interpolation) {
        if (width < 1 || height < 1 || width > data::kMaxImageSide || height > data::kMaxImageSide ||
            interpolation < 0 || interpolation > 2 || pixels.size() == 0) {
          throw ErrorException(
              make_error(StatusCode::kOutOfRange, "Y015",
                         "resize to {}x{} by rule {}: sides must be 1..{}, rules 0..2, and the picture not empty",
                         width, height, interpolation, data::kMaxImageSide));
        }
        return array_from(data::resize(image_from(pixels), width, height, static_cast<Interpolation>(interpolation)));
      },
      nb::arg("pixels"), nb::arg("width"), nb::arg("height"), nb::arg("interpolation"));
  module.def(
      "preprocess",
      [](const Pixels& pixels, const nb::dict& fields,
         const nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>& out) {
        const data::PictureTransform transform = value_or_raise(
            data::preprocess(image_from(pixels), preprocessing_from(fields), std::span(out.data(), out.size())));
        return nb::make_tuple(transform.scale_x, transform.scale_y, transform.offset_x, transform.offset_y);
      },
      nb::arg("pixels"), nb::arg("rule"), nb::arg("out"));
}

}  // namespace hai::python
