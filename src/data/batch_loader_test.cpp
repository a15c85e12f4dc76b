// Batches: the same whatever the threads and the cache, an epoch whole, and its end and errors in order.
#include "data/batch_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "data/preprocess.h"
#include "data/testing/training_folder.h"

namespace hai::data {
namespace {

using testing::TrainingFolder;

class BatchLoaderTest : public ::testing::Test {
 protected:
  BatchLoaderTest() {
    rule_.width = 8;
    rule_.height = 6;
    for (int i = 0; i < 11; ++i) {
      const std::string name = std::string(i % 2 == 0 ? "a/" : "b/") + std::to_string(i + 10) + ".png";
      folder_.picture(name, static_cast<uint8_t>(i * 20), 12 + i, 9);
      indices_.push_back(static_cast<size_t>(i));
    }
    set_ = list_labelled(folder_.root(), 2).value();
  }
  std::unique_ptr<BatchLoader> loader(const LoaderOptions& options) const {
    auto made = BatchLoader::create(set_, indices_, rule_, options);
    EXPECT_TRUE(made) << made.error().to_string();
    return std::move(made).value();
  }
  static std::vector<Batch> epoch(BatchLoader& loader, int64_t number, int64_t first = 0) {
    std::vector<Batch> out;
    loader.start(number, first);
    for (;;) {
      const auto batch = loader.next();
      EXPECT_TRUE(batch) << batch.error().to_string();
      if (!batch || *batch == nullptr) return out;
      out.push_back(**batch);
    }
  }
  static std::vector<float> numbers(const std::vector<Batch>& batches) {
    std::vector<float> out;
    for (const Batch& batch : batches) {
      out.insert(out.end(), batch.pixels.begin(), batch.pixels.end());
      out.insert(out.end(), batch.targets.begin(), batch.targets.end());
    }
    return out;
  }

  TrainingFolder folder_;
  Preprocessing rule_;
  LabelledSet set_;
  std::vector<size_t> indices_;
};

TEST_F(BatchLoaderTest, OneSeedOneEpochWhateverThreadsAndCache) {
  LoaderOptions options;
  options.batch = 4;
  options.augmentation = parse_augmentation("flip,crop,color,mixup,cutmix").value();
  options.seed = 9;
  const auto first = loader(options);
  const std::vector<float> one = numbers(epoch(*first, 1));
  const std::vector<float> two = numbers(epoch(*first, 2));
  EXPECT_NE(one, two);
  EXPECT_EQ(numbers(epoch(*first, 1)), one);  // and now from the cache
  for (const int threads : {2, 5}) {
    for (const int64_t cache : {int64_t{0}, int64_t{1000}, int64_t{1} << 20}) {
      options.threads = threads;
      options.cache_bytes = cache;
      const auto other = loader(options);
      EXPECT_EQ(numbers(epoch(*other, 1)), one);
      EXPECT_EQ(numbers(epoch(*other, 2)), two);
    }
  }
  options.seed = 10;
  EXPECT_NE(numbers(epoch(*loader(options), 1)), one);
}

TEST_F(BatchLoaderTest, AnEpochGoesOnAtAnyOfItsBatches) {
  LoaderOptions options;
  options.batch = 2;
  options.augmentation = parse_augmentation("flip,crop,color,mixup,cutmix").value();
  const auto loaded = loader(options);
  std::vector<Batch> all = epoch(*loaded, 3);
  ASSERT_EQ(all.size(), 6U);
  for (int64_t first = 1; first <= 7; ++first) {  // one beyond the end as well
    if (!all.empty()) all.erase(all.begin());
    EXPECT_EQ(numbers(epoch(*loaded, 3, first)), numbers(all)) << first;
  }
}

TEST_F(BatchLoaderTest, AnEpochHasEachPictureOnceAndIsFilledUp) {
  LoaderOptions options;
  options.batch = 4;
  const auto loaded = loader(options);
  EXPECT_EQ(loaded->batches(), 3);
  const auto batches = epoch(*loaded, 1);
  ASSERT_EQ(batches.size(), 3U);
  std::vector<size_t> seen;
  for (const Batch& batch : batches) {
    ASSERT_EQ(batch.pictures.size(), 4U);
    seen.insert(seen.end(), batch.pictures.begin(), batch.pictures.begin() + batch.fresh);
    for (size_t i = 0; i < 4; ++i) {
      const auto label = static_cast<size_t>(set_.pictures[batch.pictures[i]].label);
      EXPECT_EQ(batch.targets[2 * i + label], 1.0F);
      EXPECT_EQ(batch.targets[2 * i + 1 - label], 0.0F);
    }
  }
  EXPECT_EQ(batches[2].fresh, 3);
  EXPECT_EQ(batches[2].pictures[3], batches[0].pictures[0]);
  EXPECT_FALSE(std::is_sorted(seen.begin(), seen.end()));
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, indices_);
  const auto end = loaded->next();
  ASSERT_TRUE(end);
  EXPECT_EQ(*end, nullptr);  // at the end it stays at the end
}

TEST_F(BatchLoaderTest, WithoutAugmentationPicturesAreThoseOfInference) {
  LoaderOptions options;
  options.batch = 11;
  options.shuffle = false;
  const auto batches = epoch(*loader(options), 1);
  ASSERT_EQ(batches.size(), 1U);
  const size_t size = 8 * 6 * 3;
  for (size_t i = 0; i < 11; ++i) {
    std::vector<float> wanted(size);
    ASSERT_TRUE(preprocess(read_image(set_.pictures[i].path).value(), rule_, wanted));
    EXPECT_TRUE(
        std::equal(wanted.begin(), wanted.end(), batches[0].pixels.begin() + static_cast<std::ptrdiff_t>(i * size)));
  }
}

TEST_F(BatchLoaderTest, AnEpochMayBeDroppedAtAnyPoint) {
  LoaderOptions options;
  options.batch = 2;
  const auto loaded = loader(options);
  const auto whole = numbers(epoch(*loaded, 3));
  for (int taken = 0; taken < 5; ++taken) {
    loaded->start(3);
    for (int i = 0; i < taken; ++i) ASSERT_TRUE(loaded->next());
    EXPECT_EQ(numbers(epoch(*loaded, 3)), whole) << taken;
  }
  loaded->start(4);  // and destroyed while it works
}

TEST_F(BatchLoaderTest, APictureThatIsGoneIsAnError) {
  LoaderOptions options;
  options.batch = 4;
  const auto loaded = loader(options);
  std::filesystem::remove(set_.pictures[5].path);
  loaded->start(1);
  Result<const Batch*> batch = loaded->next();
  for (int i = 0; i < 3 && batch; ++i) batch = loaded->next();
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().id, "D008");
  EXPECT_NE(batch.error().to_string().find(set_.pictures[5].path.filename().string()), std::string::npos);
  EXPECT_FALSE(loaded->next());  // and stays one
}

TEST_F(BatchLoaderTest, NothingToLoadIsAnError) {
  LoaderOptions options;
  EXPECT_EQ(BatchLoader::create(set_, {}, rule_, options).error().id, "D087");
  options.batch = 0;
  EXPECT_EQ(BatchLoader::create(set_, {0}, rule_, options).error().id, "D087");
  rule_.width = 0;
  options.batch = 1;
  EXPECT_EQ(BatchLoader::create(set_, {0}, rule_, options).error().id, "D020");
}

}  // namespace
}  // namespace hai::data
