// Decoding of JPEG and PNG pictures.
//
// Method: libjpeg-turbo's TurboJPEG API with the accurate inverse DCT, and libpng; both give the same bytes as Pillow,
// so that a picture looks the same to HAI and to the tools that people compare it with. In particular no gamma is
// applied: libpng's simplified API would brighten 16-bit files and follow gAMA chunks, which nothing else here does.
// Sizes are checked before memory is taken, against the file's own size too: a header of 16384 x 16384 pixels over 100
// bytes of data takes nothing. Invariant: a truncated or damaged picture is an error that names it, never half a
// picture: TurboJPEG's warnings (premature end of data) count as errors. It does not resize or convert colours for a
// model: see preprocess.cpp.
#include "data/image.h"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csetjmp>
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

// Pixels that one byte of a picture can stand for at most: deflate gives 1032 bytes for one, of 8 pixels each where a
// pixel is one bit; a JPEG spends at least one bit on each block of 64 pixels.
constexpr int64_t kMaxPngPixelsPerByte = 8 * 1032;
constexpr int64_t kMaxJpegPixelsPerByte = 8 * 64;

Status check_content(int64_t width, int64_t height, size_t file_bytes, int64_t pixels_per_byte, const char* kind) {
  if (width * height / pixels_per_byte <= static_cast<int64_t>(file_bytes)) return {};
  return make_error(StatusCode::kCorrupt, "D013",
                    "the {} header claims {}x{} pixels and {} bytes cannot hold them; is the file cut short?", kind,
                    width, height, file_bytes);
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
  HAI_TRY_STATUS(check_content(width, height, bytes.size(), kMaxJpegPixelsPerByte, "JPEG"));
  const bool four_inks = colorspace == TJCS_CMYK || colorspace == TJCS_YCCK;
  const size_t pixel_count = static_cast<size_t>(width) * static_cast<size_t>(height);
  Image image{width, height, std::vector<uint8_t>(pixel_count * (four_inks ? 4 : 3))};
  if (tjDecompress2(handle.get(), source, length, image.pixels.data(), width, 0, height,
                    four_inks ? TJPF_CMYK : TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) != 0) {
    return make_error(StatusCode::kCorrupt, "D004", "damaged JPEG of {}x{} pixels: {}; get the file again", width,
                      height, tjGetErrorStr2(handle.get()));
  }
  if (four_inks) {
    // Inks are stored inverted, as Adobe does it: colour = ink * black / 255. Files without Adobe's marker are taken
    // the same way, as Pillow and the browsers do.
    for (size_t i = 0; i < pixel_count; ++i) {
      const unsigned black = image.pixels[4 * i + 3];
      for (size_t c = 0; c < 3; ++c)
        image.pixels[3 * i + c] = static_cast<uint8_t>((image.pixels[4 * i + c] * black + 127U) / 255U);
    }
    image.pixels.resize(pixel_count * 3);
  }
  return image;
}

// A picture that libpng reads from memory. libpng reports by longjmp: between setjmp and the last call into libpng
// stand only functions without anything to destroy.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes) : rest_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  // Header and conversion to RGB of 8 bits. False: see message().
  bool read_header() {
    if (png_ == nullptr || info_ == nullptr) return false;
    if (setjmp(jump_) != 0) return false;  // NOLINT(cert-err52-cpp): libpng's way to report
    png_set_read_fn(png_, this, on_read);
    png_set_user_limits(png_, kMaxImageSide + 1, kMaxImageSide + 1);
    png_read_info(png_, info_);
    width_ = static_cast<int>(png_get_image_width(png_, info_));
    height_ = static_cast<int>(png_get_image_height(png_, info_));
    const int color = png_get_color_type(png_, info_);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
    if (color == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
    if ((color & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png_);
    png_set_scale_16(png_);
    png_set_strip_alpha(png_);  // dropped, as Pillow does it: not blended with a background
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return png_get_rowbytes(png_, info_) == static_cast<size_t>(width_) * 3;
  }
  // All rows, and the end of the file.
  bool read_rows(png_bytepp rows) {
    if (setjmp(jump_) != 0) return false;  // NOLINT(cert-err52-cpp)
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }
  int width() const { return width_; }
  int height() const { return height_; }
  const char* message() const { return message_.data(); }

 private:
  static void on_read(png_structp png, png_bytep out, size_t size) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > self->rest_.size()) png_error(png, "the data ends too early");
    std::memcpy(out, self->rest_.data(), size);
    self->rest_ = self->rest_.subspan(size);
  }
  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self->message_.data(), self->message_.size(), "%s", text);
    std::longjmp(self->jump_, 1);  // NOLINT(cert-err52-cpp)
  }
  static void on_warning(png_structp, png_const_charp) {}

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_{};
  std::array<char, 128> message_{};
  int width_ = 0;
  int height_ = 0;
};

