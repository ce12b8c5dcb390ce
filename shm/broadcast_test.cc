// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/broadcast.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/sealing/test_support.h"
#include "parley/shm/geometry.h"
#include "parley/shm/region.h"
#include "parley/shm/sections.h"

namespace parley {
namespace {

// What a kernel gives at least.
const size_t kPage = PageBytes();

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

TEST(SectionLayoutTest, ToTheLastByteOfTheLimitAndToTheLastSection) {
  const uint64_t page = PageBytes();
  const auto code = [](const std::vector<Section>& sections, uint64_t max_bytes) {
    return SectionLayout::Make(sections, max_bytes).status().code();
  };
  constexpr auto kOk = absl::StatusCode::kOk;
  constexpr auto kTooMuch = absl::StatusCode::kResourceExhausted;
  EXPECT_EQ(code({{1, 1, page}}, page), kOk);
  EXPECT_EQ(code({{1, 1, page}}, page - 1), kTooMuch);
  EXPECT_EQ(code({{1, 1, 1}}, page), kOk);
  EXPECT_EQ(code({{1, 1, 1}}, page - 1), kTooMuch);  // for it is rounded up
  EXPECT_EQ(code({{1, 4, page}}, 4 * page), kOk);
  EXPECT_EQ(code({{1, 4, page}}, 4 * page - 1), kTooMuch);
  EXPECT_EQ(code({{1, 1, page}, {2, 3, page}}, 4 * page), kOk);
  EXPECT_EQ(code({{1, 1, page}, {2, 3, page}}, 4 * page - 1), kTooMuch);
  EXPECT_EQ(code({{1, 1, kMaxPartBytes}}, ~uint64_t{0}), kOk);
  EXPECT_EQ(code({{1, 1, kMaxPartBytes + 1}}, ~uint64_t{0}), kTooMuch);
  std::vector<Section> eight;
  for (uint16_t kind = 1; kind <= 8; ++kind) eight.push_back({kind, 1, page});
  const SectionLayout layout = LayoutOf(eight);
  EXPECT_EQ(layout.bytes(), 8 * page);
  for (uint16_t kind = 1; kind <= 8; ++kind) {
    ASSERT_NE(layout.Find(kind), nullptr);
    EXPECT_EQ(*layout.Find(kind), (SectionPlace{(kind - 1) * page, page}));
  }
  EXPECT_EQ(layout.Find(9), nullptr);
  EXPECT_EQ(LayoutOf({{1, 1, 1}}).Find(0), nullptr);
}

TEST(SectionLayoutTest, NothingIsThereUntilItIsSaid) {
  EXPECT_EQ(Section(), (Section{0, 0, 0}));
  EXPECT_EQ(SectionPlace(), (SectionPlace{0, 0}));
  SectionList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.size(), 0u);
  for (uint16_t kind = 1; kind <= 8; ++kind) {
    list.Add({kind, 1, 1});
    EXPECT_FALSE(list.empty());
    EXPECT_EQ(list.size(), kind);
    EXPECT_EQ(list.span().back(), (Section{kind, 1, 1}));
  }
}

TEST(SectionLayoutDeathTest, ANinthSectionIsTheCallersBug) {
  SectionList list;
  for (uint16_t kind = 1; kind <= 8; ++kind) list.Add({kind, 1, 1});
  EXPECT_DEATH(list.Add({9, 1, 1}), "at most 8 sections");
}

// --- one writer, many readers --------------------------------------------------------------------

std::shared_ptr<Broadcast> Made(const SectionList& sections, FileRegistry* registry) {
  BroadcastOptions options;
  options.registry = registry;
  auto broadcast = Broadcast::Create(sections, options);
  EXPECT_TRUE(broadcast.ok()) << broadcast.status();
  return *std::move(broadcast);
}

struct BroadcastTest : ::testing::Test {
  FileRegistry writers;
  FileRegistry readers;

