// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/region.h"

#include <utility>

#include "absl/status/status.h"
#include "parley/os/check.h"
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
    absl::StatusOr<FileClaim> hold = limits.as_reader
                                         ? limits.registry->ClaimAsReader(facts->identity)
                                         : limits.registry->Claim(facts->identity);
    if (!hold.ok()) return hold.status();
    result.file.hold = std::move(*hold);
  }
  return result;
}

Deadline Never() { return Deadline::After(absl::InfiniteDuration()); }

absl::Status TooLongToMap() {
  return absl::DeadlineExceededError("the deadline passed while shared memory was being mapped");
}

// A builder to its end.
template <typename Builder>
auto Run(absl::StatusOr<Builder> builder, Deadline deadline)
    -> absl::StatusOr<decltype(std::move(*builder).Take())> {
  if (!builder.ok()) return builder.status();
  while (true) {
    const absl::StatusOr<bool> done = builder->Step(deadline);
    if (!done.ok()) return done.status();
    if (*done) return std::move(*builder).Take();
    if (deadline.Expired()) return TooLongToMap();
  }
}

}  // namespace

namespace internal {

absl::StatusOr<ShapeBuilder> ShapeBuilder::Start(RegionGeometry geometry,
                                                 const RegionLimits& limits, HugePages pages) {
  if (absl::Status status = ValidateGeometry(geometry, limits); !status.ok()) return status;
  absl::StatusOr<MemfdBuilder> memfd = MemfdBuilder::Start(FileBytes(geometry));
  if (!memfd.ok()) return memfd.status();
  return ShapeBuilder(std::move(*memfd), FileBytes(geometry), pages);
}

absl::StatusOr<bool> ShapeBuilder::Step(Deadline until) {
  if (!allocated_) {
    const absl::StatusOr<bool> done = memfd_.Step(until);
    if (!done.ok()) return done.status();
    allocated_ = *done;
    if (!allocated_ || until.Expired()) return false;
  }
  // Before anybody else has the file. How many there are changes nothing but the speed.
  while (huge_ == HugePages::kHugeIfPossible && kHugePageBytes <= file_bytes_ - gathered_bytes_) {
    if (GatherOneHugePage(memfd_.fd(), gathered_bytes_)) {
      gathered_bytes_ += kHugePageBytes;
    } else {
      huge_ = HugePages::kUsual;
    }
    if (until.Expired()) return false;
  }
  if (!sealed_) {
    if (absl::Status status = AddSeals(memfd_.fd(), kShapeSeals); !status.ok()) return status;
    sealed_ = true;
  }
  return true;
}

}  // namespace internal

OutgoingRegion::OutgoingRegion(internal::RegionFile file, OutgoingMapping mapping)
    : file_(std::move(file)), mapping_(std::move(mapping)) {}

absl::StatusOr<OutgoingRegion> OutgoingRegion::Create(RegionGeometry geometry,
                                                      const RegionLimits& limits, HugePages pages) {
  return Run(OutgoingRegionBuilder::Start(geometry, limits, pages), Never());
}

absl::StatusOr<OutgoingRegionBuilder> OutgoingRegionBuilder::Start(RegionGeometry geometry,
                                                                   const RegionLimits& limits,
                                                                   HugePages pages) {
  absl::StatusOr<internal::ShapeBuilder> shape =
      internal::ShapeBuilder::Start(geometry, limits, pages);
  if (!shape.ok()) return shape.status();
  return OutgoingRegionBuilder(std::move(*shape), geometry, limits);
}

absl::Status OutgoingRegionBuilder::MapAndSeal() {
  UniqueFd fd = std::move(shape_).Take();
  absl::StatusOr<OutgoingMapping> mapping =
      OutgoingMapping::MapWithoutPages(fd.get(), file_.geometry);
  if (!mapping.ok()) return mapping.status();
  // Nobody else has the descriptor yet, so nobody can hold this up.
  if (absl::Status status = AddSeals(fd.get(), kRegionSeals); !status.ok()) return status;
  absl::StatusOr<VerifiedFile> verified =
      VerifyAndClaim(std::move(fd), file_.geometry, limits_, kRegionSeals);
  if (!verified.ok()) return verified.status();
  file_ = std::move(verified->file);
  facts_ = verified->facts;
  mapping_ = std::move(*mapping);
  return absl::OkStatus();
}

