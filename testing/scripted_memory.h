// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_SCRIPTED_MEMORY_H_
#define PARLEY_TESTING_SCRIPTED_MEMORY_H_

// The hostile peer's shared memory for fuzz targets: each single fetch of the code under test first
// lets the attacker write, and is recorded. So a race is a script, and a double fetch or a check
// that comes too early shows in each run and not once in a million.
//
// The bytes lie on the heap, exactly as many as the ring has (the data twice in a row, as the
// mapping shows them), so that the address sanitizer sees a step outside; without a sanitizer, the
// bounds are checked. In the fresh mode the memory has no bytes at all: each load gets a new value.
//
// Trust: for tests only. The script is the peer.
// Threads: one.
//
//   Script script(data, size);
//   ScriptedRegion mine(4096), theirs(4096);
//   theirs.before_fetch = [&](const Fetch&) { theirs.SetControl(kTailOffset, script.Take64()); };
//   BasicConsumer<ScriptedOwnMemory, ScriptedPeerMemory> consumer(
//       mine.own_control(), theirs.peer_control(), theirs.peer_data(), {4096, 512});

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "parley/boundary/untrusted.h"
#include "parley/os/check.h"

namespace parley::testing {

// A fuzz input, taken from the front; zeros when it is used up.
class Script {
 public:
  Script(const uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  bool empty() const { return size_ == 0; }
  std::size_t left() const { return size_; }
  uint8_t Take8() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  uint16_t Take16() { return static_cast<uint16_t>(TakeLittleEndian(2)); }
  uint32_t Take32() { return static_cast<uint32_t>(TakeLittleEndian(4)); }
  uint64_t Take64() { return TakeLittleEndian(8); }
  int64_t TakeSigned8() { return static_cast<int8_t>(Take8()); }
  std::vector<std::byte> TakeBytes(std::size_t most) {
    std::vector<std::byte> bytes(most < size_ ? most : size_);
    for (std::byte& b : bytes) b = std::byte{Take8()};
    return bytes;
  }

 private:
  uint64_t TakeLittleEndian(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint64_t{Take8()} << (8 * i);
    return value;
  }
  const uint8_t* data_;
  std::size_t size_;
};

// One fetch by the code under test, and what it got.
struct Fetch {
  bool of_data = false;  // else of the control page
  bool is_word = false;  // else a copy
  std::size_t offset = 0;
  std::size_t length = 0;
  uint64_t word = 0;             // of a word
  std::vector<std::byte> bytes;  // of a copy
};

// One region's control words and data, and what happens at each fetch from it.
class ScriptedRegion {
 public:
  static constexpr std::size_t kControlBytes = 384;  // the words that have a meaning

  explicit ScriptedRegion(std::size_t data_bytes)
      : data_bytes_(data_bytes),
        control_(std::make_unique<std::byte[]>(kControlBytes)),
        data_(std::make_unique<std::byte[]>(2 * data_bytes)) {}
  ScriptedRegion(const ScriptedRegion&) = delete;
  ScriptedRegion& operator=(const ScriptedRegion&) = delete;

  // Runs before each fetch, with all but the values filled in: the moment to strike.
  std::function<void(const Fetch&)> before_fetch;
  // If set, no memory is looked at: each word is what this returns, and a copy is made of bytes
  // that follow from it.
  std::function<uint64_t(const Fetch&)> fresh_word;
  // What was fetched; cleared by whoever looks at it.
  std::vector<Fetch> fetches;

  // The owner's writes: any word, any byte, any time. Offsets of data are taken modulo its size.
  void SetControl(std::size_t offset, uint64_t word) {
    PARLEY_CHECK(offset <= kControlBytes - 8, "outside the control words");
    std::memcpy(&control_[offset], &word, 8);
  }
  uint64_t Control(std::size_t offset) const {
    PARLEY_CHECK(offset <= kControlBytes - 8, "outside the control words");
    uint64_t word = 0;
    std::memcpy(&word, &control_[offset], 8);
    return word;
  }
  void SetDataByte(std::size_t offset, std::byte value) {
    data_[offset % data_bytes_] = value;
    data_[offset % data_bytes_ + data_bytes_] = value;
  }
  void SetData(std::size_t offset, uint64_t word) {
    for (std::size_t i = 0; i < 8; ++i) {
      SetDataByte(offset + i, static_cast<std::byte>(word >> (8 * i)));
    }
  }
  // What the other side sees, for comparison.
  absl::Span<const std::byte> control_bytes() const { return {control_.get(), kControlBytes}; }
  absl::Span<const std::byte> data_bytes() const { return {data_.get(), data_bytes_}; }

  class PeerMemory;
  class OwnMemory;
  class View;
  PeerMemory peer_control();
  PeerMemory peer_data();
  OwnMemory own_control();
  OwnMemory own_data();

