// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/damage.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <random>
#include <string_view>
#include <vector>

namespace parley::thumb::testing {
namespace {

// Behind these names lie sizes, palettes and indexes; before some of them their lengths.
constexpr std::array<std::string_view, 44> kNames = {"IHDR",
                                                     "PLTE",
                                                     "tRNS",
                                                     "IDAT",
                                                     "acTL",
                                                     "fcTL",
                                                     "VP8 ",
                                                     "VP8L",
                                                     "VP8X",
                                                     "ANMF",
                                                     "ALPH",
                                                     "ftyp",
                                                     "moov",
                                                     "mvhd",
                                                     "tkhd",
                                                     "mdhd",
                                                     "stsd",
                                                     "avcC",
                                                     "hvcC",
                                                     "stts",
                                                     "ctts",
                                                     "stsc",
                                                     "stsz",
                                                     "stco",
                                                     "stss",
                                                     "elst",
                                                     "mdat",
                                                     "avih",
                                                     "strh",
                                                     "strf",
                                                     "idx1",
                                                     "movi",
                                                     "00dc",
                                                     "JFIF",
                                                     "Exif",
                                                     "OggS",
                                                     "theora",
                                                     "FLV",
                                                     "GIF89a",
                                                     "APIC",
                                                     "ihdr",
                                                     "jp2c",
                                                     "\x1a\x45\xdf\xa3",
                                                     "\x1c\x53\xbb\x6b"};

class Damage {
 public:
  Damage(const std::string& file, uint64_t seed) : file_(file), random_(seed) {}

  std::string Do() {
    do {
      const uint64_t changes = 1 + Below(3);
      for (uint64_t i = 0; i < changes; ++i) Change();
    } while (file_.empty());
    return file_;
  }

 private:
  uint64_t Below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }

  // Most damage is where it hurts: in the first part of the file.
  std::size_t Place() {
    const std::size_t size = file_.size();
    return Below(2) == 0 ? Below(std::min<std::size_t>(size, 512)) : Below(size);
  }

  void Put(std::size_t at, uint64_t number, int size_bytes, bool big_endian) {
    for (int i = 0; i < size_bytes; ++i) {
      const int shift = 8 * (big_endian ? size_bytes - 1 - i : i);
      if (at + static_cast<std::size_t>(i) < file_.size()) {
        file_[at + static_cast<std::size_t>(i)] = static_cast<char>(number >> shift);
      }
    }
  }

  void PutNumber(std::size_t at) {
    constexpr std::array<uint64_t, 12> kNumbers = {0,          1,          0x7f,       0xff,
                                                   0x7fff,     0xffff,     0x8000,     0x7fffffff,
                                                   0xffffffff, 0x80000000, 0x40000000, 0xfffffff0};
    const int sizes[] = {1, 2, 4, 4, 8};
    Put(at, kNumbers[Below(kNumbers.size())], sizes[Below(5)], Below(2) == 0);
  }

  void ChangeBehindAName() {
    std::vector<std::size_t> places;
    for (const std::string_view name : kNames) {
      for (std::size_t at = file_.find(name); at != std::string::npos && places.size() < 400;
           at = file_.find(name, at + 1)) {
        places.push_back(at + name.size());
        if (at >= 4 && Below(4) == 0) places.push_back(at - 4);  // a box's length
      }
    }
    if (places.empty()) return PutNumber(Place());
    PutNumber(places[Below(places.size())] + Below(40));
  }

  void Change() {
    if (file_.empty()) return;
    const std::size_t at = Place();
    const std::size_t length = std::min<std::size_t>(1 + Below(64), file_.size() - at);
    switch (Below(10)) {
      case 0:
      case 1:
      case 2:
        return ChangeBehindAName();
      case 3:
        return PutNumber(at);
      case 4:
        for (uint64_t i = 0; i < 1 + Below(20); ++i) {
          const uint64_t bit = Below(8);
          char& byte = file_[Place()];
          byte = static_cast<char>(byte ^ 1 << bit);
        }
        return;
      case 5:
        for (std::size_t i = 0; i < length; ++i) file_[at + i] = static_cast<char>(random_());
        return;
      case 6:
        std::fill_n(file_.begin() + static_cast<std::ptrdiff_t>(at), length,
                    Below(2) == 0 ? '\0' : '\xff');
        return;
      case 7:
        file_.erase(at, length);
        return;
      case 8:
        file_.insert(Place(), std::string(file_, at, length));
        return;
      default:
        file_.resize(std::max<std::size_t>(1, at));
        return;
    }
  }

  std::string file_;
  std::mt19937_64 random_;
};

}  // namespace

std::string Damaged(const std::string& file, uint64_t seed) { return Damage(file, seed).Do(); }

}  // namespace parley::thumb::testing
