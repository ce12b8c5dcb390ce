// SPDX-License-Identifier: Apache-2.0

// What a link makes of its options before anything starts, and what is said of numbers and
// defaults.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/spawn.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/link_messages.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/pool.h"
#include "parley/supervise/restart.h"
#include "parley/supervise/worker_link.h"
#include "parley/supervise/worker_link_maker.h"
#include "parley/supervise/worker_main.h"

namespace parley {
namespace {

using internal::CheckLinkOptions;
using internal::LimitsOf;
using internal::SpawnOptionsOf;

constexpr uint64_t kKib = 1024;

SealedBlob Blob(std::size_t size_bytes) {
  auto blob = SealedBlob::Create(std::vector<std::byte>(size_bytes));
  EXPECT_TRUE(blob.ok()) << blob.status();
  return *std::move(blob);
}

// ---- The program and its limits.

TEST(LinkOptionsTest, EverythingThatIsSaidOfTheProgramIsDone) {
  WorkerLinkOptions options;
  options.program.path = "/usr/libexec/decoder";
  options.program.name = "film";
  options.program.arguments = {"-v", "--fast"};
  options.program.environment = {{"LANG", "C"}};
  options.program.limits.cpu_seconds = 7;
  options.program.limits.open_files = 33;
  options.program.namespaces.use = NamespaceOptions::Use::kNone;
  options.program.nice = 5;
  std::string printed;
  options.program.output = [&printed](std::string_view lines) { printed += lines; };
  const SpawnOptions spawn = SpawnOptionsOf(options, UniqueFd());
  EXPECT_EQ(spawn.program, "/usr/libexec/decoder");
  EXPECT_EQ(spawn.name, "film");
  EXPECT_EQ(spawn.arguments, options.program.arguments);
  EXPECT_EQ(spawn.environment, options.program.environment);
  EXPECT_EQ(spawn.limits.cpu_seconds, 7u);
  EXPECT_EQ(spawn.limits.open_files, 33u);
  EXPECT_EQ(spawn.limits.address_space_bytes, LimitsOf(options).address_space_bytes);
  EXPECT_EQ(spawn.namespaces.use, NamespaceOptions::Use::kNone);
  EXPECT_EQ(spawn.nice, 5);
  ASSERT_NE(spawn.output, nullptr);
  spawn.output("a line\n");
  EXPECT_EQ(printed, "a line\n");
}

TEST(LinkOptionsTest, NothingIsAddedToWhatIsNotSaid) {
  WorkerLinkOptions options;
  options.program.path = "decoder";
  const SpawnOptions spawn = SpawnOptionsOf(options, UniqueFd());
  EXPECT_EQ(spawn.nice, 0);
  EXPECT_TRUE(spawn.arguments.empty());
  EXPECT_TRUE(spawn.environment.empty());
  EXPECT_EQ(spawn.output, nullptr);
  EXPECT_EQ(options.program.resident_bytes, 0u);
  EXPECT_EQ(options.source.max_read_bytes, 0u);
  EXPECT_EQ(options.source.size_bytes, InputSource::kUnknownSize);
}

TEST(LinkOptionsTest, AWorkerWithoutANameHasThatOfItsFile) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"/usr/libexec/decoder", "decoder"}, {"decoder", "decoder"}, {"./a/b", "b"}};
  for (const auto& [path, name] : rows) {
    WorkerLinkOptions options;
    options.program.path = path;
    EXPECT_EQ(SpawnOptionsOf(options, UniqueFd()).name, name);
  }
}

TEST(LinkOptionsTest, ItInheritsASocketAndTheInputIfThereIsOne) {
  const SealedBlob blob = Blob(10);
  WorkerLinkOptions options;
  const auto names = [&options] {
    std::vector<std::string> all;
    const SpawnOptions spawn = SpawnOptionsOf(options, UniqueFd());
    for (const InheritedDescriptor& one : spawn.descriptors) all.push_back(one.environment_name());
    return all;
  };
  EXPECT_EQ(names(), std::vector<std::string>({"PARLEY_SOCKET"}));
  options.input = &blob;
  EXPECT_EQ(names(), std::vector<std::string>({"PARLEY_SOCKET", "PARLEY_INPUT"}));
}

