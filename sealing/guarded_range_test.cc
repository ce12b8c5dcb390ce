// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/guarded_range.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/test_support.h"

namespace parley {
namespace {

// What a kernel gives at least.
const size_t kPage = PageBytes();
const auto kPageDistance = static_cast<ptrdiff_t>(kPage);

using testing_support::LeakOf;
using testing_support::RefuseSystemCall;
using testing_support::RunInChild;

const std::string kSegv = "signal " + std::to_string(SIGSEGV);

// A mapped range over a fresh memfd.
struct Mapped {
  UniqueFd fd;
  GuardedRange range;
};

Mapped MapNew(size_t size_bytes, GuardedRange::Access access) {
  Mapped result;
  auto fd = CreateMemfd(size_bytes);
  auto range = GuardedRange::Reserve(size_bytes);
  EXPECT_TRUE(fd.ok() && range.ok());
  EXPECT_TRUE(range->Map(0, fd->get(), 0, size_bytes, access).ok());
  result.fd = std::move(*fd);
  result.range = std::move(*range);
  return result;
}

// One access that no tool can second-guess; the value keeps it alive.
void Load(const std::byte* from) {
  const volatile std::byte* const place = from;
  static_cast<void>(*place);
}
void Store(std::byte* to) {
  volatile std::byte* const place = to;
  *place = std::byte{1};
}

// How a load at `offset_bytes` from the base ends, in a process that has a mapping of its own.
std::string LoadAt(ptrdiff_t offset_bytes) {
  return RunInChild([=] {
    const Mapped mapped = MapNew(2 * kPage, GuardedRange::Access::kRead);
    Load(mapped.range.base());
    Load(mapped.range.base() + offset_bytes);
  });
}

TEST(GuardedRangeTest, PromiseP1AnOverrunHitsAGuardOnEitherSide) {
  EXPECT_EQ(LoadAt(kPageDistance * 2 - 1), "ok");
  EXPECT_EQ(LoadAt(kPageDistance * 2), kSegv);
  EXPECT_EQ(LoadAt(kPageDistance * 3 - 1), kSegv);
  EXPECT_EQ(LoadAt(-1), kSegv);
  EXPECT_EQ(LoadAt(-kPageDistance), kSegv);
}

// Long ones begin where a huge page can; the guards lie next to them all the same.
TEST(GuardedRangeTest, LongRangesAreAligned) {
  static const size_t kBytes = size_t{GuardedRange::kAlignedFromBytes} + kPage;
  for (int i = 0; i < 4; ++i) {
    const Mapped mapped = MapNew(kBytes, GuardedRange::Access::kRead);
    // SAFETY: only the address is looked at.
    EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped.range.base()) % GuardedRange::kAlignedFromBytes,
              0u);
    EXPECT_EQ(RunInChild([] {
                const Mapped own = MapNew(kBytes, GuardedRange::Access::kRead);
                Load(own.range.base() + kBytes - 1);
                Load(own.range.base() + kBytes);
              }),
              kSegv);
    EXPECT_EQ(
        RunInChild([] { Load(MapNew(kBytes, GuardedRange::Access::kRead).range.base() - 1); }),
        kSegv);
  }
  EXPECT_EQ(LeakOf([] { MapNew(kBytes, GuardedRange::Access::kRead); }), "nothing");
}

TEST(GuardedRangeTest, ReadingIsNotWriting) {
  EXPECT_EQ(RunInChild([] { Store(MapNew(kPage, GuardedRange::Access::kReadWrite).range.base()); }),
            "ok");
  EXPECT_EQ(RunInChild([] { Store(MapNew(kPage, GuardedRange::Access::kRead).range.base()); }),
            kSegv);
  EXPECT_EQ(
      RunInChild([] { Store(MapNew(kPage, GuardedRange::Access::kReadPrivately).range.base()); }),
      kSegv);
}

TEST(GuardedRangeTest, M13AChildHasNoneOfIt) {
  const Mapped mapped = MapNew(kPage, GuardedRange::Access::kReadWrite);
  Load(mapped.range.base());
  EXPECT_EQ(RunInChild([&] { Load(mapped.range.base()); }), kSegv);
}

