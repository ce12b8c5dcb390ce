// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/inputs.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace outfuzz {
namespace {

using Bytes = std::vector<uint8_t>;
using Difference = Bytes::difference_type;

constexpr uint64_t kMaxChanges = 5;
constexpr uint64_t kMaxBlock = 32;

// Where a block of up to kMaxBlock bytes lies.
struct Block {
  Difference from = 0;
  Difference size = 0;
};
Block AnyBlock(const Bytes& bytes, Random& random) {
  if (bytes.empty()) return {};
  const uint64_t from = random.Below(bytes.size());
  const uint64_t most = std::min(kMaxBlock, bytes.size() - from);
  return {static_cast<Difference>(from), static_cast<Difference>(1 + random.Below(most))};
}

Bytes::iterator AnyPlace(Bytes& bytes, Random& random) {
  return bytes.begin() + static_cast<Difference>(random.Below(bytes.size() + 1));
}

// A number that programs get wrong, of 1, 2, 4 or 8 bytes, in either order.
void SetNumber(Bytes& bytes, Random& random) {
  static constexpr std::array<uint64_t, 8> kNumbers = {
      0, 1, ~uint64_t{0}, 0x7f7f7f7f7f7f7f7f, 0x8080808080808080, 0x7fffffffffffffff, 16, 64};
  uint64_t number = kNumbers[random.Below(kNumbers.size())];
  const uint64_t size = std::min<uint64_t>(uint64_t{1} << random.Below(4), bytes.size());
  const uint64_t at = random.Below(bytes.size() - size + 1);
  const bool backwards = random.Below(2) == 1;
  for (uint64_t i = 0; i < size; ++i, number >>= 8) {
    bytes[at + (backwards ? size - 1 - i : i)] = static_cast<uint8_t>(number);
  }
}

void Change(Bytes& bytes, const Bytes& other, Random& random) {
  const uint64_t kind = bytes.empty() ? 3 + random.Below(2) : random.Below(8);
  switch (kind) {
    case 0:
      bytes[random.Below(bytes.size())] ^= static_cast<uint8_t>(1u << random.Below(8));
      return;
    case 1:
      bytes[random.Below(bytes.size())] = static_cast<uint8_t>(random.Next());
      return;
    case 2:
      return SetNumber(bytes, random);
    case 3:
      bytes.insert(AnyPlace(bytes, random), static_cast<uint8_t>(random.Next()));
      return;
    case 4: {
      const Block block = AnyBlock(other, random);
      bytes.insert(AnyPlace(bytes, random), other.begin() + block.from,
                   other.begin() + block.from + block.size);
      return;
    }
    case 5: {
      const Block block = AnyBlock(bytes, random);
      bytes.erase(bytes.begin() + block.from, bytes.begin() + block.from + block.size);
      return;
    }
    case 6: {
      const Block block = AnyBlock(bytes, random);
      const Bytes copy(bytes.begin() + block.from, bytes.begin() + block.from + block.size);
      bytes.insert(AnyPlace(bytes, random), copy.begin(), copy.end());
      return;
    }
    default: {
      const Block block = AnyBlock(other, random);
      const Difference size = std::min(block.size, static_cast<Difference>(bytes.size()));
      const uint64_t places = bytes.size() - static_cast<uint64_t>(size) + 1;
      std::copy_n(other.begin() + block.from, size,
                  bytes.begin() + static_cast<Difference>(random.Below(places)));
      return;
    }
  }
}

absl::StatusOr<Bytes> ReadFile(const std::filesystem::path& path, uint32_t max_bytes) {
  std::error_code error;
  // Of a regular file alone: a pipe would have us wait.
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat("can't read ", path.string()));
  if (size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), " has ", size, " bytes, more than --max_len"));
  }
  std::ifstream file(path, std::ios::binary);
  Bytes bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file || bytes.size() > max_bytes) {
    return absl::NotFoundError(absl::StrCat("can't read ", path.string()));
  }
  return bytes;
}

}  // namespace

uint64_t Random::Next() {
  state_ += 0x9e3779b97f4a7c15;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

Bytes Mutated(Bytes bytes, const Bytes& other, uint32_t max_bytes, Random& random) {
  for (uint64_t i = random.Below(kMaxChanges) + 1; i > 0; --i) Change(bytes, other, random);
  if (bytes.size() > max_bytes) bytes.resize(max_bytes);
  return bytes;
}

Inputs::Inputs(std::vector<Bytes> seeds, uint64_t random_seed, uint32_t max_bytes)
    : seeds_(std::move(seeds)), random_seed_(random_seed), max_bytes_(max_bytes) {
  if (seeds_.empty()) seeds_.emplace_back();
}

Bytes Inputs::Get(uint64_t number) const {
  if (number < seeds_.size()) return seeds_[number];
  Random random(random_seed_ ^ (number * 0xd1342543de82ef95));
  const Bytes& one = seeds_[random.Below(seeds_.size())];
  const Bytes& other = seeds_[random.Below(seeds_.size())];
  return Mutated(one, other, max_bytes_, random);
}

absl::StatusOr<std::vector<Bytes>> ReadSeeds(const std::vector<std::string>& paths,
                                             uint32_t max_bytes) {
  std::vector<std::filesystem::path> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      files.emplace_back(path);
      continue;
    }
    std::vector<std::filesystem::path> found;
    for (auto entry = std::filesystem::directory_iterator(path, error);
         !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
      std::error_code ignored;
      if (entry->is_regular_file(ignored)) found.push_back(entry->path());
    }
    if (error) return absl::NotFoundError(absl::StrCat("can't read the folder ", path));
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  std::vector<Bytes> seeds;
  for (const std::filesystem::path& file : files) {
    auto bytes = ReadFile(file, max_bytes);
    if (!bytes.ok()) return bytes.status();
    seeds.push_back(*std::move(bytes));
  }
  return seeds;
}

}  // namespace outfuzz
