#include "parley/shm/mapping.h"

#include <utility>

namespace parley {
namespace {

// In the file, and in the range.
uint64_t DataOffset(RegionGeometry geometry) { return ControlBytes() + geometry.frames_bytes; }

absl::StatusOr<GuardedRange> MapTwice(int fd, RegionGeometry geometry,
                                      GuardedRange::Access access) {
  const uint64_t file_bytes = FileBytes(geometry);
  absl::StatusOr<GuardedRange> range = GuardedRange::Reserve(file_bytes + geometry.data_bytes);
  if (!range.ok()) return range.status();
  absl::Status status = range->Map(0, fd, 0, file_bytes, access);
  if (status.ok() && geometry.data_bytes > 0) {
    status = range->Map(file_bytes, fd, DataOffset(geometry), geometry.data_bytes, access);
  }
  if (!status.ok()) return status;
  return range;
}

size_t MirroredBytes(RegionGeometry geometry) {
  return static_cast<size_t>(2 * geometry.data_bytes);
}

}  // namespace

IncomingMapping::IncomingMapping(GuardedRange range, RegionGeometry geometry)
    : range_(std::move(range)), geometry_(geometry) {}

absl::StatusOr<IncomingMapping> IncomingMapping::Map(int fd, RegionGeometry geometry) {
  absl::StatusOr<GuardedRange> range = MapTwice(fd, geometry, GuardedRange::Access::kRead);
  if (!range.ok()) return range.status();
  return IncomingMapping(std::move(*range), geometry);
}

PeerMemory IncomingMapping::control() const { return PeerMemory(range_.base(), ControlBytes()); }

PeerMemory IncomingMapping::frames() const {
  return PeerMemory(range_.base() + ControlBytes(), static_cast<size_t>(geometry_.frames_bytes));
}

PeerMemory IncomingMapping::data() const {
  return PeerMemory(range_.base() + DataOffset(geometry_), MirroredBytes(geometry_));
}

OutgoingMapping::OutgoingMapping(GuardedRange range, RegionGeometry geometry)
    : range_(std::move(range)), geometry_(geometry) {}

absl::StatusOr<OutgoingMapping> OutgoingMapping::Map(int fd, RegionGeometry geometry) {
  absl::StatusOr<GuardedRange> range = MapTwice(fd, geometry, GuardedRange::Access::kReadWrite);
  if (!range.ok()) return range.status();
  return OutgoingMapping(std::move(*range), geometry);
}

OwnMemory OutgoingMapping::control() const { return OwnMemory(range_.base(), ControlBytes()); }

OwnMemory OutgoingMapping::frames() const {
  return OwnMemory(range_.base() + ControlBytes(), static_cast<size_t>(geometry_.frames_bytes));
}

OwnMemory OutgoingMapping::data() const {
  return OwnMemory(range_.base() + DataOffset(geometry_), MirroredBytes(geometry_));
}

}  // namespace parley
