// SPDX-License-Identifier: Apache-2.0

// What a worker is when its program runs, in each way in which one is started: every step of the
// child leaves something that can be asked of the kernel.

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_proc.h"
#include "parley/sandbox/testing_spawn.h"
#include "parley/sandbox/testing_ways.h"
#include "parley/testing/filter.h"

namespace parley {
namespace {

using testing::AskFor;
using testing::HasSanitizer;
using testing::InAProcessOfItsOwn;
using testing::KernelMakesNamespaces;
using testing::kLong;
using testing::kWayNames;
using testing::kWays;
using testing::MakeWay;
using testing::NextReply;
using testing::Refuse;
using testing::Way;

std::vector<Way> WaysHere() {
  if (!KernelMakesNamespaces()) return {Way::kWithout};
  if (::geteuid() != 0) return {Way::kWithout, Way::kRoot};
  return {std::begin(kWays), std::end(kWays)};
}

// The tests may lie where only root may go. This copy of their worker is anybody's to execute.
class WorkerForAnybody {
 public:
  WorkerForAnybody() {
    std::string folder = "/tmp/parley.XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) return;
    ::chmod(folder.c_str(), 0755);
    folder_ = folder;
    std::filesystem::copy_file(testing::WorkerPath(), path());
    ::chmod(path().c_str(), 0755);
  }
  WorkerForAnybody(const WorkerForAnybody&) = delete;
  WorkerForAnybody& operator=(const WorkerForAnybody&) = delete;
  ~WorkerForAnybody() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  std::string path() const { return folder_ + "/testing_worker"; }

 private:
  std::string folder_;
};

class StartStateTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { worker_.emplace(); }
  static void TearDownTestSuite() { worker_.reset(); }

 public:
  static inline std::optional<WorkerForAnybody> worker_;
};

SpawnOptions OptionsOf(Way way, std::vector<std::string> arguments, UniqueFd& replies) {
  SpawnOptions options = testing::WorkerOptions(std::move(arguments), replies);
  options.program = StartStateTest::worker_->path();
  AskFor(way, &options);
  return options;
}

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// What `body` returns is empty where all is well; in a process of its own, which may refuse calls.
template <typename Body>
void ExpectInEachWay(const Body& body) {
  for (const Way way : WaysHere()) {
    const int code = InAProcessOfItsOwn([way, &body] {
      MakeWay(way);
      const std::string wrong = body(way);
      if (!wrong.empty()) std::fprintf(stderr, "%s\n", wrong.c_str());
      return wrong.empty() ? 0 : 1;
    });
    EXPECT_EQ(code, 0) << kWayNames[static_cast<size_t>(way)];
  }
}

// "Key: value" and "Key   value" lines, blanks as one.
std::map<std::string, std::string> Fields(const std::string& text) {
  std::map<std::string, std::string> fields;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string all;
    for (std::string word; words >> word;) all += (all.empty() ? "" : " ") + word;
    if (const size_t at = all.find(": "); at != std::string::npos) {
      fields[all.substr(0, at)] = all.substr(at + 2);
    }
    if (all.rfind("Max ", 0) == 0) {
      const size_t digit = all.find_first_of("0123456789");
      if (digit != std::string::npos) fields[all.substr(0, digit - 1)] = all.substr(digit);
    }
  }
  return fields;
}

std::string Differs(std::map<std::string, std::string>& found,
                    const std::map<std::string, std::string>& expected) {
  std::string text;
  for (const auto& [key, value] : expected) {
    const std::string seen = found[key];
    if (seen != value) text += key + ": " + seen + ", not " + value + "\n";
  }
  return text;
}

std::string FourTimes(unsigned id) {
  const std::string one = std::to_string(id);
  return one + " " + one + " " + one + " " + one;
}

