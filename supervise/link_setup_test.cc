// SPDX-License-Identifier: Apache-2.0

// Workers, hosts and templates that don't get as far as a link, each with its reason.

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/worker.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/link_messages.h"
#include "parley/supervise/link_template.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/testing_link.h"
#include "parley/supervise/testing_program.h"
#include "parley/supervise/worker_end.h"
#include "parley/supervise/worker_link.h"
#include "parley/supervise/worker_link_maker.h"

namespace parley {
namespace {

using testing::BytesOf;
using ::testing::EndsWith;
using testing::HasSanitizer;
using ::testing::HasSubstr;
using testing::Hear;
using testing::kLong;
using testing::LinkOptions;
using ::testing::StartsWith;

absl::Status NoLink(WorkerLinkOptions options) {
  const absl::Status status =
      WorkerLink::Start(std::move(options), Deadline::After(kLong)).status();
  EXPECT_FALSE(status.ok());
  return status;
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// ---- The worker's reasons.

// The reason is said once: where it is in the error, it is not printed as well.
TEST(LinkSetupTest, AReasonIsInTheErrorOrIsPassedOn) {
  std::string printed;
  WorkerLinkOptions options = LinkOptions("warm_up_fails");
  options.program.output = [&printed](std::string_view lines) { printed += lines; };
  const absl::Status cold = NoLink(options);
  EXPECT_TRUE(absl::IsUnavailable(cold)) << cold;
  EXPECT_THAT(Message(cold), EndsWith("could not be set up: the codec's tables are not there"));
  EXPECT_EQ(printed, "");
  options.program.arguments = {"no_handshake"};
  const absl::Status unwilling = NoLink(options);
  EXPECT_TRUE(absl::IsUnavailable(unwilling)) << unwilling;
  EXPECT_THAT(Message(unwilling), HasSubstr("ended with exit code 5; "));
  EXPECT_EQ(printed, "[tester] it does not like this host\n");
}

TEST(LinkSetupTest, AnotherProtocolIsTheHostsReason) {
  for (const char* format : {"another", ""}) {
    WorkerLinkOptions options = LinkOptions("echo");
    options.format = format;
    const auto link = WorkerLink::Start(options, Deadline::After(kLong));
    if (format == std::string()) {
      // A host without a name for it takes any.
      EXPECT_TRUE(link.ok()) << link.status();
      continue;
    }
    EXPECT_THAT(Message(link.status()), StartsWith("no handshake with tester: "));
    EXPECT_THAT(Message(link.status()), HasSubstr("it speaks another protocol than 'another'"));
  }
}

TEST(LinkSetupTest, WhatIsNoInputIsNamed) {
  WorkerLinkOptions options = LinkOptions("echo");
  // Its socket is open there.
  options.program.environment = {{internal::kInputVariable, "3"}};
  EXPECT_THAT(Message(NoLink(options)), HasSubstr("could not be set up: "));
}

TEST(LinkSetupTest, ALockDownThatFailsIsTheReason) {
  if (testing::HasSanitizer()) GTEST_SKIP() << "its search for leaks fails, with another exit code";
  const absl::Status status = NoLink(LinkOptions("no_lock_down"));
  EXPECT_THAT(Message(status), HasSubstr("could not be set up: "));
  EXPECT_THAT(Message(status), HasSubstr("Landlock, which was required"));
}

TEST(LinkSetupTest, OptionsAreLookedAtBeforeAnythingStarts) {
  const absl::Status empty = NoLink({});
  EXPECT_EQ(empty, absl::InvalidArgumentError("WorkerLinkOptions::program.path is empty"));
  EXPECT_EQ(LinkTemplate::Start({}, Deadline::After(kLong)).status(), empty);
}

// ---- A host that is not ours, as a worker meets it.

struct RawHost {
  absl::StatusOr<Worker> worker;
  PeerSocket socket;
};

RawHost StartRaw(const WorkerLinkOptions& options) {
  auto sockets = PeerSocket::Pair();
  EXPECT_TRUE(sockets.ok()) << sockets.status();
  auto worker = Spawn(internal::SpawnOptionsOf(options, std::move(sockets->second).Release()));
  EXPECT_TRUE(worker.ok()) << worker.status();
  return {std::move(worker), std::move(sockets->first)};
}

int ExitCodeOf(Worker& worker) {
  const auto report = worker.Wait(Deadline::After(kLong));
  EXPECT_TRUE(report.ok()) << report.status();
  if (!report.ok()) return -1;
  EXPECT_TRUE(report->exit_code.has_value()) << report->ToString();
  return report->exit_code.value_or(-1);
}

TEST(WorkerSetupTest, AHostThatIsGoneBeforeTheHandshakeIsNamed) {
  RawHost host = StartRaw(LinkOptions("echo"));
  {
    const PeerSocket closed = std::move(host.socket);
  }
  EXPECT_EQ(ExitCodeOf(*host.worker), internal::kExitNotSetUp);
  EXPECT_NE(host.worker->last_line(), "");
}

TEST(WorkerSetupTest, AHostThatRefusesHasTheReasonItself) {
  RawHost host = StartRaw(LinkOptions("echo"));
  AcceptOptions accept;
  accept.check_format = [](const std::string&) { return absl::InvalidArgumentError("not this"); };
  EXPECT_FALSE(AcceptChannel(std::move(host.socket), accept, Deadline::After(kLong)).ok());
  EXPECT_EQ(ExitCodeOf(*host.worker), internal::kExitRefused);
}

TEST(WorkerSetupTest, AHostThatHangsUpBeforeTheBeginningIsNoFailure) {
  RawHost host = StartRaw(LinkOptions("echo"));
  {
    auto channel = AcceptChannel(std::move(host.socket), {}, Deadline::After(kLong));
    ASSERT_TRUE(channel.ok()) << channel.status();
    channel->sender.Close();
    EXPECT_EQ(ExitCodeOf(*host.worker), 0);
  }
}

struct Beginning {
  const char* name;
  uint32_t tag;
  std::string bytes;
  bool has_input;
  bool begins;
};

std::string BeginWire(uint64_t input_bytes, uint32_t input_kind) {
  return testing::TextOf(WireBytes(internal::BeginWire{input_bytes, input_kind, 0}));
}

TEST(WorkerSetupTest, BeginsAsItIsToldAndNotOtherwise) {
  auto blob = SealedBlob::Create(BytesOf("abc"));
  ASSERT_TRUE(blob.ok()) << blob.status();
  const std::vector<Beginning> rows = {
      {"without", internal::kBeginTag, BeginWire(0, internal::kNoInput), false, true},
      {"sealed", internal::kBeginTag, BeginWire(3, internal::kSealedInput), true, true},
      {"streamed", internal::kBeginTag, BeginWire(3, internal::kStreamedInput), false, true},
      {"another tag", 1, BeginWire(0, internal::kNoInput), false, false},
      {"too short", internal::kBeginTag, BeginWire(0, internal::kNoInput).substr(0, 15), false,
       false},
      {"sealed and not there", internal::kBeginTag, BeginWire(3, internal::kSealedInput), false,
       false},
      {"there and not said", internal::kBeginTag, BeginWire(0, internal::kNoInput), true, false},
      {"there and streamed", internal::kBeginTag, BeginWire(3, internal::kStreamedInput), true,
       false},
  };
  for (const Beginning& row : rows) {
    WorkerLinkOptions options = LinkOptions("size");
    if (row.has_input) options.input = &*blob;
    RawHost host = StartRaw(options);
    auto channel = AcceptChannel(std::move(host.socket), {}, Deadline::After(kLong));
    ASSERT_TRUE(channel.ok()) << channel.status();
    ASSERT_TRUE(channel->sender.Send(row.tag, BytesOf(row.bytes), Deadline::After(kLong)).ok());
    std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
    const auto record = channel->receiver.Receive(absl::MakeSpan(buffer), Deadline::After(kLong));
    ASSERT_TRUE(record.ok()) << row.name << ": " << record.status();
    buffer.resize(record->size_bytes);
    if (row.begins) {
      EXPECT_EQ(record->tag, 1u) << row.name;
      EXPECT_EQ(testing::TextOf(buffer), row.bytes.substr(0, 8)) << row.name;
    } else {
      EXPECT_EQ(record->tag, internal::kFailedTag) << row.name;
      EXPECT_EQ(internal::ParseFailed(buffer), absl::InternalError("the host did not begin"))
          << row.name;
    }
    EXPECT_EQ(ExitCodeOf(*host.worker), row.begins ? 0 : internal::kExitBodyFailed) << row.name;
  }
}

// ---- A host without descriptors.

class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t spare) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int first = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
    ::close(first);
    rlimit low = before_;
    low.rlim_cur = static_cast<rlim_t>(first) + spare;
    ::setrlimit(RLIMIT_NOFILE, &low);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_ = {};
};

// Whichever of them is the first that can't be had.
TEST(LinkSetupTest, PromiseP7ResourcesALackOfDescriptorsIsAnErrorAndLeavesNoProcess) {
  int failed = 0;
  for (rlim_t spare = 0; spare < 24; ++spare) {
    const DescriptorLimit limit(spare);
    const auto link = WorkerLink::Start(LinkOptions("echo"), Deadline::After(kLong));
    failed += link.ok() ? 0 : 1;
  }
  EXPECT_GE(failed, 3);
  const auto link = WorkerLink::Start(LinkOptions("echo"), Deadline::After(kLong));
  EXPECT_TRUE(link.ok()) << link.status();
}

// ---- Templates.

class LinkTemplateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (HasSanitizer()) GTEST_SKIP() << "no templates in a build with a sanitizer";
  }
  static LinkTemplate Start(const WorkerLinkOptions& options) {
    auto warm = LinkTemplate::Start(options.program, Deadline::After(kLong));
    EXPECT_TRUE(warm.ok()) << warm.status();
    return *std::move(warm);
  }
};

