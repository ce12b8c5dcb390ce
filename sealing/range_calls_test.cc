// SPDX-License-Identifier: Apache-2.0

// What GuardedRange and huge_pages.h make of each answer of the kernel's, and that every byte of
// address space that was reserved is given back, however a mapping ended.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/guarded_range.h"
#include "parley/sealing/huge_pages.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/test_support.h"
#include "parley/testing/sanitizers.h"

namespace {

constexpr int kPopulateRead = 22;
constexpr int kPopulateWrite = 23;
constexpr int kCollapse = 25;

// What is chosen and seen of the calls below. Errors: of the next such calls, in order; 0: the
// kernel's own answer, which those after them have as well.
struct Calls {
  int advice = 0;
  std::deque<int> advice_errors;
  bool advice_works = false;  // and does nothing
  std::vector<std::pair<void*, std::size_t>> advised;

  std::deque<int> map_errors;  // of a file, into a gap
  bool elsewhere = false;      // the gap is not heeded, as before Linux 4.17
  int maps = 0;
  std::deque<int> reserve_errors;
  std::deque<int> unmap_errors;
};
Calls calls;

template <typename Function>
Function Real(const char* name) {
  // SAFETY: dlsym gives functions as void*; the caller's type is that of the C library's header.
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

[[maybe_unused]] int Next(std::deque<int>* errors) {
  if (errors->empty()) return 0;
  const int error = errors->front();
  errors->pop_front();
  return error;
}

}  // namespace

#if !PARLEY_HAS_SANITIZER
// All of these before the C library's, for all of this program.
extern "C" {

int madvise(void* at, std::size_t size_bytes, int advice) noexcept {
  static const auto real = Real<int (*)(void*, std::size_t, int)>("madvise");
  if (advice != calls.advice || calls.advice == 0) return real(at, size_bytes, advice);
  calls.advised.emplace_back(at, size_bytes);
  if (const int error = Next(&calls.advice_errors); error != 0) {
    errno = error;
    return -1;
  }
  return calls.advice_works ? 0 : real(at, size_bytes, advice);
}

void* mmap(void* at, std::size_t size_bytes, int protection, int flags, int fd,
           off_t offset) noexcept {
  static const auto real = Real<void* (*)(void*, std::size_t, int, int, int, off_t)>("mmap");
  const bool into_a_gap = fd >= 0 && (flags & MAP_FIXED_NOREPLACE) != 0;
  const bool reserves = fd < 0 && protection == PROT_NONE && (flags & MAP_FIXED) == 0;
  if (into_a_gap) ++calls.maps;
  const int error = into_a_gap ? Next(&calls.map_errors)
                    : reserves ? Next(&calls.reserve_errors)
                               : 0;
  if (error != 0) {
    errno = error;
    return MAP_FAILED;
  }
  if (into_a_gap && calls.elsewhere) {
    void* const gap =
        real(at, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    void* const other =
        real(nullptr, size_bytes, protection, flags & ~MAP_FIXED_NOREPLACE, fd, offset);
    ::munmap(gap, size_bytes);
    return other;
  }
  return real(at, size_bytes, protection, flags, fd, offset);
}

int munmap(void* at, std::size_t size_bytes) noexcept {
  static const auto real = Real<int (*)(void*, std::size_t)>("munmap");
  if (const int error = Next(&calls.unmap_errors); error != 0) {
    errno = error;
    return -1;
  }
  return real(at, size_bytes);
}

}  // extern "C"
#endif

namespace parley {
namespace {

using testing_support::MappedBytes;

const size_t kPage = PageBytes();
constexpr auto kRead = GuardedRange::Access::kRead;
constexpr auto kReadWrite = GuardedRange::Access::kReadWrite;
constexpr auto kReadPrivately = GuardedRange::Access::kReadPrivately;

UniqueFd FileOf(size_t size_bytes) {
  auto fd = CreateMemfd(size_bytes);
  EXPECT_TRUE(fd.ok()) << fd.status();
  return fd.ok() ? *std::move(fd) : UniqueFd();
}

// In pages, of this process, but for its heap and its stack.
uint64_t AddressSpace() {
  uint64_t bytes = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::size_t used = 0;
    const uint64_t first = std::stoull(line, &used, 16);
    const uint64_t end = std::stoull(line.substr(used + 1), nullptr, 16);
    if (line.find("[heap]") == std::string::npos && line.find("[stack]") == std::string::npos) {
      bytes += end - first;
    }
  }
  return bytes / kPage;
}

class RangeCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PARLEY_HAS_SANITIZER) GTEST_SKIP() << "these calls are the sanitizer's";
    calls = {};
    // What is allocated once.
    const UniqueFd fd = FileOf(kPage);
    auto range = GuardedRange::Reserve(kPage);
    ASSERT_TRUE(range.ok() && range->Map(0, fd.get(), 0, kPage, kRead).ok());
    AddressSpace();
  }
  void TearDown() override { calls = {}; }
};

