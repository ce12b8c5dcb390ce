// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/verify.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/guarded_range.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/test_support.h"

namespace parley {
namespace {

// What a kernel gives at least.
const size_t kPage = PageBytes();
const auto kPageAt = static_cast<off_t>(kPage);

using testing_support::FillRaw;
using testing_support::InodeLockHolder;
using testing_support::RawMemfd;
using testing_support::RunInChild;
using testing_support::SealRaw;

constexpr uint64_t kLimit = uint64_t{1} << 20;

absl::StatusCode CodeOf(int fd, uint64_t expected, uint64_t limit = kLimit,
                        SealSet seals = kRegionSeals) {
  return VerifyMemfd(fd, expected, limit, seals).status().code();
}

UniqueFd Finished(size_t size_bytes) {
  UniqueFd fd = RawMemfd(size_bytes);
  FillRaw(fd.get(), size_bytes);
  SealRaw(fd.get(), kRegionSeals);
  return fd;
}

TEST(VerifyTest, WhatWeMakePassesAndIsIdentified) {
  auto a = CreateMemfd(2 * kPage);
  auto b = CreateMemfd(2 * kPage);
  ASSERT_TRUE(a.ok() && b.ok());
  ASSERT_TRUE(AddSeals(a->get(), kRegionSeals).ok());
  ASSERT_TRUE(AddSeals(b->get(), kRegionSeals).ok());
  const auto facts_a = VerifyMemfd(a->get(), 2 * kPage, kLimit, kRegionSeals);
  const auto facts_b = VerifyMemfd(b->get(), 2 * kPage, kLimit, kRegionSeals);
  ASSERT_TRUE(facts_a.ok()) << facts_a.status();
  ASSERT_TRUE(facts_b.ok()) << facts_b.status();
  EXPECT_EQ(facts_a->size_bytes, 2 * kPage);
  EXPECT_EQ(facts_a->allocated_bytes, 2 * kPage);
  EXPECT_NE(facts_a->identity, facts_b->identity);
  const UniqueFd again(::fcntl(a->get(), F_DUPFD_CLOEXEC, 0));
  EXPECT_EQ(VerifyMemfd(again.get(), 2 * kPage, kLimit, kRegionSeals)->identity, facts_a->identity);
}

TEST(VerifyTest, M5TheSizeIsTheAnnouncedOneAndWithinTheLimit) {
  const UniqueFd fd = Finished(2 * kPage);
  EXPECT_EQ(CodeOf(fd.get(), 2 * kPage), absl::StatusCode::kOk);
  for (const uint64_t announced :
       {uint64_t{0}, uint64_t{kPage}, uint64_t{2 * kPage - 1}, uint64_t{2 * kPage + 1},
        uint64_t{64} << 40, (uint64_t{1} << 63) - 1, ~uint64_t{0}}) {
    EXPECT_EQ(CodeOf(fd.get(), announced), absl::StatusCode::kInvalidArgument) << announced;
  }
  EXPECT_EQ(CodeOf(fd.get(), 2 * kPage, 2 * kPage - 1), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(VerifyMemfdOfAnySize(fd.get(), 2 * kPage - 1, kRegionSeals).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(VerifyMemfdOfAnySize(fd.get(), 2 * kPage, kRegionSeals)->size_bytes, 2 * kPage);
}

TEST(VerifyTest, M5MonstrousFilesAreRefusedBeforeAnythingIsMapped) {
  for (const uint64_t size : {uint64_t{64} << 40, (uint64_t{1} << 63) - 1}) {
    const UniqueFd fd = RawMemfd(size);
    if (!fd.ok()) continue;  // a file system with a lower maximum
    SealRaw(fd.get(), kRegionSeals);
    EXPECT_EQ(CodeOf(fd.get(), size), absl::StatusCode::kResourceExhausted);
    // Even without a limit: none of its pages exists.
    EXPECT_EQ(CodeOf(fd.get(), size, ~uint64_t{0}), absl::StatusCode::kInvalidArgument);
  }
}

TEST(VerifyTest, M10ASparseFileIsRefused) {
  const UniqueFd empty = RawMemfd(8 * kPage);
  SealRaw(empty.get(), kRegionSeals);
  EXPECT_EQ(CodeOf(empty.get(), 8 * kPage), absl::StatusCode::kInvalidArgument);

  const UniqueFd one_missing = RawMemfd(8 * kPage);
  FillRaw(one_missing.get(), 8 * kPage);
  ASSERT_EQ(
      ::fallocate(one_missing.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPageAt, kPageAt),
      0);
  SealRaw(one_missing.get(), kRegionSeals);
  EXPECT_EQ(CodeOf(one_missing.get(), 8 * kPage), absl::StatusCode::kInvalidArgument);
}

TEST(VerifyTest, M10MorePagesThanTheSizeExplainsAreRefused) {
  for (const uint64_t beyond : {uint64_t{1}, uint64_t{16}}) {
    const UniqueFd fd = RawMemfd(8 * kPage);
    FillRaw(fd.get(), 8 * kPage);
    ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 8 * kPageAt,
                          static_cast<off_t>(beyond) * kPageAt),
              0);
    SealRaw(fd.get(), kRegionSeals);
    const absl::Status status = VerifyMemfd(fd.get(), 8 * kPage, kLimit, kRegionSeals).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.ToString().find("beyond its end"), std::string::npos) << status;
  }
}

TEST(VerifyTest, M10HolesHiddenByPagesBeyondTheEndAreFound) {
  // Seven holes, and seven pages where nobody can map them.
  const UniqueFd fd = RawMemfd(8 * kPage);
  FillRaw(fd.get(), kPage);
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 8 * kPageAt, 7 * kPageAt), 0);
  SealRaw(fd.get(), kRegionSeals);
  const auto facts = VerifyMemfd(fd.get(), 8 * kPage, kLimit, kRegionSeals);
  ASSERT_TRUE(facts.ok()) << "the count alone is deceived";
  EXPECT_TRUE(VerifyNothingAllocatedSince(fd.get(), *facts).ok());
  void* const mapped =
      ::mmap(nullptr, 8 * kPage, PROT_READ, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_EQ(VerifyNothingAllocatedSince(fd.get(), *facts).code(),
            absl::StatusCode::kInvalidArgument);
  ::munmap(mapped, 8 * kPage);
}

