// The pictures of TrainingFolder, for the tests of this room: libpng is not for headers.
//
// What it writes is read back here, so that a test that finds a picture wrong need not doubt it.
#include "data/testing/training_folder.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cstring>
#include <vector>

#include "data/image.h"

namespace hai::data::testing {

void TrainingFolder::picture(const std::string& name, uint8_t first, int width, int height) const {
  std::vector<uint8_t> pixels(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(first + 3 * i);
  this->pixels(name, width, height, pixels);
}

void TrainingFolder::pixels(const std::string& name, int width, int height, std::span<const uint8_t> rgb) const {
  png_image header;
  std::memset(&header, 0, sizeof(header));
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(width);
  header.height = static_cast<png_uint_32>(height);
  header.format = PNG_FORMAT_RGB;
  std::filesystem::create_directories((root_ / name).parent_path());
  EXPECT_NE(png_image_write_to_file(&header, (root_ / name).c_str(), 0, rgb.data(), 0, nullptr), 0);
}

namespace {

TEST(TrainingFolder, WritesWhatItSays) {
  const TrainingFolder folder;
  folder.picture("a/b.png", 250, 2, 1);
  const auto image = read_image(folder.root() / "a/b.png");
  ASSERT_TRUE(image) << image.error().to_string();
  EXPECT_EQ(image->width, 2);
  EXPECT_EQ(image->pixels, (std::vector<uint8_t>{250, 253, 0, 3, 6, 9}));
}

}  // namespace
}  // namespace hai::data::testing
