// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/damaged_campaign.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/av/byte_source.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/thumb/damage.h"
#include "parley/thumb/make_thumbnail.h"
#include "parley/thumb/media_file.h"
#include "parley/thumb/options.h"
#include "parley/thumb/report.h"
#include "parley/thumb/run.h"
#include "parley/thumb/testing_media.h"

namespace parley::thumb::testing {
namespace {

namespace fs = std::filesystem;

// What RunThumb prints, in a file.
class Captured {
 public:
  Captured(int fd, std::string path) : fd_(fd), path_(std::move(path)), before_(::dup(fd)) {
    std::fflush(nullptr);
    const UniqueFd file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    ::dup2(file.get(), fd_);
  }
  std::string Take() {
    std::fflush(nullptr);
    ::dup2(before_.get(), fd_);
    before_.Reset();
    return ReadFile(path_);
  }

 private:
  int fd_;
  std::string path_;
  UniqueFd before_;
};

// The files that are damaged. Without wide.png, which is there for its width, and costs much.
std::vector<std::string> Kinds() {
  std::vector<std::string> kinds = MediaNames();
  kinds.erase(std::remove(kinds.begin(), kinds.end(), "wide.png"), kinds.end());
  kinds.emplace_back("cover.mp3");
  return kinds;
}

struct Case {
  std::string kind;
  std::string name;
  bool damaged = false;
};

std::string Read(const std::string& line, const std::string& name) {
  const std::string begin = "parley-thumb: ";
  const std::size_t at = line.find("/" + name + ": ");
  if (line.compare(0, begin.size(), begin) != 0 || at == std::string::npos) return "";
  return line.substr(at + name.size() + 3);
}

bool IsPlain(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 0x20 && c < 0x7f) || c == '\n'; });
}

// In a few words, for a table.
std::string Kind(const std::string& sentence) {
  if (sentence.compare(0, 4, "made") == 0) return "made";
  if (sentence.find("signal") != std::string::npos) return "crashed its worker";
  if (sentence.find("filter") != std::string::npos) return "refused call";
  if (sentence.find("memory") != std::string::npos) return "out of memory";
  if (sentence.find("no outcome after") != std::string::npos ||
      sentence.find("CPU time") != std::string::npos) {
    return "out of time";
  }
  if (sentence.find("pixels; at most") != std::string::npos ||
      sentence.find("max pixel count") != std::string::npos ||
      sentence.find("Picture size") != std::string::npos) {
    return "too many pixels";
  }
  if (sentence.find("protocol") != std::string::npos) return "broke the protocol";
  return "refused with a reason";
}

}  // namespace

Held HeldNow() {
  Held held;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    static_cast<void>(entry);
    ++held.descriptors;
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:") != std::string::npos) ++held.shared_mappings;
  }
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::ifstream children(task.path() / "children");
    for (std::string pid; children >> pid;) ++held.children;
  }
  return held;
}

Held HeldAtRest(const Held& before) {
  const Deadline deadline = Deadline::After(absl::Minutes(1));
  while (!(HeldNow() == before) && !deadline.Expired()) absl::SleepFor(absl::Milliseconds(10));
  return HeldNow();
}