TEST(VerifyTest, M4HugePagesAreRefusedInSpiteOfAllSeals) {
  constexpr size_t kHuge = size_t{2} << 20;
  const UniqueFd fd = RawMemfd(kHuge, MFD_HUGETLB);
  if (!fd.ok()) GTEST_SKIP() << "this kernel makes no huge-page memfd";
  SealRaw(fd.get(), kRegionSeals);
  const absl::Status status = VerifyMemfd(fd.get(), kHuge, ~uint64_t{0}, kRegionSeals).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.ToString().find("huge pages"), std::string::npos) << status;
}

// A question that the kernel does not answer has its reason.
TEST(VerifyTest, WhatTheKernelDoesNotAnswerIsAnError) {
  const UniqueFd fd = Finished(2 * kPage);
  const auto facts = VerifyMemfd(fd.get(), 2 * kPage, kLimit, kRegionSeals);
  ASSERT_TRUE(facts.ok());
  const std::vector<std::vector<long>> questions = {{SYS_fstatfs}, {SYS_fstat, SYS_newfstatat}};
  for (const std::vector<long>& calls : questions) {
    EXPECT_EQ(RunInChild([&] {
                for (const long call : calls) testing_support::FailSystemCall(call, EACCES);
                EXPECT_EQ(CodeOf(fd.get(), 2 * kPage), absl::StatusCode::kPermissionDenied);
                EXPECT_EQ(VerifyMemfdOfAnySize(fd.get(), kLimit, kRegionSeals).status().code(),
                          absl::StatusCode::kPermissionDenied);
                if (calls.size() == 2) {
                  EXPECT_EQ(VerifyNothingAllocatedSince(fd.get(), *facts).code(),
                            absl::StatusCode::kPermissionDenied);
                }
              }),
              "ok");
  }
  EXPECT_FALSE(VerifyNothingAllocatedSince(-1, *facts).ok());
}

TEST(VerifyTest, AnySizeIsWholePagesOrNot) {
  for (const size_t size : {size_t{0}, size_t{1}, kPage - 1, kPage, kPage + 1, 3 * kPage - 1}) {
    auto fd = CreateMemfd(size);
    ASSERT_TRUE(fd.ok());
    ASSERT_TRUE(AddSeals(fd->get(), kRegionSeals).ok());
    const auto facts = VerifyMemfdOfAnySize(fd->get(), size, kRegionSeals);
    ASSERT_TRUE(facts.ok()) << facts.status();
    EXPECT_EQ(facts->size_bytes, size);
    EXPECT_EQ(facts->allocated_bytes, (size + kPage - 1) / kPage * kPage);
    EXPECT_EQ(CodeOf(fd->get(), size), absl::StatusCode::kOk);
  }
  EXPECT_EQ(MemfdFacts().size_bytes, 0u);
  EXPECT_EQ(MemfdFacts().allocated_bytes, 0u);
}

TEST(VerifyTest, M1ShrinkableFilesAreRefused) {
  const UniqueFd fd = RawMemfd(2 * kPage);
  FillRaw(fd.get(), 2 * kPage);
  SealRaw(fd.get(), F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
  EXPECT_EQ(CodeOf(fd.get(), 2 * kPage), absl::StatusCode::kInvalidArgument);
}

TEST(VerifyTest, PromiseP2AHeldInodeLockDoesNotHoldUpAnyQuestion) {
  UniqueFd fd = RawMemfd(2 * kPage);
  FillRaw(fd.get(), 2 * kPage);
  SealRaw(fd.get(), kShapeSeals);
  InodeLockHolder peer(fd.get());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  EXPECT_EQ(RunInChild([&] {
              auto facts = VerifyMemfd(fd.get(), 2 * kPage, kLimit, kShapeSeals);
              EXPECT_TRUE(facts.ok()) << facts.status();
              EXPECT_TRUE(VerifyNothingAllocatedSince(fd.get(), *facts).ok());
              EXPECT_EQ(CodeOf(fd.get(), 2 * kPage), absl::StatusCode::kInvalidArgument);
            }),
            "ok");
}

}  // namespace
}  // namespace parley
