// SPDX-License-Identifier: Apache-2.0

// Attacks the three ways in which a region of the peer's making becomes ours, with every kind of
// descriptor and any announced geometry: IncomingRegion::Adopt, OutgoingRegion::Adopt, and
// IncomingRegionDraft::Finish after the peer did what it liked with the draft.
//
// Input: which of the three, the announced size, then the descriptor (descriptor_fixtures.cc) or
// what is done to the draft.

#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/fuzz/descriptor_fixtures.h"
#include "parley/fuzz/footprint.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/seals.h"
#include "parley/shm/geometry.h"
#include "parley/shm/region.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

constexpr uint64_t kLimit = uint64_t{1} << 18;

RegionGeometry AnnouncedShape(testing::Script& script) {
  const uint8_t kind = script.Take8();
  if (kind < 200) {
    const uint64_t frames = (kind & 64) == 0 ? 0 : (kind & 32) == 0 ? 12288 : script.Take64();
    return {kind % 4 == 0 ? 0 : uint64_t{4096} << (kind % 4), frames};
  }
  if (kind < 230) return {script.Take64(), 0};
  return {uint64_t{1} << (kind % 64), 0};
}

bool ShapeAllowed(const RegionGeometry& shape) {
  if (shape.frames_bytes % 4096 != 0 || shape.frames_bytes > kLimit) return false;
  if (shape.data_bytes == 0) return true;
  for (uint64_t p = 4096; p <= kLimit; p *= 2) {
    if (shape.data_bytes == p) return true;
  }
  return false;
}

// Of a file that fits, or of any where none can.
uint64_t FileBytesFor(const RegionGeometry& shape) {
  return ShapeAllowed(shape) ? 4096 + shape.frames_bytes + shape.data_bytes : 8192;
}

// Those of a finished region, and none that nobody asked for: but F_SEAL_EXEC, which
// MFD_NOEXEC_SEAL brings.
bool SealedAsARegion(unsigned seals) {
  return (seals & ~unsigned{F_SEAL_EXEC}) == (kRegionSeals & ~unsigned{F_SEAL_EXEC});
}

// Everything can be read: no SIGBUS, no fault.
void ReadAll(const IncomingRegion& region) {
  std::vector<std::byte> into(region.control().size_bytes());
  region.control().CopyOut(0, absl::MakeSpan(into));
  into.resize(region.data().size_bytes());
  PARLEY_CHECK(into.size() == 2 * region.geometry().data_bytes, "the data are not there twice");
  region.data().CopyOut(0, absl::MakeSpan(into));
  into.resize(region.frames().size_bytes());
  PARLEY_CHECK(into.size() == region.geometry().frames_bytes, "not all frames are there");
  region.frames().CopyOut(0, absl::MakeSpan(into));
}

void ExpectTyped(const absl::Status& status) {
  const absl::StatusCode code = status.code();
  PARLEY_CHECK(code == absl::StatusCode::kInvalidArgument ||
                   code == absl::StatusCode::kResourceExhausted ||
                   code == absl::StatusCode::kPermissionDenied,
               "an error that is not typed as documented");
}

void AdoptIncoming(testing::Script& script, const RegionLimits& limits) {
  const RegionGeometry shape = AnnouncedShape(script);
  const uint64_t file_bytes = FileBytesFor(shape);
  if (script.Take8() % 4 == 0) {
    const auto region = IncomingRegion::Adopt(MakeDescriptor(script, file_bytes), shape, limits);
    if (region.ok()) {
      PARLEY_CHECK(VerifySeals(region->fd(), kRegionSeals).ok(), "seals are missing");
      return ReadAll(*region);
    }
    return ExpectTyped(region.status());
  }
  ForeignMemfd foreign = MakeMemfd(script, file_bytes);
  const auto region = IncomingRegion::Adopt(std::move(foreign.fd), shape, limits);
  const bool allowed = ShapeAllowed(shape) && foreign.size_bytes == file_bytes &&
                       SealedAsARegion(foreign.seals) && !foreign.pages_missing &&
                       !foreign.huge_pages;
  PARLEY_CHECK(region.ok() == allowed, "a region was adopted, or refused, against the rules");
  if (region.ok()) {
    ReadAll(*region);
  } else {
    ExpectTyped(region.status());
  }
}

