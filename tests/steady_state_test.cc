// SPDX-License-Identifier: Apache-2.0

// What a channel asks of the kernel while it streams, and which way descriptors travel: counted by
// strace, from outside.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/tests/peer.h"
#include "parley/tests/process.h"
#include "parley/tests/resources.h"

namespace parley {
namespace {

std::string InTestFolder(const std::string& name) {
  const char* folder = std::getenv("TEST_TMPDIR");
  return std::string(folder == nullptr ? "/tmp" : folder) + "/" + name;
}

// Whether this process may trace another one at all.
bool CanTrace() {
  Process strace({"strace", "-o", "/dev/null", "true"});
  return strace.Wait(Generous()) == 0;
}

using Counts = std::map<std::string, uint64_t>;  // by the name of the system call

// Per process, what it called between its two marks.
std::map<std::string, Counts> CallsBetweenMarks(const std::string& trace) {
  const std::regex line_format(R"(^(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed).*)");
  std::map<std::string, Counts> counts;
  std::map<std::string, bool> inside;
  std::ifstream file(trace);
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, line_format)) continue;
    const std::string process = match[1];
    if (match[3] == " resumed") continue;  // its first half was counted
    if (line.find("write(-1, \"begin\"") != std::string::npos) {
      inside[process] = true;
      counts[process];
    } else if (line.find("write(-1, \"end\"") != std::string::npos) {
      inside[process] = false;
    } else if (inside[process]) {
      ++counts[process][match[2]];
    }
  }
  return counts;
}

struct Streamed {
  std::map<std::string, Counts> calls;
  uint64_t early_rings = 0;  // before the marks
  uint64_t rings = 0;
  uint64_t sleeps = 0;
  uint64_t elapsed_ms = 0;  // of both processes, start and end included
};

Streamed Stream(const std::string& how, uint64_t messages) {
  const std::string trace = InTestFolder("trace." + how);
  const int64_t start_ns = MonotonicNowNs();
  Process strace(
      {"strace", "-f", "-o", trace, Binary("tests/stream_pair"), how, std::to_string(messages)});
  EXPECT_EQ(strace.Wait(Generous()), 0) << strace.errors();
  Streamed result;
  result.elapsed_ms = static_cast<uint64_t>(MonotonicNowNs() - start_ns) / 1'000'000;
  result.calls = CallsBetweenMarks(trace);
  const std::regex numbers(R"(early=(\d+) rings=(\d+) sleeps=(\d+))");
  const std::string& text = strace.output();
  for (std::sregex_iterator i(text.begin(), text.end(), numbers), end; i != end; ++i) {
    result.early_rings += std::stoull((*i)[1]);
    result.rings += std::stoull((*i)[2]);
    result.sleeps += std::stoull((*i)[3]);
  }
  return result;
}

struct SteadyStateTest : ::testing::Test {
  void SetUp() override {
    if (!CanTrace()) GTEST_SKIP() << "strace can't trace here (is ptrace permitted?)";
    if (IsSanitized()) GTEST_SKIP() << "a sanitizer makes system calls of its own";
  }
};

