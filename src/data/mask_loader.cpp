// Loading pictures with masks ahead.
//
// Method: as BatchLoader; randomness is per picture, and a mask is augmented by the same numbers as its picture. It is
// preprocessed by the picture's own code with nearest pixels, so no geometry is written twice; where the model answers
// a smaller map, every so manyth pixel counts. Not here: which pictures there are (mask_pictures.cpp).
#include "data/mask_loader.h"

#include <algorithm>
#include <new>
#include <numeric>

#include "data/prefetch.h"
#include "data/preprocess.h"

namespace hai::data {
namespace {

// Where `rule` puts a picture, but as classes: nearest pixels, no mean, class 0 around it.
Preprocessing rule_of_masks(const Preprocessing& rule) {
  Preprocessing out = rule;
  out.interpolation = Interpolation::kNearest;
  out.color_order = ColorOrder::kRgb;
  out.layout = PictureLayout::kNhwc;
  out.mean = {0, 0, 0};
  out.scale = {1, 1, 1};
  out.pad_value = 0;
  return out;
}

}  // namespace

struct MaskLoader::State {
  State(std::span<const MaskedPicture> all, std::vector<size_t> chosen, const Preprocessing& preprocessing,
        const MaskLoaderOptions& wanted)
      : pairs(all),
        indices(std::move(chosen)),
        rule(preprocessing),
        mask_rule(rule_of_masks(preprocessing)),
        options(wanted),
        pool(std::max(wanted.threads, 1)),
        prefetch((static_cast<int64_t>(indices.size()) + options.batch - 1) / options.batch,
                 [this](int64_t epoch, int64_t number, MaskBatch& batch) { return make(epoch, number, batch); }) {}

  const std::span<const MaskedPicture> pairs;
  const std::vector<size_t> indices;
  const Preprocessing rule, mask_rule;
  const MaskLoaderOptions options;
  ThreadPool pool;
  std::vector<size_t> order;  // of epoch `ordered_epoch`
  int64_t ordered_epoch = -1;
  Prefetch<MaskBatch> prefetch;  // last: its thread uses all of the above

  Status make(int64_t of_epoch, int64_t number, MaskBatch& batch);
  Status make_pair(int64_t of_epoch, int64_t place, size_t pair, std::span<float> pixels,
                   std::span<uint8_t> classes) const;
  void make_target(std::span<const uint8_t> classes, std::span<float> target) const;
};

Status MaskLoader::State::make_pair(int64_t of_epoch, int64_t place, size_t pair, std::span<float> pixels,
                                    std::span<uint8_t> classes) const {
  HAI_TRY(PictureAndMask read, read_masked(pairs[pair], options.map.class_count()));
  Augmentation both = options.augmentation;
  const RandomStream random(options.seed, RandomStream::Purpose::kPicture, static_cast<uint64_t>(of_epoch),
                            static_cast<uint64_t>(place));
  if (both.flip || both.crop || both.color) {
    RandomStream of_picture = random;
    RandomStream of_mask = random;
    PictureAndMask changed{augment(read.picture, both, of_picture), {}};
    both.color = false;  // drawn last, so flip and crop are the picture's
    changed.mask = augment(read.mask, both, of_mask);
    if (preprocess(changed.picture, rule, pixels)) {
      read.mask = std::move(changed.mask);
    } else {  // a crop may be too long for the rule where the picture is not
      HAI_TRY_STATUS(preprocess(read.picture, rule, pixels));
    }
  } else if (const auto made = preprocess(read.picture, rule, pixels); !made) {
    return with_where(made.error(), pairs[pair].picture.string());
  }
  const auto width = static_cast<int64_t>(rule.width);
  const auto height = static_cast<int64_t>(rule.height);
  std::vector<float> numbers(static_cast<size_t>(width * height * 3));
  if (const auto made = preprocess(read.mask, mask_rule, numbers); !made)
    return with_where(made.error(), pairs[pair].mask.string());
  const ClassMap& map = options.map;
  for (int64_t y = 0; y < map.height; ++y) {
    const int64_t from_y = (2 * y + 1) * height / (2 * map.height);
    for (int64_t x = 0; x < map.width; ++x) {
      const int64_t from_x = (2 * x + 1) * width / (2 * map.width);
      classes[static_cast<size_t>(y * map.width + x)] =
          static_cast<uint8_t>(numbers[static_cast<size_t>(3 * (from_y * width + from_x))]);
    }
  }
  return {};
}

void MaskLoader::State::make_target(std::span<const uint8_t> classes, std::span<float> target) const {
  const auto count = static_cast<size_t>(options.map.classes);
  std::fill(target.begin(), target.end(), 0.0F);
  for (size_t i = 0; i < classes.size(); ++i) {
    if (count == 1) {
      target[i] = static_cast<float>(classes[i]);
    } else {
      target[options.map.classes_first ? classes[i] * classes.size() + i : i * count + classes[i]] = 1.0F;
    }
  }
}

Status MaskLoader::State::make(int64_t of_epoch, int64_t number, MaskBatch& batch) {
  if (of_epoch != ordered_epoch) {
    order = indices;
    RandomStream random(options.seed, RandomStream::Purpose::kOrder, static_cast<uint64_t>(of_epoch));
    if (options.shuffle) random.shuffle(order);
    ordered_epoch = of_epoch;
  }
  const auto count = static_cast<size_t>(options.batch);
  const size_t size =
      static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height) * static_cast<size_t>(rule.channels());
  const auto area = static_cast<size_t>(options.map.height * options.map.width);
  const auto shares = static_cast<size_t>(options.map.numbers());
  batch.pixels.resize(count * size);
  batch.targets.resize(count * shares);
  batch.classes.resize(count * area);
  batch.pictures.resize(count);
  const int64_t first = number * options.batch;
  batch.fresh = std::min(options.batch, static_cast<int64_t>(order.size()) - first);
  for (size_t i = 0; i < count; ++i) batch.pictures[i] = order[(static_cast<size_t>(first) + i) % order.size()];
  std::vector<Status> status(count);
  pool.parallel(options.batch, [&](int64_t i, int) {
    const auto slot = static_cast<size_t>(i);
    const std::span<uint8_t> classes = std::span(batch.classes).subspan(slot * area, area);
    try {
      status[slot] = make_pair(of_epoch, first + i, batch.pictures[slot],
                               std::span(batch.pixels).subspan(slot * size, size), classes);
      if (status[slot]) make_target(classes, std::span(batch.targets).subspan(slot * shares, shares));
    } catch (const std::bad_alloc&) {
      status[slot] = make_error(StatusCode::kResourceExhausted, "D105",
                                "no memory left to decode a batch; use a smaller batch or smaller pictures");
    }
  });
  for (Status& one : status) HAI_TRY_STATUS(std::move(one));
  return {};
}

