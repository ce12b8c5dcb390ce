// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/sections.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "parley/sealing/guarded_range.h"
#include "parley/shm/geometry.h"

namespace parley {

absl::StatusOr<SectionLayout> SectionLayout::Make(absl::Span<const Section> sections,
                                                  uint64_t max_bytes) {
  if (sections.empty() || sections.size() > kMaxCount) {
    return absl::InvalidArgumentError("a region has 1 to 8 sections, not " +
                                      std::to_string(sections.size()));
  }
  const uint64_t page = PageBytes();
  const uint64_t limit = std::min(max_bytes, kMaxPartBytes);
  SectionLayout layout;
  uint16_t last_kind = 0;
  for (const Section& section : sections) {
    // TRUST: kinds ascend, so each is there once; nothing is empty; and no product or sum can
    // overflow, because each is compared with what is left of the limit before it is formed.
    if (section.kind <= last_kind) {
      return absl::InvalidArgumentError("sections are not in the order of their kinds");
    }
    if (section.count == 0 || section.bytes == 0) {
      return absl::InvalidArgumentError("a section without elements");
    }
    last_kind = section.kind;
    const uint64_t left = limit - layout.bytes_;
    if (section.bytes > left / section.count) {
      return absl::ResourceExhaustedError("the sections are beyond the limit of " +
                                          std::to_string(limit) + " bytes");
    }
    const uint64_t size = (section.count * section.bytes + page - 1) / page * page;
    if (size > left) {
      return absl::ResourceExhaustedError("the sections are beyond the limit of " +
                                          std::to_string(limit) + " bytes");
    }
    layout.places_[layout.list_.size()] = {layout.bytes_, size};
    layout.list_.Add(section);
    layout.bytes_ += size;
  }
  return layout;
}

const SectionPlace* SectionLayout::Find(uint16_t kind) const {
  for (std::size_t i = 0; i < list_.size(); ++i) {
    if (sections()[i].kind == kind) return &places_[i];
  }
  return nullptr;
}

}  // namespace parley