absl::StatusOr<bool> OutgoingRegionBuilder::Step(Deadline until) {
  if (!mapping_.has_value()) {
    const absl::StatusOr<bool> all_there = shape_.Step(until);
    if (!all_there.ok() || !*all_there) return all_there;
    if (absl::Status status = MapAndSeal(); !status.ok()) return status;
    if (until.Expired()) return false;
  }
  if (done_) return true;
  const absl::StatusOr<bool> populated = mapping_->Populate(until);
  if (!populated.ok() || !*populated) return populated;
  absl::Status status = VerifyNothingAllocatedSince(file_.fd.get(), facts_);
  if (!status.ok()) return status;
  done_ = true;
  return true;
}

OutgoingRegion OutgoingRegionBuilder::Take() && {
  PARLEY_CHECK(done_, "OutgoingRegionBuilder::Take: Step has not returned true yet");
  done_ = false;
  return OutgoingRegion(std::move(file_), std::move(*mapping_));
}

absl::StatusOr<OutgoingRegion> OutgoingRegion::Adopt(UniqueFd fd, RegionGeometry geometry,
                                                     const RegionLimits& limits, Deadline deadline,
                                                     MakerTrust maker) {
  auto adoption = OutgoingRegionAdoption::Start(std::move(fd), geometry, limits, maker);
  if (!adoption.ok()) return adoption.status();
  return std::move(*adoption).Finish(deadline);
}

absl::StatusOr<OutgoingRegionAdoption> OutgoingRegionAdoption::Start(UniqueFd fd,
                                                                     RegionGeometry geometry,
                                                                     const RegionLimits& limits,
                                                                     MakerTrust maker) {
  absl::StatusOr<VerifiedFile> verified =
      VerifyAndClaim(std::move(fd), geometry, limits, kShapeSeals);
  if (!verified.ok()) return verified.status();
  RegionFile& file = verified->file;
  absl::StatusOr<OutgoingMapping> mapping =
      OutgoingMapping::MapWithoutPages(file.fd.get(), geometry);
  if (!mapping.ok()) return mapping.status();
  std::optional<SharedSealing> sealing;
  if (maker == MakerTrust::kSupervisor) {
    absl::Status status = AddSeals(file.fd.get(), kRegionSeals);
    if (!status.ok()) return status;
  } else {
    absl::StatusOr<SharedSealing> started = SharedSealing::Start(file.fd.get(), kRegionSeals);
    if (!started.ok()) return started.status();
    sealing.emplace(*std::move(started));
  }
  return OutgoingRegionAdoption(std::move(file), *std::move(mapping), std::move(sealing));
}

absl::StatusOr<OutgoingRegion> OutgoingRegionAdoption::Finish(Deadline deadline) && {
  absl::Status status;
  if (sealing_.has_value()) status = sealing_->Finish(deadline);
  if (!status.ok()) return status;
  // Pages could come and go until now; from now on they can't. So only now they are counted,
  // brought in, and counted again.
  const uint64_t file_bytes = FileBytes(file_.geometry);
  const absl::StatusOr<MemfdFacts> facts =
      VerifyMemfd(file_.fd.get(), file_bytes, file_bytes, kRegionSeals);
  if (!facts.ok()) return facts.status();
  while (true) {
    const absl::StatusOr<bool> populated = mapping_.Populate(deadline);
    if (!populated.ok()) return populated.status();
    if (*populated) break;
    if (deadline.Expired()) return TooLongToMap();
  }
  status = VerifyNothingAllocatedSince(file_.fd.get(), *facts);
  if (!status.ok()) return status;
  return OutgoingRegion(std::move(file_), std::move(mapping_));
}

IncomingRegion::IncomingRegion(internal::RegionFile file, IncomingMapping mapping)
    : file_(std::move(file)), mapping_(std::move(mapping)) {}

absl::StatusOr<IncomingRegion> IncomingRegion::Adopt(UniqueFd fd, RegionGeometry geometry,
                                                     const RegionLimits& limits,
                                                     Deadline deadline) {
  return Run(StartAdopt(std::move(fd), geometry, limits), deadline);
}