CampaignResult RunCampaign(const CampaignOptions& options) {
  CampaignResult result;
  const std::string folder = ::testing::TempDir() + "/damaged";
  fs::remove_all(folder);
  fs::create_directories(folder + "/in");
  fs::create_directories(folder + "/out");

  std::vector<Case> cases;
  for (const std::string& kind : Kinds()) {
    const std::string whole = ReadFile(Media(kind));
    if (whole.empty()) {
      result.faults.push_back("ffmpeg made no " + kind);
      continue;
    }
    cases.push_back({kind, "whole-" + kind, false});
    WriteFile(folder + "/in/" + cases.back().name, whole);
    for (int i = 0; i < options.files_of_each; ++i) {
      const uint64_t seed = options.first_seed + static_cast<uint64_t>(i);
      cases.push_back({kind, absl::StrCat(seed, "-", kind), true});
      WriteFile(folder + "/in/" + cases.back().name, Damaged(whole, seed));
    }
  }

  ThumbOptions thumb;
  thumb.request.max_width = 64;
  thumb.request.max_height = 64;
  thumb.request.max_pixels = 20'000'000;
  thumb.output = folder + "/out";
  thumb.jobs = options.jobs;
  thumb.time_limit = absl::Seconds(options.time_limit_seconds);
  thumb.memory_limit_bytes = uint64_t{768} << 20;
  thumb.verbose = true;
  for (const Case& one : cases) thumb.files.push_back(folder + "/in/" + one.name);

  const Held before = HeldNow();
  Captured errors(STDERR_FILENO, folder + "/errors");
  const int exit_code = RunThumb(thumb, options.worker, [] { return 0; });
  const std::string said = errors.Take();
  if (exit_code != kExitDone && exit_code != kExitNoPicture) {
    result.faults.push_back(absl::StrCat("it ended with exit code ", exit_code, ": ", said));
  }
  if (!IsPlain(said)) result.faults.emplace_back("what it says cannot be printed");

  std::map<std::string, std::string> sentences;
  std::istringstream lines(said);
  std::set<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t end = line.find(": ", line.find("/in/"));
    const std::size_t begin = line.find("/in/");
    if (begin == std::string::npos || end == std::string::npos) continue;
    const std::string name = line.substr(begin + 4, end - begin - 4);
    if (const std::string sentence = Read(line, name); !sentence.empty()) {
      sentences[name] = sentence;
    }
  }
  WarmUpLibav();
  for (const Case& one : cases) {
    const std::string path = folder + "/out/" + one.name + ".png";
    const std::string sentence = sentences[one.name];
    const Picture picture = ReadPng(path);
    const bool made = sentence.compare(0, 4, "made") == 0;
    if (sentence.empty()) result.faults.push_back(one.name + " came to no end");
    if (made != (picture.width > 0) || made != fs::exists(path)) {
      result.faults.push_back(one.name + ": its file is not what was said: " + sentence);
    }
    if (made && (picture.width > 64 || picture.height > 64)) {
      result.faults.push_back(one.name + ": its picture is too large");
    }
    if (one.damaged) {
      ++result.damaged;
      ++result.outcomes[one.kind][Kind(sentence)];
      continue;
    }
    ++result.undamaged;
    const std::string bytes = ReadFile(Media(one.kind));
    av::SpanSource source(BytesOfWire(absl::MakeConstSpan(bytes.data(), bytes.size())));
    const auto plain = MakeThumbnail(source, thumb.request);
    if (plain.ok() != made || (made && plain->picture->bytes != picture.bytes)) {
      result.faults.push_back(one.name +
                              ", undamaged, is not the picture without a sandbox: " + sentence);
    }
  }

  // The same files, for facts.
  thumb.request.facts = true;
  thumb.format = Format::kJson;
  thumb.output = "";
  thumb.verbose = false;
  thumb.quiet = true;
  Captured output(STDOUT_FILENO, folder + "/json");
  Captured no_errors(STDERR_FILENO, folder + "/errors");
  const int facts_code = RunThumb(thumb, options.worker, [] { return 0; });
  static_cast<void>(no_errors.Take());
  const std::string json = output.Take();
  if (facts_code != kExitDone && facts_code != kExitNoPicture) {
    result.faults.push_back(absl::StrCat("--json ended with exit code ", facts_code));
  }
  if (!IsPlain(json) ||
      static_cast<std::size_t>(std::count(json.begin(), json.end(), '\n')) != cases.size()) {
    result.faults.emplace_back("--json is not one plain line for each file");
  }
  const Held after = HeldAtRest(before);
  if (!(after == before)) {
    result.faults.push_back(absl::StrCat("left behind: ", after.descriptors, " descriptors (",
                                         before.descriptors, " before), ", after.shared_mappings,
                                         " shared mappings (", before.shared_mappings, "), ",
                                         after.children, " children (", before.children, ")"));
  }
  fs::remove_all(folder);
  return result;
}

}  // namespace parley::thumb::testing
