#include "parley/supervise/testing_program.h"

#include <cstdlib>
#include <filesystem>

#include "parley/sandbox/plain_code.h"

namespace parley::testing {

WorkerProgram Program(const std::string& target, const std::string& argument) {
  const char* runfiles = std::getenv("TEST_SRCDIR");      // NOLINT(concurrency-mt-unsafe)
  const char* workspace = std::getenv("TEST_WORKSPACE");  // NOLINT(concurrency-mt-unsafe)
  WorkerProgram program;
  program.path = runfiles == nullptr || workspace == nullptr
                     ? std::filesystem::absolute("supervise/" + target).string()
                     : std::string(runfiles) + "/" + workspace + "/supervise/" + target;
  program.name = "tester";
  program.arguments = {argument};
  return program;
}

bool HasSanitizer() { return internal::kSanitizer; }

}  // namespace parley::testing
