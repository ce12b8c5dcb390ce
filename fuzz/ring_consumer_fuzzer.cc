// SPDX-License-Identifier: Apache-2.0

// Attacks BasicConsumer: a script of honest calls and of hostile writes, which strike before the
// calls and between their single fetches. A model that shares no code with ring/ must agree on each
// outcome, violation, record, payload and published word.
//
// Input: capacity, longest message, mode; then one byte per step (low 3 bits: which call; 8: the
// hostile writes strike within the call as well), each followed by what it needs.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/fuzz/ring_model.h"
#include "parley/fuzz/ring_run.h"
#include "parley/os/check.h"
#include "parley/ring/consumer.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;
using testing::ScriptedOwnMemory;
using testing::ScriptedPeerMemory;
using FuzzedConsumer = BasicConsumer<ScriptedOwnMemory, ScriptedPeerMemory>;

constexpr std::byte kUntouched{0xc5};

class Run final : public RingRun {
 public:
  static constexpr int kMaxSteps = 2000;

  Run(Script script, uint8_t mode, uint64_t capacity, uint32_t max_message)
      : RingRun(script, mode, {capacity, max_message, 8}),
        consumer_(mine_.own_control(), theirs_.peer_control(), theirs_.peer_data(),
                  {capacity, max_message}),
        max_message_(max_message) {
    model_.capacity = capacity;
  }

 private:
  void Strike() override { attacker_.StrikeConsumer(script_); }

  void ExpectAsModel() override {
    PARLEY_CHECK(consumer_.violation() == model_.violation, "another violation than the model's");
    PARLEY_CHECK(consumer_.released_bytes() == model_.told, "released_bytes");
    ExpectControl(mine_, 0, false, model_.told, model_.closed);
  }

  void Step(uint8_t op) override {
    strikes_ = (op & 8) != 0;
    switch (op & 7) {
      case 0:
        return Receive();
      case 1:
        return Peek();
      case 2:
        consumer_.Release();
        model_.GiveBack();
        views_.clear();
        return;
      case 3:
        return HasData();
      case 4:
        return CloseOrPoison(op);
      case 5:
        return ReadView();
      default:
        return Strike();
    }
  }

  void Receive() {
    std::vector<std::byte> into(max_message_ + (script_.left() % 3), kUntouched);
    Record record;
    Fetches seen(&theirs_);
    const Outcome outcome = consumer_.TryReceive(absl::MakeSpan(into), &record);
    RecordModel expected;
    PARLEY_CHECK(outcome == NextRecord(model_, max_message_, seen, &expected), "TryReceive");
    if (outcome == Outcome::kOk) {
      const auto size = static_cast<std::size_t>(expected.size);
      PARLEY_CHECK(record.size_bytes == expected.size && record.tag == expected.tag, "record");
      const auto& bytes = seen.Copy(expected.payload_at, size);
      PARLEY_CHECK(std::equal(bytes.begin(), bytes.end(), into.begin()), "payload");
      PARLEY_CHECK(std::count(into.begin() + static_cast<std::ptrdiff_t>(size), into.end(),
                              kUntouched) == static_cast<std::ptrdiff_t>(into.size() - size),
                   "bytes behind the payload were written");
      model_.GiveBack();
      views_.clear();
    }
    seen.ExpectNoMore();
  }

  void Peek() {
    Record record;
    ScriptedPeerMemory::View view;
    Fetches seen(&theirs_);
    const Outcome outcome = consumer_.TryPeek(&record, &view);
    RecordModel expected;
    PARLEY_CHECK(outcome == NextRecord(model_, max_message_, seen, &expected), "TryPeek");
    seen.ExpectNoMore();
    if (outcome != Outcome::kOk) return;
    PARLEY_CHECK(record.size_bytes == expected.size && record.tag == expected.tag, "record");
    PARLEY_CHECK(view.size_bytes() == expected.size, "view");
    views_.push_back({view, expected});
  }

  void ReadView() {
    if (views_.empty()) return;
    const PeekedView& peeked = views_[script_.Take8() % views_.size()];
    std::vector<std::byte> into(peeked.view.size_bytes());
    Fetches seen(&theirs_);
    peeked.view.CopyTo(0, absl::MakeSpan(into));
    PARLEY_CHECK(into == seen.Copy(peeked.expected.payload_at, into.size()), "view's bytes");
    seen.ExpectNoMore();
  }

  void HasData() {
    Fetches seen(&theirs_);
    const bool news = consumer_.HasData();
    PARLEY_CHECK(news == (model_.Look(seen) != Outcome::kWouldBlock), "HasData");
    seen.ExpectNoMore();
  }

  void CloseOrPoison(uint8_t op) {
    if ((op & 0x70) == 0x70) {
      consumer_.Poison(Violation::kMetadataInvalid);
      // Sticky: the first reason stays, and what was known is not given out any more.
      if (model_.violation == Violation::kNone) model_.Break(Violation::kMetadataInvalid);
      return;
    }
    consumer_.Close();
    model_.closed = true;
  }

  struct PeekedView {
    ScriptedPeerMemory::View view;
    RecordModel expected;
  };

  FuzzedConsumer consumer_;
  ReceiveModel model_;
  const uint32_t max_message_;
  std::vector<PeekedView> views_;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return parley::fuzz::RunRecordRing<parley::fuzz::Run>(data, size);
}
