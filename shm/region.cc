#include "parley/shm/region.h"

#include <utility>

#include "absl/status/status.h"
#include "parley/sealing/huge_pages.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/seal_shared.h"
#include "parley/sealing/seals.h"
#include "parley/sealing/verify.h"

namespace parley {
namespace {

using internal::RegionFile;

// A verified file and what was found out about it, claimed in the set of those that we hold.
struct VerifiedFile {
  RegionFile file;
  MemfdFacts facts;
};

absl::StatusOr<VerifiedFile> VerifyAndClaim(UniqueFd fd, RegionGeometry geometry,
                                            const RegionLimits& limits, SealSet required_seals) {
  // TRUST: the geometry as announced: a power of two within our limits from here on.
  if (absl::Status status = ValidateGeometry(geometry, limits); !status.ok()) return status;
  const uint64_t file_bytes = FileBytes(geometry);
  const absl::StatusOr<MemfdFacts> facts =
      VerifyMemfd(fd.get(), file_bytes, file_bytes, required_seals);
  if (!facts.ok()) return facts.status();
  VerifiedFile result = {{FileClaim(), std::move(fd), geometry, facts->identity}, *facts};
  if (limits.registry != nullptr) {
    absl::StatusOr<FileClaim> hold = limits.registry->Claim(facts->identity);
    if (!hold.ok()) return hold.status();
    result.file.hold = std::move(*hold);
  }
  return result;
}

absl::StatusOr<UniqueFd> CreateShape(RegionGeometry geometry, const RegionLimits& limits,
                                     HugePages pages) {
  if (absl::Status status = ValidateGeometry(geometry, limits); !status.ok()) return status;
  absl::StatusOr<UniqueFd> fd = CreateMemfd(FileBytes(geometry));
  if (!fd.ok()) return fd.status();
  // Before anybody else has the file. How many there are changes nothing but the speed.
  if (pages == HugePages::kHugeIfPossible) GatherIntoHugePages(fd->get(), FileBytes(geometry));
  if (absl::Status status = AddSeals(fd->get(), kShapeSeals); !status.ok()) return status;
  return fd;
}

// A finished file, mapped for reading.
absl::StatusOr<IncomingMapping> MapFinished(const RegionFile& file, const MemfdFacts& facts) {
  absl::StatusOr<IncomingMapping> mapping = IncomingMapping::Map(file.fd.get(), file.geometry);
  if (!mapping.ok()) return mapping.status();
  absl::Status status = VerifyNothingAllocatedSince(file.fd.get(), facts);
  if (!status.ok()) return status;
  return mapping;
}

}  // namespace

OutgoingRegion::OutgoingRegion(internal::RegionFile file, OutgoingMapping mapping)
    : file_(std::move(file)), mapping_(std::move(mapping)) {}

absl::StatusOr<OutgoingRegion> OutgoingRegion::Create(RegionGeometry geometry,
                                                      const RegionLimits& limits, HugePages pages) {
  absl::StatusOr<UniqueFd> fd = CreateShape(geometry, limits, pages);
  if (!fd.ok()) return fd.status();
  absl::StatusOr<OutgoingMapping> mapping = OutgoingMapping::Map(fd->get(), geometry);
  if (!mapping.ok()) return mapping.status();
  // Nobody else has the descriptor yet, so nobody can hold this up.
  if (absl::Status status = AddSeals(fd->get(), kRegionSeals); !status.ok()) return status;
  absl::StatusOr<VerifiedFile> verified =
      VerifyAndClaim(std::move(*fd), geometry, limits, kRegionSeals);
  if (!verified.ok()) return verified.status();
  return OutgoingRegion(std::move(verified->file), std::move(*mapping));
}

absl::StatusOr<OutgoingRegion> OutgoingRegion::Adopt(UniqueFd fd, RegionGeometry geometry,
                                                     const RegionLimits& limits,
                                                     Deadline deadline) {
  absl::StatusOr<VerifiedFile> verified =
      VerifyAndClaim(std::move(fd), geometry, limits, kShapeSeals);
  if (!verified.ok()) return verified.status();
  RegionFile& file = verified->file;
  absl::StatusOr<OutgoingMapping> mapping = OutgoingMapping::Map(file.fd.get(), geometry);
  if (!mapping.ok()) return mapping.status();
  absl::Status status = AddSealsToShared(file.fd.get(), kRegionSeals, deadline);
  if (!status.ok()) return status;
  // Pages could come and go until now; from now on they can't.
  const uint64_t file_bytes = FileBytes(geometry);
  const absl::StatusOr<MemfdFacts> final_facts =
      VerifyMemfd(file.fd.get(), file_bytes, file_bytes, kRegionSeals);
  if (!final_facts.ok()) return final_facts.status();
  status = VerifyNothingAllocatedSince(file.fd.get(), verified->facts);
  if (!status.ok()) return status;
  return OutgoingRegion(std::move(file), std::move(*mapping));
}

IncomingRegion::IncomingRegion(internal::RegionFile file, IncomingMapping mapping)
    : file_(std::move(file)), mapping_(std::move(mapping)) {}

absl::StatusOr<IncomingRegion> IncomingRegion::Adopt(UniqueFd fd, RegionGeometry geometry,
                                                     const RegionLimits& limits) {
  absl::StatusOr<VerifiedFile> verified =
      VerifyAndClaim(std::move(fd), geometry, limits, kRegionSeals);
  if (!verified.ok()) return verified.status();
  absl::StatusOr<IncomingMapping> mapping = MapFinished(verified->file, verified->facts);
  if (!mapping.ok()) return mapping.status();
  return IncomingRegion(std::move(verified->file), std::move(*mapping));
}

IncomingRegionDraft::IncomingRegionDraft(internal::RegionFile file) : file_(std::move(file)) {}

absl::StatusOr<IncomingRegionDraft> IncomingRegionDraft::Create(RegionGeometry geometry,
                                                                const RegionLimits& limits,
                                                                HugePages pages) {
  absl::StatusOr<UniqueFd> fd = CreateShape(geometry, limits, pages);
  if (!fd.ok()) return fd.status();
  absl::StatusOr<VerifiedFile> verified =
      VerifyAndClaim(std::move(*fd), geometry, limits, kShapeSeals);
  if (!verified.ok()) return verified.status();
  return IncomingRegionDraft(std::move(verified->file));
}

absl::StatusOr<IncomingRegion> IncomingRegionDraft::Finish() && {
  RegionFile file = std::move(file_);
  const uint64_t file_bytes = FileBytes(file.geometry);
  const absl::StatusOr<MemfdFacts> facts =
      VerifyMemfd(file.fd.get(), file_bytes, file_bytes, kRegionSeals);
  if (!facts.ok()) return facts.status();
  absl::StatusOr<IncomingMapping> mapping = MapFinished(file, *facts);
  if (!mapping.ok()) return mapping.status();
  return IncomingRegion(std::move(file), std::move(*mapping));
}

}  // namespace parley