TEST_F(RangeCallsTest, WhereTheKernelBringsInNoPagesTheyAreTouched) {
  struct Row {
    std::deque<int> errors;
    std::size_t calls;
    absl::StatusCode code;
  };
  const Row rows[] = {
      {{}, 1, absl::StatusCode::kOk},
      {{EINTR}, 2, absl::StatusCode::kOk},
      {{EAGAIN}, 2, absl::StatusCode::kOk},
      {{EINTR, EAGAIN, EINTR, EAGAIN}, 5, absl::StatusCode::kOk},
      {{EINVAL}, 1, absl::StatusCode::kOk},
      {{EPERM}, 1, absl::StatusCode::kOk},
      {{ENOSYS}, 1, absl::StatusCode::kOk},
      {{EINTR, ENOSYS}, 2, absl::StatusCode::kOk},
      {{ENOMEM}, 1, absl::StatusCode::kResourceExhausted},
      {{EAGAIN, ENOMEM}, 2, absl::StatusCode::kResourceExhausted},
      {{EFAULT}, 1, absl::StatusCode::kInternal},
      {{EACCES}, 1, absl::StatusCode::kPermissionDenied},
  };
  for (const GuardedRange::Access access : {kRead, kReadWrite}) {
    for (const Row& row : rows) {
      for (const size_t size : {size_t{1}, kPage, 3 * kPage, 3 * kPage + 1}) {
        const UniqueFd fd = FileOf(size);
        auto range = GuardedRange::Reserve(size);
        ASSERT_TRUE(range.ok());
        ASSERT_TRUE(range->MapWithoutPages(0, fd.get(), 0, size, access).ok());
        calls = {};
        calls.advice = access == kRead ? kPopulateRead : kPopulateWrite;
        calls.advice_errors = row.errors;
        const absl::Status status = range->Populate(0, size, access);
        EXPECT_EQ(status.code(), row.code) << status;
        EXPECT_EQ(calls.advised.size(), row.calls);
        for (const auto& [at, bytes] : calls.advised) {
          EXPECT_EQ(at, range->base());
          EXPECT_EQ(bytes, size);
        }
        EXPECT_EQ(MappedBytes(), row.code == absl::StatusCode::kOk ? range->size_bytes() : 0);
        calls = {};
      }
    }
  }
}

// Each part by itself, to the end of the range and no further.
TEST_F(RangeCallsTest, PartsAreBroughtInWhereTheyLie) {
  const UniqueFd fd = FileOf(4 * kPage);
  auto range = GuardedRange::Reserve(4 * kPage);
  ASSERT_TRUE(range.ok());
  ASSERT_TRUE(range->MapWithoutPages(0, fd.get(), 0, 4 * kPage, kRead).ok());
  EXPECT_TRUE(range->Populate(kPage, kPage, kRead).ok());
  EXPECT_EQ(MappedBytes(), kPage);
  EXPECT_TRUE(range->Populate(2 * kPage, 2 * kPage, kRead).ok());
  EXPECT_EQ(MappedBytes(), 3 * kPage);
  EXPECT_TRUE(range->Populate(4 * kPage, 0, kRead).ok());
  EXPECT_TRUE(range->Populate(0, 4 * kPage, kRead).ok());
  EXPECT_EQ(MappedBytes(), 4 * kPage);
}

