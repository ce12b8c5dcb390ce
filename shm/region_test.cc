// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/sealing/huge_pages.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/seals.h"
#include "parley/sealing/test_support.h"

namespace parley {
namespace {

// What a kernel gives at least.
const size_t kPage = PageBytes();
const auto kPageAt = static_cast<off_t>(kPage);

using testing_support::FailSystemCall;
using testing_support::FillRaw;
using testing_support::FootprintNow;
using testing_support::HugeMappedBytes;
using testing_support::InodeLockHolder;
using testing_support::LeakOf;
using testing_support::MappedBytes;
using testing_support::RawMemfd;
using testing_support::RefuseSystemCall;
using testing_support::RunInChild;
using testing_support::SealRaw;

const RegionGeometry kGeometry = {.data_bytes = 16 * kPage};

Deadline Soon() { return Deadline::After(absl::Seconds(5)); }

// Whether this kernel makes huge pages of a memfd's (Linux 6.1).
bool KernelGathers() {
  static const bool gathers = [] {
    const UniqueFd fd = RawMemfd(kHugePageBytes);
    void* const at = ::mmap(nullptr, 2 * kHugePageBytes, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    // SAFETY: only to find the multiple of a huge page.
    const uintptr_t next =
        (reinterpret_cast<uintptr_t>(at) + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    // SAFETY: within the range of `at`.
    auto* const place = reinterpret_cast<void*>(next);  // NOLINT(performance-no-int-to-ptr)
    void* const page =
        ::mmap(place, kHugePageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0);
    constexpr int kCollapse = 25;
    FillRaw(fd.get(), kHugePageBytes);
    const bool done = ::madvise(page, kHugePageBytes, kCollapse) == 0;
    ::munmap(at, 2 * kHugePageBytes);
    return done;
  }();
  return gathers;
}

// What SCM_RIGHTS does to a descriptor: another number of the same open file description.
UniqueFd Sent(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

absl::Span<const std::byte> BytesOf(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
}

std::string Read(const PeerMemory& memory, size_t at, size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  memory.CopyOut(at, absl::MakeSpan(bytes));
  return std::string(reinterpret_cast<const char*>(bytes.data()), size_bytes);
}

// Each way to change a file that its seals leave to a process with a descriptor of it.
void ExpectNobodyCanWrite(int fd) {
  EXPECT_EQ(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_TRUE(errno == EPERM || errno == EACCES) << errno;
  void* const page = ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(page, MAP_FAILED);
  EXPECT_NE(::mprotect(page, kPage, PROT_READ | PROT_WRITE), 0);
  EXPECT_TRUE(errno == EPERM || errno == EACCES) << errno;
  EXPECT_NE(::madvise(page, kPage, MADV_REMOVE), 0);
  EXPECT_TRUE(errno == EPERM || errno == EACCES) << errno;
  ::munmap(page, kPage);
  EXPECT_EQ(::pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_NE(::ftruncate(fd, 0), 0);
  EXPECT_EQ(errno, EPERM);
  EXPECT_NE(::ftruncate(fd, off_t{1} << 30), 0);
  EXPECT_EQ(errno, EPERM);
  for (const int mode : {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                         FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE}) {
    EXPECT_NE(::fallocate(fd, mode, 0, kPageAt), 0) << mode;
  }
  EXPECT_NE(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const UniqueFd again(::open(path.c_str(), O_RDWR | O_CLOEXEC));  // M8: root may
  if (again.ok()) {
    EXPECT_EQ(::pwrite(again.get(), "x", 1, 0), -1);
    EXPECT_EQ(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0),
              MAP_FAILED);
    EXPECT_NE(::fallocate(again.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPageAt), 0);
  }
  EXPECT_FALSE(UniqueFd(::open(path.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC)).ok());
}

TEST(RegionTest, PromiseP1AnOutgoingRegionHasOneWriter) {
  auto region = OutgoingRegion::Create(kGeometry);
  ASSERT_TRUE(region.ok()) << region.status();
  auto reader = IncomingRegion::Adopt(Sent(region->fd()), kGeometry);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(RunInChild([&] { ExpectNobodyCanWrite(region->fd()); }), "ok");
  ExpectNobodyCanWrite(region->fd());  // not even this process, by any new road
  // The old road stays open.
  region->data().CopyIn(kGeometry.data_bytes - 2, BytesOf("word"));
  EXPECT_EQ(Read(reader->data(), kGeometry.data_bytes - 2, 4), "word");
  EXPECT_EQ(Read(reader->data(), 0, 2), "rd");
  region->control().StoreRelease64(0, 7);
  EXPECT_TRUE(reader->control().LoadAcquire64(0).Validate([](uint64_t v) { return v == 7; }));
}

TEST(RegionTest, PromiseP1AnIncomingRegionIsWrittenByThePeerAlone) {
  auto draft = IncomingRegionDraft::Create(kGeometry);
  ASSERT_TRUE(draft.ok()) << draft.status();
  EXPECT_EQ(draft->geometry().data_bytes, kGeometry.data_bytes);
  const FileId identity = draft->identity();
  auto writer = OutgoingRegion::Adopt(Sent(draft->fd()), kGeometry, {}, Soon());
  ASSERT_TRUE(writer.ok()) << writer.status();
  auto reader = std::move(*draft).Finish();
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(RunInChild([&] { ExpectNobodyCanWrite(reader->fd()); }), "ok");
  writer->data().CopyIn(5, BytesOf("frame"));
  EXPECT_EQ(Read(reader->data(), 5, 5), "frame");
  EXPECT_EQ(reader->identity(), identity);
  EXPECT_EQ(writer->identity(), identity);
  EXPECT_EQ(reader->geometry().data_bytes, kGeometry.data_bytes);
  EXPECT_EQ(writer->geometry().data_bytes, kGeometry.data_bytes);
}

TEST(RegionTest, PromiseP1FramesAreSealedWithTheirRegion) {
  const RegionGeometry geometry = {.data_bytes = kGeometry.data_bytes, .frames_bytes = 4 * kPage};
  auto draft = IncomingRegionDraft::Create(geometry);
  ASSERT_TRUE(draft.ok()) << draft.status();
  // Who expects another shape does not get one.
  EXPECT_FALSE(OutgoingRegion::Adopt(Sent(draft->fd()), kGeometry, {}, Soon()).ok());
  auto writer = OutgoingRegion::Adopt(Sent(draft->fd()), geometry, {}, Soon());
  ASSERT_TRUE(writer.ok()) << writer.status();
  auto reader = std::move(*draft).Finish();
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(RunInChild([&] { ExpectNobodyCanWrite(reader->fd()); }), "ok");
  EXPECT_TRUE(Read(reader->frames(), 0, 4 * kPage) == std::string(4 * kPage, '\0'));
  writer->frames().CopyIn(4 * kPage - 4, BytesOf("last"));
  EXPECT_EQ(Read(reader->frames(), 4 * kPage - 4, 4), "last");
}

// Both births: huge where asked for, twice at either end (the data lie there twice), and as well
// sealed as any other.
TEST(RegionTest, PromiseP1HugePagesOnRequest) {
  constexpr RegionGeometry kLong = {.data_bytes = uint64_t{8} << 20};
  {
    const auto usual = OutgoingRegion::Create(kLong);
    ASSERT_TRUE(usual.ok()) << usual.status();
    EXPECT_EQ(HugeMappedBytes(), 0u);
  }
  auto region = OutgoingRegion::Create(kLong, {}, HugePages::kHugeIfPossible);
  ASSERT_TRUE(region.ok()) << region.status();
  if (HugeMappedBytes() == 0) GTEST_SKIP() << "this kernel gathers no huge pages (before 6.1)";
  // All of the file but its last page; of the second half all but the two ends.
  constexpr uint64_t kEachEnd = (uint64_t{8} << 20) + (uint64_t{6} << 20);
  EXPECT_EQ(HugeMappedBytes(), kEachEnd);
  auto reader = IncomingRegion::Adopt(Sent(region->fd()), kLong);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(HugeMappedBytes(), 2 * kEachEnd);
  EXPECT_EQ(RunInChild([&] { ExpectNobodyCanWrite(region->fd()); }), "ok");

  auto draft = IncomingRegionDraft::Create(kLong, {}, HugePages::kHugeIfPossible);
  ASSERT_TRUE(draft.ok()) << draft.status();
  auto writer = OutgoingRegion::Adopt(Sent(draft->fd()), kLong, {}, Soon());
  ASSERT_TRUE(writer.ok()) << writer.status();
  auto finished = std::move(*draft).Finish();
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(HugeMappedBytes(), 4 * kEachEnd);
  EXPECT_EQ(RunInChild([&] { ExpectNobodyCanWrite(finished->fd()); }), "ok");
  writer->data().CopyIn(kLong.data_bytes - 2, BytesOf("word"));
  EXPECT_EQ(Read(finished->data(), kLong.data_bytes - 2, 4), "word");
  EXPECT_EQ(Read(finished->data(), 0, 2), "rd");
}

// Steps that a builder takes, and the thread's CPU time of the longest one. CPU time, because
// others use this machine, too.
struct Steps {
  int count = 0;
  int64_t longest_ns = 0;
};

int64_t ThreadCpuNs() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

template <typename Builder>
Steps StepToTheEnd(Builder* builder) {
  Steps steps;
  bool done = false;
  while (!done) {
    const int64_t start_ns = ThreadCpuNs();
    const absl::StatusOr<bool> stepped = builder->Step(Deadline::AtMonotonicNs(0));
    steps.longest_ns = std::max(steps.longest_ns, ThreadCpuNs() - start_ns);
    ++steps.count;
    EXPECT_TRUE(stepped.ok()) << stepped.status();
    done = !stepped.ok() || *stepped;
  }
  return steps;
}

// Each of the three things that take long, for a region of 64 MiB and one of 1 MiB: the longest
// step does not grow with the size. With a deadline that is past, a step is one slice.
TEST(RegionTest, PromiseP2NoStepOfABuilderGrowsWithTheSize) {
  const auto longest_ns = [](RegionGeometry geometry, int* least) {
    auto outgoing = OutgoingRegionBuilder::Start(geometry);
    auto draft = IncomingRegionDraftBuilder::Start(geometry);
    EXPECT_TRUE(outgoing.ok() && draft.ok());
    const Steps of_outgoing = StepToTheEnd(&*outgoing);
    const Steps of_draft = StepToTheEnd(&*draft);
    IncomingRegionDraft made = std::move(*draft).Take();
    SealRaw(made.fd(), kRegionSeals);
    auto finisher = std::move(made).StartFinish();
    EXPECT_TRUE(finisher.ok()) << finisher.status();
    const Steps of_finisher = StepToTheEnd(&*finisher);
    *least = std::min({of_outgoing.count, of_draft.count, of_finisher.count});
    OutgoingRegion mine = std::move(*outgoing).Take();
    const IncomingRegion theirs = std::move(*finisher).Take();
    EXPECT_EQ(RunInChild([&] { ExpectNobodyCanWrite(mine.fd()); }), "ok");
    EXPECT_EQ(RunInChild([&] { ExpectNobodyCanWrite(theirs.fd()); }), "ok");
    mine.data().CopyIn(geometry.data_bytes - 2, BytesOf("word"));
    return std::max({of_outgoing.longest_ns, of_draft.longest_ns, of_finisher.longest_ns});
  };
  int few = 0;
  int many = 0;
  const int64_t small_ns = longest_ns({uint64_t{1} << 20}, &few);
  const int64_t large_ns = longest_ns({uint64_t{64} << 20}, &many);
  EXPECT_GT(many, 256);
  // 64 times as large: were a step as long as all of it, 0.1 ms would be 10.
  EXPECT_LT(large_ns, 10 * small_ns + 1'000'000) << small_ns;
  std::printf("longest step: 1 MiB %.3f ms, 64 MiB %.3f ms\n", static_cast<double>(small_ns) / 1e6,
              static_cast<double>(large_ns) / 1e6);
}

uint64_t SlicesOf(uint64_t bytes, uint64_t slice_bytes) {
  return (bytes + slice_bytes - 1) / slice_bytes;
}

// With a deadline that is past, each step is one slice of its memory, one huge page, the seals, or
// one slice of its pages; without one, all are one step.
TEST(RegionTest, AStepIsOneSliceOrAll) {
  const auto steps_of = [](RegionGeometry geometry, HugePages pages, int* draft_steps) {
    auto outgoing = OutgoingRegionBuilder::Start(geometry, {}, pages);
    auto draft = IncomingRegionDraftBuilder::Start(geometry, {}, pages);
    EXPECT_TRUE(outgoing.ok() && draft.ok());
    *draft_steps = StepToTheEnd(&*draft).count;
    return StepToTheEnd(&*outgoing).count;
  };
  for (const RegionGeometry& geometry :
       {RegionGeometry{.data_bytes = 65536}, RegionGeometry{.data_bytes = uint64_t{8} << 20},
        RegionGeometry{.data_bytes = 65536, .frames_bytes = uint64_t{1} << 20}}) {
    const auto memory = static_cast<int>(SlicesOf(FileBytes(geometry), MemfdBuilder::kPieceBytes));
    const auto pages = static_cast<int>(
        SlicesOf(FileBytes(geometry) + geometry.data_bytes, IncomingMapping::kSliceBytes));
    int usual_draft = 0;
    const int usual = steps_of(geometry, HugePages::kUsual, &usual_draft);
    EXPECT_EQ(usual_draft, memory + 1);
    EXPECT_EQ(usual, memory + 1 + pages);
    int huge_draft = 0;
    const int huge = steps_of(geometry, HugePages::kHugeIfPossible, &huge_draft);
    const auto gathered = static_cast<int>(FileBytes(geometry) / kHugePageBytes);
    // One attempt where the kernel gathers none.
    EXPECT_EQ(huge_draft - usual_draft, KernelGathers() ? gathered : std::min(gathered, 1));
    EXPECT_EQ(huge - usual, huge_draft - usual_draft);

    const Deadline never = Deadline::Never();
    auto outgoing = OutgoingRegionBuilder::Start(geometry, {}, HugePages::kHugeIfPossible);
    auto draft = IncomingRegionDraftBuilder::Start(geometry, {}, HugePages::kHugeIfPossible);
    ASSERT_TRUE(outgoing.ok() && draft.ok());
    EXPECT_EQ(outgoing->Step(never).value_or(false), true);
    EXPECT_EQ(draft->Step(never).value_or(false), true);
    const OutgoingRegion mine = std::move(*outgoing).Take();
    auto finisher = IncomingRegion::StartAdopt(Sent(mine.fd()), geometry);
    ASSERT_TRUE(finisher.ok()) << finisher.status();
    EXPECT_EQ(StepToTheEnd(&*finisher).count, pages);
    auto again = IncomingRegion::StartAdopt(Sent(mine.fd()), geometry);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->Step(never).value_or(false), true);
  }
}

// A file of whole huge pages, and none of them left out.
TEST(RegionTest, AFileOfOneHugePage) {
  if (!KernelGathers()) GTEST_SKIP() << "this kernel gathers no huge pages (before 6.1)";
  const RegionGeometry geometry = {.frames_bytes = kHugePageBytes - ControlBytes()};
  const auto region = OutgoingRegion::Create(geometry, {}, HugePages::kHugeIfPossible);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(HugeMappedBytes(), kHugePageBytes);
}

TEST(RegionTest, AKernelThatGathersNoneMakesTheUsualPages) {
  EXPECT_EQ(
      RunInChild([] {
        // COLLAPSE is 25, and DONTFORK 10, DONTDUMP 16; pages are touched, for 23.
        RefuseSystemCall(SYS_madvise, 2, 1);
        const RegionGeometry geometry = {.data_bytes = uint64_t{4} << 20};
        const auto region = OutgoingRegion::Create(geometry, {}, HugePages::kHugeIfPossible);
        ASSERT_TRUE(region.ok()) << region.status();
        EXPECT_EQ(HugeMappedBytes(), 0u);
        EXPECT_TRUE(IncomingRegionDraft::Create(geometry, {}, HugePages::kHugeIfPossible).ok());
      }),
      "ok");
}

// At both ends, however the region came to be there.
TEST(RegionTest, AllPagesAreMapped) {
  const RegionGeometry geometry = {.data_bytes = uint64_t{1} << 20, .frames_bytes = 5 * kPage};
  const uint64_t each = FileBytes(geometry) + geometry.data_bytes;
  const auto mine = OutgoingRegion::Create(geometry);
  ASSERT_TRUE(mine.ok());
  EXPECT_EQ(MappedBytes(), each);
  const auto reader = IncomingRegion::Adopt(Sent(mine->fd()), geometry);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(MappedBytes(), 2 * each);
  auto draft = IncomingRegionDraft::Create(geometry);
  ASSERT_TRUE(draft.ok());
  EXPECT_EQ(MappedBytes(), 2 * each);
  const auto writer = OutgoingRegion::Adopt(Sent(draft->fd()), geometry, {}, Soon());
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(MappedBytes(), 3 * each);
  const auto finished = std::move(*draft).Finish();
  ASSERT_TRUE(finished.ok());
  EXPECT_EQ(MappedBytes(), 4 * each);
}

// What fits into one slice is there in any case.
TEST(RegionTest, PromiseP2TimeMoreThanCanBeMappedUntilTheDeadlineIsAnError) {
  const Deadline past = Deadline::AtMonotonicNs(0);
  for (const bool fits : {true, false}) {
    const RegionGeometry geometry = {.data_bytes = fits ? 65536 : uint64_t{1} << 20};
    const auto wanted = fits ? absl::StatusCode::kOk : absl::StatusCode::kDeadlineExceeded;
    const auto mine = OutgoingRegion::Create(geometry);
    ASSERT_TRUE(mine.ok());
    EXPECT_EQ(IncomingRegion::Adopt(Sent(mine->fd()), geometry, {}, past).status().code(), wanted);
    auto finisher = IncomingRegion::StartAdopt(Sent(mine->fd()), geometry);
    ASSERT_TRUE(finisher.ok());
    EXPECT_EQ(std::move(*finisher).Finish(past).status().code(), wanted);
    const auto draft = IncomingRegionDraft::Create(geometry);
    ASSERT_TRUE(draft.ok());
    EXPECT_EQ(OutgoingRegion::Adopt(Sent(draft->fd()), geometry, {}, past, MakerTrust::kSupervisor)
                  .status()
                  .code(),
              wanted);
  }
}

// Each call that can fail while a region is made, finished or adopted; with the kernel's reason.
TEST(RegionTest, PromiseP7EachFailureOnTheWayIsAnError) {
  const Deadline past = Deadline::AtMonotonicNs(0);
  const RegionGeometry one_slice = {.data_bytes = 65536};
  const auto expect_error = [](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  };
  const std::vector<long> question = {SYS_fstat, SYS_newfstatat};
  const std::vector<long> type = {SYS_fstatfs};
  const std::vector<long> pages = {SYS_madvise};
  for (const std::vector<long>& calls : {question, type, pages}) {
    const auto fail = [&] {
      for (const long call : calls) FailSystemCall(call, ENOMEM);
    };
    EXPECT_EQ(RunInChild([&] {
                auto outgoing = OutgoingRegionBuilder::Start(one_slice);
                auto draft = IncomingRegionDraftBuilder::Start(one_slice);
                ASSERT_TRUE(outgoing.ok() && draft.ok());
                ASSERT_FALSE(*outgoing->Step(past));
                ASSERT_FALSE(*draft->Step(past));
                fail();
                expect_error(outgoing->Step(Deadline::Never()).status());
                if (calls != pages) expect_error(draft->Step(Deadline::Never()).status());
              }),
              "ok");
    EXPECT_EQ(RunInChild([&] {
                const auto mine = OutgoingRegion::Create(one_slice);
                const auto draft = IncomingRegionDraft::Create(one_slice);
                ASSERT_TRUE(mine.ok() && draft.ok());
                auto outgoing = OutgoingRegionBuilder::Start(one_slice);
                ASSERT_TRUE(outgoing.ok());
                ASSERT_FALSE(*outgoing->Step(past));
                ASSERT_FALSE(*outgoing->Step(past));  // sealed and mapped, without its pages
                auto finisher = IncomingRegion::StartAdopt(Sent(mine->fd()), one_slice);
                auto adoption = OutgoingRegionAdoption::Start(Sent(draft->fd()), one_slice, {},
                                                              MakerTrust::kSupervisor);
                ASSERT_TRUE(finisher.ok() && adoption.ok());
                fail();
                if (calls != type) expect_error(outgoing->Step(past).status());
                if (calls != type) expect_error(finisher->Step(past).status());
                expect_error(std::move(*adoption).Finish(Soon()).status());
                expect_error(IncomingRegion::Adopt(Sent(mine->fd()), one_slice).status());
              }),
              "ok");
  }
}

// The address space has room for the file once, and not for it as it is mapped.
TEST(RegionTest, PromiseP7LackOfAddressSpaceIsAnErrorForAReader) {
  EXPECT_EQ(RunInChild([] {
              const RegionGeometry geometry = {.data_bytes = uint64_t{16} << 20};
              const auto mine = OutgoingRegion::Create(geometry);
              auto draft = IncomingRegionDraft::Create(geometry);
              ASSERT_TRUE(mine.ok() && draft.ok());
              SealRaw(draft->fd(), kRegionSeals);
              uint64_t pages = 0;
              std::ifstream("/proc/self/statm") >> pages;
              const rlim_t room = pages * kPage + (rlim_t{16} << 20);
              const rlimit limit = {room, room};
              ASSERT_EQ(::setrlimit(RLIMIT_AS, &limit), 0);
              EXPECT_EQ(IncomingRegion::Adopt(Sent(mine->fd()), geometry).status().code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(std::move(*draft).Finish().status().code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "ok");
}

TEST(RegionTest, ABuilderThatIsDroppedLeavesNothing) {
  FileRegistry here;
  const RegionLimits limits = {.registry = &here};
  const RegionGeometry geometry = {uint64_t{2} << 20};
  for (const HugePages pages : {HugePages::kUsual, HugePages::kHugeIfPossible}) {
    for (const int steps : {0, 3, 10, 20}) {
      EXPECT_EQ(LeakOf([&] {
                  auto outgoing = OutgoingRegionBuilder::Start(geometry, limits, pages);
                  auto draft = IncomingRegionDraftBuilder::Start(geometry, limits, pages);
                  ASSERT_TRUE(outgoing.ok() && draft.ok());
                  for (int i = 0; i < steps; ++i) {
                    EXPECT_TRUE(outgoing->Step(Deadline::AtMonotonicNs(0)).ok());
                    EXPECT_TRUE(draft->Step(Deadline::AtMonotonicNs(0)).ok());
                  }
                }),
                "nothing");
      EXPECT_EQ(here.size(), 0u);
    }
  }
}

TEST(RegionTest, PromiseP7ABuilderAllocatesInItsStepsAndAllBeforeItsEnd) {
  auto builder = IncomingRegionDraftBuilder::Start({uint64_t{1} << 20});
  ASSERT_TRUE(builder.ok());
  StepToTheEnd(&*builder);
  const IncomingRegionDraft draft = std::move(*builder).Take();
  struct stat file = {};
  ASSERT_EQ(::fstat(draft.fd(), &file), 0);
  EXPECT_EQ(static_cast<uint64_t>(file.st_blocks) * 512, FileBytes({uint64_t{1} << 20}));
  const RegionLimits small = {.max_data_bytes = kPage};
  EXPECT_EQ(OutgoingRegionBuilder::Start({2 * kPage}, small).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(IncomingRegionDraftBuilder::Start({2 * kPage}, small).status().code(),
            absl::StatusCode::kResourceExhausted);
}

// Of each of the three: before the end and a second time.
template <typename Builder>
void ExpectTakenOnceAtTheEnd(Builder& builder) {
  EXPECT_DEATH(std::move(builder).Take(), "Step has not returned true");
  StepToTheEnd(&builder);
  // What is done stays done.
  for (int i = 0; i < 2; ++i) {
    const absl::StatusOr<bool> again = builder.Step(Deadline::AtMonotonicNs(0));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*again);
  }
}

TEST(RegionDeathTest, ABuilderIsTakenOnceAtItsEnd) {
  auto outgoing = OutgoingRegionBuilder::Start(kGeometry);
  auto draft = IncomingRegionDraftBuilder::Start(kGeometry);
  ASSERT_TRUE(outgoing.ok() && draft.ok());
  ExpectTakenOnceAtTheEnd(*outgoing);
  ExpectTakenOnceAtTheEnd(*draft);
  const OutgoingRegion region = std::move(*outgoing).Take();
  IncomingRegionDraft made = std::move(*draft).Take();
  // NOLINTBEGIN(bugprone-use-after-move): it is what is asked
  EXPECT_DEATH(std::move(*outgoing).Take(), "Step has not returned true");
  EXPECT_DEATH(std::move(*draft).Take(), "Step has not returned true");
  SealRaw(made.fd(), kRegionSeals);
  auto finisher = std::move(made).StartFinish();
  ASSERT_TRUE(finisher.ok()) << finisher.status();
  ExpectTakenOnceAtTheEnd(*finisher);
  const IncomingRegion theirs = std::move(*finisher).Take();
  EXPECT_DEATH(std::move(*finisher).Take(), "Step has not returned true");
  // NOLINTEND(bugprone-use-after-move)
}

TEST(RegionTest, PromiseP5AFreshRegionIsAllZero) {
  auto region = OutgoingRegion::Create(kGeometry);
  ASSERT_TRUE(region.ok());
  auto reader = IncomingRegion::Adopt(Sent(region->fd()), kGeometry);
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE(Read(reader->data(), 0, kGeometry.data_bytes) ==
              std::string(kGeometry.data_bytes, '\0'));
  EXPECT_TRUE(Read(reader->control(), 0, ControlBytes()) == std::string(ControlBytes(), '\0'));
}

TEST(RegionTest, ARegionWithoutDataHasItsControlPage) {
  auto draft = IncomingRegionDraft::Create({.data_bytes = 0});
  ASSERT_TRUE(draft.ok()) << draft.status();
  auto writer = OutgoingRegion::Adopt(Sent(draft->fd()), {.data_bytes = 0}, {}, Soon());
  ASSERT_TRUE(writer.ok()) << writer.status();
  auto reader = std::move(*draft).Finish();
  ASSERT_TRUE(reader.ok()) << reader.status();
  writer->control().StoreRelease64(8, 9);
  EXPECT_EQ(Read(reader->control(), 8, 1), "\x09");
  EXPECT_EQ(reader->data().size_bytes(), 0u);
}

TEST(RegionTest, TheMemoryOutlivesItsDescriptors) {
  auto writer = OutgoingRegion::Create(kGeometry);
  ASSERT_TRUE(writer.ok());
  auto reader = IncomingRegion::Adopt(Sent(writer->fd()), kGeometry);
  ASSERT_TRUE(reader.ok());
  writer->CloseDescriptor();
  reader->CloseDescriptor();
  EXPECT_EQ(writer->fd(), -1);
  writer->data().CopyIn(0, BytesOf("still"));
  OutgoingRegion moved = std::move(*writer);
  moved.data().CopyIn(5, BytesOf("here"));
  EXPECT_EQ(Read(reader->data(), 0, 9), "stillhere");
}

// A file as an honest accepting side makes it, and then what `spoil` does to it before the seals.
UniqueFd Spoiled(SealSet seals, const std::function<void(int)>& spoil = {}) {
  UniqueFd fd = RawMemfd(FileBytes(kGeometry));
  FillRaw(fd.get(), FileBytes(kGeometry));
  if (spoil) spoil(fd.get());
  SealRaw(fd.get(), seals);
  return fd;
}

void PunchOnePage(int fd) {
  ASSERT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kPageAt, kPageAt), 0);
}

absl::StatusCode AdoptCode(UniqueFd fd, RegionGeometry geometry = kGeometry,
                           const RegionLimits& limits = {}) {
  return IncomingRegion::Adopt(std::move(fd), geometry, limits).status().code();
}

absl::StatusCode AdoptToWriteCode(UniqueFd fd, RegionGeometry geometry = kGeometry,
                                  const RegionLimits& limits = {}) {
  return OutgoingRegion::Adopt(std::move(fd), geometry, limits, Soon()).status().code();
}

TEST(RegionTest, AdoptRefusesEachLieAndLeaksNothing) {
  EXPECT_EQ(
      LeakOf([] {
        constexpr auto kLie = absl::StatusCode::kInvalidArgument;
        constexpr auto kTooMuch = absl::StatusCode::kResourceExhausted;
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals)), absl::StatusCode::kOk);
        EXPECT_EQ(AdoptToWriteCode(Spoiled(kShapeSeals)), absl::StatusCode::kOk);
        // M1, M2, M6: each seal is needed.
        for (SealSet one = 1; one <= F_SEAL_FUTURE_WRITE; one <<= 1) {
          if ((kRegionSeals & one) != 0) {
            EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals & ~one)), kLie) << SealNames(one);
          }
          if ((kShapeSeals & one) != 0) {
            EXPECT_EQ(AdoptToWriteCode(Spoiled(kShapeSeals & ~one)), kLie) << SealNames(one);
          }
        }
        // M5: another size than announced; announced sizes that no region has.
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals), {8 * kPage}), kLie);
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals), {32 * kPage}), kLie);
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals), {0}), kLie);
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals), {16 * kPage - 1}), kLie);
        for (const uint64_t huge : {(uint64_t{1} << 63) - 1, uint64_t{64} << 40, ~uint64_t{0}}) {
          EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals), {huge}), kTooMuch);
          EXPECT_EQ(AdoptToWriteCode(Spoiled(kShapeSeals), {huge}), kTooMuch);
        }
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals), kGeometry, {.max_data_bytes = 8 * kPage}),
                  kTooMuch);
        // M10: a page missing, in plain sight or behind one beyond the end.
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals, PunchOnePage)), kLie);
        EXPECT_EQ(AdoptToWriteCode(Spoiled(kShapeSeals, PunchOnePage)), kLie);
        const auto hide = [](int fd) {
          PunchOnePage(fd);
          const auto end = static_cast<off_t>(FileBytes(kGeometry));
          ASSERT_EQ(::fallocate(fd, FALLOC_FL_KEEP_SIZE, end, kPageAt), 0);
        };
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals, hide)), kLie);
        EXPECT_EQ(AdoptToWriteCode(Spoiled(kShapeSeals, hide)), kLie);
        // A page more than the size explains.
        const auto add = [](int fd) {
          const auto end = static_cast<off_t>(FileBytes(kGeometry));
          ASSERT_EQ(::fallocate(fd, FALLOC_FL_KEEP_SIZE, end, kPageAt), 0);
        };
        EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals, add)), kLie);
        EXPECT_EQ(AdoptToWriteCode(Spoiled(kShapeSeals, add)), kLie);
        // M9: no memfd.
        EXPECT_EQ(AdoptCode(UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC))), kLie);
        EXPECT_EQ(AdoptToWriteCode(UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC))), kLie);
        EXPECT_EQ(AdoptCode(UniqueFd()), kLie);
      }),
      "nothing");
}

