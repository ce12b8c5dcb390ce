// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/copy.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"

namespace parley {
namespace {

template <typename T>
concept Comparable = requires(T a, T b) { a == b; };
template <typename T>
concept Addable = requires(T a, T b) { a + b; };
static_assert(!Comparable<Untrusted<uint64_t>> && !Addable<Untrusted<uint64_t>>);
static_assert(!std::is_convertible_v<Untrusted<uint64_t>, uint64_t>);

TEST(UntrustedTest, PromiseP4OneFetchTheValueCheckedIsTheValueUsed) {
  const Untrusted<uint64_t> value(41);
  const Validated<uint64_t> accepted = value.Validate([](uint64_t v) { return v < 42; });
  ASSERT_TRUE(accepted);
  EXPECT_EQ(*accepted, 41u);
  EXPECT_FALSE(value.Validate([](uint64_t v) { return v > 42; }));
}

TEST(UntrustedDeathTest, ARefusedValueCannotBeHad) {
  const Validated<uint64_t> refused =
      Untrusted<uint64_t>(41).Validate([](uint64_t v) { return v > 42; });
  EXPECT_DEATH(static_cast<void>(*refused), "validation had refused");
  EXPECT_EQ(refused.Refused(), 41u);
  const Validated<uint64_t> accepted =
      Untrusted<uint64_t>(43).Validate([](uint64_t v) { return v > 42; });
  EXPECT_DEATH(static_cast<void>(accepted.Refused()), "there is none");
}

using CopyRoutine = void (*)(std::byte*, const std::byte*, std::size_t);
class CopyTest : public ::testing::TestWithParam<CopyRoutine> {};
INSTANTIATE_TEST_SUITE_P(Each, CopyTest, ::testing::Values(internal::Copy, internal::Fetch),
                         [](const auto& each) { return each.index == 0 ? "Copy" : "Fetch"; });

// Each length, at each alignment, to the byte: nothing before, nothing behind, and nothing of the
// source beyond its end is even read (a page that cannot be read begins there).
TEST_P(CopyTest, EachLengthAtEachAlignmentToTheByte) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* mapped =
      ::mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  auto* const base = static_cast<std::byte*>(mapped);
  ASSERT_EQ(::mprotect(base, page, PROT_NONE), 0);
  ASSERT_EQ(::mprotect(base + 2 * page, page, PROT_NONE), 0);
  std::byte* const first = base + page;
  std::byte* const end = base + 2 * page;
  for (std::size_t i = 0; i < page; ++i) first[i] = static_cast<std::byte>(i * 7 + i / 256 + 1);
  for (std::size_t size = 0; size <= 300; ++size) {
    for (std::size_t shift = 0; shift < 16; ++shift) {
      for (const std::byte* source : {static_cast<const std::byte*>(first) + shift,
                                      static_cast<const std::byte*>(end) - size - shift}) {
        std::vector<std::byte> target(size + 40, std::byte{0xEE});
        GetParam()(target.data() + 20, source, size);
        for (std::size_t i = 0; i < target.size(); ++i) {
          const bool inside = i >= 20 && i < 20 + size;
          ASSERT_EQ(target[i], inside ? source[i - 20] : std::byte{0xEE})
              << size << " bytes at " << shift << ", byte " << i;
        }
      }
      // And to a target that ends where the page ends, or begins where it begins.
      const std::vector<std::byte> from(size, std::byte{0x5A});
      GetParam()(end - size - shift, from.data(), size);
      GetParam()(first + shift, from.data(), size);
      for (std::size_t i = 0; i < size; ++i) {
        ASSERT_EQ((end - size - shift)[i], std::byte{0x5A});
        ASSERT_EQ(first[shift + i], std::byte{0x5A});
      }
      for (std::size_t i = 0; i < 400; ++i) {
        first[i] = static_cast<std::byte>(i * 7 + i / 256 + 1);
        *(end - 400 + i) = static_cast<std::byte>(i * 3 + 11);
      }
    }
  }
  ::munmap(mapped, 3 * page);
}

// Long copies into shared memory bring their target to a cache line first; those out of it are made
// in pieces of 2,048.
TEST_P(CopyTest, LongCopiesAtEachDistanceFromALine) {
  constexpr std::size_t kRoomBytes = 20000;
  std::vector<std::byte> source(kRoomBytes);
  for (std::size_t i = 0; i < source.size(); ++i) {
    source[i] = static_cast<std::byte>(i * 7 + i / 256 + 1);
  }
  for (const std::size_t size :
       {1023u, 1024u, 1025u, 1087u, 1088u, 2047u, 2048u, 2049u, 4096u, 6143u, 16384u}) {
    for (std::size_t shift = 0; shift < 130; ++shift) {
      std::vector<std::byte> target(kRoomBytes, std::byte{0xEE});
      GetParam()(target.data() + shift, source.data() + shift / 3, size);
      ASSERT_EQ(std::memcmp(target.data() + shift, source.data() + shift / 3, size), 0)
          << size << " bytes at " << shift;
      ASSERT_EQ(std::count(target.begin(), target.begin() + static_cast<std::ptrdiff_t>(shift),
                           std::byte{0xEE}),
                static_cast<std::ptrdiff_t>(shift));
      ASSERT_EQ(target[shift + size], std::byte{0xEE}) << size << " bytes at " << shift;
    }
  }
}

TEST(MemoryTest, WordsAndBytesArrive) {
  alignas(8) std::array<std::byte, 64> bytes = {};
  OwnMemory own(bytes.data(), bytes.size());
  PeerMemory peer(bytes.data(), bytes.size());
  own.StoreRelease64(8, 0x0102030405060708);
  own.StoreRelaxed64(56, 7);
  const auto any = [](uint64_t) { return true; };
  EXPECT_EQ(*peer.LoadAcquire64(8).Validate(any), 0x0102030405060708u);
  EXPECT_EQ(*peer.LoadRelaxed64(56).Validate(any), 7u);

  const std::array<std::byte, 3> payload = {std::byte{1}, std::byte{2}, std::byte{3}};
  own.CopyIn(17, payload);
  std::array<std::byte, 3> out = {};
  peer.CopyOut(17, absl::MakeSpan(out));
  EXPECT_EQ(out, payload);
  peer.ViewOf(16, 4).CopyTo(1, absl::MakeSpan(out));
  EXPECT_EQ(out, payload);
}

TEST(MemoryTest, WithoutAMemoryThereAreNoBytes) {
  EXPECT_EQ(OwnMemory().size_bytes(), 0u);
  EXPECT_EQ(PeerMemory().size_bytes(), 0u);
  EXPECT_EQ(PeerView().size_bytes(), 0u);
  EXPECT_EQ(PeerView().BytesThatThePeerMayRewriteAtAnyTime(), nullptr);
}

// Each way to a byte leads to the same one: `offset` from the beginning of what was given.
TEST(MemoryTest, EachAccessIsAtItsOffset) {
  alignas(8) std::array<std::byte, 128> bytes = {};
  constexpr std::size_t kBase = 64;  // so that a step to the wrong side is seen as one
  constexpr std::array<std::byte, 3> kPiece = {std::byte{7}, std::byte{8}, std::byte{9}};
  OwnMemory own(bytes.data() + kBase, bytes.size() - kBase);
  const PeerMemory peer(bytes.data() + kBase, bytes.size() - kBase);
  for (const std::size_t offset : {0u, 8u, 24u, 56u}) {
    std::byte* const at = bytes.data() + kBase + offset;
    const auto expect_only = [&](absl::Span<const std::byte> wanted, const char* how) {
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        const std::size_t from = i - kBase - offset;  // huge before it
        EXPECT_EQ(bytes[i], from < wanted.size() ? wanted[from] : std::byte{0}) << how << " " << i;
      }
      bytes.fill(std::byte{0});
    };
    constexpr std::array<std::byte, 8> kWord = {std::byte{1}, std::byte{2}};
    own.StoreRelease64(offset, 0x0201);
    expect_only(kWord, "StoreRelease64");
    own.StoreRelaxed64(offset, 0x0201);
    expect_only(kWord, "StoreRelaxed64");
    own.CopyIn(offset, kPiece);
    expect_only(kPiece, "CopyIn");
    own.Part(offset, 8).CopyIn(0, kPiece);
    expect_only(kPiece, "Part");
    EXPECT_EQ(own.Part(offset, 8).size_bytes(), 8u);
    EXPECT_EQ(own.Writable(offset, 3).data(), at);
    EXPECT_EQ(own.Writable(offset, 3).size(), 3u);
    if (internal::kMaxSmallCopyBytes >= kPiece.size()) {
      own.CopyInSmall(offset, kPiece);
      expect_only(kPiece, "CopyInSmall");
    }

    std::copy(kPiece.begin(), kPiece.end(), at);
    const uint64_t word = 0x090807;
    EXPECT_EQ(peer.LoadAcquire64(offset).AnyValueIsAcceptable(), word);
    EXPECT_EQ(peer.LoadRelaxed64(offset).AnyValueIsAcceptable(), word);
    EXPECT_EQ(peer.Part(offset, 8).LoadAcquire64(0).AnyValueIsAcceptable(), word);
    EXPECT_EQ(peer.Part(offset, 8).size_bytes(), 8u);
    EXPECT_EQ(peer.ViewOf(offset, 3).BytesThatThePeerMayRewriteAtAnyTime(), at);
    EXPECT_EQ(peer.ViewOf(offset, 3).size_bytes(), 3u);
    std::array<std::byte, 3> out = {};
    peer.CopyOut(offset, absl::MakeSpan(out));
    EXPECT_EQ(out, kPiece);
    out = {};
    peer.ViewOf(offset, 3).CopyTo(0, absl::MakeSpan(out));
    EXPECT_EQ(out, kPiece);
    out = {};
    if (internal::kMaxSmallCopyBytes >= out.size()) {
      peer.CopyOutSmall(offset, absl::MakeSpan(out));
      EXPECT_EQ(out, kPiece);
    }
    peer.Prefetch(offset);  // changes nothing
    expect_only(kPiece, "Prefetch");
  }
}

