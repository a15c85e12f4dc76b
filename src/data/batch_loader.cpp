// Loading batches ahead.
//
// Method: Prefetch makes batches in order; the pictures of one are shared out over a pool. Randomness is per picture
// (RandomStream), so that who makes what does not matter. Decoded pictures are kept up to a limit, in the order of the
// first epoch; whether one is kept changes time alone. Not here: what augmentation does (augment.cpp), which pictures
// there are (labelled_pictures.cpp).
#include "data/batch_loader.h"

#include <algorithm>
#include <new>
#include <numeric>

#include "data/prefetch.h"
#include "data/preprocess.h"

namespace hai::data {

struct BatchLoader::State {
  State(const LabelledSet& pictures, std::vector<size_t> chosen, const Preprocessing& preprocessing,
        const LoaderOptions& wanted)
      : set(pictures),
        indices(std::move(chosen)),
        rule(preprocessing),
        options(wanted),
        kept(pictures.pictures.size()),
        pool(std::max(wanted.threads, 1)),
        prefetch((static_cast<int64_t>(indices.size()) + options.batch - 1) / options.batch,
                 [this](int64_t epoch, int64_t number, Batch& batch) { return make(epoch, number, batch); }) {}

  const LabelledSet& set;
  const std::vector<size_t> indices;
  const Preprocessing rule;
  const LoaderOptions options;
  std::vector<Image> kept;  // by picture; empty: not kept
  int64_t kept_bytes = 0;
  ThreadPool pool;
  MixScratch scratch;
  std::vector<size_t> order;  // of epoch `ordered_epoch`
  int64_t ordered_epoch = -1;
  Prefetch<Batch> prefetch;  // last: its thread uses all of the above

  int64_t view_of(int64_t of_epoch) const {
    return options.views > 0 ? std::max<int64_t>(of_epoch - 1, 0) % options.views : 0;
  }
  void shuffle(int64_t of_epoch);
  Status make(int64_t of_epoch, int64_t number, Batch& batch);
  Status make_picture(int64_t of_epoch, int64_t place, size_t picture, std::span<float> out, Image& fresh) const;
};

Status BatchLoader::State::make_picture(int64_t of_epoch, int64_t place, size_t picture, std::span<float> out,
                                        Image& fresh) const {
  try {
    const std::filesystem::path& path = set.pictures[picture].path;
    const Image* image = &kept[picture];
    if (image->pixels.empty()) {
      HAI_TRY(fresh, read_image(path));
      image = &fresh;
    }
    RandomStream random = options.views > 0
                              ? RandomStream(options.seed, RandomStream::Purpose::kView,
                                             static_cast<uint64_t>(view_of(of_epoch)), picture)
                              : RandomStream(options.seed, RandomStream::Purpose::kPicture,
                                             static_cast<uint64_t>(of_epoch), static_cast<uint64_t>(place));
    const Augmentation& wanted = options.augmentation;
    if (wanted.flip || wanted.crop || wanted.color) {
      // A crop may be too long for the rule where the picture is not.
      if (preprocess(hai::data::augment(*image, wanted, random), rule, out)) return {};
    }
    if (const auto made_of_it = preprocess(*image, rule, out); !made_of_it)
      return with_where(made_of_it.error(), path.string());
    return {};
  } catch (const std::bad_alloc&) {
    return make_error(StatusCode::kResourceExhausted, "D086",
                      "no memory left to decode a batch; use a smaller batch or smaller pictures");
  }
}

void BatchLoader::State::shuffle(int64_t of_epoch) {
  order = indices;
  if (!options.shuffle) return;
  RandomStream random(options.seed, RandomStream::Purpose::kOrder, static_cast<uint64_t>(of_epoch));
  random.shuffle(order);
}

Status BatchLoader::State::make(int64_t of_epoch, int64_t number, Batch& batch) {
  if (of_epoch != ordered_epoch) {
    shuffle(of_epoch);
    ordered_epoch = of_epoch;
  }
  const auto count = static_cast<size_t>(options.batch);
  const size_t classes = set.classes.size();
  const size_t size =
      static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height) * static_cast<size_t>(rule.channels());
  batch.pixels.resize(count * size);
  batch.targets.assign(count * classes, 0.0F);
  batch.pictures.resize(count);
  const int64_t first = number * options.batch;
  batch.fresh = std::min(options.batch, static_cast<int64_t>(order.size()) - first);
  for (size_t i = 0; i < count; ++i) {
    batch.pictures[i] = order[(static_cast<size_t>(first) + i) % order.size()];
    batch.targets[i * classes + static_cast<size_t>(set.pictures[batch.pictures[i]].label)] = 1.0F;
  }
  batch.view = view_of(of_epoch);
  batch.known.assign(count, 0);
  for (size_t i = 0; options.known && i < count; ++i)
    batch.known[i] = options.known(batch.pictures[i], batch.view) ? 1 : 0;
  std::vector<Status> status(count);
  std::vector<Image> fresh(count);
  pool.parallel(options.batch, [&](int64_t i, int) {
    const auto slot = static_cast<size_t>(i);
    if (batch.known[slot] != 0) return;
    status[slot] = make_picture(of_epoch, first + i, batch.pictures[slot],
                                std::span(batch.pixels).subspan(slot * size, size), fresh[slot]);
  });
  for (Status& one : status) HAI_TRY_STATUS(std::move(one));
  for (size_t i = 0; i < count; ++i) {
    const auto bytes = static_cast<int64_t>(fresh[i].pixels.size());
    Image& slot = kept[batch.pictures[i]];
    if (bytes == 0 || !slot.pixels.empty() || kept_bytes + bytes > options.cache_bytes) continue;
    slot = std::move(fresh[i]);
    kept_bytes += bytes;
  }
  RandomStream random(options.seed, RandomStream::Purpose::kMix, static_cast<uint64_t>(of_epoch),
                      static_cast<uint64_t>(number));
  mix_batch({batch.pixels, batch.targets, options.batch, static_cast<int64_t>(classes)}, rule, options.augmentation,
            random, scratch);
  return {};
}

BatchLoader::BatchLoader(std::unique_ptr<State> state) : state_(std::move(state)) {}
BatchLoader::~BatchLoader() = default;

Result<std::unique_ptr<BatchLoader>> BatchLoader::create(const LabelledSet& set, std::vector<size_t> indices,
                                                         const Preprocessing& rule, const LoaderOptions& options) {
  HAI_TRY_STATUS(verify(rule));
  if (indices.empty() || options.batch < 1) {
    return make_error(StatusCode::kInvalidArgument, "D087", "batches of {} out of {} pictures: both must be at least 1",
                      options.batch, indices.size());
  }
  auto state = std::make_unique<State>(set, std::move(indices), rule, options);
  return std::unique_ptr<BatchLoader>(new BatchLoader(std::move(state)));
}

int64_t BatchLoader::batches() const { return state_->prefetch.batches(); }
void BatchLoader::start(int64_t epoch, int64_t first) { state_->prefetch.start(epoch, first); }
Result<const Batch*> BatchLoader::next() { return state_->prefetch.next(); }

}  // namespace hai::data
