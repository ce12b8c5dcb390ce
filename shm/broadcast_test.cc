#include "parley/shm/broadcast.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/shm/sections.h"

namespace parley {
namespace {

constexpr uint64_t kPlenty = uint64_t{1} << 30;

Deadline Soon() { return Deadline::After(absl::Seconds(10)); }

SectionLayout LayoutOf(const std::vector<Section>& sections) {
  auto layout = SectionLayout::Make(sections, kPlenty);
  EXPECT_TRUE(layout.ok()) << layout.status();
  return *layout;
}

UniqueFd Duplicate(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

// --- where the sections lie ----------------------------------------------------------------------

TEST(SectionLayoutTest, EachSectionIsWholePagesInTheOrderOfTheList) {
  const uint64_t page = PageBytes();
  const SectionLayout layout = LayoutOf({{1, 1, 1}, {7, 3, page}, {0xffff, 2, page / 2 + 1}});
  EXPECT_EQ(layout.place(0), (SectionPlace{0, page}));
  EXPECT_EQ(layout.place(1), (SectionPlace{page, 3 * page}));
  EXPECT_EQ(layout.place(2), (SectionPlace{4 * page, 2 * page}));
  EXPECT_EQ(layout.bytes(), 6 * page);
  EXPECT_EQ(layout.Find(7), &layout.place(1));
  EXPECT_EQ(layout.Find(2), nullptr);
}

TEST(SectionLayoutTest, PromiseP9AbortIsOursNoListOfThePeersOverflows) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  constexpr uint32_t kMany = std::numeric_limits<uint32_t>::max();
  for (const std::vector<Section>& hostile :
       std::vector<std::vector<Section>>{{{1, kMany, kMax}},
                                         {{1, 1, kMax}},
                                         {{1, kMany, uint64_t{1} << 32}},
                                         {{1, 2, uint64_t{1} << 63}},
                                         {{1, 1, kPlenty}, {2, 1, 1}},
                                         {{1, 1, 1}, {2, kMany, kMax}}}) {
    EXPECT_EQ(SectionLayout::Make(hostile, kPlenty).status().code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_FALSE(SectionLayout::Make(hostile, kMax).ok() && hostile.size() == 1);
  }
  for (const std::vector<Section>& malformed :
       std::vector<std::vector<Section>>{{},
                                         {{0, 1, 1}},
                                         {{1, 0, 1}},
                                         {{1, 1, 0}},
                                         {{2, 1, 1}, {1, 1, 1}},
                                         {{2, 1, 1}, {2, 1, 1}},
                                         std::vector<Section>(9, Section{1, 1, 1})}) {
    EXPECT_EQ(SectionLayout::Make(malformed, kPlenty).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// --- one writer, many readers --------------------------------------------------------------------

TEST(BroadcastTest, WhatTheWriterStoresEachReaderSees) {
  const SectionLayout layout = LayoutOf({{3, 4, 100}, {9, 1, 65536}});
  FileRegistry registry;
  auto region = BroadcastRegion::Create(layout, &registry);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(registry.size(), 1u);
  std::vector<BroadcastView> views;
  for (int reader = 0; reader < 5; ++reader) {
    auto view = BroadcastView::Adopt(Duplicate(region->fd()), layout, Soon());
    ASSERT_TRUE(view.ok()) << view.status();
    views.push_back(*std::move(view));
  }
  const uint64_t last = layout.place(1).offset_bytes + layout.place(1).size_bytes - 8;
  region->memory().StoreRelease64(last, 42);
  region->control().StoreRelease64(0, 7);
  for (const BroadcastView& view : views) {
    EXPECT_EQ(view.memory().LoadAcquire64(last).AnyValueIsAcceptable(), 42u);
    EXPECT_EQ(view.control().LoadAcquire64(0).AnyValueIsAcceptable(), 7u);
    EXPECT_EQ(view.memory().size_bytes(), layout.bytes());
  }
}

TEST(BroadcastTest, PromiseP1MemoryAReaderCannotWriteResizeOrPunch) {
  const SectionLayout layout = LayoutOf({{3, 1, 8192}});
  FileRegistry registry;
  auto region = BroadcastRegion::Create(layout, &registry);
  ASSERT_TRUE(region.ok()) << region.status();
  const UniqueFd fd = Duplicate(region->fd());
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
  EXPECT_LT(::pwrite(fd.get(), "x", 1, 0), 0);
  EXPECT_NE(::ftruncate(fd.get(), 0), 0);
  EXPECT_NE(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  EXPECT_NE(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(BroadcastTest, AReaderTakesOnlyWhatTheListSays) {
  const SectionLayout layout = LayoutOf({{3, 1, 8192}});
  FileRegistry registry;
  auto region = BroadcastRegion::Create(layout, &registry);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_FALSE(
      BroadcastView::Adopt(Duplicate(region->fd()), LayoutOf({{3, 1, 65536}}), Soon()).ok());
  EXPECT_FALSE(
      BroadcastView::Adopt(Duplicate(region->fd()), LayoutOf({{3, 1, 4096}}), Soon()).ok());
  // One that its writer has not sealed could change under a reader's feet.
  UniqueFd unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto file_bytes = static_cast<off_t>(PageBytes() + layout.bytes());
  ASSERT_EQ(::ftruncate(unsealed.get(), file_bytes), 0);
  ASSERT_EQ(::fallocate(unsealed.get(), 0, 0, file_bytes), 0);
  EXPECT_FALSE(BroadcastView::Adopt(std::move(unsealed), layout, Soon()).ok());
}

}  // namespace
}  // namespace parley
