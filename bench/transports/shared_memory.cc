// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/transports/shared_memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"

namespace parley::bench {
namespace {

struct Range {
  std::byte* base;
  std::size_t bytes;
};

std::vector<Range>& Ranges() {
  static std::vector<Range> ranges;
  return ranges;
}

// A fork does not copy the page tables of shared memory. Without this each end would take a page
// fault for each page within the measured time, in rows of 4 MiB most of it.
void PopulateAfterFork() {
  for (const Range& range : Ranges()) {
    static_cast<void>(::madvise(range.base, range.bytes, MADV_POPULATE_WRITE));
  }
}

void Remember(std::byte* base, std::size_t bytes) {
  static const int registered = ::pthread_atfork(nullptr, nullptr, PopulateAfterFork);
  static_cast<void>(registered);
  Ranges().push_back({base, bytes});
}

}  // namespace

absl::StatusOr<SharedMemory> SharedMemory::Create(std::size_t bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (base == MAP_FAILED) return ErrnoStatus(errno, "map shared memory");
  SharedMemory memory(static_cast<std::byte*>(base), bytes);
  Remember(memory.base(), bytes);
  return memory;
}

absl::StatusOr<SharedMemory> SharedMemory::CreateMirrored(std::size_t control_bytes,
                                                          std::size_t data_bytes) {
  const UniqueFd fd(::memfd_create("bench", MFD_CLOEXEC));
  if (!fd.ok()) return ErrnoStatus(errno, "create a memfd");
  if (::ftruncate(fd.get(), static_cast<off_t>(control_bytes + data_bytes)) != 0) {
    return ErrnoStatus(errno, "size a memfd");
  }
  const std::size_t bytes = control_bytes + 2 * data_bytes;
  void* range = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (range == MAP_FAILED) return ErrnoStatus(errno, "reserve addresses");
  SharedMemory memory(static_cast<std::byte*>(range), bytes);
  constexpr int kFlags = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
  void* first = ::mmap(memory.base(), control_bytes + data_bytes, PROT_READ | PROT_WRITE, kFlags,
                       fd.get(), 0);
  void* second =
      ::mmap(memory.base() + control_bytes + data_bytes, data_bytes, PROT_READ | PROT_WRITE, kFlags,
             fd.get(), static_cast<off_t>(control_bytes));
  if (first == MAP_FAILED || second == MAP_FAILED) return ErrnoStatus(errno, "map a memfd");
  Remember(memory.base(), bytes);
  return memory;
}

SharedMemory::~SharedMemory() {
  if (base_ == nullptr) return;
  ::munmap(base_, bytes_);
  std::erase_if(Ranges(), [&](const Range& range) { return range.base == base_; });
}

}  // namespace parley::bench
