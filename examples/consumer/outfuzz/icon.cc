// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/icon.h"

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

namespace outfuzz {
namespace {

struct Colour {
  uint8_t red = 0;
  uint8_t green = 0;
  uint8_t blue = 0;
};

constexpr unsigned kRowPixels = 8;
constexpr std::size_t kMaxColours = 21;
constexpr Colour kBlack;

uint64_t SumOf(const Colour& colour) { return uint64_t{colour.red} + colour.green + colour.blue; }

// Lives from picture to picture.
struct State {
  std::array<char, 16> comment = {};
  uint64_t (*sum_of)(const Colour&) = SumOf;
} state;

class Decoder {
 public:
  bool Chunk(char kind, absl::Span<const uint8_t> bytes) {
    switch (kind) {
      case 'P':
        return Palette(bytes);
      case 'D':
        return Pixels(bytes);
      case 'R':
        return Runs(bytes);
      case 'C':
        return Comment(bytes);
      case 'F':
        return PaletteFile(bytes);
      default:
        return false;
    }
  }
  uint64_t sum() const { return sum_; }

 private:
  bool Palette(absl::Span<const uint8_t> bytes) {
    if (bytes.size() % 3 != 0) return false;
    colours_ = bytes.size() / 3;
    for (std::size_t i = 0; i < colours_; ++i) {
      palette_[i] = {bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2]};
      entries_[i] = &palette_[i];
    }
    entries_[colours_] = nullptr;
    return true;
  }

  // BUG crash: one too far; it should be >=.
  const Colour* Find(std::size_t number) const {
    return number > colours_ ? &kBlack : entries_[number];
  }

  void Add(uint8_t digit) {
    // Volatile: no compiler may take it for granted that it is not null.
    const Colour* volatile colour = Find(static_cast<std::size_t>(digit - '0'));
    sum_ += state.sum_of(*colour);
  }

  bool Pixels(absl::Span<const uint8_t> bytes) {
    for (const uint8_t byte : bytes) Add(byte);
    return true;
  }

  bool Runs(absl::Span<const uint8_t> bytes) {
    if (bytes.size() % 2 != 0) return false;
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
      // BUG hang: a step of 0 never gets there.
      const unsigned step = bytes[i] - unsigned{'0'};
      for (unsigned x = 0; x < kRowPixels; x += step) Add(bytes[i + 1]);
    }
    return true;
  }

  static bool Comment(absl::Span<const uint8_t> bytes) {
    // BUG corruption: as long as the picture says.
    char* volatile to = state.comment.data();
    for (std::size_t i = 0; i < bytes.size(); ++i) to[i] = static_cast<char>(bytes[i]);
    return true;
  }

  bool PaletteFile(absl::Span<const uint8_t> bytes) {
    // BUG violation: any file that the picture names.
    std::FILE* file = std::fopen(std::string(bytes.begin(), bytes.end()).c_str(), "rb");
    if (file == nullptr) return false;
    std::array<uint8_t, 63> content;
    const std::size_t size = std::fread(content.data(), 1, content.size(), file);
    std::fclose(file);
    return Palette(absl::MakeConstSpan(content).first(size - size % 3));
  }

  std::array<Colour, kMaxColours> palette_;
  std::array<const Colour*, kMaxColours + 1> entries_ = {};  // the last one is null
  std::size_t colours_ = 0;
  uint64_t sum_ = 0;
};

}  // namespace

std::optional<uint64_t> DecodeIcon(absl::Span<const uint8_t> file) {
  if (file.size() < 4 || std::memcmp(file.data(), "ICON", 4) != 0) return std::nullopt;
  Decoder decoder;
  for (file.remove_prefix(4); file.size() >= 2;) {
    const char kind = static_cast<char>(file[0]);
    const auto size = static_cast<uint8_t>(file[1] - '0');
    file.remove_prefix(2);
    if (size > 63 || size > file.size()) return std::nullopt;
    if (!decoder.Chunk(kind, file.first(size))) return std::nullopt;
    file.remove_prefix(size);
  }
  return decoder.sum();
}

}  // namespace outfuzz