  absl::StatusOr<BroadcastView> Adopt(UniqueFd fd, const SectionLayout& layout) {
    return BroadcastView::Adopt(std::move(fd), layout, Soon(), &readers);
  }
};

TEST_F(BroadcastTest, WhatTheWriterStoresEachReaderSees) {
  auto broadcast = Made({{3, 4, 100}, {9, 1, 65536}}, &writers);
  EXPECT_EQ(writers.size(), 1u);
  std::vector<BroadcastView> views;
  for (int reader = 0; reader < 5; ++reader) {
    auto view = Adopt(Duplicate(broadcast->fd()), broadcast->layout());
    ASSERT_TRUE(view.ok()) << view.status();
    views.push_back(*std::move(view));
  }
  EXPECT_EQ(readers.size(), 1u);
  auto small = broadcast->TakeSection(3);
  auto large = broadcast->TakeSection(9);
  ASSERT_TRUE(small.ok() && large.ok());
  EXPECT_EQ(large->size_bytes(), 65536u);
  small->StoreRelease64(0, 7);
  large->StoreRelease64(65528, 42);
  for (const BroadcastView& view : views) {
    const auto first = view.Find(3);
    const auto second = view.Find(9);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->section, (Section{3, 4, 100}));
    EXPECT_EQ(first->memory.LoadAcquire64(0).AnyValueIsAcceptable(), 7u);
    EXPECT_EQ(second->memory.size_bytes(), 65536u);
    EXPECT_EQ(second->memory.LoadAcquire64(65528).AnyValueIsAcceptable(), 42u);
    EXPECT_FALSE(view.Find(4));
  }
  views.clear();
  EXPECT_EQ(readers.size(), 0u);
}

