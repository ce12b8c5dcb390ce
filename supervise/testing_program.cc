// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/testing_program.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "parley/sandbox/plain_code.h"
#include "parley/supervise/link_template.h"

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

absl::StatusOr<WorkerLink> StartLink(WorkerLinkOptions options, Deadline deadline) {
  const char* cloned = std::getenv("PARLEY_TEST_CLONED");  // NOLINT(concurrency-mt-unsafe)
  if (cloned == nullptr || HasSanitizer()) return WorkerLink::Start(std::move(options), deadline);
  auto warm = LinkTemplate::Start(options.program, deadline);
  if (!warm.ok()) return warm.status();
  return warm->StartLink(std::move(options), deadline);
}

bool HasSanitizer() { return internal::kSanitizer; }

}  // namespace parley::testing