// Nothing before, nothing behind.
TEST(MemoryTest, SmallPiecesAreWrittenToTheByte) {
  alignas(8) std::array<std::byte, 24> bytes = {};
  OwnMemory own(bytes.data(), bytes.size());
  for (std::size_t count = 0; count < 8; ++count) {
    bytes.fill(std::byte{0xEE});
    own.ZeroSmall(8, count);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const bool zeroed = i >= 8 && i < 8 + count;
      ASSERT_EQ(bytes[i], zeroed ? std::byte{0} : std::byte{0xEE}) << count << " at " << i;
    }
  }
}

#ifndef NDEBUG
TEST(MemoryDeathTest, PromiseP1MemoryOurOwnOffsetsAreCheckedToo) {
  alignas(8) std::array<std::byte, 64> bytes = {};
  PeerMemory peer(bytes.data(), bytes.size());
  OwnMemory own(bytes.data(), bytes.size());
  std::array<std::byte, 8> out;
  EXPECT_DEATH(peer.CopyOut(57, absl::MakeSpan(out)), "internal invariant");
  EXPECT_DEATH(peer.CopyOut(SIZE_MAX, absl::MakeSpan(out)), "internal invariant");
  EXPECT_DEATH((void)peer.LoadRelaxed64(64), "internal invariant");
  EXPECT_DEATH((void)peer.LoadRelaxed64(4), "internal invariant");
  EXPECT_DEATH(own.StoreRelaxed64(SIZE_MAX - 7, 0), "internal invariant");
  EXPECT_DEATH(own.CopyIn(60, out), "internal invariant");
}
#endif