Result<Image> decode_png(std::span<const std::byte> bytes) {
  PngReader reader(bytes);
  if (!reader.read_header()) {
    return make_error(StatusCode::kCorrupt, "D005", "not a readable PNG: {}; is the file cut short, or huge?",
                      reader.message());
  }
  HAI_TRY_STATUS(check_size(reader.width(), reader.height(), "PNG"));
  HAI_TRY_STATUS(check_content(reader.width(), reader.height(), bytes.size(), kMaxPngPixelsPerByte, "PNG"));
  const auto row_bytes = static_cast<size_t>(reader.width()) * 3;
  const auto height = static_cast<size_t>(reader.height());
  Image image{reader.width(), reader.height(), std::vector<uint8_t>(row_bytes * height)};
  std::vector<png_bytep> rows(height);
  for (size_t y = 0; y < height; ++y) rows[y] = image.pixels.data() + y * row_bytes;
  if (!reader.read_rows(rows.data())) {
    return make_error(StatusCode::kCorrupt, "D006", "damaged PNG of {}x{} pixels: {}; get the file again",
                      reader.width(), reader.height(), reader.message());
  }
  return image;
}

std::string lower_suffix(const std::filesystem::path& path) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return suffix;
}

// Pictures that are not read here: worth a word when a folder holds nothing else.
bool has_other_image_suffix(std::string_view suffix) {
  constexpr std::string_view kOthers[] = {".bmp", ".webp", ".tif", ".tiff", ".gif", ".heic", ".avif", ".ppm", ".pgm"};
  return std::find(std::begin(kOthers), std::end(kOthers), suffix) != std::end(kOthers);
}

}  // namespace

bool is_image_path(const std::filesystem::path& path) {
  const std::string suffix = lower_suffix(path);
  return suffix == ".jpg" || suffix == ".jpeg" || suffix == ".png";
}

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
  if (failure) {
    return make_error(StatusCode::kNotFound, "D008", "{}: cannot read the picture: {}", path.string(),
                      failure.message());
  }
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
  int64_t others = 0;
  // Links to folders are not followed below `folder`, so that a loop of them ends here.
  std::filesystem::recursive_directory_iterator entry(
      folder, std::filesystem::directory_options::skip_permission_denied, failure);
  for (; !failure && entry != std::filesystem::recursive_directory_iterator(); entry.increment(failure)) {
    others += has_other_image_suffix(lower_suffix(entry->path())) ? 1 : 0;
    std::error_code broken_link;
    if (is_image_path(entry->path()) && (entry->is_regular_file(broken_link) || entry->is_symlink(broken_link))) {
      paths.push_back(entry->path());  // a broken link too: reading it says what is wrong
    }
  }
  if (failure) {
    return make_error(StatusCode::kNotFound, "D011", "{}: cannot list the folder: {}", folder.string(),
                      failure.message());
  }
  if (paths.empty()) {
    return make_error(StatusCode::kNotFound, "D012", "{}: no .jpg, .jpeg or .png file in this folder or below{}",
                      folder.string(),
                      others > 0 ? fmt::format("; {} files of other kinds: convert them to JPEG or PNG", others)
                                 : std::string("; name a folder that holds pictures"));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace hai::data
