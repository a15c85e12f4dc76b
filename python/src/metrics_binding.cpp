// Figures and detections for Python: numpy arrays in, arrays out; all arithmetic is in the data room.
//
// Boxes with class cross as [boxes, 6] f32: corners, score, class number. The interpreter's lock is given up while the
// bootstrap counts.
#include <algorithm>
#include <array>
#include <memory>

#include "binding.h"
#include "data/detections.h"
#include "data/metrics.h"

namespace hai::python {
namespace {

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Rows = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <typename T>
nb::object to_array(std::vector<T> values, std::vector<size_t> shape) {
  auto* memory = new std::vector<T>(std::move(values));
  const nb::capsule owner(memory, [](void* pointer) noexcept { delete static_cast<std::vector<T>*>(pointer); });
  return nb::cast(nb::ndarray<nb::numpy, T>(memory->data(), shape.size(), shape.data(), owner));
}

template <typename T>
nb::object to_array(std::vector<T> values) {
  const size_t count = values.size();
  return to_array(std::move(values), {count});
}

void require(bool condition, const char* what) {
  if (!condition) throw ErrorException(make_error(StatusCode::kInvalidArgument, "Y700", "metrics: {}", what));
}

data::BoxMatches match_boxes(int64_t picture_count, const Column<int64_t>& truth_picture,
                             const Column<int32_t>& truth_category, const Rows<double>& truth_box,
                             const Column<double>& truth_area, const Column<uint8_t>& truth_crowd,
                             const Column<int64_t>& picture, const Column<int32_t>& category, const Rows<double>& box,
                             const Column<double>& score, int max_detections, double min_area, double max_area) {
  const size_t true_count = truth_picture.size();
  const size_t count = picture.size();
  require(truth_category.size() == true_count && truth_box.shape(0) == true_count && truth_box.shape(1) == 4 &&
              truth_area.size() == true_count && truth_crowd.size() == true_count,
          "the columns of the true boxes are not of one length");
  require(category.size() == count && box.shape(0) == count && box.shape(1) == 4 && score.size() == count,
          "the columns of the answered boxes are not of one length");
  const auto sides = [](const Rows<double>& rows, size_t i) {
    return std::array<double, 4>{rows(i, 0), rows(i, 1), rows(i, 2), rows(i, 3)};
  };
  std::vector<data::TrueBox> truth;
  truth.reserve(true_count);
  for (size_t i = 0; i < true_count; ++i)
    truth.push_back({truth_picture(i), truth_category(i), sides(truth_box, i), truth_area(i), truth_crowd(i) != 0});
  std::vector<data::ScoredBox> answers;
  answers.reserve(count);
  for (size_t i = 0; i < count; ++i) answers.push_back({picture(i), category(i), sides(box, i), score(i)});
  return value_or_raise(data::BoxMatches::match(picture_count, truth, answers, {max_detections, min_area, max_area}));
}

std::array<double, 4> numbers_of(const data::AveragePrecision& figures) {
  return {figures.map, figures.map50, figures.map75, figures.recall};
}

data::Scores scores_of(const Rows<float>& rows) {
  return {{rows.data(), rows.size()}, static_cast<int64_t>(rows.shape(1))};
}

std::vector<data::Detection> detections_of(const Rows<float>& rows) {
  require(rows.shape(1) == 6, "boxes must be rows of x0, y0, x1, y1, score, class");
  std::vector<data::Detection> boxes;
  for (size_t i = 0; i < rows.shape(0); ++i) {
    require(rows(i, 5) >= 0 && rows(i, 5) < 16777216.0F, "a class number is out of range");
    boxes.push_back({rows(i, 0), rows(i, 1), rows(i, 2), rows(i, 3), rows(i, 4), static_cast<int32_t>(rows(i, 5))});
  }
  return boxes;
}

nb::object array_of(const std::vector<data::Detection>& boxes) {
  std::vector<float> values;
  values.reserve(boxes.size() * 6);
  for (const data::Detection& box : boxes)
    values.insert(values.end(), {box.x0, box.y0, box.x1, box.y1, box.score, static_cast<float>(box.category)});
  return to_array(std::move(values), {boxes.size(), 6});
}

void bind_box_matches(nb::module_& module) {
  nb::class_<data::BoxMatches>(module, "BoxMatches")
      .def("figures",
           [](const data::BoxMatches& matches) {
             const auto numbers = numbers_of(matches.average_precision());
             return std::vector<double>(numbers.begin(), numbers.end());
           })
      .def("by_category",
           [](const data::BoxMatches& matches) {
             nb::dict result;
             for (const auto& [category, precision] : matches.by_category()) result[nb::int_(category)] = precision;
             return result;
           })
      .def(
          "bootstrap",
          [](const data::BoxMatches& matches, int64_t replicates, uint64_t seed) {
            std::vector<double> values;
            {
              const nb::gil_scoped_release release;
              for (int64_t i = 0; i < replicates; ++i) {
                const auto numbers =
                    numbers_of(matches.average_precision(data::bootstrap_copies(matches.picture_count(), seed, i)));
                values.insert(values.end(), numbers.begin(), numbers.end());
              }
            }
            const size_t rows = values.size() / 4;
            return to_array(std::move(values), {rows, 4});
          },
          nb::arg("replicates"), nb::arg("seed"));
  module.def("match_boxes", match_boxes, nb::arg("picture_count"), nb::arg("truth_picture"), nb::arg("truth_category"),
             nb::arg("truth_box"), nb::arg("truth_area"), nb::arg("truth_crowd"), nb::arg("picture"),
             nb::arg("category"), nb::arg("box"), nb::arg("score"), nb::arg("max_detections"), nb::arg("min_area"),
             nb::arg("max_area"));
}

void bind_scores(nb::module_& module) {
  module.def(
      "top_k_hits",
      [](const Rows<float>& scores, const Column<int64_t>& labels, int64_t k) {
        return to_array(
            value_or_raise(data::top_k_hits(scores_of(scores), std::span(labels.data(), labels.size()), k)));
      },
      nb::arg("scores"), nb::arg("labels"), nb::arg("k"));
  module.def(
      "best_classes",
      [](const Rows<float>& scores) { return to_array(value_or_raise(data::best_classes(scores_of(scores)))); },
      nb::arg("scores"));
  module.def(
      "divergences",
      [](const Rows<float>& reference, const Rows<float>& scores) {
        return to_array(value_or_raise(data::divergences(scores_of(reference), scores_of(scores))));
      },
      nb::arg("reference"), nb::arg("scores"));
  module.def(
      "bootstrap_means",
      [](const Column<double>& values, int64_t replicates, uint64_t seed) {
        std::vector<double> means;
        for (int64_t i = 0; i < replicates; ++i) {
          const auto copies = data::bootstrap_copies(static_cast<int64_t>(values.size()), seed, i);
          double sum = 0;
          for (size_t k = 0; k < copies.size(); ++k) sum += copies[k] * values(k);
          means.push_back(sum / static_cast<double>(std::max<size_t>(values.size(), 1)));
        }
        return to_array(std::move(means));
      },
      nb::arg("values"), nb::arg("replicates"), nb::arg("seed"));
}

}  // namespace

void bind_metrics(nb::module_& module) {
  bind_box_matches(module);
  bind_scores(module);
  module.def(
      "suppress_overlaps",
      [](const Rows<float>& boxes, float max_overlap, size_t max_boxes) {
        return array_of(data::suppress_overlaps(detections_of(boxes), max_overlap, max_boxes));
      },
      nb::arg("boxes"), nb::arg("max_overlap"), nb::arg("max_boxes"));
  module.def(
      "decode_detections",
      [](const Column<float>& output, const std::vector<int64_t>& shape, int family, std::array<int32_t, 2> input_size,
         std::array<double, 4> transform, std::array<int32_t, 2> picture_size, float min_score, float max_overlap,
         int32_t max_boxes, bool many_per_box) {
        require(family >= 0 && family <= static_cast<int>(data::DetectorFamily::kFastestDet), "no such decoder");
        const data::DecodeRule rule{static_cast<data::DetectorFamily>(family),
                                    input_size[0],
                                    input_size[1],
                                    min_score,
                                    max_overlap,
                                    max_boxes,
                                    many_per_box};
        return array_of(value_or_raise(data::decode_detections(std::span(output.data(), output.size()), shape, rule,
                                                               {transform[0], transform[1], transform[2], transform[3]},
                                                               picture_size[0], picture_size[1])));
      },
      nb::arg("output"), nb::arg("shape"), nb::arg("family"), nb::arg("input_size"), nb::arg("transform"),
      nb::arg("picture_size"), nb::arg("min_score"), nb::arg("max_overlap"), nb::arg("max_boxes"),
      nb::arg("many_per_box"));
}

}  // namespace hai::python
