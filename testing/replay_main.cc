// SPDX-License-Identifier: Apache-2.0

// Runs a fuzz target once on each file named on the command line, without libFuzzer, so that every
// compiler and every run of the tests replays the seeds and the crashes of old.
//
// Fails if there is no file, if one can't be read, or (by the target's own doing) if one crashes;
// its name is printed before it runs.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <ios>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::optional<std::vector<char>> ReadFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return std::nullopt;
  return bytes;
}

void RunOnce(const std::vector<char>& bytes) {
  // A block of exactly this size: the address sanitizer then sees the first byte past the end.
  const auto exact = std::make_unique<uint8_t[]>(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) exact[i] = static_cast<uint8_t>(bytes[i]);
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  int inputs = 0;
  for (int i = 1; i < argc; ++i) {
    const std::optional<std::vector<char>> bytes = ReadFile(argv[i]);
    if (!bytes) {
      std::fprintf(stderr, "replay: can't read %s\n", argv[i]);
      return 1;
    }
    std::printf("%s (%zu bytes)\n", argv[i], bytes->size());
    std::fflush(stdout);
    RunOnce(*bytes);
    ++inputs;
  }
  std::printf("replay: %d inputs\n", inputs);
  if (inputs == 0) {
    std::fprintf(stderr, "replay: no inputs, so nothing was tested\n");
    return 1;
  }
  return 0;
}
