// Image: decoded 8-bit pictures, and reading them from JPEG and PNG through the libraries that everyone trusts
// (libjpeg-turbo, libpng).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/result.h"

namespace hai::data {

// Largest side that is decoded: a header may claim anything.
inline constexpr int kMaxImageSide = 16384;

// RGB, 8 bits, rows top to bottom, no padding: pixels[(y * width + x) * 3 + channel].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> pixels;
};

// Decodes JPEG (baseline or progressive; grey, YCbCr, RGB, CMYK, YCCK) or PNG (any depth, palette, interlaced; alpha is
// dropped, 16 bits are rounded to 8, gamma chunks are not applied), recognised by content, whatever the suffix.
// Orientation tags are not applied.
Result<Image> decode_image(std::span<const std::byte> bytes);
// Reads and decodes; errors name the file.
Result<Image> read_image(const std::filesystem::path& path);
// By the suffix: .jpg, .jpeg or .png, in either case.
bool is_image_path(const std::filesystem::path& path);
// The .jpg, .jpeg and .png files of a folder and its subfolders, sorted by path. Error when it cannot be read or holds
// none. picture_folder.h reads them and skips the bad ones.
Result<std::vector<std::filesystem::path>> list_images(const std::filesystem::path& folder);

}  // namespace hai::data