void AdoptOutgoing(testing::Script& script, const RegionLimits& limits) {
  const RegionGeometry shape = AnnouncedShape(script);
  const uint64_t file_bytes = FileBytesFor(shape);
  ForeignMemfd foreign = MakeMemfd(script, file_bytes);
  const auto region = OutgoingRegion::Adopt(std::move(foreign.fd), shape, limits,
                                            Deadline::After(absl::Seconds(5)));
  // Writable still, and everything else can be added, or is there.
  const unsigned missing = kRegionSeals & ~foreign.seals;
  const bool allowed = ShapeAllowed(shape) && foreign.size_bytes == file_bytes &&
                       (foreign.seals & kShapeSeals) == kShapeSeals &&
                       (foreign.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) == 0 &&
                       (missing == 0 || (foreign.seals & F_SEAL_SEAL) == 0) &&
                       !foreign.pages_missing && !foreign.huge_pages;
  PARLEY_CHECK(region.ok() == allowed, "a region was adopted, or refused, against the rules");
  if (!region.ok()) return ExpectTyped(region.status());
  region->control().StoreRelease64(0, 1);
  if (shape.data_bytes != 0) region->data().StoreRelease64(2 * shape.data_bytes - 8, 1);
  if (shape.frames_bytes != 0) region->frames().StoreRelease64(shape.frames_bytes - 8, 1);
  PARLEY_CHECK(VerifySeals(region->fd(), kRegionSeals).ok(), "not sealed for good");
}

void FinishDraft(testing::Script& script, const RegionLimits& limits) {
  const uint64_t data_bytes = script.Take8() % 4 == 0 ? 0 : 4096;
  auto draft = IncomingRegionDraft::Create({data_bytes}, limits);
  PARLEY_CHECK(draft.ok(), "the draft itself");
  const int fd = draft->fd();
  const off_t size = static_cast<off_t>(4096 + data_bytes);
  void* written = MAP_FAILED;
  std::array<bool, 2> present = {true, true};  // the two pages
  for (int i = 0; i < 8 && !script.empty(); ++i) {
    switch (script.Take8() % 8) {
      case 0:
        if (written != MAP_FAILED) break;
        written = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        break;
      case 1:
        ::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
        break;
      case 2:
        ::fcntl(fd, F_ADD_SEALS, script.Take8() & 0x3f);
        break;
      case 3: {
        const off_t page = script.Take8() % 2;
        if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * 4096, 4096) == 0) {
          present[static_cast<std::size_t>(page)] = false;
        }
        break;
      }
      case 4:
        ::fallocate(fd, FALLOC_FL_KEEP_SIZE, size, 4096);
        break;
      case 5:
        static_cast<void>(!::ftruncate(fd, script.Take16()));
        break;
      case 6: {
        const off_t at = script.Take16() % size;
        if (::pwrite(fd, "x", 1, at) == 1) present[static_cast<std::size_t>(at / 4096)] = true;
        break;
      }
      case 7:
        if (written == MAP_FAILED) break;
        static_cast<volatile std::byte*>(written)[7] = std::byte{1};
        present[0] = true;
        break;
    }
  }
  const unsigned seals = static_cast<unsigned>(::fcntl(fd, F_GET_SEALS));
  const bool complete = present[0] && (present[1] || data_bytes == 0);
  const auto region = std::move(*draft).Finish();
  PARLEY_CHECK(region.ok() == (complete && SealedAsARegion(seals)),
               "a draft was finished, or refused, against the rules");
  if (region.ok()) {
    ReadAll(*region);
  } else {
    ExpectTyped(region.status());
  }
  if (written != MAP_FAILED) ::munmap(written, 4096);
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  parley::testing::Script script(data, size);
  fuzz::LeavesNothing([&] {
    parley::FileRegistry registry;
    const parley::RegionLimits limits = {fuzz::kLimit, fuzz::kLimit, &registry};
    const uint8_t which = script.Take8() % 8;
    if (which == 0) {  // starts a helper process, so seldom
      fuzz::AdoptOutgoing(script, limits);
    } else if (which < 5) {
      fuzz::AdoptIncoming(script, limits);
    } else {
      fuzz::FinishDraft(script, limits);
    }
    PARLEY_CHECK(registry.size() == 0, "a claim was left behind");
    fuzz::AwaitSealHelpers();
  });
  return 0;
}
