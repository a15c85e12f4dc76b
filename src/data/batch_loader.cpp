// Loading batches ahead.
//
// Method: one thread makes batches in order into a ring of three: one that the caller holds, one ready, one in the
// making. The pictures of a batch are shared out over a pool. Randomness is per picture (RandomStream), so that who
// makes what does not matter. Decoded pictures are kept up to a limit, in the order of the first epoch; whether one is
// kept changes time alone. Not here: what augmentation does (augment.cpp), which pictures there are
// (labelled_pictures.cpp).
#include "data/batch_loader.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <new>
#include <numeric>
#include <thread>

#include "base/thread_pool.h"
#include "data/preprocess.h"

namespace hai::data {
namespace {

constexpr int64_t kRing = 3;

}  // namespace

struct BatchLoader::State {
  State(const LabelledSet& pictures, std::vector<size_t> chosen, const Preprocessing& preprocessing,
        const LoaderOptions& wanted)
      : set(pictures),
        indices(std::move(chosen)),
        rule(preprocessing),
        options(wanted),
        kept(pictures.pictures.size()),
        pool(std::max(wanted.threads, 1)) {}

  const LabelledSet& set;
  const std::vector<size_t> indices;
  const Preprocessing rule;
  const LoaderOptions options;
  std::vector<Image> kept;  // by picture; empty: not kept
  int64_t kept_bytes = 0;
  ThreadPool pool;
  MixScratch scratch;
  std::array<Batch, kRing> ring;
  std::vector<size_t> order;  // of the epoch

  std::mutex mutex;
  std::condition_variable changed;
  // Under the mutex.
  int64_t epoch = 0;        // that is wanted
  int64_t starts = 0;       // so that an epoch begun again is another one
  int64_t first_batch = 0;  // batch of it that is wanted
  int64_t made = 0;         // batches of it, those before the first included
  int64_t taken = 0;
  bool working = false;  // an epoch is being made
  bool quit = false;
  Status failure;
  std::thread worker;  // last: it uses all of the above

  int64_t batches() const { return (static_cast<int64_t>(indices.size()) + options.batch - 1) / options.batch; }
  int64_t view_of(int64_t of_epoch) const {
    return options.views > 0 ? std::max<int64_t>(of_epoch - 1, 0) % options.views : 0;
  }
  void work();
  void make_epoch(std::unique_lock<std::mutex>& lock);
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

// Up to its end, an error, or the wish for another epoch.
void BatchLoader::State::make_epoch(std::unique_lock<std::mutex>& lock) {
  const int64_t of_epoch = epoch;
  const int64_t start_of = starts;
  const auto dropped = [&] { return quit || starts != start_of; };
  const int64_t begin = first_batch;
  for (int64_t number = begin; number < batches(); ++number) {
    // The caller holds batch taken - 1, so kRing - 1 others may lie beside it.
    changed.wait(lock, [&] { return dropped() || number - taken < kRing - 1; });
    if (dropped()) return;
    lock.unlock();
    Status status;
    try {
      if (number == begin) shuffle(of_epoch);
      status = make(of_epoch, number, ring[static_cast<size_t>(number % kRing)]);
    } catch (const std::bad_alloc&) {
      status = make_error(StatusCode::kResourceExhausted, "D086",
                          "no memory left to decode a batch; use a smaller batch or smaller pictures");
    }
    lock.lock();
    if (dropped()) return;
    if (!status) {
      failure = std::move(status);
      working = false;
      changed.notify_all();
      return;
    }
    ++made;
    changed.notify_all();
  }
  working = false;
}

void BatchLoader::State::work() {
  const ScopedFloatEnvironment environment;
  std::unique_lock<std::mutex> lock(mutex);
  while (!quit) {
    changed.wait(lock, [&] { return quit || working; });
    if (!quit) make_epoch(lock);
  }
}

BatchLoader::BatchLoader(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->worker = std::thread([this] { state_->work(); });
}

BatchLoader::~BatchLoader() {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->quit = true;
  }
  state_->changed.notify_all();
  state_->worker.join();
}

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

int64_t BatchLoader::batches() const { return state_->batches(); }

void BatchLoader::start(int64_t epoch, int64_t first) {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->epoch = epoch;
    ++state_->starts;
    state_->first_batch = state_->made = state_->taken = std::clamp<int64_t>(first, 0, state_->batches());
    state_->failure = {};
    state_->working = true;
  }
  state_->changed.notify_all();
}

Result<const Batch*> BatchLoader::next() {
  State& state = *state_;
  std::unique_lock<std::mutex> lock(state.mutex);
  if (state.taken == state.batches()) return static_cast<const Batch*>(nullptr);
  state.changed.wait(lock, [&] { return state.made > state.taken || !state.failure; });
  if (state.made == state.taken) return state.failure.error();
  const Batch* batch = &state.ring[static_cast<size_t>(state.taken % kRing)];
  ++state.taken;
  lock.unlock();
  state.changed.notify_all();
  return batch;
}

}  // namespace hai::data