TEST_F(RangeCallsTest, WhatTheKernelAnswersToAMapping) {
  struct Row {
    std::deque<int> errors;
    absl::StatusCode code;
  };
  const Row rows[] = {
      {{}, absl::StatusCode::kOk},
      {{EEXIST}, absl::StatusCode::kAborted},
      {{ENOMEM}, absl::StatusCode::kResourceExhausted},
      {{EACCES}, absl::StatusCode::kPermissionDenied},
      {{0, EEXIST}, absl::StatusCode::kAborted},
      {{0, ENOMEM}, absl::StatusCode::kResourceExhausted},
      {{0, 0, ENOMEM}, absl::StatusCode::kResourceExhausted},
  };
  for (const Row& row : rows) {
    for (const size_t last : {size_t{1}, kPage, kPage + 1}) {
      for (const size_t first : {size_t{0}, kPage}) {  // also not at the front
        const uint64_t before = AddressSpace();
        {
          const UniqueFd fd = FileOf(2 * kPage);
          auto range = GuardedRange::Reserve(first + 2 * kPage + last);
          ASSERT_TRUE(range.ok());
          const std::array<GuardedRange::Piece, 4> pieces = {{{first, 0, kPage},
                                                              {first + kPage, kPage, kPage},
                                                              {first + 2 * kPage, 0, 0},
                                                              {first + 2 * kPage, 0, last}}};
          calls.map_errors = row.errors;
          const absl::Status status = range->MapWithoutPages(fd.get(), pieces, kRead);
          EXPECT_EQ(status.code(), row.code) << status;
          if (row.code == absl::StatusCode::kPermissionDenied) {
            EXPECT_NE(std::string(status.message()).find("map "), std::string::npos) << status;
          }
        }
        EXPECT_EQ(AddressSpace(), before) << last << " at " << first;
        EXPECT_EQ(MappedBytes(), 0u);
      }
    }
  }
}

// Nor was the mapping kept that the kernel made somewhere else.
TEST_F(RangeCallsTest, AKernelThatDoesNotHeedTheGapIsSeen) {
  const uint64_t before = AddressSpace();
  {
    const UniqueFd fd = FileOf(2 * kPage);
    auto range = GuardedRange::Reserve(2 * kPage);
    ASSERT_TRUE(range.ok());
    calls.elsewhere = true;
    EXPECT_EQ(range->Map(0, fd.get(), 0, 2 * kPage, kRead).code(), absl::StatusCode::kAborted);
    calls.elsewhere = false;
  }
  EXPECT_EQ(AddressSpace(), before);
}

