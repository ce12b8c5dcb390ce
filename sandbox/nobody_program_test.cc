// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/nobody_program.h"

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/sandbox/child_start.h"

namespace parley::internal {
namespace {

// What "/proc/self/exe" is to us, it is not to a process that has executed another program first.
TEST(NobodyProgramTest, AWorkerThatIsALinkInProcBeginsAsACopy) {
  const char* const given = std::getenv("TEST_TMPDIR");  // NOLINT(concurrency-mt-unsafe)
  const std::string folder = given == nullptr ? "/tmp" : given;
  const std::string own = folder + "/own." + std::to_string(::getpid());
  const std::string twice = own + ".twice";
  const std::string to_true = own + ".true";
  ASSERT_EQ(::symlink("/proc/self/exe", own.c_str()), 0);
  ASSERT_EQ(::symlink(own.substr(own.find_last_of('/') + 1).c_str(), twice.c_str()), 0);
  ASSERT_EQ(::symlink("/bin/true", to_true.c_str()), 0);
  const std::vector<std::pair<std::string, bool>> programs = {
      {"/bin/true", true}, {to_true, true}, {"/proc/self/exe", false},  {"/proc/self/fd/0", false},
      {own, false},        {twice, false},  {"/no/such/program", true},  // which the exec says
  };
  char* none[] = {nullptr};
  for (const auto& [program, executes] : programs) {
    for (const bool relative : {false, true}) {
      ChildStart start = {};
      const std::string without_root = program.substr(1);
      start.program = relative ? without_root.c_str() : program.c_str();
      start.directory = "/";
      start.arguments = start.environment = none;
      NobodyProgram nobody;
      ASSERT_EQ(nobody.Make(start), 0) << program;
      EXPECT_EQ(nobody.ok(), executes) << program;
    }
  }
  for (const std::string& path : {own, twice, to_true}) ::unlink(path.c_str());
}

}  // namespace
}  // namespace parley::internal
