// Decoding of JPEG and PNG pictures.
//
// Method: libjpeg-turbo's TurboJPEG API with the accurate inverse DCT, and libpng's simplified API; both give the same
// bytes as Pillow, so that a picture looks the same to HAI and to the tools that people compare it with. Sizes are
// checked before memory is taken. Invariant: a truncated or damaged picture is an error that names it, never half a
// picture: TurboJPEG's warnings (premature end of data) count as errors. It does not resize or convert colours for a
// model: see preprocess.cpp.
#include "data/image.h"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

namespace hai::data {
namespace {

constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{256} << 20;

Status check_size(int64_t width, int64_t height, const char* kind) {
  if (width < 1 || height < 1 || width > kMaxImageSide || height > kMaxImageSide) {
    return make_error(StatusCode::kOutOfRange, "D001",
                      "{} picture of {}x{} pixels: sides must be 1..{}; scale it down first", kind, width, height,
                      kMaxImageSide);
  }
  return {};
}

struct JpegCloser {
  void operator()(void* handle) const { tjDestroy(handle); }
};

Result<Image> decode_jpeg(std::span<const std::byte> bytes) {
  const std::unique_ptr<void, JpegCloser> handle(tjInitDecompress());
  if (!handle)
    return make_error(StatusCode::kResourceExhausted, "D002", "cannot start the JPEG decoder: {}", tjGetErrorStr());
  const auto* source = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto length = static_cast<unsigned long>(bytes.size());
  int width = 0;
  int height = 0;
  int subsampling = 0;
  int colorspace = 0;
  if (tjDecompressHeader3(handle.get(), source, length, &width, &height, &subsampling, &colorspace) != 0) {
    return make_error(StatusCode::kCorrupt, "D003", "not a readable JPEG: {}; is the file cut short?",
                      tjGetErrorStr2(handle.get()));
  }
  HAI_TRY_STATUS(check_size(width, height, "JPEG"));
  const bool four_inks = colorspace == TJCS_CMYK || colorspace == TJCS_YCCK;
  const size_t pixel_count = static_cast<size_t>(width) * static_cast<size_t>(height);
  Image image{width, height, std::vector<uint8_t>(pixel_count * (four_inks ? 4 : 3))};
  if (tjDecompress2(handle.get(), source, length, image.pixels.data(), width, 0, height,
                    four_inks ? TJPF_CMYK : TJPF_RGB, TJFLAG_ACCURATEDCT) != 0) {
    return make_error(StatusCode::kCorrupt, "D004", "damaged JPEG of {}x{} pixels: {}; get the file again", width,
                      height, tjGetErrorStr2(handle.get()));
  }
  if (four_inks) {
    // Adobe's inverted CMYK, as TurboJPEG hands it out: colour = ink * black / 255.
    for (size_t i = 0; i < pixel_count; ++i) {
      const unsigned black = image.pixels[4 * i + 3];
      for (size_t c = 0; c < 3; ++c)
        image.pixels[3 * i + c] = static_cast<uint8_t>((image.pixels[4 * i + c] * black + 127U) / 255U);
    }
    image.pixels.resize(pixel_count * 3);
  }
  return image;
}

Result<Image> decode_png(std::span<const std::byte> bytes) {
  png_image header;
  std::memset(&header, 0, sizeof(header));
  header.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_memory(&header, bytes.data(), bytes.size()) == 0) {
    return make_error(StatusCode::kCorrupt, "D005", "not a readable PNG: {}; is the file cut short?", header.message);
  }
  const std::unique_ptr<png_image, void (*)(png_image*)> guard(&header, png_image_free);
  HAI_TRY_STATUS(check_size(header.width, header.height, "PNG"));
  header.format =
      PNG_FORMAT_RGBA;  // alpha asked for and dropped, as Pillow does: asking for RGB would blend it with a background
  const size_t pixel_count = static_cast<size_t>(header.width) * header.height;
  std::vector<uint8_t> rgba(pixel_count * 4);
  if (png_image_finish_read(&header, nullptr, rgba.data(), 0, nullptr) == 0) {
    return make_error(StatusCode::kCorrupt, "D006", "damaged PNG of {}x{} pixels: {}; get the file again", header.width,
                      header.height, header.message);
  }
  Image image{static_cast<int>(header.width), static_cast<int>(header.height), std::vector<uint8_t>(pixel_count * 3)};
  for (size_t i = 0; i < pixel_count; ++i) std::copy_n(rgba.data() + 4 * i, 3, image.pixels.data() + 3 * i);
  return image;
}

bool has_image_suffix(const std::filesystem::path& path) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return suffix == ".jpg" || suffix == ".jpeg" || suffix == ".png";
}

}  // namespace

Result<Image> decode_image(std::span<const std::byte> bytes) {
  const auto starts_with = [&](std::initializer_list<int> magic) {
    return bytes.size() >= magic.size() &&
           std::equal(magic.begin(), magic.end(), bytes.begin(),
                      [](int want, std::byte have) { return want == std::to_integer<int>(have); });
  };
  if (starts_with({0xff, 0xd8, 0xff})) return decode_jpeg(bytes);
  if (starts_with({0x89, 'P', 'N', 'G', 0x0d, 0x0a, 0x1a, 0x0a})) return decode_png(bytes);
  return make_error(StatusCode::kUnsupported, "D007",
                    "{} bytes that start like neither a JPEG nor a PNG; convert the picture to one of them",
                    bytes.size());
}

Result<Image> read_image(const std::filesystem::path& path) {
  std::error_code failure;
  const std::uintmax_t size = std::filesystem::file_size(path, failure);
  if (failure)
    return make_error(StatusCode::kNotFound, "D008", "{}: cannot read the picture: {}", path.string(),
                      failure.message());
  if (size > kMaxFileBytes) {
    return make_error(StatusCode::kOutOfRange, "D009", "{}: a picture file of {} bytes is beyond the limit of {}",
                      path.string(), size, kMaxFileBytes);
  }
  std::vector<std::byte> bytes(size);
  std::ifstream stream(path, std::ios::binary);
  if (!stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    return make_error(StatusCode::kIo, "D010", "{}: cannot read {} bytes: {}", path.string(), size,
                      std::strerror(errno));
  }
  auto image = decode_image(bytes);
  if (!image) return with_where(std::move(image).error(), path.string());
  return image;
}

Result<std::vector<std::filesystem::path>> list_images(const std::filesystem::path& folder) {
  std::error_code failure;
  std::vector<std::filesystem::path> paths;
  std::filesystem::recursive_directory_iterator entry(
      folder, std::filesystem::directory_options::skip_permission_denied, failure);
  for (; !failure && entry != std::filesystem::recursive_directory_iterator(); entry.increment(failure)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored) && has_image_suffix(entry->path())) paths.push_back(entry->path());
  }
  if (failure) {
    return make_error(StatusCode::kNotFound, "D011", "{}: cannot list the folder: {}", folder.string(),
                      failure.message());
  }
  if (paths.empty()) {
    return make_error(StatusCode::kNotFound, "D012", "{}: no .jpg, .jpeg or .png file in this folder or below",
                      folder.string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace hai::data