 private:
  uint64_t FetchWord(bool of_data, std::size_t offset) {
    PARLEY_CHECK(offset % 8 == 0, "a word that is not aligned");
    Fetch fetch{of_data, true, offset, 8, 0, {}};
    if (before_fetch) before_fetch(fetch);
    if (fresh_word) {
      fetch.word = fresh_word(fetch);
    } else {
      std::memcpy(&fetch.word, At(of_data, offset, 8), 8);
    }
    fetches.push_back(fetch);
    return fetch.word;
  }
  void FetchBytes(std::size_t offset, absl::Span<std::byte> into) {
    Fetch fetch{true, false, offset, into.size(), 0, {}};
    if (before_fetch) before_fetch(fetch);
    const std::byte* from = At(true, offset, into.size());
    if (fresh_word) {
      uint64_t x = fresh_word(fetch);
      for (std::byte& b : into) {
        b = static_cast<std::byte>(x >> 56);
        x = x * 6364136223846793005u + 1442695040888963407u;
      }
    } else if (!into.empty()) {
      std::memcpy(into.data(), from, into.size());
    }
    fetch.bytes.assign(into.begin(), into.end());
    fetches.push_back(std::move(fetch));
  }
  std::byte* At(bool of_data, std::size_t offset, std::size_t length) {
    const std::size_t size = of_data ? 2 * data_bytes_ : kControlBytes;
    PARLEY_CHECK(offset <= size && length <= size - offset, "a step outside the shared memory");
    return (of_data ? data_ : control_).get() + offset;
  }
  // The data lie twice in a row: repeats the bytes at `offset` in the other half.
  void Repeat(std::size_t offset, std::size_t length) {
    const std::size_t end = offset + length;
    const std::size_t low = offset < data_bytes_ ? std::min(end, data_bytes_) - offset : 0;
    if (low != 0) std::memcpy(&data_[offset + data_bytes_], &data_[offset], low);
    const std::size_t high = length - low;
    if (high != 0) std::memcpy(&data_[end - high - data_bytes_], &data_[end - high], high);
  }

  const std::size_t data_bytes_;
  std::unique_ptr<std::byte[]> control_;
  std::unique_ptr<std::byte[]> data_;
  std::size_t lent_offset_ = 0;  // handed out by OwnMemory::Writable, not repeated yet
  std::size_t lent_bytes_ = 0;
};

class ScriptedRegion::View {
 public:
  View() = default;
  View(ScriptedRegion* region, std::size_t offset, std::size_t size)
      : region_(region), offset_(offset), size_bytes_(size) {}
  std::size_t size_bytes() const { return size_bytes_; }
  void CopyTo(std::size_t offset, absl::Span<std::byte> into) const {
    PARLEY_CHECK(offset <= size_bytes_ && into.size() <= size_bytes_ - offset, "outside the view");
    if (region_ != nullptr) region_->FetchBytes(offset_ + offset, into);
  }

 private:
  ScriptedRegion* region_ = nullptr;
  std::size_t offset_ = 0;
  std::size_t size_bytes_ = 0;
};

// Stands in for parley::PeerMemory.
class ScriptedRegion::PeerMemory {
 public:
  using View = ScriptedRegion::View;

  PeerMemory(ScriptedRegion* region, bool of_data) : region_(region), of_data_(of_data) {}
  Untrusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    return Untrusted<uint64_t>(region_->FetchWord(of_data_, offset));
  }
  Untrusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    return Untrusted<uint64_t>(region_->FetchWord(of_data_, offset));
  }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    region_->FetchBytes(offset, into);
  }
  void Prefetch(std::size_t offset) const { region_->At(of_data_, offset, 0); }
  View ViewOf(std::size_t offset, std::size_t length) const {
    region_->At(of_data_, offset, length);
    return View(region_, offset, length);
  }

 private:
  ScriptedRegion* region_;
  bool of_data_;
};

// Stands in for parley::OwnMemory.
class ScriptedRegion::OwnMemory {
 public:
  OwnMemory(ScriptedRegion* region, bool of_data) : region_(region), of_data_(of_data) {}
  void StoreRelease64(std::size_t offset, uint64_t value) { Store(offset, value); }
  void StoreRelaxed64(std::size_t offset, uint64_t value) { Store(offset, value); }
  void CopyIn(std::size_t offset, absl::Span<const std::byte> from) {
    std::byte* to = region_->At(of_data_, offset, from.size());
    TakeBack();
    if (!from.empty()) std::memcpy(to, from.data(), from.size());
    region_->Repeat(offset, from.size());
  }
  void CopyInSmall(std::size_t offset, absl::Span<const std::byte> from) { CopyIn(offset, from); }
  void ZeroSmall(std::size_t offset, std::size_t count) {
    CopyIn(offset, absl::MakeConstSpan(std::array<std::byte, 8>()).first(count));
  }
  absl::Span<std::byte> Writable(std::size_t offset, std::size_t length) {
    std::byte* at = region_->At(of_data_, offset, length);
    TakeBack();
    region_->lent_offset_ = offset;
    region_->lent_bytes_ = length;
    return absl::MakeSpan(at, length);
  }

 private:
  void Store(std::size_t offset, uint64_t value) {
    PARLEY_CHECK(offset % 8 == 0, "a word that is not aligned");
    std::byte* to = region_->At(of_data_, offset, 8);
    // A publication may come while the caller still fills what it was lent.
    if (of_data_) TakeBack();
    std::memcpy(to, &value, 8);
    if (of_data_) region_->Repeat(offset, 8);
  }
  // What the caller filled in place shows in the other half from now on.
  void TakeBack() {
    region_->Repeat(region_->lent_offset_, std::exchange(region_->lent_bytes_, 0));
  }

  ScriptedRegion* region_;
  bool of_data_;
};

using ScriptedPeerMemory = ScriptedRegion::PeerMemory;
using ScriptedOwnMemory = ScriptedRegion::OwnMemory;

inline ScriptedPeerMemory ScriptedRegion::peer_control() { return {this, false}; }
inline ScriptedPeerMemory ScriptedRegion::peer_data() { return {this, true}; }
inline ScriptedOwnMemory ScriptedRegion::own_control() { return {this, false}; }
inline ScriptedOwnMemory ScriptedRegion::own_data() { return {this, true}; }

}  // namespace parley::testing

#endif  // PARLEY_TESTING_SCRIPTED_MEMORY_H_