// Map says what was wrong with the mapping, and not with the pages of a gap.
TEST_F(RangeCallsTest, AMappingThatFailedIsNotPopulated) {
  const UniqueFd fd = FileOf(kPage);
  auto range = GuardedRange::Reserve(kPage);
  ASSERT_TRUE(range.ok());
  calls.advice = kPopulateRead;
  calls.map_errors = {EACCES};
  EXPECT_EQ(range->Map(0, fd.get(), 0, kPage, kRead).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(calls.advised.empty());
}

TEST_F(RangeCallsTest, WhereNoRoomCanBeMadeTheRangeIsAsItWas) {
  const uint64_t before = AddressSpace();
  {
    const UniqueFd fd = FileOf(kPage);
    auto range = GuardedRange::Reserve(kPage);
    ASSERT_TRUE(range.ok());
    calls.unmap_errors = {ENOMEM};
    const absl::Status status = range->Map(0, fd.get(), 0, kPage, kReadWrite);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_NE(std::string(status.message()).find("make room"), std::string::npos) << status;
    EXPECT_EQ(calls.maps, 1) << "that of the set-up alone";
    EXPECT_TRUE(range->Map(0, fd.get(), 0, kPage, kReadWrite).ok());
  }
  EXPECT_EQ(AddressSpace(), before);
}

// Each piece of advice by itself.
TEST_F(RangeCallsTest, M13WhatCannotBeKeptOutOfForksOrDumpsIsAnError) {
  for (const int advice : {MADV_DONTFORK, MADV_DONTDUMP}) {
    const UniqueFd fd = FileOf(kPage);
    auto range = GuardedRange::Reserve(kPage);
    ASSERT_TRUE(range.ok());
    calls.advice = advice;
    calls.advice_errors = {ENOMEM};
    const absl::Status status = range->Map(0, fd.get(), 0, kPage, kRead);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << advice << status;
  }
}

TEST_F(RangeCallsTest, AnotherThreadInBetweenIsTriedAgainSixteenTimes) {
  const UniqueFd fd = FileOf(kPage);
  const auto try_it = [&](std::size_t times, int error) {
    calls = {};
    calls.map_errors.assign(times, error);
    return ReserveAndMap(
               kPage,
               [&](GuardedRange& in) { return in.MapWithoutPages(0, fd.get(), 0, kPage, kRead); })
        .status()
        .code();
  };
  EXPECT_EQ(try_it(15, EEXIST), absl::StatusCode::kOk);
  EXPECT_EQ(calls.maps, 16);
  EXPECT_EQ(try_it(100, EEXIST), absl::StatusCode::kAborted);
  EXPECT_EQ(calls.maps, 16);
  // Any other error is final.
  EXPECT_EQ(try_it(1, ENOMEM), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(calls.maps, 1);
  calls = {};
  calls.reserve_errors = {ENOMEM};
  int mapped = 0;
  const absl::Status status = ReserveAndMap(kPage, [&](GuardedRange&) {
                                ++mapped;
                                return absl::OkStatus();
                              }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(mapped, 0);
}

// To the page, small or long, aligned or not.
TEST_F(RangeCallsTest, EachReservationIsGivenBackWhole) {
  constexpr uint64_t kAligned = GuardedRange::kAlignedFromBytes;
  for (const uint64_t size : {uint64_t{1}, uint64_t{kPage}, uint64_t{kPage} + 1, kAligned - kPage,
                              kAligned, kAligned + 1, 3 * kAligned}) {
    std::vector<GuardedRange> kept;
    const uint64_t before = AddressSpace();
    for (int i = 0; i < 8; ++i) {
      auto range = GuardedRange::Reserve(size);
      ASSERT_TRUE(range.ok()) << range.status();
      EXPECT_EQ(range->size_bytes(), (size + kPage - 1) / kPage * kPage);
      if (size >= kAligned) {
        // SAFETY: only the address is looked at.
        EXPECT_EQ(reinterpret_cast<uintptr_t>(range->base()) % kAligned, 0u);
      }
      kept.push_back(*std::move(range));
      // The guards are in it, and nothing else.
      EXPECT_EQ(AddressSpace() - before, kept.size() * (kept[0].size_bytes() / kPage + 2));
      // Something small in between, so that the next one begins elsewhere.
      auto odd = GuardedRange::Reserve(kPage);
      ASSERT_TRUE(odd.ok());
    }
    kept.clear();
    EXPECT_EQ(AddressSpace(), before) << size;
  }
}

TEST_F(RangeCallsTest, NoSizeOverflows) {
  constexpr uint64_t kMost = ~uint64_t{0};
  constexpr uint64_t kAligned = GuardedRange::kAlignedFromBytes;
  for (const uint64_t below :
       {uint64_t{0}, uint64_t{1}, uint64_t{kPage}, 2 * uint64_t{kPage}, 3 * uint64_t{kPage},
        4 * uint64_t{kPage}, 5 * uint64_t{kPage}, kAligned - 1, kAligned, kAligned + 1,
        kAligned + 4 * kPage, kAligned + 5 * kPage, 2 * kAligned}) {
    const absl::Status status = GuardedRange::Reserve(kMost - below).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << below << status;
  }
}

// What was moved from is an empty range, as one that was never made, and so is its successor.
TEST_F(RangeCallsTest, AMovedFromRangeIsEmpty) {
  const UniqueFd fd = FileOf(kPage);
  const auto expect_empty = [&](GuardedRange& range) {
    EXPECT_EQ(range.base(), nullptr);
    EXPECT_EQ(range.size_bytes(), 0u);
    EXPECT_TRUE(range.MapWithoutPages(0, fd.get(), 0, 0, kRead).ok());
    EXPECT_TRUE(range.Populate(0, 0, kRead).ok());
  };
  const uint64_t before = AddressSpace();
  {
    GuardedRange made;
    expect_empty(made);
    GuardedRange first = *GuardedRange::Reserve(2 * kPage);
    GuardedRange second(std::move(first));
    expect_empty(first);  // NOLINT(bugprone-use-after-move): it is empty
    made = std::move(second);
    expect_empty(second);  // NOLINT(bugprone-use-after-move): it is empty
    EXPECT_EQ(made.size_bytes(), 2 * kPage);
    EXPECT_TRUE(made.Map(0, fd.get(), 0, kPage, kRead).ok());
    GuardedRange& same = made;
    made = std::move(same);
    EXPECT_EQ(made.size_bytes(), 2 * kPage);
    made = GuardedRange();
    expect_empty(made);
    EXPECT_EQ(AddressSpace(), before);
  }
  // A lost part moves with it, by assignment as well, and is not in the next one.
  for (const size_t at : {size_t{0}, kPage}) {
    {
      GuardedRange lost = *GuardedRange::Reserve(3 * kPage);
      EXPECT_FALSE(lost.Map(at, -1, 0, 1, kRead).ok());  // of a page, all is lost
      GuardedRange to = *GuardedRange::Reserve(kPage);
      to = std::move(lost);
      EXPECT_EQ(to.size_bytes(), 3 * kPage);
      void* const others = ::mmap(to.base() + at, kPage, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
      ASSERT_EQ(others, to.base() + at);
      *static_cast<volatile char*>(others) = 42;
      to = *GuardedRange::Reserve(kPage);
      EXPECT_EQ(*static_cast<volatile char*>(others), 42);
      ::munmap(others, kPage);
      EXPECT_TRUE(to.Map(0, fd.get(), 0, kPage, kReadPrivately).ok());
      expect_empty(lost);  // NOLINT(bugprone-use-after-move): it is empty
    }
    EXPECT_EQ(AddressSpace(), before) << at;
  }
}

// --- huge pages

TEST_F(RangeCallsTest, AHugePageIsTriedThreeTimes) {
  struct Row {
    std::deque<int> errors;
    bool gathered;
    std::size_t calls;
  };
  const Row rows[] = {
      {{}, true, 1},        {{EAGAIN}, true, 2},        {{EBUSY}, true, 2},
      {{EINTR}, true, 2},   {{EAGAIN, EBUSY}, true, 3}, {{EINTR, EBUSY, EAGAIN}, false, 3},
      {{EINVAL}, false, 1}, {{ENOMEM}, false, 1},       {{EBUSY, EINVAL}, false, 2},
  };
  const UniqueFd fd = FileOf(2 * kHugePageBytes);
  for (const Row& row : rows) {
    calls = {};
    calls.advice = kCollapse;
    calls.advice_errors = row.errors;
    calls.advice_works = true;
    EXPECT_EQ(GatherOneHugePage(fd.get(), kHugePageBytes), row.gathered);
    EXPECT_EQ(calls.advised.size(), row.calls);
  }
  calls = {};
  calls.advice = kCollapse;
  calls.advice_works = true;
  EXPECT_FALSE(GatherOneHugePage(-1, 0));
  EXPECT_TRUE(calls.advised.empty());
}

// From the front, until the first that cannot be had.
TEST_F(RangeCallsTest, HugePagesAreCountedFromTheFront) {
  const UniqueFd fd = FileOf(4 * kHugePageBytes);
  struct Row {
    uint64_t size_bytes;
    std::deque<int> errors;
    uint64_t pages;
    std::size_t calls;
  };
  const Row rows[] = {
      {0, {}, 0, 0},
      {kHugePageBytes - 1, {}, 0, 0},
      {kHugePageBytes, {}, 1, 1},
      {2 * kHugePageBytes - 1, {}, 1, 1},
      {3 * kHugePageBytes + kPage, {}, 3, 3},
      {3 * kHugePageBytes, {EINVAL}, 0, 1},
      {3 * kHugePageBytes, {0, 0, EINVAL}, 2, 3},
  };
  for (const Row& row : rows) {
    calls = {};
    calls.advice = kCollapse;
    calls.advice_errors = row.errors;
    calls.advice_works = true;
    EXPECT_EQ(GatherIntoHugePages(fd.get(), row.size_bytes), row.pages * kHugePageBytes);
    EXPECT_EQ(calls.advised.size(), row.calls);
  }
}

}  // namespace
}  // namespace parley