TEST_F(LinkTemplateTest, PromiseP7ResourcesALackOfDescriptorsIsAnErrorAndNotItsEnd) {
  LinkTemplate warm = Start(LinkOptions("echo"));
  int failed = 0;
  for (rlim_t spare = 0; spare < 24; ++spare) {
    const DescriptorLimit limit(spare);
    const auto link = warm.StartLink(LinkOptions("echo"), Deadline::After(kLong));
    failed += link.ok() ? 0 : 1;
  }
  EXPECT_GE(failed, 3);
}

TEST_F(LinkTemplateTest, ACloneHasItsOwnNameAndOutput) {
  LinkTemplate warm = Start(LinkOptions("print_late"));
  for (const char* name : {"first", "second"}) {
    std::string printed;
    WorkerLinkOptions options = LinkOptions("print_late");
    options.program.name = name;
    options.program.output = [&printed](std::string_view lines) { printed += lines; };
    auto link = warm.StartLink(options, Deadline::After(kLong));
    ASSERT_TRUE(link.ok()) << link.status();
    const WorkerEnd end = link->End(Deadline::After(kLong));
    EXPECT_THAT(end.ToString(), StartsWith(std::string(name) + " (pid "));
    EXPECT_EQ(printed, "[" + std::string(name) + "] the last line\n");
  }
  EXPECT_EQ(warm.clones(), 2u);
}

