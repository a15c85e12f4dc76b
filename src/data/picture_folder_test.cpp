// Folders of pictures: order, limit, and every kind of file that cannot be read.
#include "data/picture_folder.h"

#include <gtest/gtest.h>
#include <png.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

namespace hai::data {
namespace {

class PictureFolderTest : public ::testing::Test {
 protected:
  PictureFolderTest()
      : root_(std::filesystem::temp_directory_path() / ("hai_picture_folder_test_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(root_);
  }
  ~PictureFolderTest() override { std::filesystem::remove_all(root_); }

  // A PNG whose first pixel is `first`, the rest 9.
  std::vector<std::byte> png(uint8_t first, int width = 3, int height = 2) const {
    std::vector<uint8_t> pixels(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, 9);
    pixels[0] = first;
    png_image header;
    std::memset(&header, 0, sizeof(header));
    header.version = PNG_IMAGE_VERSION;
    header.width = static_cast<png_uint_32>(width);
    header.height = static_cast<png_uint_32>(height);
    header.format = PNG_FORMAT_RGB;
    png_alloc_size_t size = 0;
    EXPECT_NE(png_image_write_to_memory(&header, nullptr, &size, 0, pixels.data(), 0, nullptr), 0);
    std::vector<std::byte> bytes(size);
    EXPECT_NE(png_image_write_to_memory(&header, bytes.data(), &size, 0, pixels.data(), 0, nullptr), 0);
    return bytes;
  }
  void write(const std::string& name, std::span<const std::byte> bytes) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  void write(const std::string& name, const std::string& text) const { write(name, std::as_bytes(std::span(text))); }

  // File names in the order in which they come.
  static std::vector<std::string> read_all(PictureFolder& folder) {
    std::vector<std::string> names;
    for (;;) {
      const auto picture = folder.next();
      EXPECT_TRUE(picture) << picture.error().to_string();
      if (!picture || !*picture) return names;
      names.push_back((*picture)->path.filename().string());
    }
  }

  std::filesystem::path root_;
};

TEST_F(PictureFolderTest, OneBadPictureAmongManyIsNamedSkippedAndCounted) {
  for (uint8_t i = 0; i < 5; ++i) write("p" + std::to_string(i) + ".png", png(static_cast<uint8_t>(i + 50)));
  auto cut = png(77);
  cut.resize(cut.size() / 2);
  write("p2.png", cut);
  auto folder = PictureFolder::open(root_);
  ASSERT_TRUE(folder) << folder.error().to_string();
  EXPECT_EQ(read_all(*folder), (std::vector<std::string>{"p0.png", "p1.png", "p3.png", "p4.png"}));
  EXPECT_EQ(folder->report().read_count, 4);
  ASSERT_EQ(folder->report().skipped.size(), 1U);
  EXPECT_EQ(folder->report().skipped[0].path.filename(), "p2.png");
  const std::string text = folder->report().to_string();
  EXPECT_NE(text.find("4 pictures read, 1 skipped"), std::string::npos) << text;
  EXPECT_NE(text.find("p2.png: not a readable PNG"), std::string::npos) << text;
  EXPECT_FALSE(folder->next()->has_value());  // at the end it stays at the end
  folder->rewind();
  EXPECT_EQ(folder->report().read_count, 0);
  EXPECT_EQ(read_all(*folder).size(), 4U);
}

TEST_F(PictureFolderTest, EveryKindOfFileThatCannotBeRead) {
  write("good.png", png(1));
  write("empty.png", "");
  write("text.jpg", "not a picture");
  write("start.jpg", "\xff\xd8\xff");
  write("web.jpg", "RIFF....WEBPVP8 ");
  std::filesystem::create_directories(root_ / "folder.png");  // a folder with a picture's name
  std::filesystem::create_symlink(root_ / "nowhere.png", root_ / "broken.png");
  std::filesystem::create_symlink(root_ / "loop.png", root_ / "loop.png");
  std::filesystem::create_directory_symlink(root_, root_ / "again");  // a loop of folders
  auto folder = PictureFolder::open(root_);
  ASSERT_TRUE(folder) << folder.error().to_string();
  EXPECT_EQ(read_all(*folder), std::vector<std::string>{"good.png"});
  EXPECT_EQ(folder->report().skipped.size(), 6U) << folder->report().to_string();
  if (::geteuid() != 0) {  // the superuser may read everything
    write("locked.png", png(2));
    std::filesystem::permissions(root_ / "locked.png", std::filesystem::perms::none);
    auto locked = PictureFolder::open(root_);
    EXPECT_EQ(read_all(*locked).size(), 1U);
    EXPECT_EQ(locked->report().skipped.size(), 7U);
  }
}

TEST_F(PictureFolderTest, AllBadIsAnErrorThatNamesTheFirst) {
  write("b.png", "x");
  write("a.png", "x");
  auto folder = PictureFolder::open(root_);
  ASSERT_TRUE(folder);
  const auto none = folder->next();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().id, "D014");
  EXPECT_NE(none.error().message.find("none of 2"), std::string::npos) << none.error().message;
  EXPECT_NE(none.error().message.find("a.png"), std::string::npos) << none.error().message;
}

TEST_F(PictureFolderTest, EmptyFoldersSayWhatTheyHold) {
  EXPECT_EQ(PictureFolder::open(root_).error().id, "D012");
  write("a.webp", "x");
  write("b.BMP", "x");
  const auto others = PictureFolder::open(root_);
  ASSERT_FALSE(others);
  EXPECT_NE(others.error().message.find("2 files of other kinds"), std::string::npos) << others.error().message;
  EXPECT_EQ(PictureFolder::open(root_ / "nowhere").error().id, "D011");
  write("file", "x");
  EXPECT_EQ(PictureFolder::open(root_ / "file").error().id, "D011");
}

TEST_F(PictureFolderTest, ALimitSpreadsEvenlyAndOthersStandBy) {
  for (int i = 0; i < 13; ++i) write(fmt::format("p{:02}.png", i), png(static_cast<uint8_t>(i)));
  auto folder = PictureFolder::open(root_, 4);
  ASSERT_TRUE(folder);
  EXPECT_EQ(read_all(*folder), (std::vector<std::string>{"p00.png", "p04.png", "p08.png", "p12.png"}));
  write("p04.png", "x");
  folder->rewind();
  EXPECT_EQ(read_all(*folder), (std::vector<std::string>{"p00.png", "p08.png", "p12.png", "p01.png"}));
  EXPECT_EQ(folder->report().skipped.size(), 1U);
  for (const int limit : {0, 13, 100}) {
    auto all = PictureFolder::open(root_, limit);
    EXPECT_EQ(read_all(*all).size(), 12U) << limit;
  }
}

TEST_F(PictureFolderTest, PicturesOfOneColourAreUsedAndReported) {
  write("grey.png", png(9));
  write("one.png", png(3, 1, 1));
  write("picture.png", png(1));
  auto folder = PictureFolder::open(root_);
  ASSERT_TRUE(folder);
  EXPECT_EQ(read_all(*folder).size(), 3U);
  ASSERT_EQ(folder->report().blank.size(), 2U);
  EXPECT_EQ(folder->report().blank[0].filename(), "grey.png");
  EXPECT_NE(folder->report().to_string().find("2 of one colour only"), std::string::npos);
}

TEST_F(PictureFolderTest, InputsAreThoseOfPreprocess) {
  write("a.png", png(200, 7, 5));
  write("long.png", png(7, 9000, 1));
  Preprocessing rule;
  rule.width = rule.height = 4;
  rule.resize_rule = ResizeRule::kShortSide;
  rule.resize_size = 5;
  std::vector<float> out(4 * 4 * 3);
  auto folder = PictureFolder::open(root_);
  ASSERT_TRUE(folder);
  const auto first = folder->next_input(rule, out);
  ASSERT_TRUE(first && *first) << first.error().to_string();
  EXPECT_EQ((*first)->filename(), "a.png");
  const auto end = folder->next_input(rule, out);  // the long one cannot be brought to a short side of 5
  ASSERT_TRUE(end) << end.error().to_string();
  EXPECT_FALSE(end->has_value());
  ASSERT_EQ(folder->report().skipped.size(), 1U);
  EXPECT_EQ(folder->report().skipped[0].error.id, "D025");
  // What is wrong with the rule or the output is no picture's fault.
  folder->rewind();
  EXPECT_EQ(folder->next_input(rule, std::span(out).first(5)).error().id, "D023");
  rule.width = 0;
  EXPECT_EQ(folder->next_input(rule, out).error().id, "D020");
  EXPECT_TRUE(folder->report().skipped.empty());
}

}  // namespace
}  // namespace hai::data
