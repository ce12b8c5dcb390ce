// SPDX-License-Identifier: Apache-2.0

// Sends and receives in one thread, to be counted by callgrind: see instructions.py.
//
//   pairs --list               names the cases
//   pairs WHAT VARIANT PAIRS   that many sends and as many receives, a few at a time
//   pairs --time               nanoseconds per pair of each case, as JSON
//
// One process and one thread, so that nothing but the code itself is counted: the two ends' memory
// is mapped once, and no line ever moves between caches.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "parley/bench/alternate.h"
#include "parley/bench/clock.h"
#include "parley/bench/json.h"
#include "parley/bench/payload.h"
#include "parley/bench/transports/reference.h"
#include "parley/bench/transports/ring.h"
#include "parley/bench/transports/trusting_memory.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/handshake/wire.h"
#include "parley/os/check.h"
#include "parley/ring/consumer.h"
#include "parley/ring/producer.h"
#include "parley/ring/typed_ring.h"
#include "parley/testing/channel_pair.h"

namespace parley::bench {
namespace {

constexpr std::size_t kCapacity = std::size_t{64} << 10;

RingRegions NewRegions() {
  auto regions = RingRegions::Create(kCapacity);
  PARLEY_CHECK(regions.ok(), "no memory for the rings");
  return *std::move(regions);
}

template <typename PeerMem, std::size_t kBytes, bool kInPlace>
uint64_t Records(uint64_t pairs) {
  const RingRegions regions = NewRegions();
  const RingGeometry geometry = {kCapacity, kBytes};
  BasicProducer<OwnMemory, PeerMem> producer(regions.ControlAs<OwnMemory>(Side::kSender),
                                             regions.DataAs<OwnMemory>(Side::kSender),
                                             regions.ControlAs<PeerMem>(Side::kReceiver), geometry);
  BasicConsumer<OwnMemory, PeerMem> consumer(regions.ControlAs<OwnMemory>(Side::kReceiver),
                                             regions.ControlAs<PeerMem>(Side::kSender),
                                             regions.DataAs<PeerMem>(Side::kSender), geometry);
  std::array<std::byte, kBytes> buffer;
  const auto send = [&](uint64_t number) {
    if constexpr (kInPlace) {
      absl::Span<std::byte> room;
      PARLEY_CHECK(producer.TryReserve(kBytes, &room) == Outcome::kOk, "no room");
      FillWords(room.data(), kBytes, number);
      producer.Commit(0, kBytes);
    } else {
      FillWords(buffer.data(), kBytes, number);
      PARLEY_CHECK(producer.TrySend(0, buffer) == Outcome::kOk, "no room");
    }
  };
  const auto receive = [&] {
    Record record;
    uint64_t sum = 0;
    if constexpr (kInPlace) {
      PeerView view;
      PARLEY_CHECK(consumer.TryPeek(&record, &view) == Outcome::kOk, "no message");
      sum = SumWords(view.BytesThatThePeerMayRewriteAtAnyTime(), kBytes);
      consumer.Release();
    } else {
      PARLEY_CHECK(consumer.TryReceive(absl::MakeSpan(buffer), &record) == Outcome::kOk,
                   "no message");
      sum = SumWords(buffer.data(), kBytes);
    }
    return sum;
  };
  return Alternate(pairs, kAtOnce, send, receive);
}

template <typename PeerMem, std::size_t kBytes>
uint64_t Typed(uint64_t pairs) {
  using Element = std::array<uint64_t, kBytes / 8>;
  const RingRegions regions = NewRegions();
  TypedProducer<Element, OwnMemory, PeerMem> producer(
      regions.ControlAs<OwnMemory>(Side::kSender), regions.DataAs<OwnMemory>(Side::kSender),
      regions.ControlAs<PeerMem>(Side::kReceiver), kCapacity);
  TypedConsumer<Element, OwnMemory, PeerMem> consumer(
      regions.ControlAs<OwnMemory>(Side::kReceiver), regions.ControlAs<PeerMem>(Side::kSender),
      regions.DataAs<PeerMem>(Side::kSender), kCapacity);
  Element element;
  return Alternate(
      pairs, kAtOnce,
      [&](uint64_t number) {
        for (uint64_t& word : element) word = number++;
        PARLEY_CHECK(producer.TryPush(element), "no room");
      },
      [&] {
        PARLEY_CHECK(consumer.TryPop(&element), "no element");
        uint64_t sum = 0;
        for (const uint64_t word : element) sum += word;
        return sum;
      });
}

template <std::size_t kBytes>
uint64_t Unchecked(uint64_t pairs) {
  // Two ends over one pair of regions.
  const auto regions = std::make_shared<const RingRegions>(NewRegions());
  UncheckedRing sender(regions);
  UncheckedRing receiver(regions);
  PARLEY_CHECK(sender.Open(Side::kSender).ok() && receiver.Open(Side::kReceiver).ok(), "open");
  return Alternate(
      pairs, kAtOnce,
      [&](uint64_t number) {
        sender.Send(kBytes, [&](std::byte* to, std::size_t, std::size_t length) {
          FillWords(to, length, number);
        });
      },
      [&] {
        uint64_t sum = 0;
        receiver.Receive(kBytes,
                         [&](const std::byte* from, std::size_t) { sum = SumWords(from, kBytes); });
        return sum;
      });
}

template <std::size_t kBytes, bool kInPlace>
uint64_t OverChannel(uint64_t pairs) {
  testing::ChannelPairOptions options;
  options.ring = {kCapacity, std::max<uint32_t>(kBytes, kMinMessageLimitBytes)};
  auto pair = testing::ChannelPair::Create(options);
  PARLEY_CHECK(pair.ok(), "no channel");
  Sender& sender = (*pair)->connecting().sender;
  Receiver& receiver = (*pair)->accepting().receiver;
  // A length that the compiler does not know, as in most programs.
  std::size_t size = kBytes;
  asm volatile("" : "+r"(size));
  alignas(8) std::array<std::byte, std::max<std::size_t>(kBytes, kMinMessageLimitBytes)> buffer =
      {};
  return Alternate(
      pairs, kAtOnce,
      [&](uint64_t number) {
        if constexpr (kInPlace) {
          absl::Span<std::byte> room;
          PARLEY_CHECK(sender.TryReserve(size, &room) == Outcome::kOk, "no room");
          FillWords(room.data(), kBytes, number);
          sender.Commit(0, size);
        } else {
          FillWords(buffer.data(), kBytes, number);
          PARLEY_CHECK(sender.TrySend(0, absl::MakeConstSpan(buffer.data(), size)) == Outcome::kOk,
                       "no room");
        }
      },
      [&] {
        if constexpr (kInPlace) {
          PeekedMessage message;
          PARLEY_CHECK(receiver.TryPeek(&message) == Outcome::kOk, "no message");
          const uint64_t sum = SumWords(message.view.BytesThatThePeerMayRewriteAtAnyTime(), kBytes);
          receiver.Release();
          return sum;
        } else {
          Record record;
          PARLEY_CHECK(receiver.TryReceive(absl::MakeSpan(buffer), &record) == Outcome::kOk,
                       "no message");
          return SumWords(buffer.data(), kBytes);
        }
      });
}

struct Case {
  std::string what;     // "record 8 B"
  std::string variant;  // "checked", "checks off", "unchecked"
  uint64_t (*run)(uint64_t pairs);
};

template <std::size_t kBytes>
void AddCases(std::vector<Case>& cases) {
  const std::string size = " " + std::to_string(kBytes) + " B";
  cases.push_back({"record" + size, "checked", Records<PeerMemory, kBytes, true>});
  cases.push_back({"record" + size, "checks off", Records<TrustingMemory, kBytes, true>});
  cases.push_back({"record" + size, "by hand, without checks", Unchecked<kBytes>});
  cases.push_back({"record copied" + size, "checked", Records<PeerMemory, kBytes, false>});
  cases.push_back({"record copied" + size, "checks off", Records<TrustingMemory, kBytes, false>});
  cases.push_back({"typed" + size, "checked", Typed<PeerMemory, kBytes>});
  cases.push_back({"typed" + size, "checks off", Typed<TrustingMemory, kBytes>});
  cases.push_back({"channel" + size, "checked", OverChannel<kBytes, true>});
  cases.push_back({"channel copied" + size, "checked", OverChannel<kBytes, false>});
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  AddCases<8>(cases);
  AddCases<64>(cases);
  return cases;
}

// The cases in turn, several times; the median of each.
void PrintTimes(const std::vector<Case>& cases) {
  constexpr uint64_t kPairs = 200'000;
  constexpr std::size_t kTurns = 15;
  const double ticks_per_ns = MeasureTicksPerNs();
  std::vector<std::vector<double>> times(cases.size());
  for (std::size_t turn = 0; turn < kTurns; ++turn) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const uint64_t begin = Ticks();
      cases[i].run(kPairs);
      const auto ticks = static_cast<double>(Ticks() - begin);
      times[i].push_back(ticks / ticks_per_ns / static_cast<double>(kPairs));
    }
  }
  JsonWriter json;
  json.BeginArray();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    std::sort(times[i].begin(), times[i].end());
    json.BeginObject().Key("what").String(cases[i].what).Key("variant").String(cases[i].variant);
    json.Key("ns").Number(times[i][kTurns / 2]).Key("low_ns").Number(times[i].front());
    json.Key("high_ns").Number(times[i].back()).EndObject();
  }
  json.EndArray();
  std::cout << json.text() << '\n';
}

int Main(const std::vector<std::string>& arguments) {
  const std::vector<Case> cases = AllCases();
  if (arguments == std::vector<std::string>{"--list"}) {
    for (const Case& one : cases) std::cout << one.what << '\t' << one.variant << '\n';
    return 0;
  }
  if (arguments == std::vector<std::string>{"--time"}) {
    PrintTimes(cases);
    return 0;
  }
  if (arguments.size() == 3) {
    for (const Case& one : cases) {
      if (one.what != arguments[0] || one.variant != arguments[1]) continue;
      // Printed, so that the work can't be left out.
      std::cout << one.run(std::strtoull(arguments[2].c_str(), nullptr, 10)) << '\n';
      return 0;
    }
  }
  std::cerr << "usage: pairs --list | --time | WHAT VARIANT PAIRS\n";
  return 2;
}

}  // namespace
}  // namespace parley::bench

int main(int argc, char** argv) { return parley::bench::Main({argv + 1, argv + argc}); }
