// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/guarded_range.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "parley/os/check.h"
#include "parley/os/errors.h"

// Linux 5.14; the values are the kernel's ABI.
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace parley {
namespace {

// Before Linux 5.14: one access per page. The write changes no bit, whoever else writes there; what
// it adds is hidden from the compiler, which would otherwise see that, and leave it out (clang 19).
void TouchPages(std::byte* base, size_t size_bytes, bool writable) {
  unsigned char no_bit = 0;
  asm volatile("" : "+r"(no_bit));
  for (size_t at = 0; at < size_bytes; at += PageBytes()) {
    // SAFETY: std::byte may alias anything, and the range was mapped by the caller.
    auto* const byte = reinterpret_cast<unsigned char*>(base + at);
    if (writable) {
      __atomic_fetch_or(byte, no_bit, __ATOMIC_RELAXED);  // RELAXED: only the page fault matters
    } else {
      static_cast<void>(*static_cast<volatile unsigned char*>(byte));
    }
  }
}

absl::Status PopulateAt(std::byte* base, size_t size_bytes, bool writable) {
  const int advice = writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  while (::madvise(base, size_bytes, advice) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    // Before Linux 5.14, or refused by a filter around this process that is older.
    if (errno != EINVAL && errno != EPERM && errno != ENOSYS) {
      return ErrnoStatus(errno, "bring in the pages of shared memory");
    }
    TouchPages(base, size_bytes, writable);
    break;
  }
  return absl::OkStatus();
}

}  // namespace

namespace {

size_t& PageBytesOrSimulated() {
  static size_t page_bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return page_bytes;
}

}  // namespace

size_t PageBytes() { return PageBytesOrSimulated(); }

void internal::SimulatePageBytes(size_t page_bytes) {
  const auto real = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  PARLEY_CHECK(page_bytes >= real && (page_bytes & (page_bytes - 1)) == 0,
               "SimulatePageBytes: not a power of two, or smaller than the real page");
  PageBytesOrSimulated() = page_bytes;
}

namespace {

// All ranges of this process, for its forked children.
class Ranges {
 public:
  static Ranges& Get() {
    static Ranges& ranges = Make();
    return ranges;
  }
  void Add(std::byte* first, size_t whole_bytes) {
    const std::lock_guard lock(mutex_);
    entries_.push_back({first, whole_bytes, false});
  }
  void Remove(const std::byte* first) {
    const std::lock_guard lock(mutex_);
    std::erase_if(entries_, [=](const Entry& entry) { return entry.first == first; });
  }

 private:
  struct Entry {
    std::byte* first;
    size_t whole_bytes;
    bool inherited;  // made by a process that this one was forked from
  };

  static Ranges& Make() {
    auto* const ranges = new Ranges;
    ::pthread_atfork([] { Get().mutex_.lock(); }, [] { Get().mutex_.unlock(); },
                     [] { Get().InChild(); });
    return *ranges;
  }

  // Only calls that are safe in the child of a process with several threads.
  void InChild() {
    bool any = false;
    for (Entry& entry : entries_) {
      if (entry.inherited) continue;
      entry.inherited = true;
      any = true;
      // The guards and gaps are there already; what was kept out of the fork is not. Where this
      // fails, a use ends the child as well, without the sentence.
      [[maybe_unused]] void* const taken =
          ::mmap(entry.first, entry.whole_bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    }
    mutex_.unlock();
    struct sigaction present;
    if (!any || ::sigaction(SIGSEGV, nullptr, &present) != 0) return;
    if ((present.sa_flags & SA_SIGINFO) != 0 || present.sa_handler != SIG_DFL) return;
    struct sigaction action = {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGSEGV, &action, nullptr);
  }

  static void OnFault(int, siginfo_t* info, void*) {
    ::signal(SIGSEGV, SIG_DFL);  // for every other fault: it happens again when this returns
    const auto* const at = static_cast<const std::byte*>(info->si_addr);
    for (const Entry& entry : Get().entries_) {
      if (!entry.inherited || at < entry.first || at >= entry.first + entry.whole_bytes) continue;
      constexpr char kWhy[] =
          "parley: caller's bug: a channel was used in a forked child of the process that made it. "
          "Its memory is not there: make channels after the fork.\n";
      static_cast<void>(!::write(STDERR_FILENO, kWhy, sizeof(kWhy) - 1));
      std::abort();
    }
  }

  std::mutex mutex_;
  std::vector<Entry> entries_;  // guarded by mutex_
};

}  // namespace

absl::StatusOr<GuardedRange> GuardedRange::Reserve(uint64_t size_bytes) {
  const size_t page = PageBytes();
  const std::string what =
      "reserve " + std::to_string(size_bytes) + " bytes of address space for shared memory";
  constexpr size_t kAlign = kAlignedFromBytes;
  if (size_bytes > std::numeric_limits<size_t>::max() - 4 * page - kAlign) {
    return ErrnoStatus(ENOMEM, what);
  }
  const size_t inner = (static_cast<size_t>(size_bytes) + page - 1) / page * page;
  const size_t whole = inner + 2 * page;
  const size_t spare = inner < kAlign ? 0 : kAlign;
  void* const start =
      ::mmap(nullptr, whole + spare, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return ErrnoStatus(errno, what);
  auto* first = static_cast<std::byte*>(start);
  if (spare != 0) {
    // SAFETY: only to learn how far the next multiple is.
    const size_t past = reinterpret_cast<uintptr_t>(first + page) % kAlign;
    const size_t skipped = past == 0 ? 0 : kAlign - past;
    if (skipped != 0) ::munmap(first, skipped);
    first += skipped;
    if (skipped != spare) ::munmap(first + whole, spare - skipped);
  }
  Ranges::Get().Add(first, whole);
  return GuardedRange(first + page, inner);
}

GuardedRange::GuardedRange(GuardedRange&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      lost_at_bytes_(std::exchange(other.lost_at_bytes_, 0)),
      lost_bytes_(std::exchange(other.lost_bytes_, 0)) {}

GuardedRange& GuardedRange::operator=(GuardedRange&& other) noexcept {
  if (this != &other) {
    Unmap();
    base_ = std::exchange(other.base_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
    lost_at_bytes_ = std::exchange(other.lost_at_bytes_, 0);
    lost_bytes_ = std::exchange(other.lost_bytes_, 0);
  }
  return *this;
}

absl::Status GuardedRange::Map(uint64_t at_bytes, int fd, uint64_t file_offset_bytes,
                               uint64_t size_bytes, Access access) {
  absl::Status status = MapWithoutPages(at_bytes, fd, file_offset_bytes, size_bytes, access);
  if (!status.ok()) return status;
  return Populate(at_bytes, size_bytes, access);
}

absl::Status GuardedRange::Populate(uint64_t at_bytes, uint64_t size_bytes, Access access) {
  PARLEY_CHECK(at_bytes % PageBytes() == 0, "Populate: not at a page");
  PARLEY_CHECK(at_bytes <= size_bytes_ && size_bytes <= size_bytes_ - at_bytes,
               "Populate: outside of the range");
  return PopulateAt(base_ + at_bytes, static_cast<size_t>(size_bytes),
                    access == Access::kReadWrite);
}

absl::Status GuardedRange::MapWithoutPages(int fd, absl::Span<const Piece> pieces, Access access) {
  const size_t page = PageBytes();
  const bool writable = access == Access::kReadWrite;
  const int flags = access == Access::kReadPrivately ? MAP_PRIVATE : MAP_SHARED;
  PARLEY_CHECK(lost_bytes_ == 0, "Map: after an error");
  PARLEY_CHECK(!pieces.empty(), "Map: nothing");
  const uint64_t begin_bytes = pieces.front().at_bytes;
  uint64_t end_bytes = begin_bytes;
  for (const Piece& piece : pieces) {
    PARLEY_CHECK(piece.at_bytes % page == 0 && piece.file_offset_bytes % page == 0,
                 "Map: not at a page");
    PARLEY_CHECK(piece.at_bytes == end_bytes, "Map: a gap between two pieces");
    // The range is whole pages, so that a length that fits still fits when it is rounded up.
    PARLEY_CHECK(piece.at_bytes <= size_bytes_ && piece.size_bytes <= size_bytes_ - piece.at_bytes,
                 "Map: outside of the range");
    end_bytes += piece.size_bytes;
  }
  if (end_bytes == begin_bytes) return absl::OkStatus();
  std::byte* const begin = base_ + begin_bytes;
  const auto length = static_cast<size_t>(end_bytes - begin_bytes);
  // MAP_FIXED on top of the reservation would be one call. But where it fails, kernels before about
  // 6.13 have unmapped what was there, newer ones have not, and nothing says which; by then another
  // thread may have been given the addresses, and our destructor would unmap what it put there. So
  // the part is given back first, and then is ours again or not.
  if (::munmap(begin, length) != 0) return ErrnoStatus(errno, "make room for shared memory");
  lost_at_bytes_ = static_cast<size_t>(begin_bytes);
  lost_bytes_ = (length + page - 1) / page * page;
  for (const Piece& piece : pieces) {
    const auto size = static_cast<size_t>(piece.size_bytes);
    if (size == 0) continue;
    std::byte* const at = base_ + piece.at_bytes;
    void* const mapped =
        ::mmap(at, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, flags | MAP_FIXED_NOREPLACE,
               fd, static_cast<off_t>(piece.file_offset_bytes));
    if (mapped == MAP_FAILED) {
      if (errno == EEXIST) return absl::AbortedError("another thread took the addresses");
      return ErrnoStatus(errno, "map " + std::to_string(size) + " bytes of shared memory");
    }
    if (mapped != at) {  // before Linux 4.17 the flag means nothing
      ::munmap(mapped, size);
      return absl::AbortedError("another thread took the addresses");
    }
    const size_t mapped_bytes = (size + page - 1) / page * page;
    lost_at_bytes_ += mapped_bytes;
    lost_bytes_ -= mapped_bytes;
  }
  // Before any page is in: a fork or a crash at any later moment finds them excluded.
  if (::madvise(begin, length, MADV_DONTFORK) != 0 ||
      ::madvise(begin, length, MADV_DONTDUMP) != 0) {
    return ErrnoStatus(errno, "keep shared memory out of forks and core dumps");
  }
  return absl::OkStatus();
}

void GuardedRange::Unmap() {
  if (base_ == nullptr) return;
  // The whole reservation with everything in it, in one call; or what lies around a lost part.
  std::byte* const first = base_ - PageBytes();
  const size_t whole = size_bytes_ + 2 * PageBytes();
  Ranges::Get().Remove(first);
  if (lost_bytes_ == 0) {
    ::munmap(first, whole);
  } else {
    const size_t before = PageBytes() + lost_at_bytes_;
    ::munmap(first, before);
    ::munmap(first + before + lost_bytes_, whole - before - lost_bytes_);
  }
  base_ = nullptr;
  size_bytes_ = 0;
  lost_bytes_ = 0;
}

}  // namespace parley
