// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/output_relay.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/printable.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_spawn.h"

namespace parley {
namespace {

using internal::OutputBudget;
using internal::PrintableLines;
using internal::WriteToStderrWithoutBlocking;
using testing::kLong;
using testing::NextReply;
using testing::StartWorker;
using testing::WorkerOptions;

TEST(PrintableLinesTest, EverythingElseIsEscaped) {
  PrintableLines lines("w");
  std::string text;
  for (int byte = 0; byte < 256; ++byte) lines.Add(std::string(1, static_cast<char>(byte)), text);
  lines.Flush(text);
  for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << int{c};
  EXPECT_NE(text.find("\\x1b"), std::string::npos);
  EXPECT_NE(text.find("\\x9b"), std::string::npos);
}

// What is said in a sentence is one line, and no longer than allowed.
TEST(PrintableTest, LinesBecomeOne) {
  EXPECT_EQ(Printable("two\nlines\x1b[0m", 100), "two lines\\x1b[0m");
  EXPECT_EQ(Printable("two\nlines", 5), "two l");
}

TEST(PrintableLinesTest, EachLineBearsTheName) {
  PrintableLines lines("w");
  std::string text;
  lines.Add("a", text);
  EXPECT_EQ(text, "");
  lines.Add("b\n\n\nERROR: ours?\nc", text);
  EXPECT_EQ(text, "[w] ab\n[w] ERROR: ours?\n");
  lines.Flush(text);
  EXPECT_EQ(text, "[w] ab\n[w] ERROR: ours?\n[w] c\n");
  text.clear();
  lines.Add(std::string(PrintableLines::kMaxLineBytes + 1, 'x'), text);
  EXPECT_EQ(text.size(), PrintableLines::kMaxLineBytes + 5) << "a line without an end has one";
}

TEST(OutputBudgetTest, PromiseP3WorkRateAndTotalAreBounded) {
  constexpr int64_t kSecond = 1'000'000'000;
  OutputBudget budget(0);
  int64_t calls = 0;
  while (budget.Available(0) > 0) {
    budget.Take(1);
    ++calls;
  }
  EXPECT_EQ(calls, OutputBudget::kBurstBytes / OutputBudget::kMinMessageBytes);
  EXPECT_EQ(budget.Available(kSecond / 100), 0);
  EXPECT_EQ(budget.Available(kSecond), OutputBudget::kBytesPerSecond);
  int64_t now_ns = kSecond;
  while (!budget.exhausted_for_good() && calls < 100'000) {
    now_ns += kSecond;
    while (budget.Available(now_ns) > 0) {
      budget.Take(1);
      ++calls;
    }
  }
  EXPECT_EQ(calls, OutputBudget::kTotalBytes / OutputBudget::kMinMessageBytes);
  EXPECT_EQ(budget.Available(now_ns + 1'000'000 * kSecond), 0);
}

TEST(OutputBudgetTest, EachByteIsCounted) {
  constexpr int64_t kSecond = 1'000'000'000;
  constexpr int64_t kMin = OutputBudget::kMinMessageBytes;
  constexpr int64_t kBurst = OutputBudget::kBurstBytes;
  constexpr int64_t kRate = OutputBudget::kBytesPerSecond;
  OutputBudget budget(0);
  EXPECT_EQ(budget.Available(0), kBurst);
  EXPECT_FALSE(budget.exhausted_for_good());
  budget.Take(1000);
  EXPECT_EQ(budget.Available(0), kBurst - 1000);
  budget.Take(1);  // as much as the least
  EXPECT_EQ(budget.Available(0), kBurst - 1000 - kMin);
  budget.Take(kMin + 1);
  EXPECT_EQ(budget.Available(0), kBurst - 1000 - 2 * kMin - 1);
  // No more than a burst, however long it was quiet.
  EXPECT_EQ(budget.Available(10 * kSecond), kBurst);
  EXPECT_EQ(budget.Available(10 * kSecond), kBurst);

  // Just enough for a message, just not enough, and enough again after its time.
  OutputBudget low(0);
  low.Take(kBurst - kMin);
  EXPECT_EQ(low.Available(0), kMin);
  low.Take(kMin);
  EXPECT_EQ(low.Available(0), 0);
  const int64_t refilled_ns = kMin * kSecond / kRate;
  EXPECT_EQ(low.Available(refilled_ns - 1), 0);
  EXPECT_EQ(low.Available(refilled_ns), kMin);
  EXPECT_EQ(low.Available(refilled_ns + kSecond), kMin + kRate);

  // By small steps no byte is lost.
  OutputBudget steps(0);
  steps.Take(kBurst);
  for (int64_t now_ns = 0; now_ns < kSecond; now_ns += kSecond / 1000) steps.Available(now_ns);
  EXPECT_EQ(steps.Available(kSecond), kRate);

  // A clock that began long ago, or leaps.
  OutputBudget old(-9'000'000 * kSecond);
  old.Take(kBurst);
  EXPECT_EQ(old.Available(9'000'000 * kSecond), kBurst);

  // The total: what is too little for a message is none.
  for (const int64_t left : {kMin, kMin - 1}) {
    OutputBudget total(0);
    int64_t now_ns = 0;
    for (int64_t taken = 0; taken < OutputBudget::kTotalBytes - kBurst; taken += kBurst) {
      EXPECT_EQ(total.Available(now_ns), kBurst);
      total.Take(kBurst);
      now_ns += 100 * kSecond;
    }
    total.Take(kBurst - left);
    EXPECT_EQ(total.exhausted_for_good(), left < kMin);
    EXPECT_EQ(total.Available(now_ns + 100 * kSecond), left < kMin ? 0 : kMin);
  }
}

// ---- Workers that print.

TEST(OutputRelayTest, EscapeSequencesDoNotArrive) {
  UniqueFd replies;
  std::string seen;
  SpawnOptions options = WorkerOptions({"print_escapes"}, replies);
  options.output = [&seen](std::string_view lines) { seen += lines; };
  auto worker = StartWorker(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  // Nobody relays before the end.
  auto report = worker->Wait(Deadline::After(kLong));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(seen, "[tester] clear \\x1b[2J and \\x9b31m red\n[tester] half a line\n");
  EXPECT_EQ(worker->output_fd(), -1);
}

TEST(OutputRelayTest, TheDestructorPassesOnTheRest) {
  UniqueFd replies;
  std::string seen;
  {
    SpawnOptions options = WorkerOptions({"print_much"}, replies);
    options.output = [&seen](std::string_view lines) { seen += lines; };
    auto worker = Spawn(std::move(options));
    ASSERT_TRUE(worker.ok()) << worker.status();
    // A megabyte, and nobody reads: the worker goes on all the same.
    ASSERT_EQ(NextReply(replies.get()), "printed");
  }
  EXPECT_GT(seen.size(), 1000u);
  EXPECT_LT(seen.size(), 2u * OutputBudget::kBurstBytes);
}

double CpuSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return absl::ToDoubleSeconds(absl::DurationFromTimeval(usage.ru_utime) +
                               absl::DurationFromTimeval(usage.ru_stime));
}

TEST(OutputRelayTest, PromiseP3WorkAFloodCostsTheParentABoundedAmount) {
  UniqueFd replies;
  size_t seen_bytes = 0;
  SpawnOptions options = WorkerOptions({"flood_stderr"}, replies);
  options.output = [&seen_bytes](std::string_view lines) { seen_bytes += lines.size(); };
  auto worker = StartWorker(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  ASSERT_EQ(NextReply(replies.get()), "flooding");
  const double cpu_before = CpuSeconds();
  int wakeups = 0;
  const Deadline until = Deadline::After(absl::Seconds(2));
  while (!until.Expired()) {
    pollfd entries[] = {{worker->pidfd(), POLLIN, 0}, {worker->output_fd(), POLLIN, 0}};
    if (::poll(entries, 2, 100) <= 0) continue;
    ++wakeups;
    worker->RelayOutput();
  }
  EXPECT_GT(wakeups, 0);
  EXPECT_LE(wakeups, (OutputBudget::kBurstBytes + 3 * OutputBudget::kBytesPerSecond) /
                         OutputBudget::kMinMessageBytes);
  // "flood" is 6 bytes and its line 15.
  EXPECT_LE(seen_bytes, 3u * (OutputBudget::kBurstBytes + 3 * OutputBudget::kBytesPerSecond));
  EXPECT_LT(CpuSeconds() - cpu_before, 1.0);
  // Nor does Wait spin on it.
  const double cpu_waiting = CpuSeconds();
  EXPECT_FALSE(worker->Wait(Deadline::After(absl::Seconds(1))).ok());
  EXPECT_LT(CpuSeconds() - cpu_waiting, 0.5);
}

int OpenDescriptors() {
  int open = 0;
  for (int fd = 0; fd < 1000; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

TEST(OutputRelayTest, PromiseP8NoSideDoorsADescriptorIsNotInstalled) {
  UniqueFd replies;
  std::string seen;
  SpawnOptions options = WorkerOptions({"send_descriptor"}, replies);
  options.output = [&seen](std::string_view lines) { seen += lines; };
  auto worker = StartWorker(std::move(options));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const int before = OpenDescriptors();
  pollfd entry = {worker->pidfd(), POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 30'000), 1);
  worker->RelayOutput();
  worker->RelayOutput();
  EXPECT_LE(OpenDescriptors(), before);
  ASSERT_TRUE(worker->Wait(Deadline::After(kLong)).ok());
  EXPECT_NE(seen.find("sent"), std::string::npos) << seen;
}

// By itself, with what it has said after each read.
TEST(OutputRelayTest, WhatIsReadIsSaidLineByLine) {
  std::string seen;
  UniqueFd worker;
  auto relay =
      internal::OutputRelay::Make("w", [&seen](std::string_view lines) { seen += lines; }, worker);
  ASSERT_TRUE(relay.ok()) << relay.status();
  EXPECT_LT(::recv(worker.get(), seen.data(), 0, MSG_DONTWAIT), 1);
  const auto say = [&](std::string_view text) {
    EXPECT_EQ(::send(worker.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    relay->Relay();
  };
  EXPECT_GE(relay->fd(), 0);
  relay->Relay();  // nothing is there, and it goes on
  EXPECT_GE(relay->fd(), 0);
  EXPECT_EQ(relay->last_line(), "");
  say("one\n");
  EXPECT_EQ(seen, "[w] one\n");
  EXPECT_EQ(relay->last_line(), "one");
  say("two\nthree\nfo");
  EXPECT_EQ(seen, "[w] one\n[w] two\n[w] three\n");
  EXPECT_EQ(relay->last_line(), "three");
  say("ur");
  EXPECT_EQ(relay->last_line(), "three");
  say("\n] five] \n");
  EXPECT_EQ(relay->last_line(), "] five] ");
  say("end");
  worker.Reset();
  relay->Relay();
  EXPECT_EQ(relay->fd(), -1);
  EXPECT_EQ(relay->last_line(), "end");
  EXPECT_EQ(seen, "[w] one\n[w] two\n[w] three\n[w] four\n[w] ] five] \n[w] end\n");
  relay->Relay();
  relay->Finish();
  EXPECT_EQ(seen.substr(seen.size() - 8), "[w] end\n");
}

// What is left is passed on at the end, though others still hold the other end.
TEST(OutputRelayTest, TheEndIsPassedOnOnceAndTheRestIsSaidToBeNone) {
  for (const bool held : {true, false}) {
    std::string seen;
    UniqueFd worker;
    auto relay = internal::OutputRelay::Make(
        "w", [&seen](std::string_view lines) { seen += lines; }, worker);
    ASSERT_TRUE(relay.ok()) << relay.status();
    const std::string lines = std::string(99, 'x') + "\n";
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(::send(worker.get(), lines.data(), lines.size(), MSG_NOSIGNAL), 100);
    }
    ASSERT_EQ(::send(worker.get(), "last", 4, MSG_NOSIGNAL), 4);
    if (!held) worker.Reset();
    relay->Finish();
    EXPECT_EQ(seen.size(), 100u * 104 + 9) << held;
    EXPECT_EQ(relay->last_line(), "last") << held;
    EXPECT_EQ(relay->fd(), -1) << held;
  }
}

// With its whole budget, which it has by and by.
TEST(OutputRelayTest, TheRestIsSaidNotToBeShown) {
  std::string seen;
  UniqueFd worker;
  auto relay =
      internal::OutputRelay::Make("w", [&seen](std::string_view lines) { seen += lines; }, worker);
  ASSERT_TRUE(relay.ok()) << relay.status();
  // A read of little counts as one of 64 bytes: 512 of them are the first 32 KiB.
  int reads = 0;
  while (relay->fd() >= 0 && reads < 1000) {
    ASSERT_EQ(::send(worker.get(), "x", 1, MSG_NOSIGNAL), 1);
    relay->Relay();
    ++reads;
  }
  EXPECT_GE(reads, 512);
  EXPECT_LT(reads, 600);
  // Then nothing is read, whatever comes.
  ASSERT_EQ(::send(worker.get(), "\n", 1, MSG_NOSIGNAL), 1);
  const size_t before = seen.size();
  relay->Relay();
  EXPECT_EQ(seen.size(), before);
}

// ---- Our own stderr, whatever it is.

// `fd` is stderr while one of these lives.
class StderrIs {
 public:
  explicit StderrIs(int fd) : saved_(::fcntl(2, F_DUPFD_CLOEXEC, 3)) { ::dup2(fd, 2); }
  StderrIs(const StderrIs&) = delete;
  StderrIs& operator=(const StderrIs&) = delete;
  ~StderrIs() { ::dup2(saved_.get(), 2); }

 private:
  const UniqueFd saved_;
};

// The parent under systemd, inetd, ssh or Node. The worker may say what it wants to whom it wants.
TEST(OutputRelayTest, PromiseP8NoSideDoorsASocketAtStderrIsOutOfReach) {
  for (const OutputTo to : {OutputTo::kRelayed, OutputTo::kSameAsOurs, OutputTo::kNull}) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const UniqueFd user(ends[0]);
    const UniqueFd ours(ends[1]);
    UniqueFd replies;
    SpawnOptions options = WorkerOptions({"attack_stderr"}, replies);
    options.stderr_to = to;
    options.stdout_to = to;
    ASSERT_EQ(::send(user.get(), "password", 8, 0), 8);
    std::string reply;
    ssize_t written = -1;
    {
      const StderrIs socket(ours.get());
      auto worker = StartWorker(std::move(options));
      ASSERT_TRUE(worker.ok());
      reply = NextReply(replies.get());
      EXPECT_TRUE(worker->Wait(Deadline::After(kLong)).ok());
      written = ::send(2, "still here", 10, MSG_NOSIGNAL);
    }
    EXPECT_EQ(written, 10) << "it was shut down";
    EXPECT_EQ(reply.find("read 8"), std::string::npos) << "it read what was typed";
    char typed[64] = {};
    EXPECT_EQ(::recv(ours.get(), typed, sizeof(typed), MSG_DONTWAIT), 8);
    char shown[256] = {};
    ASSERT_GT(::recv(user.get(), shown, sizeof(shown) - 1, MSG_DONTWAIT), 0);
    EXPECT_EQ(std::string(shown).find('\x1b'), std::string::npos) << shown;
    EXPECT_EQ(std::string(shown).find('\x07'), std::string::npos) << shown;
  }
}

// Writes more than the place takes, and must come back.
void WriteALot() {
  const std::string lines(4096, 'x');
  const int64_t start_ns = MonotonicNowNs();
  for (int i = 0; i < 200; ++i) WriteToStderrWithoutBlocking(lines);
  EXPECT_LT(MonotonicNowNs() - start_ns, 5'000'000'000);
}

TEST(WriteToStderrTest, PromiseP2TimeAPipeThatNobodyReadsDoesNotBlock) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const StderrIs pipe(writer.get());
  ::alarm(20);
  WriteALot();
  ::alarm(0);
  char first = 0;
  EXPECT_EQ(::read(reader.get(), &first, 1), 1);
  EXPECT_EQ(first, 'x');
  // Its flags, which others share, are as they were.
  EXPECT_EQ(::fcntl(writer.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(WriteToStderrTest, PromiseP8NoSideDoorsAPlaceWithoutAReaderIsNoSignal) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  reader.Reset();
  {
    const StderrIs pipe(writer.get());
    WriteToStderrWithoutBlocking("x\n");
  }
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  reader.Reset(ends[0]);
  const UniqueFd socket(ends[1]);
  reader.Reset();
  {
    const StderrIs closed(socket.get());
    WriteToStderrWithoutBlocking("x\n");
  }
  sigset_t pending;
  ::sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

// One that was there before stays, and the mask is as it was.
TEST(WriteToStderrTest, ASignalOfOursStaysPending) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  reader.Reset();
  sigset_t pipe_only;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  for (const bool pending_before : {true, false}) {
    sigset_t before;
    sigset_t after;
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &pipe_only, &before), 0);
    if (pending_before) ::raise(SIGPIPE);
    {
      const StderrIs pipe(writer.get());
      WriteToStderrWithoutBlocking("x\n");
    }
    const timespec none = {0, 0};
    EXPECT_EQ(::sigtimedwait(&pipe_only, nullptr, &none), pending_before ? SIGPIPE : -1);
    ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before, &after), 0);
    EXPECT_EQ(sigismember(&after, SIGPIPE), 1);
    EXPECT_EQ(sigismember(&after, SIGTTOU), 0);
    EXPECT_EQ(sigismember(&after, SIGTERM), 0);
  }
  EXPECT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &pipe_only), 0);
  EXPECT_EQ(sigismember(&pipe_only, SIGPIPE), 0);
}

TEST(WriteToStderrTest, PromiseP2TimeAFullSocketDoesNotBlock) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const StderrIs socket(writer.get());
  ::alarm(20);
  WriteALot();
  ::alarm(0);
}

// As after Ctrl-S.
TEST(WriteToStderrTest, PromiseP2TimeAStoppedTerminalDoesNotBlock) {
  int master = -1;
  int terminal = -1;
  if (::openpty(&master, &terminal, nullptr, nullptr, nullptr) != 0) {
    GTEST_SKIP() << "no pseudo terminals here";
  }
  const UniqueFd user(master);
  const UniqueFd ours(terminal);
  ASSERT_EQ(::tcflow(terminal, TCOOFF), 0);
  const StderrIs stopped(terminal);
  ::alarm(20);
  WriteALot();
  ::alarm(0);
}

TEST(WriteToStderrTest, AFileGetsEverything) {
  const char* const folder = std::getenv("TEST_TMPDIR");  // NOLINT(concurrency-mt-unsafe)
  std::string path = std::string(folder == nullptr ? "/tmp" : folder) + "/stderr.XXXXXX";
  const UniqueFd file(::mkostemp(path.data(), O_CLOEXEC | O_APPEND));
  ASSERT_TRUE(file.ok());
  {
    const StderrIs log(file.get());
    WriteToStderrWithoutBlocking("one\n");
    WriteToStderrWithoutBlocking("two\n");
  }
  char text[16] = {};
  EXPECT_EQ(::pread(file.get(), text, sizeof(text) - 1, 0), 8);
  EXPECT_EQ(std::string(text), "one\ntwo\n");
  ::unlink(path.c_str());
}

// What a worker prints must not end its host: once it was SIGXFSZ.
TEST(WriteToStderrTest, AFileAtItsSizeLimitIsNoSignal) {
  const char* const folder = std::getenv("TEST_TMPDIR");  // NOLINT(concurrency-mt-unsafe)
  std::string path = std::string(folder == nullptr ? "/tmp" : folder) + "/stderr.XXXXXX";
  const UniqueFd file(::mkostemp(path.data(), O_CLOEXEC | O_APPEND));
  ASSERT_TRUE(file.ok());
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const rlimit limit = {4, 4};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::dup2(file.get(), STDERR_FILENO);
    for (int i = 0; i < 3; ++i) WriteToStderrWithoutBlocking("one\n");
    ::_exit(7);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  struct stat written;
  ASSERT_EQ(::fstat(file.get(), &written), 0);
  EXPECT_EQ(written.st_size, 4);
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace parley