TEST_F(SteadyStateTest, TwoBusyEndsMakeNoSystemCallForAMessage) {
  const Streamed streamed = Stream("busy", 100'000);
  ASSERT_EQ(streamed.calls.size(), 2u);
  for (const auto& [process, counts] : streamed.calls) {
    for (const auto& [name, count] : counts) {
      // The one that comes late may ring for the wait in which the other one was found.
      // And empty polls ask for the peer's end, once in 10 ms at each of its two ends at most
      // (Waiter::kCheckEachNs).
      EXPECT_TRUE((name == "sendto" && count <= 2) ||
                  (name == "ppoll" && count <= 2 * (streamed.elapsed_ms / 10 + 1)) ||
                  (name == "clock_gettime" && count <= 4))
          << name << ": " << count;
    }
  }
}

// With calls that sleep, the system calls are the doorbells and the sleeps that the statistics tell
// of, and no others; how many depends on the scheduler, but it is no number of messages.
TEST_F(SteadyStateTest, WaitingEndsMakeTheSystemCallsOfTheirDoorbellsAndNoOthers) {
  constexpr uint64_t kMessages = 100'000;
  const Streamed streamed = Stream("waiting", kMessages);
  ASSERT_EQ(streamed.calls.size(), 2u);
  Counts all;
  for (const auto& [process, counts] : streamed.calls) {
    for (const auto& [name, count] : counts) all[name] += count;
  }
  EXPECT_EQ(all["sendto"], streamed.rings);
  // Besides, empty polls ask for the peer's end, once in 10 ms at each of four ends at most.
  EXPECT_GE(all["ppoll"], streamed.sleeps);
  EXPECT_LE(all["ppoll"], streamed.sleeps + 4 * (streamed.elapsed_ms / 10 + 1));
  // Around a signal that is measured.
  EXPECT_LE(all["clock_gettime"], 2 * streamed.rings);
  EXPECT_LE(streamed.rings, streamed.sleeps + 2);
  // Each ring is taken once, and after each sleep one call finds that there is no other. One for
  // each process's wait before the marks may come late.
  EXPECT_LE(streamed.early_rings, 2u);
  EXPECT_LE(all["recvfrom"], streamed.early_rings + streamed.rings + streamed.sleeps);
  uint64_t total = 0;
  for (const auto& [name, count] : all) {
    total += count;
    const bool known = name == "sendto" || name == "ppoll" || name == "recvfrom" ||
                       name == "restart_syscall" || name == "clock_gettime";
    EXPECT_TRUE(known) << name << ": " << count;
  }
  EXPECT_LT(total, kMessages / 4);
  RecordProperty("system_calls", static_cast<int>(total));
}

// --- descriptors
// ----------------------------------------------------------------------------------

std::vector<std::string> LinesWith(const std::string& path, const std::string& text) {
  std::vector<std::string> found;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.find(text) != std::string::npos) found.push_back(line);
  }
  return found;
}

// Descriptors go from the accepting side (the receiver, here) to the connecting one, never back;
// and the accepting side could not take one if it were sent.
TEST_F(SteadyStateTest, DescriptorsTravelFromTheAcceptingSideAlone) {
  const std::string accepting = InTestFolder("trace.accepting");
  const std::string connecting = InTestFolder("trace.connecting");
  const auto traced = [](const std::string& trace, std::vector<std::string> command) {
    std::vector<std::string> all = {"strace", "-f", "-e", "trace=sendmsg,recvmsg,sendmmsg,recvmmsg",
                                    "-o",     trace};
    all.insert(all.end(), command.begin(), command.end());
    return all;
  };
  Process receiver(traced(accepting, {Binary("examples/hello/hello_receiver"), "steady.sock"}));
  struct stat info = {};
  const Deadline deadline = Generous();
  while (::lstat(InTestFolder("steady.sock").c_str(), &info) != 0 && !deadline.Expired()) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  Process sender(
      traced(connecting, {Binary("examples/hello/hello_sender"), "steady.sock", "hello"}));
  ASSERT_EQ(sender.Wait(Generous()), 0) << sender.errors();
  ASSERT_EQ(receiver.Wait(Generous()), 0) << receiver.errors();
  EXPECT_EQ(receiver.output(), "hello\n");

  // The trace does show descriptors where there are some.
  const auto sent = LinesWith(accepting, "SCM_RIGHTS");
  ASSERT_FALSE(sent.empty());
  for (const std::string& line : sent) EXPECT_NE(line.find("sendmsg("), std::string::npos) << line;
  const auto taken = LinesWith(connecting, "SCM_RIGHTS");
  ASSERT_FALSE(taken.empty());
  for (const std::string& line : taken) EXPECT_NE(line.find("recvmsg("), std::string::npos) << line;
  // No room for a control message where none is wanted.
  for (const std::string& line : LinesWith(accepting, "recvmsg(")) {
    EXPECT_NE(line.find("msg_controllen=0"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace parley