TEST_F(LinkTemplateTest, ACloneHasTheNamespacesThatItAsksFor) {
  LinkTemplate warm = Start(LinkOptions("stay"));
  WorkerLinkOptions options = LinkOptions("stay");
  auto with = warm.StartLink(options, Deadline::After(kLong));
  ASSERT_TRUE(with.ok()) << with.status();
  options.program.namespaces.use = NamespaceOptions::Use::kNone;
  auto without = warm.StartLink(options, Deadline::After(kLong));
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_FALSE(without->worker().second_wall().pid);
  EXPECT_FALSE(without->worker().second_wall().mount);
  if (!with->worker().second_wall().pid) {
    GTEST_SKIP() << with->worker().second_wall().missing;
  }
}

// Address space and processor time are each clone's own: the template's are not below them.
TEST_F(LinkTemplateTest, ACloneHasTheLimitsThatItAsksFor) {
  WorkerLinkOptions small = LinkOptions("stay");
  small.program.memory_bytes = uint64_t{256} << 20;
  small.program.limits.cpu_seconds = 10;
  LinkTemplate warm = Start(small);
  const auto limit_of = [](pid_t pid, __rlimit_resource which) {
    rlimit limit = {};
    EXPECT_EQ(::prlimit(pid, which, nullptr, &limit), 0);
    return limit.rlim_cur;
  };
  rlimit ours = {};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &ours), 0);
  EXPECT_EQ(limit_of(warm.process().pid(), RLIMIT_AS), ours.rlim_cur);
  ASSERT_EQ(::getrlimit(RLIMIT_CPU, &ours), 0);
  EXPECT_EQ(limit_of(warm.process().pid(), RLIMIT_CPU), ours.rlim_cur);
  EXPECT_EQ(limit_of(warm.process().pid(), RLIMIT_FSIZE), 0u);
  WorkerLinkOptions options = LinkOptions("stay");
  options.program.memory_bytes = uint64_t{512} << 20;
  options.program.limits.cpu_seconds = 20;
  auto link = warm.StartLink(options, Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ(limit_of(link->worker().pid(), RLIMIT_AS),
            internal::LimitsOf(options).address_space_bytes);
  EXPECT_EQ(limit_of(link->worker().pid(), RLIMIT_CPU), 20u);
}

TEST_F(LinkTemplateTest, OptionsOfACloneAreLookedAtFirst) {
  LinkTemplate warm = Start(LinkOptions("echo"));
  WorkerLinkOptions options = LinkOptions("echo");
  options.to_worker.arena.bytes = 4096;
  EXPECT_TRUE(absl::IsInvalidArgument(warm.StartLink(options, Deadline::After(kLong)).status()));
  EXPECT_EQ(warm.clones(), 0u);
}

TEST_F(LinkTemplateTest, OneThatHasEndedGivesNoClone) {
  LinkTemplate warm = Start(LinkOptions("echo"));
  ASSERT_EQ(::kill(warm.process().pid(), SIGKILL), 0);
  const absl::Status status = warm.StartLink(LinkOptions("echo"), Deadline::After(kLong)).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  WorkerLinkOptions cold = LinkOptions("warm_up_fails");
  EXPECT_THAT(Message(LinkTemplate::Start(cold.program, Deadline::After(kLong)).status()),
              HasSubstr("the codec's tables are not there"));
}

}  // namespace
}  // namespace parley
