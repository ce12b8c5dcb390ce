// SPDX-License-Identifier: Apache-2.0

// Attacks TypedProducer and TypedConsumer at elements of 1, 4, 8 and 24 bytes (24 does not divide
// the capacity): a script of honest calls and of hostile writes, which strike before the calls and
// between their single fetches. A model that shares no code with ring/ must agree.
//
// Input: element size, capacity, mode; then one byte per step (low 3 bits: which call; 8: the
// hostile writes strike within the call as well), each followed by what it needs.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/fuzz/ring_model.h"
#include "parley/fuzz/ring_run.h"
#include "parley/os/check.h"
#include "parley/ring/ring_types.h"
#include "parley/ring/typed_ring.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;
using testing::ScriptedOwnMemory;
using testing::ScriptedPeerMemory;

constexpr int kMaxSteps = 400;

// An element's bytes, for comparison.
template <typename T>
std::vector<std::byte> BytesOf(const std::vector<T>& elements, std::size_t count) {
  std::vector<std::byte> bytes(count * sizeof(T));
  if (count != 0) std::memcpy(bytes.data(), elements.data(), bytes.size());
  return bytes;
}

template <typename T>
class Run final : public RingRun {
 public:
  Run(Script script, uint8_t mode, uint64_t capacity)
      : RingRun(script, mode, {capacity, capacity - 8, sizeof(T)}),
        producer_(mine_.own_control(), mine_.own_data(), theirs_.peer_control(), capacity),
        consumer_(mine_.own_control(), theirs_.peer_control(), theirs_.peer_data(), capacity),
        ring_(capacity) {
    send_.capacity = capacity;
    send_.grain = sizeof(T);
    receive_.capacity = capacity;
    receive_.grain = sizeof(T);
    PARLEY_CHECK(producer_.capacity() == send_.capacity / sizeof(T), "capacity");
  }

 private:
  void ExpectAsModel() override {
    PARLEY_CHECK(producer_.violation() == send_.violation, "the producer's violation");
    PARLEY_CHECK(consumer_.violation() == receive_.violation, "the consumer's violation");
    ExpectControl(mine_, send_.told, send_.closed, receive_.told, receive_.closed);
    PARLEY_CHECK(std::memcmp(ring_.data(), mine_.data_bytes().data(), ring_.size()) == 0,
                 "the ring holds a byte that was not pushed");
  }

  void Strike() override {
    if (script_.Take8() % 2 == 0) {
      attacker_.StrikeConsumer(script_);
    } else {
      attacker_.StrikeProducer(script_);
    }
  }

  void Step(uint8_t op) override {
    strikes_ = (op & 8) != 0;
    switch (op & 7) {
      case 0:
        return send_.closed ? void() : Push();
      case 1:
        return Pop();
      case 2: {
        Fetches seen(&theirs_);
        const bool news = consumer_.HasData();
        PARLEY_CHECK(news == (receive_.Look(seen) != Outcome::kWouldBlock), "HasData");
        return seen.ExpectNoMore();
      }
      case 3: {
        const std::size_t count = TakeCount();
        Fetches seen(&theirs_);
        const bool room = producer_.HasFreeSpace(count);
        PARLEY_CHECK(room == (send_.AskFor(Wide{count} * sizeof(T), seen) != Outcome::kWouldBlock),
                     "HasFreeSpace");
        return seen.ExpectNoMore();
      }
      case 4:
        return CloseOrPoison(op);
      default:
        return Strike();
    }
  }

  // Few, or about as many as there is room for.
  std::size_t TakeCount() {
    const std::size_t kind = script_.Take8();
    const auto all = static_cast<std::size_t>(send_.capacity / sizeof(T));
    return kind < 128 ? kind : all + kind - 192;
  }

