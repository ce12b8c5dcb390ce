// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/mapping.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/time/time.h"

namespace parley {
namespace {

// In the file, and in the range.
uint64_t DataOffset(RegionGeometry geometry) { return ControlBytes() + geometry.frames_bytes; }

size_t MirroredBytes(RegionGeometry geometry) {
  return static_cast<size_t>(2 * geometry.data_bytes);
}

template <typename Mapping>
absl::StatusOr<Mapping> MapAllOf(int fd, RegionGeometry geometry) {
  absl::StatusOr<Mapping> mapping = Mapping::MapWithoutPages(fd, geometry);
  if (!mapping.ok()) return mapping.status();
  const Deadline never = Deadline::After(absl::InfiniteDuration());
  while (true) {
    const absl::StatusOr<bool> done = mapping->Populate(never);
    if (!done.ok()) return done.status();
    if (*done) return mapping;
  }
}

}  // namespace

namespace internal {

absl::StatusOr<MirroredRange> MirroredRange::MapWithoutPages(int fd, RegionGeometry geometry,
                                                             GuardedRange::Access access) {
  const uint64_t file_bytes = FileBytes(geometry);
  const std::array pieces = {
      GuardedRange::Piece{0, 0, file_bytes},
      GuardedRange::Piece{file_bytes, DataOffset(geometry), geometry.data_bytes}};
  absl::StatusOr<GuardedRange> range =
      ReserveAndMap(file_bytes + geometry.data_bytes,
                    [&](GuardedRange& in) { return in.MapWithoutPages(fd, pieces, access); });
  if (!range.ok()) return range.status();
  return MirroredRange(std::move(*range), geometry, access);
}

absl::StatusOr<bool> MirroredRange::Populate(Deadline until) {
  const uint64_t all_bytes = FileBytes(geometry_) + geometry_.data_bytes;
  while (populated_bytes_ < all_bytes) {
    const uint64_t slice_bytes =
        std::min(IncomingMapping::kSliceBytes, all_bytes - populated_bytes_);
    absl::Status status = range_.Populate(populated_bytes_, slice_bytes, access_);
    if (!status.ok()) return status;
    populated_bytes_ += slice_bytes;
    if (until.Expired()) break;
  }
  return populated_bytes_ == all_bytes;
}

}  // namespace internal

absl::StatusOr<IncomingMapping> IncomingMapping::MapWithoutPages(int fd, RegionGeometry geometry) {
  absl::StatusOr<internal::MirroredRange> range =
      internal::MirroredRange::MapWithoutPages(fd, geometry, GuardedRange::Access::kRead);
  if (!range.ok()) return range.status();
  return IncomingMapping(std::move(*range));
}

absl::StatusOr<IncomingMapping> IncomingMapping::Map(int fd, RegionGeometry geometry) {
  return MapAllOf<IncomingMapping>(fd, geometry);
}

PeerMemory IncomingMapping::control() const { return PeerMemory(range_.base(), ControlBytes()); }

PeerMemory IncomingMapping::frames() const {
  return PeerMemory(range_.base() + ControlBytes(),
                    static_cast<size_t>(range_.geometry().frames_bytes));
}

PeerMemory IncomingMapping::data() const {
  return PeerMemory(range_.base() + DataOffset(range_.geometry()),
                    MirroredBytes(range_.geometry()));
}

absl::StatusOr<OutgoingMapping> OutgoingMapping::MapWithoutPages(int fd, RegionGeometry geometry) {
  absl::StatusOr<internal::MirroredRange> range =
      internal::MirroredRange::MapWithoutPages(fd, geometry, GuardedRange::Access::kReadWrite);
  if (!range.ok()) return range.status();
  return OutgoingMapping(std::move(*range));
}

absl::StatusOr<OutgoingMapping> OutgoingMapping::Map(int fd, RegionGeometry geometry) {
  return MapAllOf<OutgoingMapping>(fd, geometry);
}

OwnMemory OutgoingMapping::control() const { return OwnMemory(range_.base(), ControlBytes()); }

OwnMemory OutgoingMapping::frames() const {
  return OwnMemory(range_.base() + ControlBytes(),
                   static_cast<size_t>(range_.geometry().frames_bytes));
}

OwnMemory OutgoingMapping::data() const {
  return OwnMemory(range_.base() + DataOffset(range_.geometry()), MirroredBytes(range_.geometry()));
}

}  // namespace parley
