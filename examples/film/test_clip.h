// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_TEST_CLIP_H_
#define PARLEY_EXAMPLES_FILM_TEST_CLIP_H_

// Small films for tests, made with ffmpeg when first asked for.
//
// Threads: one at a time.
//
//   const std::string path = TestClip("vp9-opus.webm");

#include <cstddef>
#include <string>
#include <vector>

namespace parley::film {

// The clips of make_clip.sh --test.
const std::vector<std::string>& TestClipNames();
// The path of the clip, below the test's temporary folder. Aborts the test binary if ffmpeg fails.
std::string TestClip(const std::string& name);
std::vector<std::byte> ReadAll(const std::string& path);
// Runs a shell command: its exit code, and what it printed to both outputs.
struct CommandResult {
  int exit_code = -1;
  std::string output;
};
CommandResult RunCommand(const std::string& command);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_TEST_CLIP_H_
