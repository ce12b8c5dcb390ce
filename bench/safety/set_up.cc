// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "parley/bench/safety/case.h"
#include "parley/os/check.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/sealing/memfd.h"
#include "parley/shm/geometry.h"
#include "parley/shm/mapping.h"
#include "parley/shm/region.h"

namespace parley::bench {
namespace {

constexpr uint64_t kDataBytes = uint64_t{64} << 10;
constexpr RegionGeometry kGeometry = {kDataBytes};
constexpr uint64_t kAtOnceSetUp = 100;

UniqueFd NewMemfd() {
  auto fd = CreateMemfd(FileBytes(kGeometry));
  PARLEY_CHECK(fd.ok(), "no shared memory");
  return *std::move(fd);
}

// As a guarded range without its guards: at any address, out of forks and dumps, every page there.
void MapUnguarded(int fd, std::size_t bytes) {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  PARLEY_CHECK(memory != MAP_FAILED, "map shared memory");
  ::madvise(memory, bytes, MADV_DONTFORK);
  ::madvise(memory, bytes, MADV_DONTDUMP);
  ::madvise(memory, bytes, MADV_POPULATE_WRITE);
  ::munmap(memory, bytes);
}

void MapOnce(int fd) {
  auto range = GuardedRange::Reserve(FileBytes(kGeometry));
  PARLEY_CHECK(range.ok(), "no address space");
  PARLEY_CHECK(range->Map(0, fd, 0, FileBytes(kGeometry), GuardedRange::Access::kReadWrite).ok(),
               "map");
}

void MapMirrored(int fd) { PARLEY_CHECK(OutgoingMapping::Map(fd, kGeometry).ok(), "map"); }

UniqueFd Duplicate(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

// A region as its writer and its reader have it: sealed, its seals looked at, claimed.
void SealedRegion(FileRegistry* writers, FileRegistry* readers) {
  RegionLimits limits;
  limits.registry = writers;
  auto written = OutgoingRegion::Create(kGeometry, limits);
  PARLEY_CHECK(written.ok(), "no region");
  limits.registry = readers;
  PARLEY_CHECK(IncomingRegion::Adopt(Duplicate(written->fd()), kGeometry, limits).ok(), "adopt");
}

// The same memory in the same two mappings, and nobody's word for anything.
void UnsealedRegion() {
  const UniqueFd fd = NewMemfd();
  const auto written = OutgoingMapping::Map(fd.get(), kGeometry);
  const UniqueFd same = Duplicate(fd.get());
  const auto read = IncomingMapping::Map(same.get(), kGeometry);
  PARLEY_CHECK(written.ok() && read.ok(), "map");
}

}  // namespace

std::vector<Case> SetUpCases() {
  std::vector<Case> cases;
  const auto add = [&cases](const char* what, const auto& on, const auto& off) {
    const auto repeated = [](const auto& once) {
      return [once](uint64_t times) {
        for (uint64_t i = 0; i < times; ++i) once();
        return times;
      };
    };
    cases.push_back({what, "on", repeated(on), kAtOnceSetUp, false, {}});
    cases.push_back({what, "off", repeated(off), kAtOnceSetUp, false, {}});
  };
  const auto fd = std::make_shared<const UniqueFd>(NewMemfd());
  const auto writers = std::make_shared<FileRegistry>();
  const auto readers = std::make_shared<FileRegistry>();
  add(
      "guard pages, set-up", [fd] { MapOnce(fd->get()); },
      [fd] { MapUnguarded(fd->get(), FileBytes(kGeometry)); });
  add("mirrored mapping, set-up", [fd] { MapMirrored(fd->get()); }, [fd] { MapOnce(fd->get()); });
  add(
      "seals, set-up", [writers, readers] { SealedRegion(writers.get(), readers.get()); },
      UnsealedRegion);
  return cases;
}

}  // namespace parley::bench
