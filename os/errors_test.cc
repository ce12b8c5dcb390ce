// SPDX-License-Identifier: Apache-2.0
#include "parley/os/errors.h"

#include <cerrno>
#include <string>

#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(ErrorsTest, TheTextIsTheCLibrarys) {
  EXPECT_EQ(ErrnoText(ENOENT), "No such file or directory");
  EXPECT_NE(ErrnoText(99999), "");
}

// Also where there is advice after them.
TEST(ErrorsTest, TheSentenceHasWhatAndWhy) {
  EXPECT_EQ(std::string(ErrnoStatus(ENOENT, "open the door").message()),
            "cannot open the door: No such file or directory");
  for (int error = 1; error < 134; ++error) {
    const std::string message(ErrnoStatus(error, "open the door").message());
    EXPECT_EQ(message.find("cannot open the door: " + ErrnoText(error)), 0u) << message;
  }
}

TEST(ErrorsTest, FullDescriptorTableSaysWhatToDo) {
  const absl::Status status = ErrnoStatus(EMFILE, "create a memfd");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(status.message()).find("ulimit -n"), std::string::npos);
  EXPECT_EQ(std::string(status.message()).find("cannot create a memfd: "), 0u);
}

TEST(ErrorsTest, FileSizeLimitIsNamed) {
  EXPECT_NE(std::string(ErrnoStatus(EFBIG, "allocate").message()).find("RLIMIT_FSIZE"),
            std::string::npos);
}

TEST(ErrorsTest, UnknownCodesAreInternal) {
  EXPECT_EQ(ErrnoStatus(EXDEV, "x").code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace parley