// The attack that once passed with 15 of 17 pages missing. An accepting side, in a process of its
// own, hands over a draft with as many pages beyond its end as it will take out. It holds the
// inode's lock while the connecting side prepares, with the removal next in line: so that comes
// after all that the connecting side does before its seal, and before the seal. `then` is what it
// does after it has seen that count rise: free the pages beyond the end, so that the last count is
// right again.
void AdoptWhilePagesLeave(bool free_beyond_end) {
  const auto file_bytes = static_cast<off_t>(FileBytes(kGeometry));
  UniqueFd fd = RawMemfd(FileBytes(kGeometry));
  ASSERT_EQ(::fallocate(fd.get(), 0, 0, 2 * kPageAt), 0);
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, file_bytes, file_bytes - 2 * kPageAt), 0);
  SealRaw(fd.get(), kShapeSeals);
  InodeLockHolder lock(fd.get());
  if (!lock.ok()) GTEST_SKIP() << "no userfaultfd here";
  const pid_t remover = ::fork();
  if (remover == 0) {
    ::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kPageAt,
                file_bytes - 2 * kPageAt);
    struct stat file = {};
    const Deadline end = Deadline::After(absl::Seconds(2));
    while (free_beyond_end && !end.Expired()) {
      if (::fstat(fd.get(), &file) == 0 && file.st_blocks * 512 > file_bytes) {
        ::syscall(SYS_ftruncate, fd.get(), file_bytes);
      }
    }
    ::_exit(0);
  }
  std::thread release([&] {
    ::usleep(200'000);
    lock.Stop();
  });
  const auto region = OutgoingRegion::Adopt(Sent(fd.get()), kGeometry, {}, Soon());
  release.join();
  int status = 0;
  ::waitpid(remover, &status, 0);
  EXPECT_FALSE(region.ok()) << "pages were missing";
  EXPECT_EQ(region.status().code(), absl::StatusCode::kInvalidArgument) << region.status();
}

