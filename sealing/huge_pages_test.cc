// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/huge_pages.h"

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

using testing_support::FailSystemCall;
using testing_support::HugeMappedBytes;
using testing_support::LeakOf;
using testing_support::RunInChild;

constexpr uint64_t kThree = 3 * kHugePageBytes;

UniqueFd NewMemfd(uint64_t size_bytes) {
  auto fd = CreateMemfd(size_bytes);
  EXPECT_TRUE(fd.ok()) << fd.status();
  return fd.ok() ? *std::move(fd) : UniqueFd();
}

TEST(HugePagesTest, WholePagesFromTheFrontAndNoByteIsChanged) {
  const UniqueFd fd = NewMemfd(kThree + 4096);
  const std::string text = "as it was";
  for (const uint64_t at : {uint64_t{0}, 2 * kHugePageBytes - 4, kThree + 4000}) {
    ASSERT_EQ(::pwrite(fd.get(), text.data(), text.size(), static_cast<off_t>(at)),
              static_cast<ssize_t>(text.size()));
  }
  const uint64_t gathered_bytes = GatherIntoHugePages(fd.get(), kThree + 4096);
  if (gathered_bytes == 0) GTEST_SKIP() << "this kernel gathers no huge pages (before Linux 6.1)";
  EXPECT_EQ(gathered_bytes, kThree);
  EXPECT_EQ(HugeMappedBytes(), 0u);  // it keeps no mapping
  auto range = GuardedRange::Reserve(kThree + 4096);
  ASSERT_TRUE(range.ok());
  ASSERT_TRUE(range->Map(0, fd.get(), 0, kThree + 4096, GuardedRange::Access::kRead).ok());
  EXPECT_EQ(HugeMappedBytes(), kThree);
  for (const uint64_t at : {uint64_t{0}, 2 * kHugePageBytes - 4, kThree + 4000}) {
    // SAFETY: bytes of the mapping, looked at as characters.
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(range->base() + at), text.size()), text);
  }
  EXPECT_EQ(range->base()[kHugePageBytes - 1], std::byte{0});
}

TEST(HugePagesTest, AShortFileHasNone) {
  const UniqueFd fd = NewMemfd(kHugePageBytes - 4096);
  EXPECT_EQ(GatherIntoHugePages(fd.get(), kHugePageBytes - 4096), 0u);
}

TEST(HugePagesTest, WhereTheKernelRefusesNothingIsLost) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = NewMemfd(kThree);
              FailSystemCall(SYS_madvise, EINVAL);
              EXPECT_EQ(GatherIntoHugePages(fd.get(), kThree), 0u);
            }),
            "ok");
}

TEST(HugePagesTest, NothingStaysBehind) {
  const UniqueFd fd = NewMemfd(kHugePageBytes);
  EXPECT_EQ(LeakOf([&] { GatherIntoHugePages(fd.get(), kHugePageBytes); }), "nothing");
}

}  // namespace
}  // namespace parley
