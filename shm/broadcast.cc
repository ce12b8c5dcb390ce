// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/broadcast.h"

#include <string>
#include <utility>

#include "absl/status/status.h"

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
  limits.registry = registry != nullptr ? registry : &FileRegistry::OfThisProcess();
  return limits;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Broadcast>> Broadcast::Create(const SectionList& sections,
                                                             const BroadcastOptions& options) {
  const auto layout = SectionLayout::Make(sections.span(), options.max_bytes);
  if (!layout.ok()) return layout.status();
  auto region = OutgoingRegion::Create(GeometryOf(*layout), LimitsFor(*layout, options.registry),
                                       options.pages);
  if (!region.ok()) return region.status();
  return std::make_shared<Broadcast>(Private(), *std::move(region), *layout);
}

absl::StatusOr<OwnMemory> Broadcast::TakeSection(uint16_t kind) {
  const SectionPlace* place = layout_.Find(kind);
  if (place == nullptr) {
    return absl::NotFoundError("the broadcast has no section of kind " + std::to_string(kind));
  }
  const std::lock_guard lock(mutex_);
  for (const Section& taken : taken_.span()) {
    if (taken.kind == kind) {
      return absl::AlreadyExistsError("the broadcast's section of kind " + std::to_string(kind) +
                                      " has a writer");
    }
  }
  taken_.Add({kind, 1, 1});
  return region_.frames().Part(place->offset_bytes, place->size_bytes);
}

BroadcastView::BroadcastView(IncomingRegion region, const SectionLayout& layout)
    : region_(std::move(region)), layout_(layout) {}

absl::StatusOr<BroadcastView> BroadcastView::Adopt(UniqueFd fd, const SectionLayout& layout,
                                                   Deadline deadline, FileRegistry* registry) {
  RegionLimits limits = LimitsFor(layout, registry);
  limits.as_reader = true;
  auto region = IncomingRegion::Adopt(std::move(fd), GeometryOf(layout), limits, deadline);
  if (!region.ok()) return region.status();
  region->CloseDescriptor();
  return BroadcastView(*std::move(region), layout);
}

std::optional<BroadcastSection> BroadcastView::Find(uint16_t kind) const {
  const SectionPlace* place = layout_.Find(kind);
  if (place == nullptr) return std::nullopt;
  for (const Section& section : layout_.sections()) {
    if (section.kind != kind) continue;
    return BroadcastSection{section, region_.frames().Part(place->offset_bytes, place->size_bytes)};
  }
  return std::nullopt;
}

}  // namespace parley