std::string StateDiffers(Way way, bool cloned) {
  UniqueFd replies;
  SpawnOptions options = OptionsOf(way, {"state"}, replies);
  options.limits.address_space_bytes = uint64_t{3} << 30;
  options.limits.cpu_seconds = 100;
  options.limits.file_size_bytes = 4096;
  options.limits.open_files = 33;
  options.limits.stack_bytes = uint64_t{2} << 20;
  options.limits.locked_memory_bytes = 8192;
  options.nice = 2;
  auto worker = cloned ? testing::StartClone(std::move(options)) : Spawn(std::move(options));
  if (!worker.ok()) return worker.status().ToString();
  auto found = Fields(NextReply(replies.get()));
  const bool within = way != Way::kWithout;
  const bool nobody = way == Way::kNobody || way == Way::kCopy;
  const std::string own = within ? "2" : std::to_string(worker->pid());
  const std::string none = "0000000000000000";
  std::map<std::string, std::string> expected = {
      {"SigBlk", none},
      {"SigIgn", none},
      {"NoNewPrivs", "1"},
      {"CapInh", none},
      {"CapPrm", none},
      {"CapEff", none},
      {"CapAmb", none},
      {"Uid", FourTimes(nobody ? 65534 : ::geteuid())},
      {"Gid", FourTimes(nobody ? 65534 : ::getegid())},
      {"Umask", "0077"},
      {"Threads", "1"},
      {"Group", own},
      {"Session", own},
      {"Nice", std::to_string(::getpriority(PRIO_PROCESS, 0) + 2)},
      {"Policy", "0"},
      {"Directory", "/"},
      {"DeathSignal", "9"},
      {"TimerSlack", "50000"},
      {"Personality", "0"},
      {"Max cpu time", "100 101 seconds"},
      {"Max file size", "4096 4096 bytes"},
      {"Max stack size", "2097152 2097152 bytes"},
      {"Max core file size", "0 0 bytes"},
      {"Max open files", "33 33 files"},
      {"Max locked memory", "8192 8192 bytes"},
      {"Max address space", "3221225472 3221225472 bytes"},
      {"Max msgqueue size", "0 0 bytes"},
      {"Max nice priority", "0 0"},
      {"Max realtime priority", "0 0"},
  };
  if (::geteuid() == 0) expected["CapBnd"] = none;
  if (nobody) expected["Groups"] = "0";
  if (within) expected["Max processes"] = "256 256 processes";
  return Differs(found, expected);
}

TEST_F(StartStateTest, AWorkerIsFreshInEachWay) {
  if (HasSanitizer()) GTEST_SKIP() << "its runtime raises limits and has threads of its own";
  ExpectInEachWay([](Way way) { return StateDiffers(way, false); });
}

TEST_F(StartStateTest, ACloneIsFreshInEachWay) {
  if (HasSanitizer()) GTEST_SKIP() << "no templates in a build with a sanitizer";
  ExpectInEachWay([](Way way) { return StateDiffers(way, true); });
}

TEST_F(StartStateTest, AWorkerThatMayOutliveUsHasNoSignalForOurEnd) {
  ExpectInEachWay([](Way way) {
    UniqueFd replies;
    SpawnOptions options = OptionsOf(way, {"state"}, replies);
    options.dies_with_parent = false;
    auto worker = Spawn(std::move(options));
    if (!worker.ok()) return worker.status().ToString();
    auto found = Fields(NextReply(replies.get()));
    return Differs(found, {{"DeathSignal", "0"}});
  });
}

TEST_F(StartStateTest, ItsProcessesAreLimitedByUsWhereWeHaveFewer) {
  ExpectInEachWay([](Way way) {
    const rlimit ours = {200, 200};
    if (way == Way::kWithout || ::setrlimit(RLIMIT_NPROC, &ours) != 0) return std::string();
    UniqueFd replies;
    // The holder's capabilities within do not count for it.
    auto worker = Spawn(OptionsOf(way, {"state"}, replies));
    if (!worker.ok()) return worker.status().ToString();
    auto found = Fields(NextReply(replies.get()));
    return Differs(found, {{"Max processes", "200 200 processes"}});
  });
}

// Descriptors beyond those that were given are closed without close_range too: the worker's, and
// its holder's.
TEST_F(StartStateTest, DescriptorsAreClosedOneByOneWhereTheCallIsRefused) {
  if (HasSanitizer()) GTEST_SKIP() << "its runtime has descriptors of its own";
  for (const uint32_t error : {uint32_t{EPERM}, uint32_t{ENOSYS}}) {
    ExpectInEachWay([error](Way way) {
      Refuse({.call = SYS_close_range, .error = error});
      const UniqueFd leaky(::open("/dev/zero", O_RDONLY));  // NOLINT: that is the point
      const UniqueFd far(::fcntl(leaky.get(), F_DUPFD, 120));
      UniqueFd replies;
      SpawnOptions options = OptionsOf(way, {"list_descriptors"}, replies);
      options.stderr_to = OutputTo::kNull;
      auto worker = Spawn(std::move(options));
      if (!worker.ok()) return worker.status().ToString();
      const std::string list = NextReply(replies.get());
      std::string numbers;
      std::istringstream lines(list);
      for (std::string line; std::getline(lines, line);) {
        numbers += line.substr(0, line.find('[')) + ",";
      }
      const std::string own = "0 /dev/null,1 /dev/null,2 /dev/null,3 socket:,4 socket:,";
      return numbers == own + (way == Way::kWithout ? "" : "5 socket:,") ? std::string() : list;
    });
  }
}

