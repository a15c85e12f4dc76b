// Pictures with masks, for training a segmenter: a folder of pictures, and one of PNGs whose grey values number the
// class of each pixel.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/result.h"
#include "data/image.h"
#include "data/labelled_pictures.h"
#include "data/picture_folder.h"
#include "types/preprocessing.h"

namespace hai::data {

struct MaskedPicture {
  std::filesystem::path picture;
  std::filesystem::path mask;
};

// The pictures of a folder and its subfolders by path, each with the file of its relative name and the suffix .png in
// `masks`. Errors: D100 a picture without a mask, those of list_images().
Result<std::vector<MaskedPicture>> list_masked(const std::filesystem::path& pictures,
                                               const std::filesystem::path& masks);

struct PictureAndMask {
  Image picture;
  Image mask;  // of the same size; each pixel its class, three times
};
// Classes are 0 to `classes` - 1; of two, 255 is class 1 as well. Errors, which name a file: those of reading, D101
// another size than the picture's, D102 a mask in colours or a class that there is not, D109 one of 16 bits.
Result<PictureAndMask> read_masked(const MaskedPicture& pair, int64_t classes);

// Tries every pair and takes out those that cannot be used; the report names them. Error D103: none is left.
Result<PictureReport> drop_unusable(std::vector<MaskedPicture>& pairs, int64_t classes, const Preprocessing& rule,
                                    int threads);

// Holds `share` out, rounded, but at least one and never all. Errors: D108 a share out of range, D104 a single picture.
Result<Split> split_masked(size_t count, double share, uint64_t seed);

}  // namespace hai::data
