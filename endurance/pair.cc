// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/pair.h"

#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "parley/endurance/conversation.h"
#include "parley/endurance/link.h"

namespace parley::endurance {
namespace {

Pace PaceOf(uint64_t seed) {
  return {.messages = 200,
          .shortest = absl::Milliseconds(1),
          .longest = absl::Milliseconds(30),
          .seed = seed};
}

void BeAnswerer(const LinkSetup& setup, Fault fault, const PairSetup& pair, Diary& diary) {
  auto link = Link::Accepting(setup);
  if (!link.ok()) return diary.Wrong(link.status().ToString());
  diary.Ready();
  for (uint64_t seed = 1; !diary.Over(); ++seed) {
    link->RestIfAsked(diary);
    auto next = link->Next(diary, absl::Milliseconds(5));
    if (!next.ok()) return diary.Wrong("Accept: " + next.status().ToString());
    if (!*next) continue;
    Channel channel = **std::move(next);
    const int64_t messages = diary.messages.load();
    const absl::Status end = Answer(channel, diary, PaceOf(seed));
    if (end.ok()) {
      diary.closes.fetch_add(1);
    } else if (!absl::IsUnavailable(end) || diary.messages.load() != messages) {
      // Unless the other end had given up the handshake.
      return diary.Wrong("the answering end: " + end.ToString());
    }
    pair.after_each();
    Misbehave(fault, diary);
  }
}

void BeAsker(const LinkSetup& setup, const PairSetup& pair, Diary& diary) {
  auto link = Link::Connecting(setup);
  if (!link.ok()) return diary.Wrong(link.status().ToString());
  diary.Ready();
  for (uint64_t seed = 1; !diary.Over(); ++seed) {
    link->RestIfAsked(diary);
    // Some of these are too short for a handshake with somebody who is stopped.
    const auto within = absl::Milliseconds(5 + static_cast<int64_t>(seed % 16) * 20);
    auto next = link->Next(diary, within);
    if (!next.ok()) {
      // "Refused: too slow" is what the other end says of a handshake that took too long.
      if (!absl::IsFailedPrecondition(next.status())) {
        return diary.Wrong("Connect: " + next.status().ToString());
      }
      diary.failures.fetch_add(1);
      continue;
    }
    if (!*next) continue;
    Channel channel = **std::move(next);
    const absl::Status end = Converse(channel, diary, PaceOf(seed));
    if (!end.ok()) return diary.Wrong("the asking end: " + end.ToString());
    diary.closes.fetch_add(1);
    pair.after_each();
  }
}

}  // namespace

Pair::Pair(Lane& lane, const PairSetup& setup) : lane_(lane) {
  LinkSetup link_setup;
  link_setup.name = lane.AbstractName();
  link_setup.eventfd = setup.eventfd;
  const auto prepared = [&](Diary& diary) {
    const absl::Status status = setup.prepare();
    if (!status.ok()) diary.Wrong(status.ToString());
    return status.ok();
  };
  auto answerer = std::make_unique<Survivor>(lane, [&](Diary& diary) {
    if (prepared(diary)) BeAnswerer(link_setup, lane.options().fault, setup, diary);
  });
  setup.before_asker();
  survivors_.push_back(std::make_unique<Survivor>(lane, [&](Diary& diary) {
    if (prepared(diary)) BeAsker(link_setup, setup, diary);
  }));
  survivors_.push_back(std::move(answerer));
}

bool Pair::Talks(int64_t count) {
  const std::atomic<int64_t>& closes = survivors_.front()->diary().closes;
  const int64_t wanted = closes.load() + count;
  const Deadline patience = Patience();
  while (closes.load() < wanted && Fine(survivors_)) {
    if (patience.Expired()) lane_.Fail("the stream does not go on");
    ::usleep(500);
  }
  return !lane_.failed();
}

}  // namespace parley::endurance
