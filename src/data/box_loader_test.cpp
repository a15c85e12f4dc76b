// Batches of pictures with boxes: the same whatever the threads and what is kept, labels in the model's pixels.
#include "data/box_loader.h"

#include <gtest/gtest.h>

#include "data/testing/training_folder.h"

namespace hai::data {
namespace {

using testing::TrainingFolder;

class BoxLoaderTest : public ::testing::Test {
 protected:
  BoxLoaderTest() {
    rule_.width = 16;
    rule_.height = 8;
    rule_.resize_rule = ResizeRule::kLetterbox;
    for (int i = 0; i < 7; ++i) {
      const std::string name = std::to_string(i) + ".png";
      folder_.picture(name, static_cast<uint8_t>(i * 30), 24 + i, 20);
      BoxedPicture picture;
      picture.path = folder_.root() / name;
      for (int box = 0; box < i % 3; ++box) picture.boxes.push_back({box, 2.0 + box, 3.0 + box, 9.0, 8.0, 72, false});
      picture.boxes.push_back({0, 0, 0, 24, 20, 480, true});
      set_.pictures.push_back(picture);
      indices_.push_back(static_cast<size_t>(i));
    }
    set_.classes = {"a", "b"};
  }
  std::vector<BoxBatch> epoch(const BoxSet& set, const BoxLoaderOptions& options, int64_t number) const {
    std::vector<BoxBatch> out;
    auto loader = BoxLoader::create(set, indices_, rule_, options);
    EXPECT_TRUE(loader) << loader.error().to_string();
    (*loader)->start(number);
    for (;;) {
      const auto batch = (*loader)->next();
      EXPECT_TRUE(batch) << batch.error().to_string();
      if (!batch || *batch == nullptr) return out;
      out.push_back(**batch);
    }
  }

  TrainingFolder folder_;
  Preprocessing rule_;
  BoxSet set_;
  std::vector<size_t> indices_;
};

TEST_F(BoxLoaderTest, OneSeedOneEpochWhateverThreadsAndWhatIsKept) {
  BoxLoaderOptions options;
  options.batch = 3;
  options.max_boxes = 6;
  options.augmentation = {true, true, true, true, true, true, true};
  options.seed = 11;
  const std::vector<BoxBatch> wanted = epoch(set_, options, 2);
  ASSERT_EQ(wanted.size(), 3U);
  EXPECT_EQ(wanted[2].fresh, 1);
  BoxSet kept = set_;
  ASSERT_TRUE(read_pictures(kept, rule_, 6, 1 << 20, 1));
  for (const int threads : {1, 3}) {
    options.threads = threads;
    for (const BoxSet* set : {&set_, &kept}) {
      const std::vector<BoxBatch> again = epoch(*set, options, 2);
      ASSERT_EQ(again.size(), wanted.size());
      for (size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_EQ(again[i].pixels, wanted[i].pixels);
        EXPECT_EQ(again[i].labels, wanted[i].labels);
      }
    }
  }
  EXPECT_NE(epoch(set_, options, 3)[0].pixels, wanted[0].pixels);
}

TEST_F(BoxLoaderTest, LabelsLieInTheModelsPixelsAndCrowdsAreLeftOut) {
  BoxLoaderOptions options;
  options.batch = 7;
  options.max_boxes = 3;
  options.shuffle = false;
  const std::vector<BoxBatch> batches = epoch(set_, options, 0);
  ASSERT_EQ(batches.size(), 1U);
  const BoxBatch& batch = batches[0];
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(batch.pictures[i], i);
    const auto picture = read_image(set_.pictures[i].path);
    std::vector<float> pixels(16 * 8 * 3);
    const auto transform = preprocess(*picture, rule_, pixels);
    ASSERT_TRUE(transform);
    EXPECT_TRUE(
        std::equal(pixels.begin(), pixels.end(), batch.pixels.begin() + static_cast<ptrdiff_t>(i * pixels.size())));
    for (size_t box = 0; box < 3; ++box) {
      const float* label = batch.labels.data() + (i * 3 + box) * 5;
      if (box >= i % 3) {
        EXPECT_EQ(label[0], -1);
        continue;
      }
      EXPECT_EQ(label[0], static_cast<float>(box));
      EXPECT_EQ(label[1],
                static_cast<float>((2.0 + static_cast<double>(box) + 4.5) * transform->scale_x + transform->offset_x));
      EXPECT_EQ(label[4], static_cast<float>(8.0 * transform->scale_y));
    }
  }
}

TEST_F(BoxLoaderTest, APictureThatIsGoneIsAnError) {
  BoxLoaderOptions options;
  set_.pictures[4].path = folder_.root() / "gone.png";
  auto loader = BoxLoader::create(set_, indices_, rule_, options);
  ASSERT_TRUE(loader);
  (*loader)->start(0);
  EXPECT_FALSE((*loader)->next());
}

}  // namespace
}  // namespace hai::data
