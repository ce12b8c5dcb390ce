// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/restart.h"

#include <poll.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/supervise/testing_program.h"

namespace parley {
namespace {

using testing::kLong;
using Kind = RestartEvent::Kind;
using Cause = WorkerEnd::Cause;

constexpr int64_t kMs = 1'000'000;

TEST(RestartBudgetTest, EachRestartInARowWaitsTwiceAsLong) {
  RestartPolicy policy;
  policy.max_restarts = 100;
  policy.first_delay = absl::Milliseconds(10);
  policy.max_delay = absl::Milliseconds(50);
  internal::RestartBudget budget(policy);
  for (const int ms : {10, 20, 40, 50, 50}) {
    EXPECT_EQ(budget.Next(0, absl::Seconds(1)), absl::Milliseconds(ms));
  }
  // One that was healthy ends the row.
  EXPECT_EQ(budget.Next(0, policy.healthy_after), absl::Milliseconds(10));
  EXPECT_EQ(budget.Next(0, absl::ZeroDuration()), absl::Milliseconds(20));
}

TEST(RestartBudgetTest, SoManyInAnySpanOfTime) {
  RestartPolicy policy;
  policy.max_restarts = 3;
  policy.within = absl::Milliseconds(100);
  internal::RestartBudget budget(policy);
  EXPECT_TRUE(budget.Next(0, {}).has_value());
  EXPECT_TRUE(budget.Next(50 * kMs, {}).has_value());
  EXPECT_TRUE(budget.Next(90 * kMs, {}).has_value());
  EXPECT_FALSE(budget.Next(99 * kMs, {}).has_value());
  // The first is forgotten; the one that was refused was none.
  EXPECT_TRUE(budget.Next(100 * kMs, {}).has_value());
  EXPECT_FALSE(budget.Next(149 * kMs, {}).has_value());
  policy.max_restarts = 0;
  EXPECT_FALSE(internal::RestartBudget(policy).Next(0, {}).has_value());
}

RestartOptions Options(Delivery delivery) {
  RestartOptions options;
  options.link.program = testing::Program("testing_worker", "numbered");
  options.link.format = "testing";
  options.policy.first_delay = absl::Milliseconds(1);
  options.delivery = delivery;
  return options;
}

uint64_t Send(RestartingLink& worker, uint32_t tag, const std::string& text) {
  const auto number = worker.Send(tag, BytesOfWire(absl::MakeConstSpan(text.data(), text.size())),
                                  Deadline::After(kLong));
  EXPECT_TRUE(number.ok()) << number.status();
  return number.value_or(0);
}

struct News {
  absl::Status status;
  RestartEvent event;
  std::string text;
};

News Next(RestartingLink& worker) {
  std::vector<std::byte> buffer(worker.link().max_message_bytes());
  auto event = worker.Receive(absl::MakeSpan(buffer), Deadline::After(kLong));
  if (!event.ok()) return {event.status(), {}, ""};
  News news = {absl::OkStatus(), *std::move(event), ""};
  if (news.event.kind == Kind::kMessage) {
    for (uint32_t i = 0; i < news.event.record.size_bytes; ++i) {
      news.text += static_cast<char>(buffer[i]);
    }
  }
  return news;
}

TEST(RestartTest, OptionsThatCannotBeAreRefusedBeforeAnythingStarts) {
  const auto refused = [](auto change) {
    RestartOptions options = Options(Delivery::kAtLeastOnce);
    change(options);
    const auto worker = RestartingLink::Start(std::move(options), Deadline::After(kLong));
    return absl::IsInvalidArgument(worker.status());
  };
  using O = RestartOptions;
  EXPECT_TRUE(refused([](O& o) { o.policy.max_restarts = -1; }));
  EXPECT_TRUE(refused([](O& o) {
    o.policy.first_delay = absl::Seconds(2);
    o.policy.max_delay = absl::Seconds(1);
  }));
  EXPECT_FALSE(refused([](O& o) {
    o.policy.max_restarts = 0;
    o.policy.first_delay = o.policy.max_delay;
  }));
}

TEST(RestartTest, WhatWasUndeliveredIsReportedOnce) {
  auto worker = RestartingLink::Start(Options(Delivery::kAtMostOnce), Deadline::After(kLong));
  ASSERT_TRUE(worker.ok()) << worker.status();
  EXPECT_EQ(Send(*worker, 1, "one"), 1u);
  EXPECT_EQ(Next(*worker).text, "1 one");
  EXPECT_EQ(Send(*worker, 2, "not acknowledged"), 2u);
  EXPECT_EQ(Next(*worker).text, "2 not acknowledged");
  EXPECT_EQ(Send(*worker, 3, "fatal"), 3u);
  const News restarted = Next(*worker);
  ASSERT_EQ(restarted.event.kind, Kind::kRestarted) << restarted.status;
  EXPECT_EQ(restarted.event.epoch, 2u);
  EXPECT_EQ(restarted.event.undelivered, 2u);
  EXPECT_EQ(restarted.event.first_undelivered, 2u);
  if (!testing::HasSanitizer()) {
    EXPECT_EQ(restarted.event.end->cause, Cause::kCrashed) << restarted.event.end->ToString();
  }
  EXPECT_EQ(Send(*worker, 1, "four"), 4u);
  const News four = Next(*worker);
  EXPECT_EQ(four.text, "4 four");
  EXPECT_EQ(four.event.epoch, 2u);
  // Its acknowledgement is behind the answer.
  EXPECT_EQ(Send(*worker, 1, "five"), 5u);
  EXPECT_EQ(Next(*worker).text, "5 five");
  EXPECT_LE(worker->unacknowledged(), 1u);
}

TEST(RestartTest, AtLeastOnceSendsAgainAndSaysSo) {
  auto worker = RestartingLink::Start(Options(Delivery::kAtLeastOnce), Deadline::After(kLong));
  ASSERT_TRUE(worker.ok()) << worker.status();
  Send(*worker, 1, "one");
  EXPECT_EQ(Next(*worker).text, "1 one");
  Send(*worker, 4, "fatal once");
  Send(*worker, 1, "three");
  const News restarted = Next(*worker);
  ASSERT_EQ(restarted.event.kind, Kind::kRestarted) << restarted.status;
  EXPECT_EQ(restarted.event.undelivered, 2u);
  EXPECT_EQ(Next(*worker).text, "2 again fatal once");
  EXPECT_EQ(Next(*worker).text.substr(0, 7), "3 again");
  Send(*worker, 1, "four");
  EXPECT_EQ(Next(*worker).text, "4 four");
  EXPECT_EQ(worker->epoch(), 2u);
}

TEST(RestartTest, PromiseP3WorkAMessageThatKillsEachWorkerMeetsTheLimit) {
  RestartOptions options = Options(Delivery::kAtLeastOnce);
  options.policy.max_restarts = 3;
  auto worker = RestartingLink::Start(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(worker.ok()) << worker.status();
  Send(*worker, 3, "fatal to all");
  for (uint32_t epoch = 2; epoch <= 4; ++epoch) {
    const News restarted = Next(*worker);
    ASSERT_EQ(restarted.event.kind, Kind::kRestarted) << restarted.status;
    EXPECT_EQ(restarted.event.epoch, epoch);
  }
  for (int i = 0; i < 2; ++i) {
    const News end = Next(*worker);
    EXPECT_TRUE(absl::IsUnavailable(end.status)) << end.status;
    EXPECT_NE(std::string(end.status.message()).find("too many restarts"), std::string::npos);
  }
  EXPECT_TRUE(absl::IsUnavailable(worker->Send(1, {}, Deadline::After(kLong)).status()));
}

TEST(RestartTest, AnAcknowledgementOfWhatWasNeverSentIsALie) {
  auto worker = RestartingLink::Start(Options(Delivery::kAtLeastOnce), Deadline::After(kLong));
  ASSERT_TRUE(worker.ok()) << worker.status();
  Send(*worker, 5, "lie");
  EXPECT_EQ(Next(*worker).text, "1 lie");
  const News restarted = Next(*worker);
  ASSERT_EQ(restarted.event.kind, Kind::kRestarted) << restarted.status;
  EXPECT_EQ(restarted.event.end->cause, Cause::kBrokeProtocol) << restarted.event.end->ToString();
  EXPECT_EQ(restarted.event.undelivered, 1u);
}

TEST(RestartTest, WhatIsKeptIsBounded) {
  RestartOptions options = Options(Delivery::kAtLeastOnce);
  options.max_kept_bytes = 1000;
  auto worker = RestartingLink::Start(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(worker.ok()) << worker.status();
  Send(*worker, 2, std::string(900, 'x'));
  const std::vector<std::byte> more(101);
  EXPECT_TRUE(absl::IsResourceExhausted(worker->Send(1, more, Deadline::After(kLong)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      worker->Send(1, std::vector<std::byte>(1 << 20), Deadline::After(kLong)).status()));
}

TEST(RestartTest, WhatWasAcknowledgedMakesRoom) {
  RestartOptions options = Options(Delivery::kAtLeastOnce);
  options.max_kept_bytes = 1000;
  auto worker = RestartingLink::Start(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(worker.ok()) << worker.status();
  const std::string text(300, 'x');
  for (uint64_t number = 1; number <= 20; ++number) {
    EXPECT_EQ(Send(*worker, 1, text), number);
    EXPECT_EQ(Next(*worker).text, std::to_string(number) + " " + text);
  }
}

constexpr uint64_t kMany = 120;  // more than fit into rings of a page of 64 KiB

// Sends more than the ring to the worker holds, of which none may be lost.
void SendMany(RestartingLink& worker, uint64_t first) {
  const std::vector<std::byte> kilobyte(1000, std::byte{'x'});
  for (uint64_t number = first; number < first + kMany; ++number) {
    const auto sent = worker.Send(1, kilobyte, Deadline::After(absl::Milliseconds(2)));
    ASSERT_TRUE(sent.ok()) << number << ": " << sent.status();
    EXPECT_EQ(*sent, number);
  }
}

void ExpectAnswers(RestartingLink& worker, uint64_t first) {
  for (uint64_t number = first; number < first + kMany; ++number) {
    const News news = Next(worker);
    ASSERT_EQ(news.event.kind, Kind::kMessage) << news.status;
    ASSERT_EQ(news.text.substr(0, news.text.find(' ')), std::to_string(number));
  }
}

RestartOptions WithSmallRings() {
  RestartOptions options = Options(Delivery::kAtLeastOnce);
  for (RingRequest* ring : {&options.link.to_worker, &options.link.from_worker}) {
    ring->capacity_bytes = 16 << 10;
    ring->max_message_bytes = 4 << 10;
  }
  return options;
}

// The worker waits for room for its answers, and takes nothing more.
TEST(RestartTest, WhatFoundNoRoomIsSentLater) {
  auto worker = RestartingLink::Start(WithSmallRings(), Deadline::After(kLong));
  ASSERT_TRUE(worker.ok()) << worker.status();
  SendMany(*worker, 1);
  ExpectAnswers(*worker, 1);
  EXPECT_EQ(worker->epoch(), 1u);
}

TEST(RestartTest, WhatIsSentToAWorkerThatHasDiedIsKeptForTheNext) {
  auto worker = RestartingLink::Start(WithSmallRings(), Deadline::After(kLong));
  ASSERT_TRUE(worker.ok()) << worker.status();
  Send(*worker, 4, "fatal once");
  pollfd dead = {worker->link().worker().pidfd(), POLLIN, 0};
  ASSERT_EQ(::poll(&dead, 1, 10'000), 1);
  SendMany(*worker, 2);
  const News restarted = Next(*worker);
  ASSERT_EQ(restarted.event.kind, Kind::kRestarted) << restarted.status;
  EXPECT_EQ(restarted.event.undelivered, 1 + kMany);
  EXPECT_EQ(Next(*worker).text, "1 again fatal once");
  ExpectAnswers(*worker, 2);
}

}  // namespace
}  // namespace parley