// A view's memory needs no descriptor, and a region that cannot be made leaves nothing.
TEST_F(BroadcastTest, PromiseP7ResourcesAViewKeepsNoDescriptor) {
  auto broadcast = Made({{3, 1, 100}}, &writers);
  const int descriptors = testing_support::FootprintNow().descriptors;
  const auto view = Adopt(Duplicate(broadcast->fd()), broadcast->layout());
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(testing_support::FootprintNow().descriptors, descriptors);
  EXPECT_EQ(testing_support::RunInChild([&] {
              BroadcastOptions options;
              options.registry = &writers;
              testing_support::FailSystemCall(SYS_memfd_create, ENFILE);
              EXPECT_EQ(Broadcast::Create({{3, 1, 100}}, options).status().code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(writers.size(), 1u);
            }),
            "ok");
}

// Where nobody names another registry, it is the process's.
TEST_F(BroadcastTest, M12WithoutARegistryItIsTheProcesss) {
  const std::size_t before = FileRegistry::OfThisProcess().size();
  auto broadcast = Broadcast::Create({{3, 1, 100}});
  ASSERT_TRUE(broadcast.ok()) << broadcast.status();
  EXPECT_EQ(FileRegistry::OfThisProcess().size(), before + 1);
  EXPECT_EQ(BroadcastView::Adopt(Duplicate((*broadcast)->fd()), (*broadcast)->layout(), Soon())
                .status()
                .code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_F(BroadcastTest, ASectionHasOneWriter) {
  auto broadcast = Made({{3, 1, 100}, {9, 1, 100}}, &writers);
  EXPECT_TRUE(broadcast->TakeSection(9).ok());
  EXPECT_EQ(broadcast->TakeSection(9).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(broadcast->TakeSection(4).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(broadcast->TakeSection(3).ok());
  BroadcastOptions options;
  options.max_bytes = PageBytes();
  EXPECT_EQ(Broadcast::Create({{3, 2, PageBytes()}}, options).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(BroadcastTest, PromiseP1MemoryAReaderCannotWriteResizeOrPunch) {
  auto broadcast = Made({{3, 1, 2 * kPage}}, &writers);
  const UniqueFd fd = Duplicate(broadcast->fd());
  EXPECT_EQ(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
  EXPECT_LT(::pwrite(fd.get(), "x", 1, 0), 0);
  EXPECT_NE(::ftruncate(fd.get(), 0), 0);
  EXPECT_NE(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        static_cast<off_t>(kPage)),
            0);
  EXPECT_NE(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST_F(BroadcastTest, AReaderTakesOnlyWhatTheListSays) {
  auto broadcast = Made({{3, 1, 2 * kPage}}, &writers);
  const SectionLayout& layout = broadcast->layout();
  EXPECT_FALSE(Adopt(Duplicate(broadcast->fd()), LayoutOf({{3, 1, 65536}})).ok());
  EXPECT_FALSE(Adopt(Duplicate(broadcast->fd()), LayoutOf({{3, 1, kPage}})).ok());
  const auto file_bytes = static_cast<off_t>(PageBytes() + layout.bytes());
  constexpr int kShape = F_SEAL_SHRINK | F_SEAL_GROW;
  constexpr int kAll = kShape | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  // One that its writer has not sealed could change its size under a reader's feet, or be written
  // by another; one without pages is paid for by the reader.
  for (const int seals : {0, kShape, kShape | F_SEAL_SEAL, kAll & ~F_SEAL_SHRINK,
                          kAll & ~F_SEAL_GROW, kAll & ~F_SEAL_FUTURE_WRITE, kAll & ~F_SEAL_SEAL}) {
    UniqueFd fd(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(fd.get(), file_bytes), 0);
    ASSERT_EQ(::fallocate(fd.get(), 0, 0, file_bytes), 0);
    ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    EXPECT_FALSE(Adopt(std::move(fd), layout).ok()) << seals;
  }
  UniqueFd sparse(::memfd_create("sparse", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(sparse.get(), file_bytes), 0);
  ASSERT_EQ(::fcntl(sparse.get(), F_ADD_SEALS, kAll), 0);
  EXPECT_FALSE(Adopt(std::move(sparse), layout).ok());
  EXPECT_EQ(readers.size(), 0u);
}

// Memory that we write is nobody's to be read as its own; what is read is not written as well.
TEST_F(BroadcastTest, M12WhatWeWriteIsNotReadAsAPeersBroadcast) {
  auto broadcast = Made({{3, 1, 2 * kPage}}, &writers);
  EXPECT_EQ(BroadcastView::Adopt(Duplicate(broadcast->fd()), broadcast->layout(), Soon(), &writers)
                .status()
                .code(),
            absl::StatusCode::kAlreadyExists);
  auto view = Adopt(Duplicate(broadcast->fd()), broadcast->layout());
  ASSERT_TRUE(view.ok()) << view.status();
  RegionLimits limits;
  limits.registry = &readers;
  RegionGeometry geometry;
  geometry.frames_bytes = 2 * kPage;
  EXPECT_EQ(
      IncomingRegion::Adopt(Duplicate(broadcast->fd()), geometry, limits, Soon()).status().code(),
      absl::StatusCode::kAlreadyExists);
}

// All readers share one file. One that keeps its lock holds up neither the writer nor another one.
TEST_F(BroadcastTest, PromiseP2AReaderThatHoldsTheInodeLockHoldsUpNobody) {
  auto broadcast = Made({{3, 1, 2 * kPage}}, &writers);
  testing_support::InodeLockHolder holder(broadcast->fd());
  if (!holder.ok()) GTEST_SKIP() << "no userfaultfd here";
  const int64_t begun_ns = MonotonicNowNs();
  auto memory = broadcast->TakeSection(3);
  ASSERT_TRUE(memory.ok());
  auto view = Adopt(Duplicate(broadcast->fd()), broadcast->layout());
  ASSERT_TRUE(view.ok()) << view.status();
  memory->StoreRelease64(8, 5);
  EXPECT_EQ(view->Find(3)->memory.LoadAcquire64(8).AnyValueIsAcceptable(), 5u);
  broadcast.reset();
  EXPECT_LT(MonotonicNowNs() - begun_ns, 2'000'000'000);
}

}  // namespace
}  // namespace parley
