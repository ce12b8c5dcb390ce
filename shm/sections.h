// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SHM_SECTIONS_H_
#define PARLEY_SHM_SECTIONS_H_

// What a region has behind its control page: a list of sections, each of whole pages, in the order
// of the list. Where each lies follows from the list alone, so no offset ever travels.
//
//   | control page | section of kind 3 | section of kind 9 | ...
//
// Trust: a list that the peer announced is validated once (Make), and private from then on. What
// the elements of a section mean is its pattern's affair.
// Threads: values.
//
//   absl::StatusOr<SectionLayout> layout = SectionLayout::Make({{3, 1, 4096}, {9, 8, 100}}, kMax);
//   const SectionPlace* values = layout->Find(9);   // 8 * 100 bytes, rounded up to pages

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/os/check.h"

namespace parley {

struct Section {
  uint16_t kind = 0;   // at least 1
  uint32_t count = 0;  // of elements; at least 1
  uint64_t bytes = 0;  // of each element; at least 1
  bool operator==(const Section&) const = default;
};

// Up to eight sections, in a value without an allocation. The order is the caller's.
class SectionList {
 public:
  static constexpr std::size_t kMaxCount = 8;

  SectionList() = default;
  // sections.size() <= kMaxCount, else this aborts.
  SectionList(std::initializer_list<Section> sections) {  // NOLINT(google-explicit-constructor)
    for (const Section& section : sections) Add(section);
  }
  // size() < kMaxCount, else this aborts.
  void Add(const Section& section) {
    PARLEY_CHECK(count_ < kMaxCount, "a region has at most 8 sections");
    sections_[count_++] = section;
  }

  std::size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  absl::Span<const Section> span() const { return {sections_.data(), count_}; }
  bool operator==(const SectionList&) const = default;

 private:
  std::array<Section, kMaxCount> sections_ = {};
  std::size_t count_ = 0;
};

// Within the sections of a region, so without its control page.
struct SectionPlace {
  uint64_t offset_bytes = 0;  // a multiple of the page
  uint64_t size_bytes = 0;    // whole pages
  bool operator==(const SectionPlace&) const = default;
};

class SectionLayout {
 public:
  static constexpr std::size_t kMaxCount = SectionList::kMaxCount;

  // kInvalidArgument: no section or more than kMaxCount, kinds that are not in ascending order from
  // 1, or an empty section. kResourceExhausted: more than `max_bytes` in all.
  static absl::StatusOr<SectionLayout> Make(absl::Span<const Section> sections, uint64_t max_bytes);

  const SectionList& list() const { return list_; }
  absl::Span<const Section> sections() const { return list_.span(); }
  // `index` < sections().size().
  const SectionPlace& place(std::size_t index) const { return places_[index]; }
  // nullptr: there is none of this kind.
  const SectionPlace* Find(uint16_t kind) const;
  // Of all sections together.
  uint64_t bytes() const { return bytes_; }

 private:
  SectionLayout() = default;
  SectionList list_;
  std::array<SectionPlace, kMaxCount> places_ = {};
  uint64_t bytes_ = 0;
};

}  // namespace parley

#endif  // PARLEY_SHM_SECTIONS_H_