TEST(WireCopyTest, ShortInputIsRefusedAndLeavesTheTargetAlone) {
  struct PairWire {
    uint32_t a;
    uint32_t b;
  };
  PairWire pair = {1, 2};
  const auto bytes = WireBytes(PairWire{3, 4});
  EXPECT_FALSE(ReadWire(absl::MakeConstSpan(bytes).subspan(1), &pair));
  EXPECT_EQ(pair.a, 1u);
  EXPECT_TRUE(ReadWire(absl::MakeConstSpan(bytes), &pair));
  EXPECT_EQ(pair.b, 4u);
}

TEST(ViolationTest, EachHasItsOwnText) {
  std::vector<std::string> texts;
  for (int v = 0; v <= static_cast<int>(Violation::kMetadataInvalid); ++v) {
    const std::string text = ToString(static_cast<Violation>(v));
    EXPECT_NE(text, "unknown violation");
    for (const std::string& other : texts) EXPECT_NE(text, other);
    texts.push_back(text);
  }
  EXPECT_STREQ(ToString(static_cast<Violation>(200)), "unknown violation");
}

// What the thread sanitizer judges: a plain variable, and bytes, ordered by the word alone.
TEST(MemoryThreadsTest, AnAcquiredWordBringsWhatWasWrittenBeforeItsRelease) {
  std::vector<uint64_t> words(16);
  auto* const bytes = reinterpret_cast<std::byte*>(words.data());
  int handed = 0;
  std::thread peer([&] {
    OwnMemory own(bytes, 128);
    const std::array<std::byte, 3> payload = {std::byte{1}, std::byte{2}, std::byte{3}};
    own.CopyIn(64, payload);
    handed = 7;
    own.StoreRelease64(0, 1);
  });
  const PeerMemory seen(bytes, 128);
  while (seen.LoadAcquire64(0).AnyValueIsAcceptable() == 0) std::this_thread::yield();
  EXPECT_EQ(handed, 7);
  std::array<std::byte, 3> payload = {};
  seen.CopyOut(64, absl::MakeSpan(payload));
  EXPECT_EQ(payload[2], std::byte{3});
  peer.join();
}

}  // namespace
}  // namespace parley