TEST(RegionTest, M10PagesThatLeaveBeforeTheSealAreMissed) { AdoptWhilePagesLeave(false); }

TEST(RegionTest, M10PagesBeyondTheEndThatLeaveLaterHideNothing) { AdoptWhilePagesLeave(true); }

// At a limit of processes a worker connects to its supervisor all the same; any other client is
// told which limit it is.
TEST(RegionTest, AWriterNeedsNoHelperForItsSupervisor) {
  EXPECT_EQ(RunInChild([] {
              auto draft = IncomingRegionDraft::Create(kGeometry);
              ASSERT_TRUE(draft.ok());
              testing_support::FailSystemCall(SYS_clone, EAGAIN);
              const absl::Status refused =
                  OutgoingRegion::Adopt(Sent(draft->fd()), kGeometry, {}, Soon()).status();
              EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
              EXPECT_NE(refused.ToString().find("ulimit -u"), std::string::npos) << refused;
              EXPECT_TRUE(OutgoingRegion::Adopt(Sent(draft->fd()), kGeometry, {}, Soon(),
                                                MakerTrust::kSupervisor)
                              .ok());
              EXPECT_TRUE(std::move(*draft).Finish().ok());
            }),
            "ok");
}

// A draft that carries a seal of its maker's choice is refused before anything is mapped or sealed.
TEST(RegionTest, M6SealsOnADraftThatNobodyAskedForAreRefused) {
  for (const SealSet surplus :
       {SealSet{F_SEAL_SEAL}, SealSet{F_SEAL_WRITE}, SealSet{F_SEAL_FUTURE_WRITE}}) {
    const UniqueFd fd = Spoiled(kShapeSeals | surplus);
    const absl::Status status =
        OutgoingRegion::Adopt(Sent(fd.get()), kGeometry, {}, Soon()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.ToString().find(SealNames(surplus)), std::string::npos) << status;
    const auto seals = GetSeals(fd.get());
    ASSERT_TRUE(seals.ok());
    EXPECT_EQ(*seals & ~SealSet{F_SEAL_EXEC}, kShapeSeals | surplus);
  }
  EXPECT_EQ(AdoptCode(Spoiled(kRegionSeals | F_SEAL_WRITE)), absl::StatusCode::kInvalidArgument);
}