// Each ring's data are mapped twice, the arena and the input once.
TEST(LinkOptionsTest, TheAddressSpaceIsWhatIsAskedForAndItsRingsAndItsInput) {
  const SealedBlob blob = Blob(12'345);
  struct Row {
    RingRequest to_worker, from_worker;
    const SealedBlob* input;
    uint64_t more_bytes;
  };
  const RingRequest usual;
  const RingRequest large = {.capacity_bytes = 256 * kKib};
  const RingRequest long_messages = {.max_message_bytes = 100 * 1024};
  const RingRequest short_messages = {.max_message_bytes = 100};
  RingRequest with_arena = usual;
  with_arena.arena.bytes = 512 * kKib;
  const std::vector<Row> rows = {
      {usual, usual, nullptr, (128 + 128) * kKib},
      {large, usual, nullptr, (512 + 128) * kKib},
      {usual, large, nullptr, (128 + 512) * kKib},
      // For two of them, as a power of two.
      {long_messages, usual, nullptr, (512 + 128) * kKib},
      {usual, long_messages, nullptr, (128 + 512) * kKib},
      {short_messages, usual, nullptr, (128 + 128) * kKib},
      {usual, with_arena, nullptr, (128 + 128 + 512) * kKib},
      {usual, usual, &blob, (128 + 128) * kKib + 12'345},
  };
  for (const Row& row : rows) {
    WorkerLinkOptions options;
    options.program.memory_bytes = 1'000'000'000;
    options.to_worker = row.to_worker;
    options.from_worker = row.from_worker;
    options.input = row.input;
    EXPECT_EQ(LimitsOf(options).address_space_bytes, 1'000'000'000 + row.more_bytes)
        << &row - rows.data();
    EXPECT_EQ(LimitsOf(options).file_size_bytes, 0u);
  }
}

TEST(LinkOptionsTest, WhatCannotBeIsRefused) {
  const SealedBlob blob = Blob(1);
  const auto wrong = [](auto change) {
    WorkerLinkOptions options;
    options.program.path = "/bin/true";
    change(options);
    const absl::Status status = CheckLinkOptions(options);
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  using O = WorkerLinkOptions;
  const auto read = [](uint64_t, absl::Span<std::byte>) { return absl::StatusOr<std::size_t>(0); };
  EXPECT_EQ(wrong([](O&) {}), "");
  EXPECT_EQ(wrong([&](O& o) { o.input = &blob; }), "");
  EXPECT_EQ(wrong([&](O& o) { o.source.read = read; }), "");
  EXPECT_EQ(wrong([](O& o) { o.from_worker.arena.bytes = 4096; }), "");
  EXPECT_EQ(wrong([&](O& o) {
              o.input = &blob;
              o.source.read = read;
            }),
            "WorkerLinkOptions: both `input` and `source` are set; allowed: one of them, or none");
  EXPECT_EQ(wrong([](O& o) { o.program.path.clear(); }),
            "WorkerLinkOptions::program.path is empty");
  for (const uint64_t bytes : {1u, 4096u}) {
    EXPECT_EQ(wrong([bytes](O& o) { o.to_worker.arena.bytes = bytes; }),
              "WorkerLinkOptions::to_worker.arena is set; allowed: an arena from the worker only");
  }
}

// ---- What it prints before it begins.

TEST(HeldOutputTest, IsHeldUntilItIsPassedOnAndThenSaidAtOnce) {
  std::vector<std::string> said;
  WorkerProgram program;
  program.output = [&said](std::string_view lines) { said.emplace_back(lines); };
  const auto held = internal::HoldOutput(&program);
  program.output("one\n");
  program.output("two\n");
  EXPECT_TRUE(said.empty());
  held->PassOn();
  EXPECT_EQ(said, std::vector<std::string>({"one\ntwo\n"}));
  program.output("three\n");
  EXPECT_EQ(said, std::vector<std::string>({"one\ntwo\n", "three\n"}));
  // Nothing is said twice, and nothing for nothing.
  held->PassOn();
  EXPECT_EQ(said.size(), 2u);
}

// ---- Numbers that a worker of another build has as well.

TEST(LinkWireTest, TheNumbersAreThese) {
  EXPECT_EQ(kMaxWorkerTag, 0x7fff'feffu);
  EXPECT_EQ(internal::kBeginTag, 0x7fff'ffffu);
  EXPECT_EQ(internal::kReadTag, 0x7fff'fffeu);
  EXPECT_EQ(internal::kReadAnswerTag, 0x7fff'fffdu);
  EXPECT_EQ(internal::kFailedTag, 0x7fff'fffcu);
  EXPECT_EQ(internal::kJobTag, 0x7fff'fffbu);
  EXPECT_EQ(internal::kJobDoneTag, 0x7fff'fffau);
  EXPECT_EQ(internal::kNumberedTag, 0x7fff'fff9u);
  EXPECT_EQ(internal::kAcknowledgedTag, 0x7fff'fff8u);
  EXPECT_EQ(internal::kNoInput, 0u);
  EXPECT_EQ(internal::kSealedInput, 1u);
  EXPECT_EQ(internal::kStreamedInput, 2u);
  EXPECT_EQ(internal::kDuplicate, 1u);
  EXPECT_EQ(internal::kExitBodyFailed, 1);
  EXPECT_EQ(internal::kExitNotSetUp, 2);
  EXPECT_EQ(internal::kExitOutOfMemory, 3);
  EXPECT_EQ(internal::kExitRefused, 4);
}

// ---- Values that nobody has set.

TEST(DefaultsTest, AreAsTheHeadersSay) {
  const internal::ReadRequest request;
  EXPECT_EQ(request.offset, 0u);
  EXPECT_EQ(request.size_bytes, 0u);
  const NumberedRecord numbered;
  EXPECT_EQ(numbered.number, 0u);
  EXPECT_EQ(numbered.epoch, 0u);
  EXPECT_FALSE(numbered.duplicate);
  const RestartPolicy policy;
  EXPECT_EQ(policy.max_restarts, 5);
  EXPECT_EQ(policy.within, absl::Minutes(1));
  EXPECT_EQ(policy.first_delay, absl::Milliseconds(10));
  EXPECT_EQ(policy.max_delay, absl::Seconds(5));
  EXPECT_EQ(policy.healthy_after, absl::Seconds(10));
  const RestartEvent event;
  EXPECT_EQ(event.kind, RestartEvent::Kind::kMessage);
  EXPECT_EQ(event.epoch, 1u);
  EXPECT_EQ(event.undelivered, 0u);
  EXPECT_EQ(event.first_undelivered, 0u);
  const JobLimits limits;
  EXPECT_EQ(limits.wall_time, absl::Seconds(30));
  EXPECT_EQ(limits.resident_bytes, 0u);
  const PoolOptions pool;
  EXPECT_EQ(pool.workers, 2);
  EXPECT_EQ(pool.jobs_per_worker, 1u);
  EXPECT_TRUE(pool.use_template);
  EXPECT_FALSE(pool.start_ahead);
  EXPECT_EQ(pool.clones_per_template, 10'000u);
  EXPECT_EQ(pool.max_queued, 64u);
  const JobMessage message;
  EXPECT_EQ(message.tag, 0u);
  const JobResult result;
  EXPECT_FALSE(result.done());
  EXPECT_EQ(result.outcome, JobResult::Outcome::kNotStarted);
  const PoolStats stats;
  EXPECT_EQ(stats.submitted, 0u);
  EXPECT_EQ(stats.spawned + stats.cloned + stats.reused + stats.ahead + stats.templates, 0u);
  EXPECT_EQ(stats.queued, 0u);
}

TEST(JobResultTest, EachOutcomeHasItsName) {
  using Outcome = JobResult::Outcome;
  const std::vector<std::pair<Outcome, std::string>> names = {
      {Outcome::kDone, "done"},
      {Outcome::kFailed, "failed"},
      {Outcome::kWorkerEnded, "worker ended"},
      {Outcome::kOutOfTime, "out of time"},
      {Outcome::kTooMuchOutput, "too much output"},
      {Outcome::kCancelled, "cancelled"},
      {Outcome::kRejected, "rejected"},
      {Outcome::kExpired, "expired"},
      {Outcome::kNotStarted, "not started"},
  };
  for (const auto& [outcome, name] : names) EXPECT_EQ(ToString(outcome), name);
}

}  // namespace
}  // namespace parley