// "path" of each descriptor, without inodes.
std::string DescriptorsOf(pid_t pid) {
  std::string list;
  for (int fd = 0; fd < 300; ++fd) {
    char target[128] = {};
    const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
    if (::readlink(path.c_str(), target, sizeof(target) - 1) <= 0) continue;
    const std::string text = target;
    list += std::to_string(fd) + " " + text.substr(0, text.find('[')) + ",";
  }
  return list;
}

pid_t HolderHere() {
  std::istringstream children(Read("/proc/self/task/" + std::to_string(::gettid()) + "/children"));
  for (pid_t pid = 0; children >> pid;) {
    if (Read("/proc/" + std::to_string(pid) + "/comm") == "parley-holder\n") return pid;
  }
  return -1;
}

// The worker's maps, its holder's descriptors and session, and the mounts, before and after
// lock-down.
TEST_F(StartStateTest, TheHolderHasWhatItNeedsAndNoMore) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may look at it";
  ExpectInEachWay([](Way way) -> std::string {
    if (way == Way::kWithout) return "";
    for (const bool close_range : {true, false}) {
      if (!close_range) Refuse({.call = SYS_close_range, .error = EPERM});
      const UniqueFd leaky(::open("/dev/zero", O_RDONLY));  // NOLINT: that is the point
      const UniqueFd far(::fcntl(leaky.get(), F_DUPFD, 120));
      UniqueFd replies;
      auto worker = Spawn(OptionsOf(way, {"sleep"}, replies));
      if (!worker.ok()) return worker.status().ToString();
      if (NextReply(replies.get()) != "sleeping") return "it does not run";
      const std::string folder = "/proc/" + std::to_string(worker->pid()) + "/";
      const std::string id = way == Way::kRoot ? "0" : "65534";
      std::string wrong;
      for (const char* map : {"uid_map", "gid_map"}) {
        std::istringstream words(Read(folder + map));
        std::string inside, outside, count, more;
        words >> inside >> outside >> count >> more;
        if (inside != id || outside != id || count != "1" || !more.empty()) {
          wrong += std::string(map) + ": " + Read(folder + map);
        }
      }
      // One that writes its own maps has given up changing groups first.
      const std::string setgroups = way == Way::kRoot ? "deny\n" : "allow\n";
      if (Read(folder + "setgroups") != setgroups) wrong += Read(folder + "setgroups");
      const pid_t holder = HolderHere();
      if (holder < 0) return "no holder";
      const std::string descriptors = DescriptorsOf(holder);
      if (descriptors != "0 socket:,1 /,2 anon_inode:,") wrong += descriptors;
      if (::getsid(holder) != holder) wrong += "its session is ours\n";
      if (!wrong.empty()) return wrong;
    }
    return "";
  });
}

TEST_F(StartStateTest, AConfinedWorkersRootIsOneDirectoryThatNothingCanBeMadeIn) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may look at it";
  ExpectInEachWay([](Way way) -> std::string {
    if (way == Way::kWithout) return "";
    UniqueFd replies;
    auto worker = Spawn(OptionsOf(way, {"lock_down"}, replies));
    if (!worker.ok()) return worker.status().ToString();
    if (NextReply(replies.get()) != "confined") return "it is not confined";
    const std::string mounts = Read("/proc/" + std::to_string(worker->pid()) + "/mountinfo");
    if (mounts.find('\n') + 1 != mounts.size()) return mounts;
    for (const char* part :
         {" / / ro,nosuid,nodev,noexec", " - tmpfs ", "nr_inodes=1", "mode=555"}) {
      if (mounts.find(part) == std::string::npos) return std::string(part) + " in " + mounts;
    }
    // It has done its one thing, and watches for the worker's end.
    const pid_t holder = HolderHere();
    for (int i = 0; i < 500 && DescriptorsOf(holder) != "2 anon_inode:,"; ++i) ::usleep(10'000);
    return DescriptorsOf(holder) == "2 anon_inode:," ? "" : DescriptorsOf(holder);
  });
}

// ---- A parent that is spared when memory is out, by a /proc that we make.