absl::StatusOr<IncomingRegionFinisher> IncomingRegion::StartAdopt(UniqueFd fd,
                                                                  RegionGeometry geometry,
                                                                  const RegionLimits& limits) {
  absl::StatusOr<VerifiedFile> verified =
      VerifyAndClaim(std::move(fd), geometry, limits, kRegionSeals);
  if (!verified.ok()) return verified.status();
  return IncomingRegionFinisher::Start(std::move(verified->file), verified->facts);
}

absl::StatusOr<IncomingRegion> IncomingRegionFinisher::Finish(Deadline deadline) && {
  return Run(absl::StatusOr<IncomingRegionFinisher>(std::move(*this)), deadline);
}

absl::StatusOr<IncomingRegionFinisher> IncomingRegionFinisher::Start(internal::RegionFile file,
                                                                     const MemfdFacts& facts) {
  absl::StatusOr<IncomingMapping> mapping =
      IncomingMapping::MapWithoutPages(file.fd.get(), file.geometry);
  if (!mapping.ok()) return mapping.status();
  return IncomingRegionFinisher(std::move(file), facts, std::move(*mapping));
}

absl::StatusOr<bool> IncomingRegionFinisher::Step(Deadline until) {
  if (done_) return true;
  const absl::StatusOr<bool> populated = mapping_.Populate(until);
  if (!populated.ok() || !*populated) return populated;
  absl::Status status = VerifyNothingAllocatedSince(file_.fd.get(), facts_);
  if (!status.ok()) return status;
  done_ = true;
  return true;
}

IncomingRegion IncomingRegionFinisher::Take() && {
  PARLEY_CHECK(done_, "IncomingRegionFinisher::Take: Step has not returned true yet");
  done_ = false;
  return IncomingRegion(std::move(file_), std::move(mapping_));
}

IncomingRegionDraft::IncomingRegionDraft(internal::RegionFile file) : file_(std::move(file)) {}

absl::StatusOr<IncomingRegionDraft> IncomingRegionDraft::Create(RegionGeometry geometry,
                                                                const RegionLimits& limits,
                                                                HugePages pages) {
  return Run(IncomingRegionDraftBuilder::Start(geometry, limits, pages), Never());
}

absl::StatusOr<IncomingRegionDraftBuilder> IncomingRegionDraftBuilder::Start(
    RegionGeometry geometry, const RegionLimits& limits, HugePages pages) {
  absl::StatusOr<internal::ShapeBuilder> shape =
      internal::ShapeBuilder::Start(geometry, limits, pages);
  if (!shape.ok()) return shape.status();
  return IncomingRegionDraftBuilder(std::move(*shape), geometry, limits);
}

absl::StatusOr<bool> IncomingRegionDraftBuilder::Step(Deadline until) {
  if (done_) return true;
  const absl::StatusOr<bool> all_there = shape_.Step(until);
  if (!all_there.ok() || !*all_there) return all_there;
  absl::StatusOr<VerifiedFile> verified =
      VerifyAndClaim(std::move(shape_).Take(), file_.geometry, limits_, kShapeSeals);
  if (!verified.ok()) return verified.status();
  file_ = std::move(verified->file);
  done_ = true;
  return true;
}

IncomingRegionDraft IncomingRegionDraftBuilder::Take() && {
  PARLEY_CHECK(done_, "IncomingRegionDraftBuilder::Take: Step has not returned true yet");
  done_ = false;
  return IncomingRegionDraft(std::move(file_));
}

absl::StatusOr<IncomingRegionFinisher> IncomingRegionDraft::StartFinish() && {
  RegionFile file = std::move(file_);
  const uint64_t file_bytes = FileBytes(file.geometry);
  const absl::StatusOr<MemfdFacts> facts =
      VerifyMemfd(file.fd.get(), file_bytes, file_bytes, kRegionSeals);
  if (!facts.ok()) return facts.status();
  return IncomingRegionFinisher::Start(std::move(file), *facts);
}

absl::StatusOr<IncomingRegion> IncomingRegionDraft::Finish() && {
  return Run(std::move(*this).StartFinish(), Never());
}

}  // namespace parley