// How a child ends that does `use` with memory of its parent's, and what it says on stderr.
struct ChildEnd {
  std::string how;
  std::string said;
};
ChildEnd UseInAChild(const std::function<void()>& use) {
  std::array<int, 2> ends = {};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  ChildEnd end;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::signal(SIGABRT, SIG_DFL);
    use();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::array<char, 512> text = {};
  for (ssize_t got; (got = ::read(ends[0], text.data(), text.size())) > 0;) {
    end.said.append(text.data(), static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  end.how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                : "exit " + std::to_string(WEXITSTATUS(status));
  return end;
}

// Each access of a forked child ends it with one sentence, wherever in the range it is; and nothing
// that the child maps gets the addresses.
TEST(GuardedRangeTest, M13AChildThatUsesItAbortsWithASentence) {
  struct sigaction present = {};
  ::sigaction(SIGSEGV, nullptr, &present);
  if (present.sa_handler != SIG_DFL) GTEST_SKIP() << "a sanitizer handles SIGSEGV";
  Mapped mapped = MapNew(2 * kPage, GuardedRange::Access::kReadWrite);
  const std::string aborted = "signal " + std::to_string(SIGABRT);
  for (const size_t at : {size_t{0}, size_t{kPage}, size_t{2 * kPage - 1}}) {
    const ChildEnd load = UseInAChild([&] { Load(mapped.range.base() + at); });
    EXPECT_EQ(load.how, aborted);
    EXPECT_NE(load.said.find("used in a forked child"), std::string::npos) << load.said;
    EXPECT_EQ(UseInAChild([&] { Store(mapped.range.base() + at); }).how, aborted);
  }
  // A child of the child, too.
  EXPECT_EQ(UseInAChild([&] {
              const pid_t grandchild = ::fork();
              if (grandchild == 0) Load(mapped.range.base());
              int status = 0;
              ::waitpid(grandchild, &status, 0);
              ::_exit(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? 0 : 1);
            }).how,
            "exit 0");
  // Any other fault stays one.
  EXPECT_EQ(UseInAChild([] { Load(nullptr); }).how, kSegv);
  // Destroying it is fine, and a child can make its own.
  EXPECT_EQ(UseInAChild([&] {
              mapped.range = GuardedRange();
              const Mapped own = MapNew(2 * kPage, GuardedRange::Access::kReadWrite);
              Store(own.range.base());
            }).how,
            "exit 0");
  EXPECT_EQ(UseInAChild([&] {
              for (int i = 0; i < 2000; ++i) {
                const auto* const page = static_cast<std::byte*>(
                    ::mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
                if (page >= mapped.range.base() && page < mapped.range.base() + 2 * kPage)
                  ::_exit(1);
              }
            }).how,
            "exit 0");
  Store(mapped.range.base());  // the parent's own goes on
}

// The guards are part of it, to the byte; what lies next to it is not.
TEST(GuardedRangeTest, M13TheSentenceIsForItsOwnAddressesAlone) {
  struct sigaction present = {};
  ::sigaction(SIGSEGV, nullptr, &present);
  if (present.sa_handler != SIG_DFL) GTEST_SKIP() << "a sanitizer handles SIGSEGV";
  // A page above the range: the kernel places mappings from above, mostly.
  for (int i = 0; i < 20; ++i) {
    void* const above =
        ::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const Mapped mapped = MapNew(2 * kPage, GuardedRange::Access::kRead);
    std::byte* const base = mapped.range.base();
    const std::string aborted = "signal " + std::to_string(SIGABRT);
    for (const ptrdiff_t at :
         {-kPageDistance, ptrdiff_t{-1}, 2 * kPageDistance, 3 * kPageDistance - 1}) {
      const ChildEnd end = UseInAChild([&] { Load(base + at); });
      EXPECT_EQ(end.how, aborted) << at;
      EXPECT_EQ(end.said,
                "parley: caller's bug: a channel was used in a forked child of the process that "
                "made it. Its memory is not there: make channels after the fork.\n");
    }
    const bool adjacent = above == base + 3 * kPage;
    if (adjacent) {
      EXPECT_EQ(UseInAChild([&] { Load(base + 3 * kPage); }).how, kSegv);
    }
    ::munmap(above, kPage);
    if (adjacent) return;
  }
  GTEST_SKIP() << "the kernel places nothing next to a range";
}

// A range that is gone leaves its addresses to whoever gets them next, in a child as well; and one
// range's end is not another's.
TEST(GuardedRangeTest, M13AddressesThatWereGivenBackAreOthers) {
  struct sigaction present = {};
  ::sigaction(SIGSEGV, nullptr, &present);
  if (present.sa_handler != SIG_DFL) GTEST_SKIP() << "a sanitizer handles SIGSEGV";
  EXPECT_EQ(RunInChild([] {
              const Mapped kept = MapNew(kPage, GuardedRange::Access::kRead);
              std::byte* base = nullptr;
              {
                const Mapped gone = MapNew(kPage, GuardedRange::Access::kRead);
                base = gone.range.base();
              }
              void* const page = ::mmap(base, kPage, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
              ASSERT_EQ(page, base);
              Store(base);
              EXPECT_EQ(UseInAChild([&] { ::_exit(*base == std::byte{1} ? 0 : 1); }).how, "exit 0");
              EXPECT_EQ(UseInAChild([&] { Load(kept.range.base()); }).how,
                        "signal " + std::to_string(SIGABRT));
              // Nor does a child get the addresses of one that is there.
              EXPECT_EQ(UseInAChild([&] {
                          void* const taken =
                              ::mmap(kept.range.base(), kPage, PROT_READ,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
                          ::_exit(taken == MAP_FAILED && errno == EEXIST ? 0 : 1);
                        }).how,
                        "exit 0");
            }),
            "ok");
}

// What the program has for SIGSEGV stays, and without a range nothing is installed.
TEST(GuardedRangeTest, M13AHandlerOfTheProgramsStays) {
  struct sigaction present = {};
  ::sigaction(SIGSEGV, nullptr, &present);
  if (present.sa_handler != SIG_DFL) GTEST_SKIP() << "a sanitizer handles SIGSEGV";
  const auto child_has_own = [] {
    struct sigaction own = {};
    ::sigaction(SIGSEGV, nullptr, &own);
    return (own.sa_flags & SA_SIGINFO) == 0 ? own.sa_handler == SIG_DFL ? 1 : 2 : 3;
  };
  EXPECT_EQ(RunInChild([&] {
              {
                const Mapped gone = MapNew(kPage, GuardedRange::Access::kRead);
              }
              EXPECT_EQ(UseInAChild([&] { ::_exit(child_has_own()); }).how, "exit 1");
              const Mapped mapped = MapNew(kPage, GuardedRange::Access::kRead);
              EXPECT_EQ(UseInAChild([&] { ::_exit(child_has_own()); }).how, "exit 3");
              struct sigaction action = {};
              action.sa_handler = [](int) { ::_exit(41); };
              ASSERT_EQ(::sigaction(SIGSEGV, &action, nullptr), 0);
              EXPECT_EQ(UseInAChild([&] { Load(mapped.range.base()); }).how, "exit 41");
              action.sa_flags = SA_SIGINFO;
              action.sa_sigaction = [](int, siginfo_t*, void*) { ::_exit(42); };
              ASSERT_EQ(::sigaction(SIGSEGV, &action, nullptr), 0);
              EXPECT_EQ(UseInAChild([&] { Load(mapped.range.base()); }).how, "exit 42");
            }),
            "ok");
}

TEST(GuardedRangeDeathTest, OnlyPagesThatAMachineCanHaveAreSimulated) {
  EXPECT_EQ(RunInChild([] {
              const auto real = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
              for (const size_t bytes : {real, 2 * real, size_t{65536}}) {
                internal::SimulatePageBytes(bytes);
                EXPECT_EQ(PageBytes(), bytes);
              }
            }),
            "ok");
  const auto real = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  for (const size_t bytes : {size_t{0}, size_t{1}, real / 2, real - 1, real + 1, 3 * real}) {
    EXPECT_DEATH(internal::SimulatePageBytes(bytes), "SimulatePageBytes: ") << bytes;
  }
}

// A machine of 64 KiB pages, simulated: regions and blobs of its sizes, guards where they belong.
TEST(GuardedRangeTest, LargerPagesAreSimulated) {
  EXPECT_EQ(RunInChild([] {
              internal::SimulatePageBytes(65536);
              EXPECT_EQ(PageBytes(), 65536u);
              const Mapped mapped = MapNew(65536, GuardedRange::Access::kReadWrite);
              EXPECT_EQ(mapped.range.size_bytes(), 65536u);
              Store(mapped.range.base() + 65535);
            }),
            "ok");
  EXPECT_EQ(RunInChild([] {
              internal::SimulatePageBytes(65536);
              Load(MapNew(65536, GuardedRange::Access::kRead).range.base() + 65536 + kPage);
            }),
            kSegv);
}

// The flags that the kernel shows for the mapping at `address`.
std::string FlagsOf(const std::byte* address) {
  std::ostringstream start;
  // SAFETY: only printed, to find the line of /proc/self/smaps.
  start << std::hex << reinterpret_cast<uintptr_t>(address) << '-';
  std::ifstream smaps("/proc/self/smaps");
  bool found = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.rfind(start.str(), 0) == 0) found = true;
    if (found && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

TEST(GuardedRangeTest, M13NeitherDumpedNorInherited) {
  const Mapped mapped = MapNew(kPage, GuardedRange::Access::kRead);
  const std::string flags = FlagsOf(mapped.range.base());
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
  EXPECT_NE(flags.find(" dc "), std::string::npos) << flags;
}

long MinorFaults() {
  rusage usage = {};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

// Without the sanitizers' own accesses to their shadow of each page, which fault as well.
__attribute__((noinline, no_sanitize("address", "thread"))) void Walk(volatile unsigned char* bytes,
                                                                      size_t size_bytes,
                                                                      size_t page_bytes,
                                                                      bool write) {
  for (size_t at = 0; at < size_bytes; at += page_bytes) {
    if (write) {
      bytes[at] = 1;
    } else {
      static_cast<void>(bytes[at]);
    }
  }
}

// Page faults while each page of 4 MiB is accessed once.
long FaultsOfOneWalk(GuardedRange::Access access) {
  constexpr size_t kBytes = size_t{4} << 20;
  const Mapped mapped = MapNew(kBytes, access);
  auto* const bytes = reinterpret_cast<unsigned char*>(mapped.range.base());
  const size_t page_bytes = PageBytes();
  const long before = MinorFaults();
  Walk(bytes, kBytes, page_bytes, access == GuardedRange::Access::kReadWrite);
  return MinorFaults() - before;
}

TEST(GuardedRangeTest, NoLaterAccessWaitsForAPage) {
  // Of 1024 pages; a few are those of the test itself.
  EXPECT_LT(FaultsOfOneWalk(GuardedRange::Access::kRead), 64);
  EXPECT_LT(FaultsOfOneWalk(GuardedRange::Access::kReadWrite), 64);
}

TEST(GuardedRangeTest, AKernelWithoutPopulateServesAsWell) {
  EXPECT_EQ(RunInChild([] {
              RefuseSystemCall(SYS_madvise, 2, 4);  // 22 and 23; DONTFORK is 10 and DONTDUMP 16
              ASSERT_NE(::madvise(nullptr, 0, 22), 0);
              EXPECT_LT(FaultsOfOneWalk(GuardedRange::Access::kRead), 64);
              EXPECT_LT(FaultsOfOneWalk(GuardedRange::Access::kReadWrite), 64);
            }),
            "ok");
}

TEST(GuardedRangeTest, PrefaultingByTouchChangesNoByte) {
  EXPECT_EQ(
      RunInChild([] {
        RefuseSystemCall(SYS_madvise, 2, 4);
        auto fd = CreateMemfd(kPage);
        auto range = GuardedRange::Reserve(kPage);
        ASSERT_TRUE(fd.ok() && range.ok());
        ASSERT_EQ(::pwrite(fd->get(), "\x5a", 1, 0), 1);
        ASSERT_TRUE(range->Map(0, fd->get(), 0, kPage, GuardedRange::Access::kReadWrite).ok());
        EXPECT_EQ(*range->base(), std::byte{0x5a});
      }),
      "ok");
}

TEST(GuardedRangeTest, PromiseP7NoRoomIsAnErrorAndLeaksNothing) {
  EXPECT_EQ(LeakOf([] {
              for (const uint64_t size : {~uint64_t{0}, uint64_t{1} << 62, uint64_t{1} << 48}) {
                const absl::Status status = GuardedRange::Reserve(size).status();
                EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
              }
            }),
            "nothing");
}

// A kernel before 6.13 whose mmap fails has unmapped what was there, and another thread may get the
// addresses before the range is destroyed. Here the failure is one of the call itself, and the
// other thread's part is played by this one.
TEST(GuardedRangeTest, WhatAnotherThreadPutIntoAGapStays) {
  EXPECT_EQ(
      RunInChild([] {
        for (const size_t at : {size_t{0}, kPage, 2 * kPage}) {
          std::byte* gap = nullptr;
          {
            auto range = GuardedRange::Reserve(3 * kPage);
            ASSERT_TRUE(range.ok());
            const absl::Status failed = range->Map(at, -1, 0, kPage, GuardedRange::Access::kRead);
            ASSERT_FALSE(failed.ok());
            gap = range->base() + at;
            void* const others = ::mmap(gap, kPage, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
            ASSERT_EQ(others, gap) << "there was no gap";
            *gap = std::byte{42};
            const GuardedRange moved = *std::move(range);  // a lost part moves with it
          }
          EXPECT_EQ(*gap, std::byte{42});
          ::munmap(gap, kPage);
        }
      }),
      "ok");
}

// Threads that map and unmap all the time, while regions are made: none of their memory is lost,
// and none of ours.
TEST(GuardedRangeTest, ThreadsThatMapMeanwhileLoseNothing) {
  std::atomic<bool> stop = false;
  std::atomic<int> lost = 0;
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!stop) {
        void* const page =
            ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) continue;
        auto* const byte = static_cast<volatile unsigned char*>(page);
        *byte = 42;
        if (*byte != 42) ++lost;
        ::munmap(page, kPage);
      }
    });
  }
  const auto fd = CreateMemfd(kPage);
  ASSERT_TRUE(fd.ok());
  for (int i = 0; i < 2000; ++i) {
    const auto range = ReserveAndMap(kPage, [&](GuardedRange& in) {
      return in.Map(0, fd->get(), 0, kPage, GuardedRange::Access::kReadWrite);
    });
    ASSERT_TRUE(range.ok()) << range.status();
    Store(range->base());
  }
  stop = true;
  for (std::thread& other : others) other.join();
  EXPECT_EQ(lost, 0);
}

TEST(GuardedRangeTest, AFailedMapLeaksNoReservation) {
  EXPECT_EQ(LeakOf([] {
              auto range = GuardedRange::Reserve(2 * kPage);
              ASSERT_TRUE(range.ok());
              EXPECT_FALSE(range->Map(0, -1, 0, 2 * kPage, GuardedRange::Access::kRead).ok());
            }),
            "nothing");
  EXPECT_EQ(LeakOf([] { MapNew(2 * kPage, GuardedRange::Access::kRead); }), "nothing");
  // Of several pieces: the first is mapped, the second and third are not.
  EXPECT_EQ(
      LeakOf([] {
        const auto fd = CreateMemfd(kPage);
        auto range = GuardedRange::Reserve(4 * kPage);
        ASSERT_TRUE(fd.ok() && range.ok());
        const uint64_t page = kPage;
        const std::array<GuardedRange::Piece, 3> pieces = {
            {{0, 0, page}, {page, uint64_t{1} << 63, page}, {2 * page, 0, page}}};
        EXPECT_FALSE(range->MapWithoutPages(fd->get(), pieces, GuardedRange::Access::kRead).ok());
        Load(range->base());
      }),
      "nothing");
}

// A file and a part of it once more, in one go; none of it in a forked child.
TEST(GuardedRangeTest, PiecesLieNextToEachOther) {
  const auto fd = CreateMemfd(2 * kPage);
  auto range = GuardedRange::Reserve(4 * kPage);
  ASSERT_TRUE(fd.ok() && range.ok());
  const uint64_t page = kPage;
  const std::array<GuardedRange::Piece, 3> pieces = {
      {{0, 0, 2 * page}, {2 * page, 0, 0}, {2 * page, page, page}}};
  const auto status = range->MapWithoutPages(fd->get(), pieces, GuardedRange::Access::kReadWrite);
  ASSERT_TRUE(status.ok()) << status;
  Store(range->base() + kPage + 7);
  EXPECT_EQ(range->base()[2 * kPage + 7], std::byte{1});
  EXPECT_EQ(range->base()[7], std::byte{0});
  for (const size_t at : {size_t{0}, size_t{2 * kPage}}) {
    EXPECT_EQ(RunInChild([&] { Load(range->base() + at); }), kSegv);
  }
  EXPECT_EQ(RunInChild([&] { Load(range->base() + 3 * kPage); }), kSegv);
}

// A part that does not begin at a page, or ends beyond the range, also where the sum overflows.
TEST(GuardedRangeDeathTest, APartThatIsNotInTheRangeIsTheCallersBug) {
  auto fd = CreateMemfd(2 * kPage);
  auto range = GuardedRange::Reserve(2 * kPage);
  ASSERT_TRUE(fd.ok() && range.ok());
  constexpr auto kRead = GuardedRange::Access::kRead;
  const uint64_t page = kPage;
  const std::vector<std::pair<uint64_t, uint64_t>> outside = {
      {0, 3 * page},    {page, 2 * page},           {2 * page, 1},    {3 * page, 0},
      {page, 0 - page}, {0 - page, uint64_t{page}}, {0, 2 * page + 1}};
  for (const auto& [at, size] : outside) {
    EXPECT_DEATH(range->Populate(at, size, kRead).IgnoreError(), "Populate: outside of the range");
    EXPECT_DEATH(range->Map(at, fd->get(), 0, size, kRead).IgnoreError(), "Map: outside");
  }
  for (const uint64_t at : {uint64_t{1}, page - 1, page + 1}) {
    EXPECT_DEATH(range->Populate(at, 1, kRead).IgnoreError(), "Populate: not at a page");
    EXPECT_DEATH(range->Map(at, fd->get(), 0, 1, kRead).IgnoreError(), "Map: not at a page");
    EXPECT_DEATH(range->Map(0, fd->get(), at, 1, kRead).IgnoreError(), "Map: not at a page");
  }
  EXPECT_DEATH(range->MapWithoutPages(fd->get(), {}, kRead).IgnoreError(), "Map: nothing");
  // What ends where the range ends is in it, also if it is nothing.
  EXPECT_TRUE(range->Map(2 * page, fd->get(), 0, 0, kRead).ok());
  EXPECT_TRUE(range->Populate(2 * page, 0, kRead).ok());
  const std::array<GuardedRange::Piece, 2> apart = {{{0, 0, page}, {2 * page, 0, 0}}};
  EXPECT_DEATH(range->MapWithoutPages(fd->get(), apart, kRead).IgnoreError(), "Map: a gap");
}

TEST(GuardedRangeDeathTest, MappingAfterAnErrorIsTheCallersBug) {
  EXPECT_DEATH(
      {
        auto range = GuardedRange::Reserve(2 * kPage);
        range->Map(0, -1, 0, kPage, GuardedRange::Access::kRead).IgnoreError();
        range->Map(kPage, -1, 0, kPage, GuardedRange::Access::kRead).IgnoreError();
      },
      "after an error");
}

TEST(GuardedRangeTest, M13WhatCantBeKeptOutOfForksIsNotMapped) {
  EXPECT_EQ(RunInChild([] {
              auto fd = CreateMemfd(kPage);
              auto range = GuardedRange::Reserve(kPage);
              ASSERT_TRUE(fd.ok() && range.ok());
              RefuseSystemCall(SYS_madvise, 2, 8);  // DONTFORK is 10; DONTDUMP 16, POPULATE 22, 23
              EXPECT_FALSE(range->Map(0, fd->get(), 0, kPage, GuardedRange::Access::kRead).ok());
            }),
            "ok");
}

TEST(GuardedRangeTest, MovesLeaveOneOwner) {
  EXPECT_EQ(LeakOf([] {
              Mapped a = MapNew(kPage, GuardedRange::Access::kReadWrite);
              Mapped b = MapNew(2 * kPage, GuardedRange::Access::kReadWrite);
              b.range = std::move(a.range);
              const GuardedRange c(std::move(b.range));
              EXPECT_EQ(b.range.base(), nullptr);
              EXPECT_EQ(c.size_bytes(), kPage);
              Store(c.base());
            }),
            "nothing");
}

}  // namespace
}  // namespace parley
