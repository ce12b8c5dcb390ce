// SPDX-License-Identifier: Apache-2.0

// Attacks BasicProducer: a script of honest calls and of hostile writes to its head and state,
// which strike before the calls and between their single fetches. A model that shares no code with
// ring/ must agree on each outcome and violation, on the published words, and on every byte of the
// ring (promise P5: the peer sees what was committed and nothing else).
//
// Input: capacity, longest message, mode; then one byte per step (low 4 bits: which call; 16: the
// hostile writes strike within the call as well), each followed by what it needs.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/fuzz/ring_model.h"
#include "parley/fuzz/ring_run.h"
#include "parley/os/check.h"
#include "parley/ring/producer.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;
using testing::ScriptedOwnMemory;
using testing::ScriptedPeerMemory;
using FuzzedProducer = BasicProducer<ScriptedOwnMemory, ScriptedPeerMemory>;

class Run final : public RingRun {
 public:
  static constexpr int kMaxSteps = 400;

  Run(Script script, uint8_t mode, uint64_t capacity, uint32_t max_message)
      : RingRun(script, mode, {capacity, max_message, 8}),
        producer_(mine_.own_control(), mine_.own_data(), theirs_.peer_control(),
                  {capacity, max_message}),
        max_message_(max_message),
        ring_(capacity) {
    model_.capacity = capacity;
  }

 private:
  void Strike() override { attacker_.StrikeProducer(script_); }

  void ExpectAsModel() override {
    PARLEY_CHECK(producer_.violation() == model_.violation, "another violation than the model's");
    PARLEY_CHECK(producer_.published_bytes() == model_.told, "published_bytes");
    PARLEY_CHECK(producer_.taken_bytes() == model_.freed, "taken_bytes");
    PARLEY_CHECK(producer_.closed() == model_.closed, "closed");
    ExpectControl(mine_, model_.told, model_.closed, 0, false);
    PARLEY_CHECK(std::memcmp(ring_.data(), mine_.data_bytes().data(), ring_.size()) == 0,
                 "the ring holds a byte that was not committed");
  }

  void Step(uint8_t op) override {
    strikes_ = (op & 16) != 0;
    const bool may_send = !model_.closed;
    switch (op & 15) {
      case 0:
      case 1:
        return may_send && !reserved_ ? Send((op & 15) == 0) : void();
      case 2:
        return may_send ? Reserve() : void();
      case 3:
      case 4:
        return may_send && reserved_ ? Commit((op & 15) == 3) : void();
      case 5:
        producer_.Publish();
        model_.told = model_.written;
        return;
      case 6:
        return HasFreeSpace();
      case 7:
        return Drained();
      case 8:
        return CloseOrPoison(op);
      default:
        return Strike();
    }
  }

  // Small sizes, and those near the limits.
  uint32_t TakeSize() {
    const uint32_t kind = script_.Take8();
    if (kind < 200) return kind % (max_message_ + 1);
    if (kind < 240) return max_message_ - (kind - 200) % (max_message_ + 1);
    return script_.Take16() % (max_message_ + 1);
  }
  static Wide Whole(Wide size) {
    Wide whole = 8 + size;
    while (whole % 8 != 0) ++whole;
    return whole;
  }
  std::byte& Ring(Wide position) {
    return ring_[static_cast<std::size_t>(position % ring_.size())];
  }
  void ModelFinish(Wide tag, Wide size) {
    const Wide header = tag * (Wide{1} << 32) + size;
    for (Wide i = 0, rest = header; i < 8; ++i, rest /= 256) {
      Ring(model_.written + i) = static_cast<std::byte>(rest % 256);
    }
    for (Wide i = 8 + size; i < Whole(size); ++i) Ring(model_.written + i) = std::byte{0};
    model_.written += Whole(size);
  }

  void Send(bool publish) {
    const uint32_t size = TakeSize();
    const uint32_t tag = script_.Take32() & 0x7fff'ffff;
    std::vector<std::byte> payload(size);
    for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<std::byte>(tag + i * 3 + 1);
    Fetches seen(&theirs_);
    const Outcome outcome =
        publish ? producer_.TrySend(tag, payload) : producer_.TryStage(tag, payload);
    PARLEY_CHECK(outcome == model_.AskFor(Whole(size), seen), "TrySend");
    seen.ExpectNoMore();
    if (outcome != Outcome::kOk) return;
    for (std::size_t i = 0; i < size; ++i) Ring(model_.written + 8 + i) = payload[i];
    ModelFinish(tag, size);
    if (publish) model_.told = model_.written;
  }

  void Reserve() {
    const uint32_t size = TakeSize();
    absl::Span<std::byte> room;
    Fetches seen(&theirs_);
    const Outcome outcome = producer_.TryReserve(size, &room);
    PARLEY_CHECK(outcome == model_.AskFor(Whole(size), seen), "TryReserve");
    seen.ExpectNoMore();
    if (outcome != Outcome::kOk) return;
    PARLEY_CHECK(room.size() == size, "TryReserve: another length than asked for");
    reserved_ = size;
    room_ = room;
  }

  void Commit(bool publish) {
    const uint32_t used = script_.Take16() % (*reserved_ + 1);
    const uint32_t tag = script_.Take32() & 0x7fff'ffff;
    for (std::size_t i = 0; i < used; ++i) {
      room_[i] = static_cast<std::byte>(tag + i * 5 + 3);
      Ring(model_.written + 8 + i) = room_[i];
    }
    reserved_.reset();
    Fetches seen(&theirs_);
    if (publish) {
      producer_.Commit(tag, used);
    } else {
      producer_.Stage(tag, used);
    }
    seen.ExpectNoMore();
    ModelFinish(tag, used);
    if (publish) model_.told = model_.written;
  }

  void HasFreeSpace() {
    const uint32_t size = TakeSize();
    Fetches seen(&theirs_);
    const bool room = producer_.HasFreeSpace(size);
    PARLEY_CHECK(room == (model_.AskFor(Whole(size), seen) != Outcome::kWouldBlock),
                 "HasFreeSpace");
    seen.ExpectNoMore();
  }

  void Drained() {
    Fetches seen(&theirs_);
    const bool drained = producer_.Drained();
    PARLEY_CHECK(drained == model_.Drained(seen), "Drained");
    seen.ExpectNoMore();
  }

  void CloseOrPoison(uint8_t op) {
    if ((op & 0xe0) == 0xe0) {
      producer_.Poison(Violation::kMetadataInvalid);
      model_.Break(Violation::kMetadataInvalid);
      return;
    }
    producer_.Close();
    model_.told = model_.written;
    model_.closed = true;
  }

  FuzzedProducer producer_;
  SendModel model_;
  const uint32_t max_message_;
  std::vector<std::byte> ring_;  // what every byte of our data must be
  std::optional<uint32_t> reserved_;
  absl::Span<std::byte> room_;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return parley::fuzz::RunRecordRing<parley::fuzz::Run>(data, size);
}
