// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/seals.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/test_support.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::RawMemfd;
using testing_support::RunInChild;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(SealsTest, NamesAreReadable) {
  EXPECT_EQ(SealNames(0), "none");
  EXPECT_EQ(SealNames(kShapeSeals), "SHRINK, GROW");
  EXPECT_EQ(SealNames(kRegionSeals), "SEAL, SHRINK, GROW, FUTURE_WRITE");
  EXPECT_EQ(SealNames(kBlobSeals), "SEAL, SHRINK, GROW, WRITE");
  EXPECT_EQ(SealNames(F_SEAL_SEAL | (1U << 30)), "SEAL, unknown");
}

TEST(SealsTest, EachMissingSealIsARefusalThatNamesIt) {
  for (const SealSet wanted : {kShapeSeals, kRegionSeals, kBlobSeals}) {
    for (SealSet one = 1; one <= F_SEAL_FUTURE_WRITE; one <<= 1) {
      if ((wanted & one) == 0) continue;
      UniqueFd fd = RawMemfd(4096);
      ASSERT_TRUE(AddSeals(fd.get(), wanted & ~one).ok());
      const absl::Status status = VerifySeals(fd.get(), wanted);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(Message(status), "the memfd lacks seals: " + SealNames(one));
    }
  }
}

// With each seal beside those that are required: the ones that change nothing pass, every other one
// is refused by its name.
TEST(SealsTest, M6AndM7SealsThatNobodyAskedForAreRefused) {
  for (const SealSet wanted : {kShapeSeals, kRegionSeals, kBlobSeals}) {
    for (SealSet one = 1; one <= F_SEAL_EXEC; one <<= 1) {
      if ((wanted & one) != 0) continue;
      const UniqueFd fd = RawMemfd(4096);
      if (::fcntl(fd.get(), F_ADD_SEALS, one | (wanted & ~SealSet{F_SEAL_SEAL})) != 0) {
        continue;  // F_SEAL_EXEC before Linux 6.3
      }
      ASSERT_TRUE(AddSeals(fd.get(), wanted).ok());
      const absl::StatusOr<SealSet> present = GetSeals(fd.get());
      ASSERT_TRUE(present.ok());
      // On an executable file the kernel adds all write seals to F_SEAL_EXEC (M7).
      SealSet surplus = *present & ~(wanted | F_SEAL_EXEC);
      if (wanted == kBlobSeals) surplus &= ~SealSet{F_SEAL_FUTURE_WRITE};
      const absl::Status status = VerifySeals(fd.get(), wanted);
      EXPECT_EQ(status.ok(), surplus == 0) << SealNames(one) << " beside " << SealNames(wanted);
      if (surplus != 0) {
        EXPECT_EQ(Message(status),
                  "the memfd has seals that nobody asked for: " + SealNames(surplus));
      }
    }
  }
}

TEST(SealsTest, PresentSealsAreNoErrorAndLateOnesAre) {
  UniqueFd fd = RawMemfd(4096);
  ASSERT_TRUE(AddSeals(fd.get(), kRegionSeals).ok());
  EXPECT_TRUE(AddSeals(fd.get(), kRegionSeals).ok());
  EXPECT_EQ(AddSeals(fd.get(), F_SEAL_WRITE).code(), absl::StatusCode::kPermissionDenied);
}

TEST(SealsTest, EachSealIsAddedByItself) {
  for (const SealSet one : {SealSet{F_SEAL_SEAL}, SealSet{F_SEAL_SHRINK}, SealSet{F_SEAL_GROW},
                            SealSet{F_SEAL_WRITE}, SealSet{F_SEAL_FUTURE_WRITE}}) {
    const UniqueFd fd = RawMemfd(4096);
    const SealSet before = *GetSeals(fd.get());
    EXPECT_TRUE(AddSeals(fd.get(), 0).ok());
    EXPECT_EQ(*GetSeals(fd.get()), before);
    EXPECT_TRUE(AddSeals(fd.get(), one).ok());
    EXPECT_EQ(*GetSeals(fd.get()), before | one) << SealNames(one);
    EXPECT_TRUE(AddSeals(fd.get(), one).ok());
  }
  EXPECT_EQ(AddSeals(-1, kShapeSeals).code(), absl::StatusCode::kInvalidArgument);
}

TEST(SealsTest, AWritableMappingIsInTheWayOfTheBlobSeals) {
  UniqueFd fd = RawMemfd(4096);
  void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(page, MAP_FAILED);
  EXPECT_EQ(AddSeals(fd.get(), kBlobSeals).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_EQ(::munmap(page, 4096), 0);
  EXPECT_TRUE(AddSeals(fd.get(), kBlobSeals).ok());
}

TEST(SealsTest, AKernelThatDoesNotAnswerIsNoMemfdEither) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = RawMemfd(4096);
              FailSystemCall(SYS_fcntl, EACCES);
              EXPECT_EQ(GetSeals(fd.get()).status().code(), absl::StatusCode::kPermissionDenied);
              EXPECT_FALSE(VerifySeals(fd.get(), kShapeSeals).ok());
              EXPECT_FALSE(AddSeals(fd.get(), kShapeSeals).ok());
            }),
            "ok");
}

TEST(SealsTest, M9EverythingThatIsNoMemfdIsRefused) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd read_end(pipe_ends[0]);
  const UniqueFd write_end(pipe_ends[1]);
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  const UniqueFd directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd memfd = RawMemfd(4096);
  const std::string memfd_path = "/proc/self/fd/" + std::to_string(memfd.get());
  const UniqueFd path_only(::open(memfd_path.c_str(), O_PATH | O_CLOEXEC));
  ASSERT_TRUE(path_only.ok());
  std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/fileXXXXXX";
  const UniqueFd file(::mkostemp(name.data(), O_CLOEXEC));
  ::unlink(name.c_str());
  for (const int fd : {-1, read_end.get(), write_end.get(), event.get(), zero.get(),
                       directory.get(), path_only.get(), file.get()}) {
    EXPECT_EQ(VerifySeals(fd, kShapeSeals).code(), absl::StatusCode::kInvalidArgument) << fd;
  }
  // Each memfd without MFD_ALLOW_SEALING, and each tmpfs file, has F_SEAL_SEAL and no other.
  const UniqueFd unsealable(::memfd_create("raw", MFD_CLOEXEC));
  EXPECT_EQ(VerifySeals(unsealable.get(), kShapeSeals).code(), absl::StatusCode::kInvalidArgument);
  std::string tmpfs_name = "/dev/shm/parleyXXXXXX";
  const UniqueFd tmpfs(::mkostemp(tmpfs_name.data(), O_CLOEXEC));
  if (tmpfs.ok()) {
    ::unlink(tmpfs_name.c_str());
    EXPECT_EQ(VerifySeals(tmpfs.get(), kShapeSeals).code(), absl::StatusCode::kInvalidArgument);
  }
#ifdef SYS_memfd_secret
  const UniqueFd secret(static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC)));
  if (secret.ok()) {
    EXPECT_EQ(VerifySeals(secret.get(), kShapeSeals).code(), absl::StatusCode::kInvalidArgument);
  }
#endif
}

}  // namespace
}  // namespace parley