  void Push() {
    const std::size_t count = TakeCount();
    std::vector<T> elements(count);
    std::vector<std::byte> bytes(count * sizeof(T));
    const uint8_t first = script_.Take8();
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(first + i);
    if (count != 0) std::memcpy(elements.data(), bytes.data(), bytes.size());
    Fetches seen(&theirs_);
    const std::size_t pushed = producer_.TryPush(absl::MakeConstSpan(elements));
    std::size_t expected = 0;
    Outcome why = Outcome::kOk;
    if (count != 0) {
      const Wide wanted = std::min<Wide>(count, send_.capacity / sizeof(T));
      why = send_.AskFor(wanted * sizeof(T), seen);
      expected = static_cast<std::size_t>(std::min<Wide>(wanted, send_.Room() / sizeof(T)));
    }
    seen.ExpectNoMore();
    PARLEY_CHECK(pushed == expected, "TryPush: another number of elements than the model's");
    if (pushed == 0) {
      PARLEY_CHECK(count == 0 || producer_.outcome() == why, "TryPush: another outcome");
      return;
    }
    for (std::size_t i = 0; i < pushed * sizeof(T); ++i) {
      ring_[static_cast<std::size_t>((send_.written + i) % ring_.size())] = bytes[i];
    }
    send_.written += Wide{pushed} * sizeof(T);
    send_.told = send_.written;
  }

  void Pop() {
    const std::size_t count = TakeCount();
    std::vector<T> into(count);
    Fetches seen(&theirs_);
    const std::size_t popped = consumer_.TryPop(absl::MakeSpan(into));
    if (count == 0) {
      PARLEY_CHECK(popped == 0, "TryPop of nothing");
      return seen.ExpectNoMore();
    }
    const Outcome outcome = receive_.Look(seen);
    if (outcome != Outcome::kOk) {
      PARLEY_CHECK(popped == 0 && consumer_.outcome() == outcome, "TryPop: another outcome");
      return seen.ExpectNoMore();
    }
    const auto expected = static_cast<std::size_t>(
        std::min<Wide>(count, (receive_.promised - receive_.taken) / sizeof(T)));
    PARLEY_CHECK(popped == expected, "TryPop: another number of elements than the model's");
    const auto& bytes = seen.Copy(static_cast<std::size_t>(receive_.taken % receive_.capacity),
                                  expected * sizeof(T));
    PARLEY_CHECK(bytes == BytesOf(into, popped), "TryPop: other bytes");
    receive_.taken += Wide{popped} * sizeof(T);
    receive_.GiveBack();
    seen.ExpectNoMore();
  }

  void CloseOrPoison(uint8_t op) {
    switch (op >> 4) {
      case 15:
        producer_.Poison(Violation::kMetadataInvalid);
        send_.Break(Violation::kMetadataInvalid);
        return;
      case 14:
        consumer_.Poison(Violation::kMetadataInvalid);
        if (receive_.violation == Violation::kNone) receive_.Break(Violation::kMetadataInvalid);
        return;
      case 13:
        producer_.Close();
        send_.closed = true;
        return;
      case 12:
        consumer_.Close();
        receive_.closed = true;
        return;
      default:
        return;
    }
  }

  TypedProducer<T, ScriptedOwnMemory, ScriptedPeerMemory> producer_;
  TypedConsumer<T, ScriptedOwnMemory, ScriptedPeerMemory> consumer_;
  SendModel send_;
  ReceiveModel receive_;
  std::vector<std::byte> ring_;
};

struct Reading {
  std::array<uint64_t, 3> words;
};
static_assert(sizeof(Reading) == 24);

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  parley::testing::Script script(data, size);
  const uint8_t element = script.Take8();
  const uint64_t capacity = uint64_t{4096} << (script.Take8() % 2);
  const uint8_t mode = script.Take8();
  switch (element % 4) {
    case 0:
      fuzz::Run<uint8_t>(script, mode, capacity).Everything(fuzz::kMaxSteps);
      break;
    case 1:
      fuzz::Run<float>(script, mode, capacity).Everything(fuzz::kMaxSteps);
      break;
    case 2:
      fuzz::Run<uint64_t>(script, mode, capacity).Everything(fuzz::kMaxSteps);
      break;
    case 3:
      fuzz::Run<fuzz::Reading>(script, mode, capacity).Everything(fuzz::kMaxSteps);
      break;
  }
  return 0;
}
