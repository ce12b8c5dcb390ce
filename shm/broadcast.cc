#include "parley/shm/broadcast.h"

#include <utility>

namespace parley {
namespace {

RegionGeometry GeometryOf(const SectionLayout& layout) {
  RegionGeometry geometry;
  geometry.frames_bytes = layout.bytes();
  return geometry;
}

RegionLimits LimitsFor(const SectionLayout& layout, FileRegistry* registry) {
  RegionLimits limits;
  limits.max_frames_bytes = layout.bytes();  // was compared with the limit when it was made
  limits.registry = registry;
  return limits;
}

}  // namespace

BroadcastRegion::BroadcastRegion(OutgoingRegion region, const SectionLayout& layout)
    : region_(std::move(region)), layout_(layout) {}

absl::StatusOr<BroadcastRegion> BroadcastRegion::Create(const SectionLayout& layout,
                                                        FileRegistry* registry, HugePages pages) {
  auto region = OutgoingRegion::Create(GeometryOf(layout), LimitsFor(layout, registry), pages);
  if (!region.ok()) return region.status();
  return BroadcastRegion(*std::move(region), layout);
}

BroadcastView::BroadcastView(IncomingRegion region, const SectionLayout& layout)
    : region_(std::move(region)), layout_(layout) {}

absl::StatusOr<BroadcastView> BroadcastView::Adopt(UniqueFd fd, const SectionLayout& layout,
                                                   Deadline deadline) {
  auto region = IncomingRegion::Adopt(std::move(fd), GeometryOf(layout), LimitsFor(layout, nullptr),
                                      deadline);
  if (!region.ok()) return region.status();
  region->CloseDescriptor();
  return BroadcastView(*std::move(region), layout);
}

}  // namespace parley