// What is in the score's file after a start, which "-900" was in before; or what was said.
std::string ScoreAfter(const std::string& before, bool writable) {
  UniqueFd replies;
  SpawnOptions options = OptionsOf(Way::kWithout, {"exit_3"}, replies);
  if (!testing::ReplaceProc()) return "cannot mount";
  testing::WriteFile("/proc/self/oom_score_adj", before);
  if (!writable && ::mount("none", "/proc", "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
    return "cannot mount again";
  }
  auto worker = Spawn(std::move(options));
  if (!worker.ok()) return std::string(worker.status().message());
  auto report = worker->Wait(Deadline::After(kLong));
  if (!report.ok() || report->exit_code != 3) return "it does not run";
  return Read("/proc/self/oom_score_adj");
}

TEST_F(StartStateTest, AWorkerIsNeverSparedWhenMemoryIsOut) {
  if (!KernelMakesNamespaces()) GTEST_SKIP() << "no namespaces here";
  const std::string program = worker_->path();
  const struct {
    const char* before;
    bool writable;
    std::string after;
  } each[] = {
      {"-900", true, "0900"},  // one byte is written
      {"-1", true, "01"},
      {"0", true, "0"},
      {"700", true, "700"},
      {"700", false, "700"},
      {"-900", false,
       "cannot start tester (" + program +
           "), giving it an ordinary priority: Read-only file system"},
  };
  for (const auto& one : each) {
    const int code = InAProcessOfItsOwn([&one] {
      const std::string after = ScoreAfter(one.before, one.writable);
      if (after == "cannot mount") return 77;
      if (after != one.after) std::fprintf(stderr, "%s\n", after.c_str());
      return after == one.after ? 0 : 1;
    });
    if (code == 77) GTEST_SKIP() << "nothing may be mounted here";
    EXPECT_EQ(code, 0) << one.before << one.writable;
  }
}

// ---- Programs and streams.

TEST_F(StartStateTest, ARelativeProgramIsLookedUpFromOurDirectory) {
  ExpectInEachWay([](Way) -> std::string {
    if (::chdir("/bin") != 0) return "no /bin";
    for (const char* program : {"true", "./true", "../bin/true"}) {
      SpawnOptions options;
      options.program = program;
      options.namespaces.use = NamespaceOptions::Use::kNone;
      auto worker = Spawn(std::move(options));
      if (!worker.ok()) return worker.status().ToString();
      auto report = worker->Wait(Deadline::After(kLong));
      if (!report.ok() || !report->clean()) return program;
    }
    SpawnOptions missing;
    missing.program = "no/such";
    const std::string said(Spawn(std::move(missing)).status().message());
    return said == "cannot start no/such (no/such): No such file or directory" ? "" : said;
  });
}

TEST_F(StartStateTest, AnArgumentWithANulIsRefused) {
  for (const size_t at : {0u, 1u, 2u}) {
    SpawnOptions options;
    options.program = "/bin/true";
    options.name = at == 0 ? std::string("a\0b", 3) : "name";
    options.arguments = {at == 1 ? std::string("\0", 1) : "x",
                         at == 2 ? std::string("c\0", 2) : "y"};
    const absl::Status status = Spawn(std::move(options)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << at;
    EXPECT_EQ(status.message(), "a worker's argument contains a NUL");
  }
}

// What the worker's stdout and stderr are, by what ours are and what was asked for.
TEST_F(StartStateTest, StreamsAreWhatWasAskedForWhereThatCanBe) {
  if (HasSanitizer()) GTEST_SKIP() << "its runtime writes to them";
  const auto streams = [](OutputTo out, OutputTo error, int ours) {
    const int code = InAProcessOfItsOwn([out, error, ours] {
      UniqueFd replies;
      SpawnOptions options = OptionsOf(Way::kWithout, {"list_descriptors"}, replies);
      options.stdout_to = out;
      options.stderr_to = error;
      for (const int stream : {1, 2}) {
        if (ours < 0) ::close(stream);
        if (ours >= 0) ::dup2(ours, stream);
      }
      auto worker = Spawn(std::move(options));
      if (!worker.ok()) return 99;
      const std::string list = NextReply(replies.get());
      int seen = 0;
      for (const char* stream : {"\n1 ", "\n2 "}) {
        const std::string path = list.substr(list.find(stream) + 3, 9);
        seen = seen * 10 + (path == "/dev/null" ? 1 : path.substr(0, 7) == "socket:" ? 2 : 3);
      }
      return seen;
    });
    return code;
  };
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd socket(ends[0]);
  const UniqueFd other(ends[1]);
  const UniqueFd file(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  using To = OutputTo;
  EXPECT_EQ(streams(To::kNull, To::kNull, file.get()), 11);
  EXPECT_EQ(streams(To::kNull, To::kRelayed, file.get()), 12);
  EXPECT_EQ(streams(To::kRelayed, To::kRelayed, file.get()), 22);
  EXPECT_EQ(streams(To::kSameAsOurs, To::kSameAsOurs, file.get()), 33);
  EXPECT_EQ(streams(To::kSameAsOurs, To::kNull, file.get()), 31);
  EXPECT_EQ(streams(To::kSameAsOurs, To::kSameAsOurs, socket.get()), 22);
  EXPECT_EQ(streams(To::kSameAsOurs, To::kSameAsOurs, -1), 11);
  EXPECT_EQ(streams(To::kRelayed, To::kSameAsOurs, -1), 21);
}

}  // namespace
}  // namespace parley
