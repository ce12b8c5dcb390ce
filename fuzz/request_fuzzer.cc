// SPDX-License-Identifier: Apache-2.0

// Attacks both ends of patterns/request over a real channel: records that no honest peer sends, in
// any order, between the calls of an honest user.
//
// Input: which end (1 byte), how many may be out (1 byte), then steps: one byte each (modulo 6),
// followed by what it needs; 255: the peer sends no more; 254: the other end of the victim's
// channel finds a lie. Deadlines are far away or over, so no clock decides anything.
//
// What must hold, by a model of its own that reads the records byte by byte: each answer of each
// call; a request ends once; what no honest peer can say ends the channel, and nothing else does;
// an end that a call told of stays one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/patterns/request/request.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::ChannelPair;
using testing::Script;
using Message = std::vector<std::byte>;

constexpr int kMaxSteps = 200;
constexpr uint8_t kLieElsewhere = 254;
constexpr uint8_t kClose = 255;

uint64_t At(const Message& m, std::size_t offset, std::size_t bytes) {
  uint64_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) {
    value = value << 8 | std::to_integer<uint64_t>(m[offset + i]);
  }
  return value;
}

void Put(Message& m, std::size_t offset, std::size_t bytes, uint64_t value) {
  for (std::size_t i = 0; i < bytes; ++i) {
    m[offset + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

Message Record(uint64_t kind, uint64_t code, uint64_t id, uint64_t budget, const Message& payload) {
  Message m(24);
  Put(m, 0, 4, kind);
  Put(m, 4, 4, code);
  Put(m, 8, 8, id);
  Put(m, 16, 8, budget);
  m.insert(m.end(), payload.begin(), payload.end());
  return m;
}

Deadline Far() { return Deadline::After(absl::Hours(1)); }

// What the peer sends, honest or not, and the model's copy of it.
class Peer {
 public:
  Peer(Script& script, Sender* sender, Receiver* receiver)
      : script_(script), sender_(sender), receiver_(receiver) {}

  void Send(const Message& record) {
    if (!closed && sender_->TrySend(5, record) == Outcome::kOk) queue.push_back(record);
  }
  // Anything: mostly with a header of small numbers.
  void SendAny() {
    const uint8_t shape = script_.Take8();
    if (shape >= 240) return Send(script_.TakeBytes(script_.Take8() % 32));
    uint64_t id = script_.Take8() % 16;
    if ((shape & 0x20) != 0) id = script_.Take64();
    const uint64_t budget = (shape & 0x10) != 0 ? script_.Take64() : 0;
    Send(Record(shape % 5, shape >> 6 & 1, id, budget, script_.TakeBytes(script_.Take8() % 4)));
  }
  // What the victim sent next.
  std::optional<Message> Next() {
    Message into(receiver_->max_message_bytes());
    ::parley::Record record;
    if (receiver_->TryReceive(absl::MakeSpan(into), &record) != Outcome::kOk) return std::nullopt;
    into.resize(record.size_bytes);
    return into;
  }

  void Close() {
    sender_->Close();
    closed = true;
  }

  std::deque<Message> queue;  // on its way to the victim
  bool closed = false;

 private:
  Script& script_;
  Sender* sender_;
  Receiver* receiver_;
};

// The steps that end a side: its peer closes, or somebody else finds a lie. False: `op` is another.
bool Ends(uint8_t op, Peer& peer, Receiver& victim, bool* dead) {
  if (op == kClose) peer.Close();
  if (op == kLieElsewhere) {
    victim.Poison(Violation::kMetadataInvalid);
    *dead = true;
  }
  return op >= kLieElsewhere;
}

// --- the server ----------------------------------------------------------------------------------

class ServerRun {
 public:
  ServerRun(Script script, uint32_t most)
      : script_(script),
        most_(most),
        pair_(*ChannelPair::Create()),
        peer_(script_, &pair_->connecting().sender, &pair_->connecting().receiver),
        server_(*RequestServer::Create(std::move(pair_->accepting()), {.max_outstanding = most})),
        into_(server_.max_request_bytes()) {}

  void Steps() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      const uint8_t op = script_.Take8();
      if (Ends(op, peer_, server_.receiver(), &dead_)) continue;
      switch (op % 6) {
        case 0:
          peer_.Send(
              Record(1, 0, ++sent_, script_.Take8(), script_.TakeBytes(script_.Take8() % 8)));
          break;
        case 1:
          peer_.SendAny();
          break;
        case 2:
          Take();
          break;
        case 3:
          Respond();
          break;
        case 4:
          AskWhetherWanted();
          break;
        case 5:
          peer_.Send(Record(2, 0, script_.Take8() % 16, 0, {}));
          break;
      }
      PARLEY_CHECK(server_.outstanding() == out_.size(), "another number is outstanding");
      PARLEY_CHECK((server_.violation() != Violation::kNone) == dead_, "poisoned, or not");
    }
  }

 private:
  // Cancellations up to the next request; true if that is at the front.
  bool Advance() {
    while (!dead_ && !peer_.queue.empty()) {
      const Message& m = peer_.queue.front();
      const uint64_t kind = m.size() >= 24 ? At(m, 0, 4) : 0;
      const uint64_t id = kind == 0 ? 0 : At(m, 8, 8);
      dead_ = kind == 0 || At(m, 4, 4) != 0;
      if (dead_) return false;
      if (kind == 1) {
        dead_ = id != taken_ + 1 || out_.size() == most_;
        // A request that was let in once stays the next one, whatever is out by then.
        if (seen_) dead_ = false;
        seen_ = !dead_;
        return !dead_;
      }
      dead_ = kind != 2 || id == 0 || id > taken_ || At(m, 16, 8) != 0 || m.size() != 24 ||
              (out_.count(id) != 0 && out_[id]);
      if (dead_) return false;
      if (out_.count(id) != 0) out_[id] = true;
      peer_.queue.pop_front();
    }
    return false;
  }

  void Take() {
    Request request;
    const Outcome outcome = server_.TryTake(absl::MakeSpan(into_), &request);
    if (!Advance()) {
      PARLEY_CHECK(outcome == (dead_          ? Outcome::kPoisoned
                               : peer_.closed ? Outcome::kClosed
                                              : Outcome::kWouldBlock),
                   "a request out of nothing");
      return;
    }
    PARLEY_CHECK(outcome == Outcome::kOk, "a request is not taken");
    const Message& m = peer_.queue.front();
    ++taken_;
    PARLEY_CHECK(request.id == taken_ && request.tag == 5 && request.size_bytes == m.size() - 24 &&
                     std::equal(m.begin() + 24, m.end(), into_.begin()),
                 "another request");
    out_[taken_] = false;
    seen_ = false;
    sent_ = std::max(sent_, taken_);
    peer_.queue.pop_front();
  }

  // One of those that are out.
  uint64_t Pick() {
    auto at = out_.begin();
    std::advance(at, script_.Take8() % out_.size());
    return at->first;
  }

  void Respond() {
    if (out_.empty()) return;
    const uint64_t id = Pick();
    const Message payload = script_.TakeBytes(script_.Take8() % 8);
    const uint8_t code = script_.Take8();
    const Outcome outcome = server_.TryRespond(id, code, payload);
    if (outcome == Outcome::kWouldBlock) {
      while (peer_.Next()) {
      }
      return;
    }
    if (outcome == Outcome::kPoisoned) {
      PARLEY_CHECK(dead_, "poisoned by nothing");
      return;
    }
    PARLEY_CHECK(outcome == Outcome::kOk, "a response that is not sent");
    const bool cancelled = out_[id];
    out_.erase(id);
    std::optional<Message> told;
    while (std::optional<Message> next = peer_.Next()) told = std::move(next);
    if (dead_) return;
    PARLEY_CHECK(
        told && *told == Record(3, cancelled ? 1 : code, id, 0, cancelled ? Message() : payload),
        "another response than given");
  }

  void AskWhetherWanted() {
    if (out_.empty()) return;
    const uint64_t id = Pick();
    const bool wanted = server_.IsWanted(id);
    Advance();
    PARLEY_CHECK(!wanted || (!out_[id] && !dead_), "wanted, though it was cancelled");
  }

  Script script_;
  const std::size_t most_;
  std::unique_ptr<ChannelPair> pair_;
  Peer peer_;
  RequestServer server_;
  Message into_;
  std::map<uint64_t, bool> out_;  // taken and not answered; whether cancelled
  uint64_t sent_ = 0;             // by an honest client
  uint64_t taken_ = 0;
  bool seen_ = false;  // the request at the front was looked at, and let in
  bool dead_ = false;
};

// --- the client ----------------------------------------------------------------------------------

class ClientRun {
 public:
  ClientRun(Script script, uint32_t most)
      : script_(script),
        most_(most),
        pair_(*ChannelPair::Create()),
        peer_(script_, &pair_->accepting().sender, &pair_->accepting().receiver),
        client_(*RequestClient::Create(std::move(pair_->connecting()), {.max_outstanding = most})),
        into_(client_.max_response_bytes()) {}

  void Steps() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      const uint8_t op = script_.Take8();
      if (Ends(op, peer_, client_.receiver(), &dead_)) continue;
      switch (op % 6) {
        case 0:
          Start();
          break;
        case 1:
          peer_.SendAny();
          break;
        case 2:
          Receive();
          break;
        case 3:
          Cancel();
          break;
        case 4:
          while (peer_.Next()) {
          }
          break;
        case 5:  // an answer, perhaps to what is out
          peer_.Send(Record(3, script_.Take8(), script_.Take8() % 16, 0,
                            script_.TakeBytes(script_.Take8() % 8)));
          break;
      }
      std::size_t waiting = 0;
      for (const auto& [id, state] : out_) waiting += state != State::kGivenUp ? 1 : 0;
      PARLEY_CHECK(client_.outstanding() == waiting, "another number is outstanding");
      PARLEY_CHECK(client_.free_places() == most_ - out_.size(), "another number of places");
    }
  }

 private:
  enum class State { kWaiting, kExpired, kGivenUp };

  void Start() {
    const bool expired = script_.Take8() % 4 == 0;
    const Message payload = script_.TakeBytes(script_.Take8() % 8);
    uint64_t id = 0;
    const Outcome outcome =
        client_.TryStart(5, payload, expired ? Deadline::AtMonotonicNs(0) : Far(), &id);
    if (dead_ || told_end_) {
      PARLEY_CHECK(outcome == (dead_ ? Outcome::kPoisoned : Outcome::kClosed), "no end any more");
      return;
    }
    if (outcome != Outcome::kOk) {
      PARLEY_CHECK(outcome == Outcome::kWouldBlock, "a start that fails for no reason");
      return;
    }
    ++started_;
    PARLEY_CHECK(id == started_ && out_.size() < most_, "another number, or too many");
    out_[id] = expired ? State::kExpired : State::kWaiting;
  }

  void Cancel() {
    const uint64_t id = script_.Take8() % 16;
    client_.Cancel(id);
    if (out_.count(id) != 0) out_[id] = State::kGivenUp;
  }

  void Receive() {
    Response response;
    const Outcome outcome = client_.TryReceive(absl::MakeSpan(into_), &response);
    while (!dead_ && !peer_.queue.empty()) {
      const Message m = peer_.queue.front();
      peer_.queue.pop_front();
      const uint64_t id = m.size() >= 24 ? At(m, 8, 8) : 0;
      dead_ = m.size() < 24 || At(m, 0, 4) != 3 || At(m, 16, 8) != 0 || out_.count(id) == 0;
      if (dead_) break;
      const bool wanted = out_[id] != State::kGivenUp;
      out_.erase(id);
      if (!wanted) continue;
      PARLEY_CHECK(outcome == Outcome::kOk && response.id == id && response.code == At(m, 4, 4) &&
                       response.tag == 5 && response.size_bytes == m.size() - 24 &&
                       std::equal(m.begin() + 24, m.end(), into_.begin()),
                   "another response");
      return;
    }
    if (dead_) {
      PARLEY_CHECK(outcome == Outcome::kPoisoned, "a lie was taken");
      return;
    }
    if (peer_.closed) {
      PARLEY_CHECK(outcome == Outcome::kClosed, "the end is not told");
      told_end_ = true;
      return;
    }
    const auto expired = std::find_if(out_.begin(), out_.end(), [](const auto& entry) {
      return entry.second == State::kExpired;
    });
    if (expired == out_.end()) {
      PARLEY_CHECK(outcome == Outcome::kWouldBlock, "a response out of nothing");
      return;
    }
    PARLEY_CHECK(outcome == Outcome::kOk && response.code == kRequestExpired &&
                     response.size_bytes == 0 && out_.count(response.id) != 0 &&
                     out_[response.id] == State::kExpired,
                 "an expired request is not told of");
    out_[response.id] = State::kGivenUp;
  }

  Script script_;
  const std::size_t most_;
  std::unique_ptr<ChannelPair> pair_;
  Peer peer_;
  RequestClient client_;
  Message into_;
  std::map<uint64_t, State> out_;
  uint64_t started_ = 0;
  bool told_end_ = false;
  bool dead_ = false;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::testing::Script script(data, size);
  const bool server = script.Take8() % 2 == 0;
  const uint32_t most = 1 + script.Take8() % 4u;
  if (server) {
    parley::fuzz::ServerRun(script, most).Steps();
  } else {
    parley::fuzz::ClientRun(script, most).Steps();
  }
  return 0;
}
