// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "parley/bench/alternate.h"
#include "parley/bench/payload.h"
#include "parley/bench/safety/case.h"
#include "parley/bench/safety/folded_memory.h"
#include "parley/bench/safety/header_trusting_memory.h"
#include "parley/bench/transports/ring.h"
#include "parley/bench/transports/trusting_memory.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/check.h"
#include "parley/ring/consumer.h"
#include "parley/ring/producer.h"

namespace parley::bench {
namespace {

constexpr std::size_t kCapacity = std::size_t{256} << 10;

// Both ends of a ring, and its memory.
template <typename OwnMem, typename PeerMem>
struct Ends {
  Ends(RingRegions with, std::size_t bytes, std::size_t data_bytes)
      : regions(std::move(with)),
        producer(
            regions.ControlAs<OwnMem>(Side::kSender), {regions.data(Side::kSender), data_bytes},
            regions.ControlAs<PeerMem>(Side::kReceiver), {kCapacity, static_cast<uint32_t>(bytes)}),
        consumer(
            regions.ControlAs<OwnMem>(Side::kReceiver), regions.ControlAs<PeerMem>(Side::kSender),
            {regions.data(Side::kSender), data_bytes}, {kCapacity, static_cast<uint32_t>(bytes)}),
        buffer(bytes) {}

  RingRegions regions;
  BasicProducer<OwnMem, PeerMem> producer;
  BasicConsumer<OwnMem, PeerMem> consumer;
  std::vector<std::byte> buffer;
};

template <typename OwnMem, typename PeerMem>
std::shared_ptr<Ends<OwnMem, PeerMem>> MakeEnds(std::size_t bytes, std::size_t data_bytes) {
  auto regions = RingRegions::Create(kCapacity);
  PARLEY_CHECK(regions.ok(), "no memory for the rings");
  return std::make_shared<Ends<OwnMem, PeerMem>>(*std::move(regions), bytes, data_bytes);
}

// Long ones by turns: a single one is no stream, whose looks would wait.
uint64_t AtOnce(std::size_t bytes) { return bytes < 4096 ? kAtOnce : 1; }

template <typename PeerMem>
std::function<uint64_t(uint64_t)> InPlace(std::size_t bytes) {
  const auto ends = MakeEnds<OwnMemory, PeerMem>(bytes, 2 * kCapacity);
  return [ends, bytes](uint64_t pairs) {
    return Alternate(
        pairs, AtOnce(bytes),
        [&](uint64_t number) {
          absl::Span<std::byte> room;
          PARLEY_CHECK(ends->producer.TryReserve(bytes, &room) == Outcome::kOk, "no room");
          FillWords(room.data(), bytes, number);
          ends->producer.Commit(0, bytes);
        },
        [&] {
          Record record;
          PeerView view;
          PARLEY_CHECK(ends->consumer.TryPeek(&record, &view) == Outcome::kOk, "no message");
          const uint64_t sum = SumWords(view.BytesThatThePeerMayRewriteAtAnyTime(), bytes);
          ends->consumer.Release();
          return sum;
        });
  };
}

template <typename OwnMem, typename PeerMem>
std::function<uint64_t(uint64_t)> Copied(std::size_t bytes, std::size_t data_bytes) {
  const auto ends = MakeEnds<OwnMem, PeerMem>(bytes, data_bytes);
  return [ends, bytes](uint64_t pairs) {
    return Alternate(
        pairs, AtOnce(bytes),
        [&](uint64_t number) {
          FillWords(ends->buffer.data(), bytes, number);
          PARLEY_CHECK(ends->producer.TrySend(0, ends->buffer) == Outcome::kOk, "no room");
        },
        [&] {
          Record record;
          PARLEY_CHECK(
              ends->consumer.TryReceive(absl::MakeSpan(ends->buffer), &record) == Outcome::kOk,
              "no message");
          return SumWords(ends->buffer.data(), bytes);
        });
  };
}

std::string Size(std::size_t bytes) {
  return bytes < 1024 ? ", " + std::to_string(bytes) + " B"
                      : ", " + std::to_string(bytes >> 10) + " KiB";
}

}  // namespace

std::vector<Case> MessageCases() {
  std::vector<Case> cases;
  const auto add = [&cases](const std::string& what, std::size_t bytes, auto on, auto off) {
    const uint64_t at_once = bytes <= 64 ? 50'000 : bytes <= 4096 ? 5'000 : 400;
    // Under callgrind each copy is a loop over words, and long ones would take minutes.
    const bool counted = bytes <= 4096;
    cases.push_back({what + Size(bytes), "on", std::move(on), at_once, counted, {}});
    cases.push_back({what + Size(bytes), "off", std::move(off), at_once, counted, {}});
  };
  for (const std::size_t bytes : {std::size_t{8}, std::size_t{64}}) {
    add("all checks", bytes, InPlace<PeerMemory>(bytes), InPlace<TrustingMemory>(bytes));
    // Of the positions alone: what is left where headers are believed. Memory that believes the
    // positions alone makes the compiler inline less, which would be measured instead.
    add("position checks", bytes, InPlace<HeaderTrustingMemory>(bytes),
        InPlace<TrustingMemory>(bytes));
    add("header checks", bytes, InPlace<PeerMemory>(bytes), InPlace<HeaderTrustingMemory>(bytes));
  }
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{4096}, std::size_t{64} << 10}) {
    add("copied out", bytes, Copied<OwnMemory, PeerMemory>(bytes, 2 * kCapacity),
        InPlace<PeerMemory>(bytes));
    add("mirrored mapping", bytes, Copied<OwnMemory, PeerMemory>(bytes, 2 * kCapacity),
        Copied<FoldedOwnMemory, FoldedPeerMemory>(bytes, kCapacity));
  }
  return cases;
}

}  // namespace parley::bench
