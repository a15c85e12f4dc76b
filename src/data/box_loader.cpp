// Loading batches of pictures with boxes ahead.
//
// Method: Prefetch makes batches in order; the pictures of one are shared out over a pool. Randomness is per picture
// (RandomStream), so that who makes what does not matter. The last step is the preprocessing of inference, and boxes go
// through the transform that it answers. Not here: what augmentation does (box_augment.cpp).
#include "data/box_loader.h"

#include <algorithm>

#include "data/prefetch.h"

namespace hai::data {
namespace {

constexpr size_t kLabelFields = 5;

// The pictures that are trained on, by their place among the indices.
class ChosenPictures final : public BoxedImageSource {
 public:
  ChosenPictures(const BoxSet& set, const std::vector<size_t>& indices) : set_(set), indices_(indices) {}
  size_t count() const override { return indices_.size(); }
  Result<BoxedImage> get(size_t index) const override {
    const BoxedPicture& picture = set_.pictures[indices_[index]];
    BoxedImage out;
    if (picture.image.pixels.empty()) {
      HAI_TRY(out.image, read_image(picture.path));
    } else {
      out.image = picture.image;
    }
    for (const LabelledBox& box : picture.boxes) {
      if (!box.crowd) out.boxes.push_back(box);
    }
    return out;
  }

 private:
  const BoxSet& set_;
  const std::vector<size_t>& indices_;
};

// Centre and size in the model's pixels.
void write_labels(const std::vector<LabelledBox>& boxes, const PictureTransform& transform, std::span<float> labels) {
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = i % kLabelFields == 0 ? -1.0F : 0.0F;
  for (size_t i = 0; i < boxes.size() && (i + 1) * kLabelFields <= labels.size(); ++i) {
    const LabelledBox& box = boxes[i];
    float* to = labels.data() + i * kLabelFields;
    to[0] = static_cast<float>(box.category);
    to[1] = static_cast<float>((box.x + box.width / 2) * transform.scale_x + transform.offset_x);
    to[2] = static_cast<float>((box.y + box.height / 2) * transform.scale_y + transform.offset_y);
    to[3] = static_cast<float>(box.width * transform.scale_x);
    to[4] = static_cast<float>(box.height * transform.scale_y);
  }
}

}  // namespace

struct BoxLoader::State {
  State(const BoxSet& pictures, std::vector<size_t> chosen, const Preprocessing& preprocessing,
        const BoxLoaderOptions& wanted)
      : indices(std::move(chosen)),
        source(pictures, indices),
        rule(preprocessing),
        options(wanted),
        pool(std::max(wanted.threads, 1)),
        prefetch((static_cast<int64_t>(indices.size()) + options.batch - 1) / options.batch,
                 [this](int64_t epoch, int64_t number, BoxBatch& batch) { return make(epoch, number, batch); }) {}

  const std::vector<size_t> indices;
  const ChosenPictures source;
  const Preprocessing rule;
  const BoxLoaderOptions options;
  ThreadPool pool;
  std::vector<size_t> order;  // of epoch `ordered_epoch`: places among the indices
  int64_t ordered_epoch = -1;
  Prefetch<BoxBatch> prefetch;  // last: its thread uses all of the above

  Status make(int64_t epoch, int64_t number, BoxBatch& batch);
  Status make_picture(int64_t epoch, int64_t place, size_t chosen, size_t slot, BoxBatch& batch) const;
};

Status BoxLoader::State::make_picture(int64_t epoch, int64_t place, size_t chosen, size_t slot, BoxBatch& batch) const {
  try {
    RandomStream random(options.seed, RandomStream::Purpose::kPicture, static_cast<uint64_t>(epoch),
                        static_cast<uint64_t>(place));
    BoxAugmentation wanted = options.augmentation;
    if (options.plain_from > 0 && epoch >= options.plain_from) wanted.mosaic = wanted.mixup = wanted.paste = false;
    HAI_TRY(const BoxedImage picture, augment(source, chosen, wanted, options.max_boxes, random));
    const size_t size = batch.pixels.size() / batch.pictures.size();
    HAI_TRY(batch.transforms[slot],
            preprocess(picture.image, rule, std::span(batch.pixels).subspan(slot * size, size)));
    batch.sizes[slot] = {picture.image.width, picture.image.height};
    const size_t fields = batch.labels.size() / batch.pictures.size();
    write_labels(picture.boxes, batch.transforms[slot], std::span(batch.labels).subspan(slot * fields, fields));
    return {};
  } catch (const std::bad_alloc&) {
    return make_error(StatusCode::kResourceExhausted, "D089",
                      "no memory left to make a batch; use a smaller batch or smaller pictures");
  }
}

Status BoxLoader::State::make(int64_t epoch, int64_t number, BoxBatch& batch) {
  if (epoch != ordered_epoch) {
    ordered_epoch = epoch;
    order.resize(indices.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    RandomStream random(options.seed, RandomStream::Purpose::kOrder, static_cast<uint64_t>(epoch));
    if (options.shuffle) random.shuffle(order);
  }
  const auto count = static_cast<size_t>(options.batch);
  const size_t size =
      static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height) * static_cast<size_t>(rule.channels());
  batch.pixels.resize(count * size);
  batch.labels.resize(count * static_cast<size_t>(options.max_boxes) * kLabelFields);
  batch.pictures.resize(count);
  batch.transforms.resize(count);
  batch.sizes.resize(count);
  const int64_t first = number * options.batch;
  batch.fresh = std::min(options.batch, static_cast<int64_t>(order.size()) - first);
  std::vector<Status> status(count);
  pool.parallel(options.batch, [&](int64_t i, int) {
    const auto slot = static_cast<size_t>(i);
    const size_t chosen = order[(static_cast<size_t>(first) + slot) % order.size()];
    batch.pictures[slot] = indices[chosen];
    status[slot] = make_picture(epoch, first + i, chosen, slot, batch);
  });
  for (Status& one : status) HAI_TRY_STATUS(std::move(one));
  return {};
}

BoxLoader::BoxLoader(std::unique_ptr<State> state) : state_(std::move(state)) {}
BoxLoader::~BoxLoader() = default;

Result<std::unique_ptr<BoxLoader>> BoxLoader::create(const BoxSet& set, std::vector<size_t> indices,
                                                     const Preprocessing& rule, const BoxLoaderOptions& options) {
  HAI_TRY_STATUS(verify(rule));
  if (indices.empty() || options.batch < 1 || options.max_boxes < 1) {
    return make_error(StatusCode::kInvalidArgument, "D088",
                      "batches of {} out of {} pictures with up to {} boxes: all must be at least 1", options.batch,
                      indices.size(), options.max_boxes);
  }
  return std::unique_ptr<BoxLoader>(new BoxLoader(std::make_unique<State>(set, std::move(indices), rule, options)));
}

int64_t BoxLoader::batches() const { return state_->prefetch.batches(); }
void BoxLoader::start(int64_t epoch, int64_t first) { state_->prefetch.start(epoch, first); }
Result<const BoxBatch*> BoxLoader::next() { return state_->prefetch.next(); }

}  // namespace hai::data