MaskLoader::MaskLoader(std::unique_ptr<State> state) : state_(std::move(state)) {}
MaskLoader::~MaskLoader() = default;

Result<std::unique_ptr<MaskLoader>> MaskLoader::create(std::span<const MaskedPicture> pairs,
                                                       std::vector<size_t> indices, const Preprocessing& rule,
                                                       const MaskLoaderOptions& options) {
  HAI_TRY_STATUS(verify(rule));
  if (indices.empty() || options.batch < 1) {
    return make_error(StatusCode::kInvalidArgument, "D106", "batches of {} out of {} pictures: both must be at least 1",
                      options.batch, indices.size());
  }
  auto state = std::make_unique<State>(pairs, std::move(indices), rule, options);
  return std::unique_ptr<MaskLoader>(new MaskLoader(std::move(state)));
}

int64_t MaskLoader::batches() const { return state_->prefetch.batches(); }
void MaskLoader::start(int64_t epoch, int64_t first) { state_->prefetch.start(epoch, first); }
Result<const MaskBatch*> MaskLoader::next() { return state_->prefetch.next(); }

void MaskScore::add(const ClassMap& map, std::span<const float> answers, float threshold,
                    std::span<const uint8_t> truth) {
  const auto count = static_cast<size_t>(map.classes);
  for (size_t i = 0; i < truth.size(); ++i) {
    size_t best = 0;
    const auto at = [&](size_t k) { return answers[map.classes_first ? k * truth.size() + i : i * count + k]; };
    for (size_t k = 1; k < count; ++k) best = at(k) > at(best) ? k : best;
    if (count == 1) best = answers[i] > threshold ? 1 : 0;
    ++either_[best];
    if (best == truth[i]) {
      ++both_[best];
    } else {
      ++either_[truth[i]];
    }
  }
}

double MaskScore::mean_iou() const {
  double sum = 0;
  int64_t seen = 0;
  for (size_t k = 0; k < both_.size(); ++k) {
    if (either_[k] == 0) continue;
    sum += static_cast<double>(both_[k]) / static_cast<double>(either_[k]);
    ++seen;
  }
  return seen == 0 ? 0.0 : sum / static_cast<double>(seen);
}

}  // namespace hai::data
