// SPDX-License-Identifier: Apache-2.0

// A seal that the kernel refuses ends a region, with the kernel's reason.

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/seals.h"
#include "parley/sealing/test_support.h"
#include "parley/shm/geometry.h"
#include "parley/shm/region.h"

namespace {

long refused_seals = 0;  // NOLINT(google-runtime-int): as a system call takes it

}  // namespace

// Before the C library's, for all of this program.
extern "C" int fcntl(int fd, int command, ...) {
  using Function = int (*)(int, int, ...);
  // SAFETY: dlsym gives functions as void*; this one has that type in every C library.
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "fcntl"));
  std::va_list list;
  va_start(list, command);
  const long argument = va_arg(list, long);  // NOLINT(google-runtime-int): a number or an address
  va_end(list);
  if (command == F_ADD_SEALS && (argument & refused_seals) != 0) {
    errno = EACCES;
    return -1;
  }
  // DESCRIPTOR: the caller's to own.
  return real(fd, command, argument);
}

namespace parley {
namespace {

using testing_support::LeakOf;

constexpr RegionGeometry kGeometry = {.data_bytes = 65536};

class RegionSealsTest : public ::testing::Test {
 protected:
  ~RegionSealsTest() override { refused_seals = 0; }
};

void ExpectRefused(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
  EXPECT_NE(std::string(status.message()).find("add the seals"), std::string::npos) << status;
}

TEST_F(RegionSealsTest, WithoutItsShapeNoRegionIsMade) {
  EXPECT_EQ(LeakOf([] {
              refused_seals = F_SEAL_GROW;
              ExpectRefused(OutgoingRegion::Create(kGeometry).status());
              ExpectRefused(IncomingRegionDraft::Create(kGeometry).status());
              refused_seals = 0;
            }),
            "nothing");
}

TEST_F(RegionSealsTest, WithoutItsLastSealsNoRegionIsWritten) {
  EXPECT_EQ(LeakOf([] {
              const auto draft = IncomingRegionDraft::Create(kGeometry);
              ASSERT_TRUE(draft.ok()) << draft.status();
              refused_seals = F_SEAL_FUTURE_WRITE;
              ExpectRefused(OutgoingRegion::Create(kGeometry).status());
              UniqueFd fd(::fcntl(draft->fd(), F_DUPFD_CLOEXEC, 3));
              ExpectRefused(OutgoingRegion::Adopt(std::move(fd), kGeometry, {},
                                                  Deadline::After(absl::Seconds(5)),
                                                  MakerTrust::kSupervisor)
                                .status());
              refused_seals = 0;
            }),
            "nothing");
}

}  // namespace
}  // namespace parley