TEST(RegionTest, M4HugePagesAreRefused) {
  // Of a size that would fit: the control page is what keeps the sizes apart otherwise.
  UniqueFd fd = RawMemfd(size_t{4} << 20, MFD_HUGETLB);
  if (!fd.ok()) GTEST_SKIP() << "this kernel makes no huge-page memfd";
  SealRaw(fd.get(), kRegionSeals);
  const absl::Status status = IncomingRegion::Adopt(std::move(fd), {4 << 20}).status();
  EXPECT_NE(status.ToString().find("huge pages"), std::string::npos) << status;
}

TEST(RegionTest, AReadOnlyDescriptorServesTheReaderAndNotTheWriter) {
  const UniqueFd fd = Spoiled(kShapeSeals);
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  UniqueFd read_only(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_only.ok());
  EXPECT_EQ(AdoptToWriteCode(Sent(read_only.get())), absl::StatusCode::kPermissionDenied);
  SealRaw(fd.get(), kRegionSeals);
  EXPECT_EQ(AdoptCode(std::move(read_only)), absl::StatusCode::kOk);
}

TEST(RegionTest, M12OneMemoryObjectHasOneRole) {
  FileRegistry here;
  const RegionLimits limits = {.registry = &here};
  auto mine = OutgoingRegion::Create(kGeometry, limits);
  auto draft = IncomingRegionDraft::Create(kGeometry, limits);
  ASSERT_TRUE(mine.ok() && draft.ok());
  EXPECT_EQ(here.size(), 2u);
  const UniqueFd foreign = Spoiled(kRegionSeals);
  {
    auto once = IncomingRegion::Adopt(Sent(foreign.get()), kGeometry, limits);
    ASSERT_TRUE(once.ok());
    once->CloseDescriptor();  // the mapping is what counts
    EXPECT_EQ(AdoptCode(Sent(foreign.get()), kGeometry, limits), absl::StatusCode::kAlreadyExists);
    // Our own, come back from another channel.
    EXPECT_EQ(AdoptCode(Sent(mine->fd()), kGeometry, limits), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(AdoptToWriteCode(Sent(draft->fd()), kGeometry, limits),
              absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(here.size(), 2u);
  EXPECT_EQ(AdoptCode(Sent(foreign.get()), kGeometry, limits), absl::StatusCode::kOk);
  {
    const auto refused = std::move(*draft).Finish();  // never sealed
    EXPECT_FALSE(refused.ok());
  }
  EXPECT_EQ(here.size(), 1u);
}

// What a peer with the draft's descriptor does before we finish it, in a process of its own.
absl::StatusCode FinishAfter(const std::function<void(int)>& hostile) {
  auto draft = IncomingRegionDraft::Create(kGeometry);
  EXPECT_TRUE(draft.ok());
  EXPECT_EQ(RunInChild([&] { hostile(draft->fd()); }), "ok");
  return std::move(*draft).Finish().status().code();
}

TEST(RegionTest, FinishRefusesADraftThatThePeerSpoiled) {
  EXPECT_EQ(LeakOf([] {
              EXPECT_EQ(FinishAfter([](int fd) { SealRaw(fd, kRegionSeals); }),
                        absl::StatusCode::kOk);
              EXPECT_EQ(FinishAfter([](int) {}), absl::StatusCode::kInvalidArgument);
              EXPECT_EQ(FinishAfter([](int fd) { SealRaw(fd, F_SEAL_FUTURE_WRITE); }),
                        absl::StatusCode::kInvalidArgument);
              EXPECT_EQ(FinishAfter([](int fd) { SealRaw(fd, F_SEAL_SEAL); }),
                        absl::StatusCode::kInvalidArgument);
              EXPECT_EQ(FinishAfter([](int fd) {
                          PunchOnePage(fd);
                          SealRaw(fd, kRegionSeals);
                        }),
                        absl::StatusCode::kInvalidArgument);
              // The shape is fixed from the start: no size, and no page beyond the end.
              EXPECT_EQ(FinishAfter([](int fd) {
                          EXPECT_NE(::ftruncate(fd, kPageAt), 0);
                          EXPECT_NE(::ftruncate(fd, off_t{1} << 20), 0);
                          const auto end = static_cast<off_t>(FileBytes(kGeometry));
                          EXPECT_NE(::fallocate(fd, FALLOC_FL_KEEP_SIZE, end, kPageAt), 0);
                          SealRaw(fd, kRegionSeals);
                        }),
                        absl::StatusCode::kOk);
            }),
            "nothing");
}

TEST(RegionTest, PromiseP2APeerThatHoldsTheInodeLockCantStopUs) {
  auto draft = IncomingRegionDraft::Create(kGeometry);
  ASSERT_TRUE(draft.ok());
  InodeLockHolder peer(draft->fd());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  // The connecting side, with a hostile accepting side: a deadline.
  EXPECT_EQ(RunInChild([&] {
              const absl::Status status =
                  OutgoingRegion::Adopt(Sent(draft->fd()), kGeometry, {},
                                        Deadline::After(absl::Milliseconds(100)))
                      .status();
              EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
            }),
            "ok");
  // The accepting side, with a hostile connecting side: never waits at all.
  EXPECT_EQ(RunInChild([&] {
              const absl::Status status = std::move(*draft).Finish().status();
              EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
            }),
            "ok");
}

TEST(RegionTest, PromiseP2AFinishedRegionHasNoLockThatMatters) {
  auto region = OutgoingRegion::Create(kGeometry);
  ASSERT_TRUE(region.ok());
  InodeLockHolder peer(region->fd());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  EXPECT_EQ(RunInChild([&] {
              auto reader = IncomingRegion::Adopt(Sent(region->fd()), kGeometry);
              EXPECT_TRUE(reader.ok()) << reader.status();
            }),
            "ok");
  region->data().CopyIn(0, BytesOf("x"));
}

TEST(RegionTest, PromiseP7LackOfDescriptorsMemoryOrFileSizeIsAnError) {
  EXPECT_EQ(RunInChild([] {
              const rlimit none = {0, 0};
              ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
              EXPECT_EQ(OutgoingRegion::Create(kGeometry).status().code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "ok");
  EXPECT_EQ(RunInChild([] {
              const rlimit limit = {16 * kPage, 16 * kPage};
              ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
              EXPECT_EQ(OutgoingRegion::Create(kGeometry).status().code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(IncomingRegionDraft::Create(kGeometry).status().code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_TRUE(OutgoingRegion::Create({8 * kPage}).ok());
            }),
            "ok");
  EXPECT_EQ(RunInChild([] {
              // What is mapped now and 16 MiB more; a sanitizer's own needs fit into that.
              uint64_t pages = 0;
              std::ifstream("/proc/self/statm") >> pages;
              const rlim_t room = pages * kPage + (rlim_t{16} << 20);
              const rlimit limit = {room, room};
              ASSERT_EQ(::setrlimit(RLIMIT_AS, &limit), 0);
              const int descriptors = FootprintNow().descriptors;
              EXPECT_EQ(OutgoingRegion::Create({16 << 20}).status().code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(FootprintNow().descriptors, descriptors);
              EXPECT_TRUE(OutgoingRegion::Create(kGeometry).ok());
            }),
            "ok");
}

TEST(RegionTest, PromiseP8NothingIsInheritedAndNothingStaysBehind) {
  EXPECT_EQ(LeakOf([] {
              auto mine = OutgoingRegion::Create(kGeometry);
              auto draft = IncomingRegionDraft::Create(kGeometry);
              ASSERT_TRUE(mine.ok() && draft.ok());
              EXPECT_NE(::fcntl(mine->fd(), F_GETFD) & FD_CLOEXEC, 0);
              EXPECT_NE(::fcntl(draft->fd(), F_GETFD) & FD_CLOEXEC, 0);
              auto writer = OutgoingRegion::Adopt(Sent(draft->fd()), kGeometry, {}, Soon());
              ASSERT_TRUE(writer.ok());
              ASSERT_TRUE(std::move(*draft).Finish().ok());
            }),
            "nothing");
  // M13: the regions of this process are not there in its child.
  auto mine = OutgoingRegion::Create(kGeometry);
  ASSERT_TRUE(mine.ok());
  EXPECT_GT(FootprintNow().memfd_mappings, 0);
  EXPECT_EQ(RunInChild([] { EXPECT_EQ(FootprintNow().memfd_mappings, 0); }), "ok");
}

}  // namespace
}  // namespace parley
