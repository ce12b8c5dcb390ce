// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/test_clip.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "gtest/gtest.h"

namespace parley::film {

const std::vector<std::string>& TestClipNames() {
  static const std::vector<std::string> names = {
      "h264-aac.mp4",         "vp9-opus.webm", "mpeg4-mp3.avi", "odd-size.mp4", "odd-444.mkv",
      "422-10bit.mkv",        "rgb.mkv",       "mono-8khz.wav", "no-audio.mp4", "audio-only.ogg",
      "resolution-change.ts",
  };
  return names;
}

CommandResult RunCommand(const std::string& command) {
  CommandResult result;
  // NOLINTNEXTLINE(cert-env33-c): commands of the tests themselves.
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return result;
  char buffer[4096];
  size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0) result.output.append(buffer, got);
  const int status = ::pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string TestClip(const std::string& name) {
  const std::string path = ::testing::TempDir() + "/" + name;
  struct stat info;
  if (::stat(path.c_str(), &info) == 0) return path;
  const CommandResult made =
      RunCommand("examples/film/make_clip.sh --test " + name + " '" + path + "'");
  if (made.exit_code != 0) {
    std::fprintf(stderr, "make_clip.sh %s failed: %s\n", name.c_str(), made.output.c_str());
    std::abort();
  }
  return path;
}

std::vector<std::byte> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // SAFETY: characters seen as bytes.
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

}  // namespace parley::film
