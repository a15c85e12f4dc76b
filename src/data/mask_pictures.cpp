// Listing, reading and trying pictures with masks.
//
// A mask is read like any picture and must be grey: palettes and colours have no classes that two programs agree on.
// Values are checked once for each reading, so what follows may use them as indices.
#include "data/mask_pictures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <new>
#include <span>

#include "base/file.h"
#include "base/thread_pool.h"
#include "data/preprocess.h"
#include "data/random_stream.h"

namespace hai::data {
namespace {

namespace fs = std::filesystem;

constexpr uint8_t kWhite = 255;

// A class of 16 bits would be rounded to 8, and most become 0.
Status check_depth(const fs::path& path) {
  constexpr size_t kDepthAt = 24;  // of PNG: 8 bytes of signature, then IHDR with width and height
  HAI_TRY(const std::shared_ptr<const ByteSource> file, open_file(path.string()));
  std::array<std::byte, kDepthAt + 1> head{};
  if (file->size_bytes() < static_cast<int64_t>(head.size())) return {};  // no picture, which reading it says
  HAI_TRY_STATUS(file->read_at(0, head));
  if (head[1] != std::byte{'P'} || head[kDepthAt] != std::byte{16}) return {};
  return make_error(StatusCode::kUnsupported, "D109", "{}: a mask of 16 bits a pixel; save it with 8", path.string());
}

Status number_classes(Image& mask, int64_t classes, const fs::path& path) {
  for (size_t i = 0; i < mask.pixels.size(); i += 3) {
    uint8_t* pixel = mask.pixels.data() + i;
    const bool grey = pixel[0] == pixel[1] && pixel[1] == pixel[2];
    if (grey && classes == 2 && pixel[0] == kWhite) pixel[0] = pixel[1] = pixel[2] = 1;
    if (grey && pixel[0] < classes) continue;
    const auto at = static_cast<int>(i / 3);
    return make_error(StatusCode::kOutOfRange, "D102",
                      "{}: pixel {}, {} is {} {} {}; a mask is grey, and its values are the classes 0 to {}{}",
                      path.string(), at % mask.width, at / mask.width, pixel[0], pixel[1], pixel[2], classes - 1,
                      classes == 2 ? " (255 is 1, too)" : "");
  }
  return {};
}

Status try_pair(const MaskedPicture& pair, int64_t classes, const Preprocessing& rule, std::vector<float>& scratch) {
  try {
    HAI_TRY(const PictureAndMask read, read_masked(pair, classes));
    if (const auto made = preprocess(read.picture, rule, scratch); !made)
      return with_where(made.error(), pair.picture.string());
    return {};
  } catch (const std::bad_alloc&) {
    return make_error(StatusCode::kResourceExhausted, "D107", "{}: no memory left to decode it", pair.picture.string());
  }
}

}  // namespace

Result<std::vector<MaskedPicture>> list_masked(const fs::path& pictures, const fs::path& masks) {
  HAI_TRY(const std::vector<fs::path> paths, list_images(pictures));
  std::vector<MaskedPicture> pairs;
  size_t missing = 0;
  fs::path first;
  for (const fs::path& path : paths) {
    fs::path mask = masks / path.lexically_relative(pictures);
    mask.replace_extension(".png");
    std::error_code unknown;
    if (!fs::exists(mask, unknown) && missing++ == 0) first = mask;
    pairs.push_back({path, std::move(mask)});
  }
  if (missing == 0) return pairs;
  return make_error(StatusCode::kNotFound, "D100", "{} of {} pictures have no mask; the first that is missing: {}",
                    missing, paths.size(), first.string());
}

Result<PictureAndMask> read_masked(const MaskedPicture& pair, int64_t classes) {
  PictureAndMask out;
  HAI_TRY(out.picture, read_image(pair.picture));
  HAI_TRY(out.mask, read_image(pair.mask));
  HAI_TRY_STATUS(check_depth(pair.mask));
  if (out.mask.width != out.picture.width || out.mask.height != out.picture.height) {
    return make_error(StatusCode::kInvalidArgument, "D101", "{}: it has {}x{} pixels, and its picture {}x{}",
                      pair.mask.string(), out.mask.width, out.mask.height, out.picture.width, out.picture.height);
  }
  HAI_TRY_STATUS(number_classes(out.mask, classes, pair.mask));
  return out;
}

Result<PictureReport> drop_unusable(std::vector<MaskedPicture>& pairs, int64_t classes, const Preprocessing& rule,
                                    int threads) {
  HAI_TRY_STATUS(verify(rule));
  const size_t numbers =
      static_cast<size_t>(rule.width) * static_cast<size_t>(rule.height) * static_cast<size_t>(rule.channels());
  ThreadPool pool(std::max(threads, 1));
  std::vector<std::vector<float>> scratch(static_cast<size_t>(pool.thread_count()), std::vector<float>(numbers));
  std::vector<Status> found(pairs.size());
  pool.parallel(static_cast<int64_t>(pairs.size()), [&](int64_t i, int thread) {
    const auto slot = static_cast<size_t>(i);
    found[slot] = try_pair(pairs[slot], classes, rule, scratch[static_cast<size_t>(thread)]);
  });
  PictureReport report;
  report.wanted_count = static_cast<int64_t>(pairs.size());
  std::vector<MaskedPicture> good;
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i]) {
      good.push_back(std::move(pairs[i]));
    } else {
      report.skipped.push_back({pairs[i].picture, std::move(found[i]).error()});
    }
  }
  pairs = std::move(good);
  report.read_count = static_cast<int64_t>(pairs.size());
  if (!pairs.empty()) return report;
  return make_error(StatusCode::kCorrupt, "D103", "none of {} pictures and masks can be used, the first: {}",
                    report.wanted_count,
                    report.skipped.empty() ? "there is none" : report.skipped.front().error.to_string());
}

Result<Split> split_masked(size_t count, double share, uint64_t seed) {
  if (!(share >= 0 && share < 1)) {
    return make_error(StatusCode::kOutOfRange, "D108", "the held-out share is {}: it must be at least 0 and below 1",
                      share);
  }
  if (share > 0 && count < 2) {
    return make_error(StatusCode::kInvalidArgument, "D104",
                      "one picture, of which none can be held out; add some, or hold none out (--held-out 0)");
  }
  std::vector<size_t> members(count);
  for (size_t i = 0; i < count; ++i) members[i] = i;
  RandomStream(seed, RandomStream::Purpose::kSplit, 0).shuffle(members);
  const auto most = static_cast<int64_t>(count) - 1;
  const int64_t out = share > 0 ? std::clamp<int64_t>(std::llround(share * static_cast<double>(count)), 1, most) : 0;
  Split split;
  split.held_out.assign(members.begin(), members.begin() + out);
  split.training.assign(members.begin() + out, members.end());
  std::sort(split.training.begin(), split.training.end());
  std::sort(split.held_out.begin(), split.held_out.end());
  return split;
}

}  // namespace hai::data
