// Decoding: round trips through the libraries' encoders, damaged and hostile files.
#include "data/image.h"

#include <gtest/gtest.h>
#include <png.h>
#include <turbojpeg.h>
#include <unistd.h>
#include <zlib.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace hai::data {
namespace {

Image gradient(int width, int height) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel =
          image.pixels.data() + (static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)) * 3;
      pixel[0] = static_cast<uint8_t>(x * 255 / width);
      pixel[1] = static_cast<uint8_t>(y * 255 / height);
      pixel[2] = static_cast<uint8_t>(128);
    }
  }
  return image;
}

std::vector<std::byte> encode_png(const Image& image, uint32_t format = PNG_FORMAT_RGB, const void* pixels = nullptr) {
  png_image header;
  std::memset(&header, 0, sizeof(header));
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = format;
  png_alloc_size_t size = 0;
  const void* source = pixels != nullptr ? pixels : image.pixels.data();
  EXPECT_NE(png_image_write_to_memory(&header, nullptr, &size, 0, source, 0, nullptr), 0);
  std::vector<std::byte> bytes(size);
  EXPECT_NE(png_image_write_to_memory(&header, bytes.data(), &size, 0, source, 0, nullptr), 0);
  bytes.resize(size);
  return bytes;
}

std::vector<std::byte> encode_jpeg(const Image& image, int subsampling) {
  void* handle = tjInitCompress();
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(tjCompress2(handle, image.pixels.data(), image.width, 0, image.height, TJPF_RGB, &memory, &size,
                        subsampling, 95, 0),
            0);
  std::vector<std::byte> bytes(size);
  std::memcpy(bytes.data(), memory, size);
  tjFree(memory);
  tjDestroy(handle);
  return bytes;
}

void put_u32(std::vector<std::byte>& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::byte>(value >> (24 - 8 * i));
}

class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / ("hai_image_test_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(DecodeImage, PngIsExact) {
  const Image image = gradient(127, 19);
  const auto decoded = decode_image(encode_png(image));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
  EXPECT_EQ(decoded->width, 127);
  EXPECT_EQ(decoded->height, 19);
  EXPECT_EQ(decoded->pixels, image.pixels);
}

TEST(DecodeImage, PngAlphaIsDroppedNotBlended) {
  const std::vector<uint8_t> rgba = {10, 20, 30, 0, 200, 100, 50, 128};
  const auto decoded = decode_image(encode_png(Image{2, 1, {}}, PNG_FORMAT_RGBA, rgba.data()));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
  EXPECT_EQ(decoded->pixels, (std::vector<uint8_t>{10, 20, 30, 200, 100, 50}));
}

TEST(DecodeImage, GreyPngBecomesRgb) {
  const std::vector<uint8_t> grey = {0, 77, 255};
  const auto decoded = decode_image(encode_png(Image{3, 1, {}}, PNG_FORMAT_GRAY, grey.data()));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
  EXPECT_EQ(decoded->pixels, (std::vector<uint8_t>{0, 0, 0, 77, 77, 77, 255, 255, 255}));
}

TEST(DecodeImage, JpegIsCloseAndGreyWorks) {
  const Image image = gradient(61, 43);
  for (const int subsampling : {TJSAMP_444, TJSAMP_420, TJSAMP_GRAY}) {
    const auto decoded = decode_image(encode_jpeg(image, subsampling));
    ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
    ASSERT_EQ(decoded->pixels.size(), image.pixels.size());
    if (subsampling == TJSAMP_GRAY) continue;
    double error = 0;
    for (size_t i = 0; i < image.pixels.size(); ++i) error += std::abs(int{decoded->pixels[i]} - int{image.pixels[i]});
    EXPECT_LT(error / static_cast<double>(image.pixels.size()), 4.0);  // lossy: a smooth gradient at quality 95
  }
}

TEST(DecodeImage, EveryTruncationIsAnError) {
  for (const auto& bytes : {encode_png(gradient(31, 17)), encode_jpeg(gradient(31, 17), TJSAMP_444)}) {
    // The last two bytes of a JPEG are its end marker, the last twelve of a PNG its end chunk: without them the picture
    // may be whole.
    for (size_t length = 0; length + 13 < bytes.size(); ++length) {
      const auto decoded = decode_image(std::span(bytes).first(length));
      EXPECT_FALSE(decoded.has_value()) << "decoded " << length << " of " << bytes.size() << " bytes";
    }
  }
}

