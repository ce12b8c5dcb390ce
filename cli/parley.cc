// SPDX-License-Identifier: Apache-2.0

// parley VERB: channels between processes that do not trust each other, without writing a program.
//
//   ffmpeg -i film.mp4 -f yuv4mpegpipe - | parley send --y4m /tmp/film.socket
//   parley recv --y4m /tmp/film.socket | ffplay -
//
// The exit codes are in cli/arguments.cc, and those of doctor in doctor/doctor.h.

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "parley/cli/arguments.h"
#include "parley/cli/endpoints.h"
#include "parley/cli/send.h"
#include "parley/doctor/doctor.h"

namespace parley::cli {
namespace {

void PrintUsage(std::FILE* to) {
  std::fprintf(to, "%s",
               "parley: channels between processes that do not trust each other\n\n"
               "  parley doctor               what works on this machine, and what is missing\n");
  const std::string_view streams = StreamUsage();
  std::fprintf(to, "%.*s", static_cast<int>(streams.size()), streams.data());
}

int Main(const std::vector<std::string>& arguments, const char* self) {
  const std::string verb = arguments.empty() ? "" : arguments[0];
  const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1),
                                      arguments.end());
  if (verb == "doctor") return RunDoctor(rest, {.path = ThisProgram(self), .leading = {"doctor"}});
  if (verb == "--help" || verb == "help") {
    PrintUsage(stdout);
    return kExitWhole;
  }
  if (verb != "send" && verb != "recv") {
    PrintUsage(stderr);
    return kExitUsage;
  }
  if (!rest.empty() && rest[0] == "--help") {
    PrintUsage(stdout);
    return kExitWhole;
  }
  const absl::StatusOr<StreamOptions> options = ParseStreamArguments(rest);
  if (!options.ok()) {
    Say(verb, std::string(options.status().message()) + " (parley " + verb + " --help)");
    return kExitUsage;
  }
  CatchSignals();
  return verb == "send" ? RunSend(*options) : RunRecv(*options);
}

}  // namespace
}  // namespace parley::cli

int main(int argc, char** argv) {
  return parley::cli::Main(std::vector<std::string>(argv + 1, argv + argc), argv[0]);
}