// A header may claim any size; what is allocated follows from the bytes that are there.
TEST(DecodeImage, HugeHeadersAreRefusedBeforeMemoryIsTaken) {
  const auto refused = [](const std::vector<std::byte>& bytes) {
    const auto decoded = decode_image(bytes);
    return decoded ? std::string("decoded") : decoded.error().id;
  };
  for (const auto& [width, height] : {std::pair(16384U, 16384U), {60000U, 60000U}, {0U, 5U}, {0xffffffffU, 1U}}) {
    std::vector<std::byte> bytes = encode_png(gradient(8, 8));
    put_u32(bytes, 16, width);
    put_u32(bytes, 20, height);
    put_u32(bytes, 29, static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + 12), 17)));
    EXPECT_EQ(refused(bytes), width == 16384U ? "D013" : "D005") << width;
  }
  std::vector<std::byte> jpeg = encode_jpeg(gradient(8, 8), TJSAMP_444);
  size_t frame = 2;
  while (jpeg[frame + 1] != std::byte{0xc0}) {
    frame += 2 + (std::to_integer<size_t>(jpeg[frame + 2]) << 8U) + std::to_integer<size_t>(jpeg[frame + 3]);
  }
  for (const size_t i : {5U, 7U}) jpeg[frame + i] = std::byte{0x40};  // 16384 and some pixels a side
  for (const size_t i : {6U, 8U}) jpeg[frame + i] = std::byte{0x00};
  EXPECT_EQ(refused(jpeg), "D013");
  for (const size_t i : {5U, 7U}) jpeg[frame + i] = std::byte{0xff};
  EXPECT_EQ(refused(jpeg), "D001");
}

// libpng's simplified interface takes 16-bit samples for linear light and brightens them: 0x8000 would become 188.
TEST(DecodeImage, SixteenBitPngIsScaledNotBrightened) {
  std::vector<std::byte> bytes;
  {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(
        png, &bytes,
        [](png_structp p, png_bytep data, size_t size) {
          auto* out = static_cast<std::vector<std::byte>*>(png_get_io_ptr(p));
          const auto* begin = reinterpret_cast<const std::byte*>(data);
          out->insert(out->end(), begin, begin + size);
        },
        nullptr);
    png_set_IHDR(png, info, 3, 1, 16, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_set_gAMA(png, info, 1.0);  // ignored too
    png_write_info(png, info);
    std::vector<uint8_t> row = {0x80, 0x00, 0x12, 0xff, 0xff, 0xff};
    png_write_row(png, row.data());
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
  }
  const auto decoded = decode_image(bytes);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
  EXPECT_EQ(decoded->pixels, (std::vector<uint8_t>{128, 128, 128, 19, 19, 19, 255, 255, 255}));
}

TEST(DecodeImage, FlippedBytesNeverCrash) {
  for (auto bytes : {encode_png(gradient(31, 17)), encode_jpeg(gradient(31, 17), TJSAMP_420)}) {
    for (std::byte& byte : bytes) {
      byte ^= std::byte{0x55};
      const auto decoded = decode_image(bytes);
      if (decoded.has_value()) {
        EXPECT_EQ(decoded->pixels.size(),
                  static_cast<size_t>(decoded->width) * static_cast<size_t>(decoded->height) * 3);
      } else {
        EXPECT_EQ(decoded.error().id[0], 'D');
      }
      byte ^= std::byte{0x55};
    }
  }
}

TEST(DecodeImage, AHugeClaimIsRefusedBeforeMemoryIsTaken) {
  auto bytes = encode_png(gradient(8, 8));
  bytes[16] = std::byte{0x00};  // width 0x00ffffff
  bytes[17] = bytes[18] = bytes[19] = std::byte{0xff};
  EXPECT_FALSE(decode_image(bytes).has_value());
}

TEST(DecodeImage, UnknownContentSaysSo) {
  const std::string text = "GIF89a not for us";
  const auto decoded = decode_image(std::as_bytes(std::span(text)));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().id, "D007");
}

TEST(ListImages, SortedAndRecursive) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() / "b");
  for (const char* name : {"z.PNG", "b/a.jpg", "note.txt", "a.jpeg"}) std::ofstream(folder.path() / name) << "x";
  const auto paths = list_images(folder.path());
  ASSERT_TRUE(paths.has_value()) << paths.error().to_string();
  ASSERT_EQ(paths->size(), 3U);
  EXPECT_EQ((*paths)[0].filename(), "a.jpeg");
  EXPECT_EQ((*paths)[1].filename(), "a.jpg");
  EXPECT_EQ((*paths)[2].filename(), "z.PNG");
}

TEST(ListImages, EmptyAndMissingFoldersAreErrors) {
  const TemporaryFolder folder;
  const auto none = list_images(folder.path());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().id, "D012");
  EXPECT_NE(none.error().message.find("name a folder that holds pictures"), std::string::npos);
  EXPECT_EQ(list_images(folder.path() / "nowhere").error().id, "D011");
}

TEST(ReadImage, NamesTheFile) {
  const TemporaryFolder folder;
  const auto missing = read_image(folder.path() / "gone.jpg");
  ASSERT_FALSE(missing.has_value());
  EXPECT_NE(missing.error().to_string().find("gone.jpg"), std::string::npos);
  std::ofstream(folder.path() / "bad.jpg") << "\xff\xd8\xff";
  const auto bad = read_image(folder.path() / "bad.jpg");
  ASSERT_FALSE(bad.has_value());
  EXPECT_NE(bad.error().to_string().find("bad.jpg"), std::string::npos);
}

}  // namespace
}  // namespace hai::data
