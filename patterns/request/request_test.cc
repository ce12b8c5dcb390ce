// SPDX-License-Identifier: Apache-2.0
#include "parley/patterns/request/request.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/patterns/request/wire.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/file_registry.h"
#include "parley/testing/channel_pair.h"

namespace parley {
namespace {

using testing::ChannelPair;

Deadline Soon() { return Deadline::After(absl::Seconds(10)); }
Deadline InMs(int64_t ms) { return Deadline::After(absl::Milliseconds(ms)); }

std::vector<std::byte> Bytes(const std::string& text) {
  const auto* const begin = text.data();
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < text.size(); ++i) bytes.push_back(static_cast<std::byte>(begin[i]));
  return bytes;
}
std::string Text(const std::vector<std::byte>& bytes, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(bytes[i]);
  return text;
}

// Both ends, each with a buffer.
struct Ends {
  explicit Ends(const RequestOptions& options = {})
      : pair(*ChannelPair::Create()),
        client(*RequestClient::Create(std::move(pair->connecting()), options)),
        server(*RequestServer::Create(std::move(pair->accepting()), options)),
        answer(client.max_response_bytes()),
        question(server.max_request_bytes()) {}

  uint64_t Start(const std::string& text, Deadline deadline = Soon()) {
    uint64_t id = 0;
    EXPECT_EQ(client.TryStart(7, Bytes(text), deadline, &id), Outcome::kOk);
    return id;
  }
  Request Take() {
    auto request = server.Take(absl::MakeSpan(question), Soon());
    EXPECT_TRUE(request.ok()) << request.status();
    return request.value_or(Request());
  }
  Response Receive() {
    auto response = client.Receive(absl::MakeSpan(answer), Soon());
    EXPECT_TRUE(response.ok()) << response.status();
    return response.value_or(Response());
  }
  Outcome Respond(uint64_t id, const std::string& text, uint32_t code = kRequestDone) {
    return server.TryRespond(id, code, Bytes(text));
  }

  std::unique_ptr<ChannelPair> pair;
  RequestClient client;
  RequestServer server;
  std::vector<std::byte> answer;
  std::vector<std::byte> question;
};

TEST(RequestTest, ManyAtOnceAnsweredInAnyOrder) {
  Ends ends;
  std::vector<uint64_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(ends.Start("question " + std::to_string(i)));
  EXPECT_EQ(ids, (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(ends.client.outstanding(), 5u);
  std::vector<Request> requests;
  for (int i = 0; i < 5; ++i) {
    requests.push_back(ends.Take());
    EXPECT_EQ(Text(ends.question, requests.back().size_bytes), "question " + std::to_string(i));
    EXPECT_EQ(requests.back().tag, 7u);
    EXPECT_FALSE(requests.back().deadline.Expired());
    EXPECT_TRUE(ends.server.IsWanted(requests.back().id));
  }
  for (const std::size_t i : {3u, 0u, 4u, 1u, 2u}) {
    EXPECT_EQ(ends.Respond(ids[i], "answer " + std::to_string(i), kRequestUserCode + 1),
              Outcome::kOk);
    const Response response = ends.Receive();
    EXPECT_EQ(response.id, ids[i]);
    EXPECT_EQ(response.code, kRequestUserCode + 1);
    EXPECT_EQ(response.tag, 7u);
    EXPECT_EQ(Text(ends.answer, response.size_bytes), "answer " + std::to_string(i));
  }
  EXPECT_EQ(ends.client.outstanding(), 0u);
  EXPECT_EQ(ends.server.outstanding(), 0u);
  EXPECT_EQ(ends.client.Receive(absl::MakeSpan(ends.answer), Soon()).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(RequestTest, ACallIsOneRequestAndItsResponse) {
  Ends ends;
  std::thread other([&] {
    for (int i = 0; i < 3; ++i) {
      const Request request = ends.Take();
      EXPECT_TRUE(ends.server.Respond(request.id, kRequestDone, Bytes("yes"), Soon()).ok());
    }
  });
  for (int i = 0; i < 3; ++i) {
    const auto response = ends.client.Call(1, Bytes("well?"), absl::MakeSpan(ends.answer), Soon());
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(Text(ends.answer, response->size_bytes), "yes");
  }
  other.join();
  ends.Start("more");
  EXPECT_EQ(ends.client.Call(1, {}, absl::MakeSpan(ends.answer), Soon()).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(RequestTest, TheLargestOfBothKindsArriveWhole) {
  Ends ends;
  EXPECT_EQ(ends.client.max_request_bytes(), ends.server.max_request_bytes());
  EXPECT_EQ(ends.client.max_response_bytes(), ends.server.max_response_bytes());
  const std::string question(ends.client.max_request_bytes(), 'q');
  const std::string answer(ends.server.max_response_bytes(), 'a');
  const uint64_t id = ends.Start(question);
  const Request request = ends.Take();
  EXPECT_EQ(Text(ends.question, request.size_bytes), question);
  EXPECT_EQ(ends.Respond(id, answer), Outcome::kOk);
  const Response response = ends.Receive();
  EXPECT_EQ(Text(ends.answer, response.size_bytes), answer);
}

// The ring is full of what was given up.
TEST(RequestTest, ACallWaitsForFreeSpaceAndKeepsItsDeadline) {
  Ends ends({.max_outstanding = 64});  // more than fit, also where pages have 64 KiB
  const std::vector<std::byte> large(ends.client.max_request_bytes());
  uint64_t id = 0;
  Outcome started = Outcome::kOk;
  while ((started = ends.client.TryStart(7, large, Soon(), &id)) == Outcome::kOk) {
    ends.client.Cancel(id);
  }
  ASSERT_EQ(started, Outcome::kWouldBlock);
  ASSERT_EQ(ends.client.outstanding(), 0u);
  const auto into = absl::MakeSpan(ends.answer);
  EXPECT_TRUE(absl::IsDeadlineExceeded(ends.client.Call(7, large, into, InMs(50)).status()));
  std::thread server([&ends] {
    while (true) {
      const Request request = ends.Take();
      if (request.id == 0) return;
      if (!ends.server.IsWanted(request.id)) continue;
      EXPECT_EQ(ends.Respond(request.id, "late"), Outcome::kOk);
      return;
    }
  });
  const auto response = ends.client.Call(7, large, into, Soon());
  server.join();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(Text(ends.answer, response->size_bytes), "late");
}

TEST(RequestTest, ACancelledRequestIsNotWantedAndItsAnswerIsDropped) {
  Ends ends;
  const uint64_t first = ends.Start("a");
  const uint64_t second = ends.Start("b");
  ends.Take();
  ends.Take();
  ends.client.Cancel(first);
  ends.client.Cancel(first);  // once is enough
  ends.client.Cancel(999);    // never was
  EXPECT_EQ(ends.client.outstanding(), 1u);
  EXPECT_FALSE(ends.server.IsWanted(first));
  EXPECT_TRUE(ends.server.IsWanted(second));
  const uint32_t places = ends.client.free_places();
  EXPECT_EQ(ends.Respond(first, "late"), Outcome::kOk);
  EXPECT_EQ(ends.Respond(second, "good"), Outcome::kOk);
  const Response response = ends.Receive();
  EXPECT_EQ(response.id, second);
  EXPECT_EQ(Text(ends.answer, response.size_bytes), "good");
  EXPECT_EQ(ends.client.free_places(), places + 2);
  // A cancellation that crosses with its answer.
  const uint64_t third = ends.Start("c");
  ends.Take();
  EXPECT_EQ(ends.Respond(third, "crossed"), Outcome::kOk);
  ends.client.Cancel(third);
  ends.Start("d");
  EXPECT_EQ(Text(ends.question, ends.Take().size_bytes), "d");
  EXPECT_EQ(ends.server.violation(), Violation::kNone);
}

TEST(RequestTest, ADeadlineEndsARequestOnceAtBothEnds) {
  Ends ends;
  const uint64_t late = ends.Start("slow", InMs(20));
  const uint64_t good = ends.Start("quick");
  const Request taken = ends.Take();
  EXPECT_LE(taken.deadline.Remaining(), absl::Milliseconds(20));
  ends.Take();
  const Response expired = ends.Receive();
  EXPECT_EQ(expired.id, late);
  EXPECT_EQ(expired.code, kRequestExpired);
  EXPECT_FALSE(ends.server.IsWanted(late));
  EXPECT_EQ(ends.Respond(late, "too late"), Outcome::kOk);
  EXPECT_EQ(ends.Respond(good, "in time"), Outcome::kOk);
  EXPECT_EQ(ends.Receive().id, good);
  EXPECT_EQ(ends.client.outstanding(), 0u);
  // A wait of its own keeps its deadline, whatever those of the requests are.
  ends.Start("for ever");
  EXPECT_EQ(ends.client.Receive(absl::MakeSpan(ends.answer), InMs(10)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  ends.client.Cancel(3);
  const auto call = ends.client.Call(1, {}, absl::MakeSpan(ends.answer), InMs(20));
  EXPECT_EQ(call.status().code(), absl::StatusCode::kDeadlineExceeded) << call.status();
  EXPECT_EQ(ends.client.outstanding(), 0u);
}

// A server that never answers: Start says so, and nothing grows.
TEST(RequestTest, PromiseP7ResourcesAServerThatNeverAnswersHoldsSoManyPlaces) {
  Ends ends({.max_outstanding = 3});
  uint64_t id = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ends.client.TryStart(1, {}, InMs(0), &id), Outcome::kOk);
  }
  EXPECT_EQ(ends.client.TryStart(1, {}, Soon(), &id), Outcome::kWouldBlock);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ends.Receive().code, kRequestExpired);
  EXPECT_EQ(ends.client.outstanding(), 0u);
  EXPECT_EQ(ends.client.free_places(), 0u);
  EXPECT_EQ(ends.client.Call(1, {}, absl::MakeSpan(ends.answer), Soon()).status().code(),
            absl::StatusCode::kResourceExhausted);
  // It answers one after all.
  const Request request = ends.Take();
  EXPECT_EQ(ends.Respond(request.id, "sorry"), Outcome::kOk);
  Response response;
  EXPECT_EQ(ends.client.TryReceive(absl::MakeSpan(ends.answer), &response), Outcome::kWouldBlock);
  EXPECT_EQ(ends.client.free_places(), 1u);
}

TEST(RequestTest, TheEndOfTheOtherSideIsAnError) {
  Ends ends;
  ends.Start("a");
  {
    const RequestServer gone = std::move(ends.server);
  }
  EXPECT_EQ(ends.client.Receive(absl::MakeSpan(ends.answer), Soon()).status().code(),
            absl::StatusCode::kUnavailable);
  Ends others;
  {
    const RequestClient gone = std::move(others.client);
  }
  EXPECT_EQ(others.server.Take(absl::MakeSpan(others.question), Soon()).status().code(),
            absl::StatusCode::kUnavailable);
}

// A call that ended with the server leaves nothing outstanding behind: the next one says the same.
TEST(RequestTest, ACallAfterTheEndSaysTheEnd) {
  enum class End { kDeath, kClose, kLie };
  for (const End end : {End::kDeath, End::kClose, End::kLie}) {
    SCOPED_TRACE(static_cast<int>(end));
    auto pair = ChannelPair::Create();
    auto client = RequestClient::Create(std::move((*pair)->connecting()));
    std::vector<std::byte> into(client->max_response_bytes());
    const auto call = [&] {
      return client->Call(1, {}, absl::MakeSpan(into), Soon()).status().code();
    };
    if (end == End::kDeath) (*pair)->accepting() = Channel();
    if (end == End::kClose) (*pair)->accepting().sender.Close();
    if (end == End::kLie) {
      ASSERT_EQ((*pair)->accepting().sender.TrySend(1, Bytes("lie")), Outcome::kOk);
    }
    const absl::StatusCode expected = end == End::kDeath   ? absl::StatusCode::kUnavailable
                                      : end == End::kClose ? absl::StatusCode::kOutOfRange
                                                           : absl::StatusCode::kDataLoss;
    for (int i = 0; i < 40; ++i) {  // more often than there are places
      ASSERT_EQ(call(), expected) << i;
      EXPECT_EQ(client->outstanding(), 0u);
    }
    EXPECT_EQ(client->Receive(absl::MakeSpan(into), Soon()).status().code(), expected);
    uint64_t id = 0;
    EXPECT_EQ(client->TryStart(1, {}, Soon(), &id),
              end == End::kLie ? Outcome::kPoisoned : Outcome::kClosed);
  }
}

// Nor does one that was interrupted.
TEST(RequestTest, ACallThatWasInterruptedIsGivenUp) {
  Ends ends;
  ends.client.receiver().Interrupt();
  EXPECT_TRUE(
      absl::IsCancelled(ends.client.Call(1, {}, absl::MakeSpan(ends.answer), Soon()).status()));
  EXPECT_EQ(ends.client.outstanding(), 0u);
  EXPECT_FALSE(ends.server.IsWanted(ends.Take().id));
}

// Places that nobody will give back any more are no reason to wait.
TEST(RequestTest, TheEndComesBeforePlacesThatAreTaken) {
  enum class End { kDeath, kClose, kLie };
  for (const End end : {End::kDeath, End::kClose, End::kLie}) {
    for (const bool waits : {false, true}) {
      SCOPED_TRACE(static_cast<int>(end));
      auto pair = ChannelPair::Create();
      auto client = RequestClient::Create(std::move((*pair)->connecting()), {.max_outstanding = 2});
      std::vector<std::byte> into(client->max_response_bytes());
      uint64_t id = 0;
      for (int i = 0; i < 2; ++i) {
        ASSERT_EQ(client->TryStart(1, {}, Soon(), &id), Outcome::kOk);
        client->Cancel(id);
      }
      EXPECT_EQ(client->TryStart(1, {}, Soon(), &id), Outcome::kWouldBlock);
      if (end == End::kDeath) (*pair)->accepting() = Channel();
      if (end == End::kClose) (*pair)->accepting().sender.Close();
      if (end == End::kLie) {
        ASSERT_EQ((*pair)->accepting().sender.TrySend(1, Bytes("lie")), Outcome::kOk);
      }
      const Outcome expected = end == End::kLie ? Outcome::kPoisoned : Outcome::kClosed;
      const absl::StatusCode code = end == End::kDeath   ? absl::StatusCode::kUnavailable
                                    : end == End::kClose ? absl::StatusCode::kOutOfRange
                                                         : absl::StatusCode::kDataLoss;
      Response response;
      const auto call = [&] {
        return client->Call(1, {}, absl::MakeSpan(into), Soon()).status().code();
      };
      // A death is asked for now and then.
      for (const Deadline give_up = Soon(); !give_up.Expired();) {
        if (waits ? call() == code
                  : client->TryReceive(absl::MakeSpan(into), &response) == expected) {
          break;
        }
      }
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(client->TryReceive(absl::MakeSpan(into), &response), expected);
        EXPECT_EQ(client->TryStart(1, {}, Soon(), &id), expected);
        EXPECT_EQ(call(), code);
        EXPECT_EQ(client->Receive(absl::MakeSpan(into), Soon()).status().code(), code);
      }
    }
  }
}

// A server that takes no more, which the sending end finds.
TEST(RequestTest, AServerThatTakesNoMoreIsAnEndWithEachPlaceTaken) {
  uint32_t fits = 256;
  for (const bool all : {false, true}) {
    auto pair = ChannelPair::Create();
    auto client =
        RequestClient::Create(std::move((*pair)->connecting()), {.max_outstanding = fits});
    const std::vector<std::byte> large(client->max_request_bytes());
    uint64_t id = 0;
    uint32_t started = 0;
    while (client->TryStart(1, large, Soon(), &id) == Outcome::kOk) ++started;
    fits = started;
    if (!all) continue;
    ASSERT_EQ(client->free_places(), 0u);
    (*pair)->accepting().receiver.Close();
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(client->TryStart(1, large, Soon(), &id), Outcome::kClosed);
      EXPECT_EQ(client->TryStart(1, {}, Soon(), &id), Outcome::kClosed);
    }
  }
}

TEST(RequestTest, WhatCannotBeIsNamed) {
  AcceptOptions sends;
  sends.direction = Direction::kSendOnly;
  ConnectOptions receives;
  receives.direction = Direction::kReceiveOnly;
  auto one_way = ChannelPair::CreateByHandshake(sends, receives);
  ASSERT_TRUE(one_way.ok()) << one_way.status();
  EXPECT_EQ(RequestClient::Create(std::move((*one_way)->connecting())).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(RequestServer::Create(std::move((*one_way)->accepting())).status().code(),
            absl::StatusCode::kFailedPrecondition);
  for (const uint32_t bad : {0u, kMaxOutstandingRequests + 1}) {
    auto pair = ChannelPair::Create();
    EXPECT_EQ(RequestClient::Create(std::move((*pair)->connecting()), {bad}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  for (const uint32_t good : {1u, kMaxOutstandingRequests}) {
    auto pair = ChannelPair::Create();
    auto client = RequestClient::Create(std::move((*pair)->connecting()), {good});
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_EQ(client->free_places(), good);
    EXPECT_EQ(client->outstanding(), 0u);
    EXPECT_TRUE(RequestServer::Create(std::move((*pair)->accepting()), {good}).ok());
  }
  Ends ends;
  uint64_t id = 0;
  const std::vector<std::byte> long_one(ends.client.max_request_bytes() + 1);
  EXPECT_EQ(ends.client.TryStart(1, long_one, Soon(), &id), Outcome::kTooLong);
  EXPECT_EQ(ends.client.outstanding(), 0u);
}

// --- what is sent, seen by a peer that takes its records as they are

struct Seen {
  uint32_t tag = 0;
  RequestHeaderWire header = {};
  std::string payload;
};

// The next record of a channel's.
Seen Next(Receiver& receiver) {
  std::vector<std::byte> bytes(receiver.max_message_bytes());
  const auto record = receiver.Receive(absl::MakeSpan(bytes), Soon());
  EXPECT_TRUE(record.ok()) << record.status();
  Seen seen;
  if (!record.ok()) return seen;
  seen.tag = record->tag;
  EXPECT_TRUE(ReadWire(absl::MakeConstSpan(bytes).first(record->size_bytes), &seen.header));
  bytes.erase(bytes.begin(), bytes.begin() + sizeof(RequestHeaderWire));
  seen.payload = Text(bytes, record->size_bytes - sizeof(RequestHeaderWire));
  return seen;
}

void ExpectSeen(const Seen& seen, uint32_t tag, uint32_t kind, uint32_t code, uint64_t id,
                const std::string& payload) {
  EXPECT_EQ(seen.tag, tag);
  EXPECT_EQ(seen.header.kind, kind);
  EXPECT_EQ(seen.header.code, code);
  EXPECT_EQ(seen.header.id, id);
  EXPECT_EQ(seen.payload, payload);
}

TEST(RequestTest, WhatAClientSends) {
  EXPECT_EQ(kRequestStart, 1u);
  EXPECT_EQ(kRequestCancel, 2u);
  EXPECT_EQ(kRequestResponse, 3u);
  auto pair = ChannelPair::Create();
  Receiver& peer = (*pair)->accepting().receiver;
  auto client = RequestClient::Create(std::move((*pair)->connecting()));
  uint64_t id = 0;
  ASSERT_EQ(client->TryStart(7, Bytes("a"), Soon(), &id), Outcome::kOk);
  ASSERT_EQ(client->TryStart(9, Bytes("bc"), InMs(0), &id), Outcome::kOk);
  client->Cancel(1);
  Seen seen = Next(peer);
  ExpectSeen(seen, 7, kRequestStart, 0, 1, "a");
  EXPECT_GT(seen.header.budget_us, 1'000'000u);
  EXPECT_LE(seen.header.budget_us, 10'000'000u);
  seen = Next(peer);
  ExpectSeen(seen, 9, kRequestStart, 0, 2, "bc");
  EXPECT_EQ(seen.header.budget_us, 0u);
  seen = Next(peer);
  ExpectSeen(seen, 0, kRequestCancel, 0, 1, "");
  EXPECT_EQ(seen.header.budget_us, 0u);
}

TEST(RequestTest, WhatAServerSends) {
  EXPECT_EQ(kRequestDone, 0u);
  EXPECT_EQ(kRequestCancelled, 1u);
  EXPECT_EQ(kRequestExpired, 2u);
  auto pair = ChannelPair::Create();
  Sender& sender = (*pair)->connecting().sender;
  Receiver& peer = (*pair)->connecting().receiver;
  auto server = RequestServer::Create(std::move((*pair)->accepting()));
  std::vector<std::byte> into(server->max_request_bytes());
  Request request;
  EXPECT_EQ(request.id, 0u);
  EXPECT_EQ(request.tag, 0u);
  EXPECT_EQ(request.size_bytes, 0u);
  EXPECT_EQ(request.deadline.monotonic_ns(), 0);
  for (const uint32_t id : {1u, 2u}) {
    const auto record = WireBytes(RequestHeaderWire{kRequestStart, 0, id, 10'000'000});
    ASSERT_EQ(sender.TrySend(40 + id, record), Outcome::kOk);
    ASSERT_EQ(server->TryTake(absl::MakeSpan(into), &request), Outcome::kOk);
  }
  const auto cancel = WireBytes(RequestHeaderWire{kRequestCancel, 0, 1, 0});
  ASSERT_EQ(sender.TrySend(0, cancel), Outcome::kOk);
  EXPECT_FALSE(server->IsWanted(1));
  // Nobody pays for the way of a payload that nobody wants.
  EXPECT_EQ(server->TryRespond(1, kRequestUserCode, Bytes("late")), Outcome::kOk);
  EXPECT_TRUE(server->Respond(2, kRequestUserCode, Bytes(std::string(100, 'x')), Soon()).ok());
  ExpectSeen(Next(peer), 41, kRequestResponse, kRequestCancelled, 1, "");
  ExpectSeen(Next(peer), 42, kRequestResponse, kRequestUserCode, 2, std::string(100, 'x'));
  EXPECT_EQ(server->outstanding(), 0u);
}

// A cancellation that found no free space goes with the next call, whichever that is.
TEST(RequestTest, ACancellationThatWaitedGoesWithTheNextCall) {
  for (int call = 0; call < 4; ++call) {
    auto pair = ChannelPair::Create();
    Receiver& peer = (*pair)->accepting().receiver;
    auto client = RequestClient::Create(std::move((*pair)->connecting()), {.max_outstanding = 256});
    const std::vector<std::byte> large(client->max_request_bytes());
    std::vector<std::byte> into(client->max_response_bytes());
    uint64_t id = 0;
    uint64_t started = 0;
    while (client->TryStart(1, large, Soon(), &id) == Outcome::kOk) ++started;
    while (client->TryStart(1, {}, Soon(), &id) == Outcome::kOk) ++started;
    ASSERT_LT(started, 256u) << "the ring is what is full";
    client->Cancel(2);
    client->Cancel(2);
    for (uint64_t i = 1; i <= started; ++i) EXPECT_EQ(Next(peer).header.id, i);
    Response response;
    if (call == 0) {
      EXPECT_EQ(client->TryReceive(absl::MakeSpan(into), &response), Outcome::kWouldBlock);
    } else if (call == 1) {
      EXPECT_TRUE(
          absl::IsDeadlineExceeded(client->Receive(absl::MakeSpan(into), InMs(0)).status()));
    } else if (call == 2) {
      client->Cancel(3);
    } else {
      EXPECT_EQ(client->TryStart(1, {}, Soon(), &id), Outcome::kOk);
    }
    ExpectSeen(Next(peer), 0, kRequestCancel, 0, 2, "");
    if (call == 2) ExpectSeen(Next(peer), 0, kRequestCancel, 0, 3, "");
    if (call == 3) ExpectSeen(Next(peer), 1, kRequestStart, 0, started + 1, "");
    // Once.
    client->Cancel(1);
    ExpectSeen(Next(peer), 0, kRequestCancel, 0, 1, "");
  }
}

// --- what a call makes of an answer

TEST(RequestTest, WhichRequestExpiresFirst) {
  Ends ends;
  const Deadline past = Deadline::AtMonotonicNs(5);
  const Deadline before = Deadline::AtMonotonicNs(4);
  ends.Start("late");
  const uint64_t cancelled = ends.Start("cancelled", past);
  const uint64_t second = ends.Start("second", past);
  const uint64_t first = ends.Start("first", before);
  const uint64_t given_up = ends.Start("given up", before);
  ends.client.Cancel(cancelled);
  ends.client.Cancel(given_up);
  EXPECT_EQ(ends.client.outstanding(), 3u);
  for (const uint64_t id : {first, second}) {
    Response response = {99, 99, 99, 99};
    ASSERT_EQ(ends.client.TryReceive(absl::MakeSpan(ends.answer), &response), Outcome::kOk);
    EXPECT_EQ(response.id, id);
    EXPECT_EQ(response.code, kRequestExpired);
    EXPECT_EQ(response.tag, 0u);
    EXPECT_EQ(response.size_bytes, 0u);
  }
  Response response;
  EXPECT_EQ(ends.client.TryReceive(absl::MakeSpan(ends.answer), &response), Outcome::kWouldBlock);
  EXPECT_EQ(ends.client.outstanding(), 1u);
  EXPECT_EQ(response.id, 0u);
  EXPECT_EQ(response.code, kRequestDone);
  EXPECT_EQ(response.tag, 0u);
  EXPECT_EQ(response.size_bytes, 0u);
}

// The code is the server's to choose, also one that we use ourselves.
TEST(RequestTest, ACallGivesWhatTheServerAnswered) {
  for (const auto& [code, payload] :
       {std::pair(kRequestDone, ""), std::pair(kRequestDone, "yes"), std::pair(kRequestExpired, ""),
        std::pair(kRequestExpired, "partly"), std::pair(kRequestCancelled, ""),
        std::pair(kRequestUserCode, "")}) {
    Ends ends;
    const uint32_t answer = code;
    const std::string text = payload;
    std::thread other([&] {
      const Request request = ends.Take();
      EXPECT_EQ(ends.Respond(request.id, text, answer), Outcome::kOk);
    });
    const auto response = ends.client.Call(1, {}, absl::MakeSpan(ends.answer), Soon());
    other.join();
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->code, answer);
    EXPECT_EQ(Text(ends.answer, response->size_bytes), text);
    EXPECT_EQ(ends.client.outstanding(), 0u);
    EXPECT_EQ(ends.client.free_places(), 16u);
  }
}

// A place that an answer has made is used.
TEST(RequestTest, ACallWithEachPlaceTakenTakesInAnswersFirst) {
  Ends ends({.max_outstanding = 2});
  ends.client.Cancel(ends.Start("a"));
  ends.client.Cancel(ends.Start("b"));
  EXPECT_EQ(ends.client.free_places(), 0u);
  const Request a = ends.Take();
  EXPECT_EQ(ends.Respond(a.id, "late"), Outcome::kOk);
  std::thread other([&] {
    ends.Take();
    const Request request = ends.Take();
    EXPECT_EQ(ends.Respond(request.id, "yes"), Outcome::kOk);
  });
  const auto response = ends.client.Call(1, {}, absl::MakeSpan(ends.answer), Soon());
  other.join();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(Text(ends.answer, response->size_bytes), "yes");

  // And where the server lies meanwhile, that is what is said.
  auto pair = ChannelPair::Create();
  Sender& sender = (*pair)->accepting().sender;
  auto client = RequestClient::Create(std::move((*pair)->connecting()), {.max_outstanding = 1});
  std::vector<std::byte> into(client->max_response_bytes());
  uint64_t id = 0;
  ASSERT_EQ(client->TryStart(1, {}, Soon(), &id), Outcome::kOk);
  client->Cancel(id);
  ASSERT_EQ(sender.TrySend(1, Bytes("lie")), Outcome::kOk);
  EXPECT_EQ(client->Call(1, {}, absl::MakeSpan(into), Soon()).status().code(),
            absl::StatusCode::kDataLoss);
}

// A wait meets a lie as well, and says which.
TEST(RequestTest, PromiseP6ContainmentAWaitEndsWithALie) {
  auto pair = ChannelPair::Create();
  Sender& sender = (*pair)->accepting().sender;
  auto client = RequestClient::Create(std::move((*pair)->connecting()));
  std::vector<std::byte> into(client->max_response_bytes());
  uint64_t id = 0;
  ASSERT_EQ(client->TryStart(1, {}, Soon(), &id), Outcome::kOk);
  ASSERT_EQ(sender.TrySend(1, Bytes("lie")), Outcome::kOk);
  absl::Status status = client->Receive(absl::MakeSpan(into), Soon()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "the peer broke the protocol: message metadata invalid");

  auto other = ChannelPair::Create();
  Sender& second = (*other)->connecting().sender;
  auto server = RequestServer::Create(std::move((*other)->accepting()));
  ASSERT_EQ(second.TrySend(1, Bytes("lie")), Outcome::kOk);
  status = server->Take(absl::MakeSpan(into), Soon()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "the peer broke the protocol: message metadata invalid");
  EXPECT_EQ(server->violation(), Violation::kMetadataInvalid);
}

// --- the server's waits

TEST(RequestTest, ATakeGivesWhatIsThereWhateverItsDeadline) {
  Ends ends;
  const Deadline past = Deadline::AtMonotonicNs(0);
  const auto into = absl::MakeSpan(ends.question);
  EXPECT_TRUE(absl::IsDeadlineExceeded(ends.server.Take(into, past).status()));
  const uint64_t id = ends.Start("a");
  const auto request = ends.server.Take(into, past);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->id, id);
  // A cancellation is no request.
  ends.client.Cancel(id);
  EXPECT_TRUE(absl::IsDeadlineExceeded(ends.server.Take(into, past).status()));
  EXPECT_FALSE(ends.server.IsWanted(id));
}

// A client that does not take its responses.
TEST(RequestTest, PromiseP2TimeAResponseWaitsForFreeSpaceAndKeepsItsDeadline) {
  Ends ends({.max_outstanding = 256});
  const std::vector<std::byte> large(ends.server.max_response_bytes());
  uint64_t answered = 0;
  while (true) {
    const uint64_t id = ends.Start("");
    ends.Take();
    const Outcome outcome = ends.server.TryRespond(id, kRequestDone, large);
    if (outcome != Outcome::kOk) {
      ASSERT_EQ(outcome, Outcome::kWouldBlock);
      EXPECT_EQ(ends.server.outstanding(), 1u);  // still to be answered
      EXPECT_TRUE(absl::IsDeadlineExceeded(ends.server.Respond(id, kRequestDone, large, InMs(20))));
      EXPECT_EQ(ends.server.outstanding(), 1u);
      std::thread other([&] {
        for (uint64_t i = 0; i < answered; ++i) ends.Receive();
      });
      EXPECT_TRUE(ends.server.Respond(id, kRequestDone, large, Soon()).ok());
      other.join();
      EXPECT_EQ(ends.Receive().id, id);
      break;
    }
    ++answered;
    ASSERT_LT(answered, 256u);
  }
}

// Cancellations of what is answered are as many as the client likes; a call takes in so many.
TEST(RequestTest, PromiseP3WorkACallTakesInSoManyRecords) {
  for (const int extra : {-1, 0, 1}) {
    // A ring with room for all of them at once.
    ConnectOptions connect;
    connect.send.capacity_bytes = uint64_t{1} << 16;
    auto pair = ChannelPair::CreateByHandshake({}, connect);
    ASSERT_TRUE(pair.ok()) << pair.status();
    Sender& sender = (*pair)->connecting().sender;
    auto server = RequestServer::Create(std::move((*pair)->accepting()));
    std::vector<std::byte> into(server->max_request_bytes());
    Request request;
    const auto start = [](uint64_t id) {
      return WireBytes(RequestHeaderWire{kRequestStart, 0, id, 1000});
    };
    ASSERT_EQ(sender.TrySend(1, start(1)), Outcome::kOk);
    ASSERT_EQ(server->TryTake(absl::MakeSpan(into), &request), Outcome::kOk);
    ASSERT_EQ(server->TryRespond(1, kRequestDone, {}), Outcome::kOk);
    const auto cancel = WireBytes(RequestHeaderWire{kRequestCancel, 0, 1, 0});
    for (int i = 0; i < RequestServer::kMaxRecordsPerCall + extra; ++i) {
      ASSERT_EQ(sender.TrySend(0, cancel), Outcome::kOk);
    }
    ASSERT_EQ(sender.TrySend(1, start(2)), Outcome::kOk);
    if (extra >= 0) {
      EXPECT_EQ(server->TryTake(absl::MakeSpan(into), &request), Outcome::kWouldBlock);
    }
    EXPECT_EQ(server->TryTake(absl::MakeSpan(into), &request), Outcome::kOk);
    EXPECT_EQ(request.id, 2u);
  }
}

// --- lies ----------------------------------------------------------------------------------------

std::vector<std::byte> Record(uint32_t kind, uint32_t code, uint64_t id, uint64_t budget_us,
                              std::size_t payload_bytes = 0) {
  const auto header = WireBytes(RequestHeaderWire{kind, code, id, budget_us});
  std::vector<std::byte> record(header.begin(), header.end());
  record.resize(record.size() + payload_bytes);
  return record;
}

TEST(RequestTest, PromiseP6ContainmentWhatNoClientSaysEndsTheChannel) {
  // Behind two honest requests, of which the second is answered.
  const std::vector<std::byte> lies[] = {
      {},
      std::vector<std::byte>(23),
      Record(0, 0, 3, 0),
      Record(4, 0, 3, 0),
      Record(kRequestResponse, 0, 1, 0),
      Record(kRequestStart, 1, 3, 0),             // a code
      Record(kRequestStart, 0, 2, 0),             // a number again
      Record(kRequestStart, 0, 4, 0),             // one left out
      Record(kRequestStart, 0, 0, 0),             //
      Record(kRequestStart, 0, ~uint64_t{0}, 0),  //
      Record(kRequestCancel, 0, 3, 0),            // never started
      Record(kRequestCancel, 0, 0, 0),            //
      Record(kRequestCancel, 1, 1, 0),            // a code
      Record(kRequestCancel, 0, 1, 1),            // a budget
      Record(kRequestCancel, 0, 1, 0, 1),         // a payload
  };
  for (const std::vector<std::byte>& lie : lies) {
    auto pair = ChannelPair::Create();
    Sender& sender = (*pair)->connecting().sender;
    auto server = RequestServer::Create(std::move((*pair)->accepting()), {.max_outstanding = 2});
    std::vector<std::byte> into(server->max_request_bytes());
    Request request;
    for (const uint64_t id : {uint64_t{1}, uint64_t{2}}) {
      // No number is too large for a deadline.
      ASSERT_EQ(sender.TrySend(1, Record(kRequestStart, 0, id, ~uint64_t{0})), Outcome::kOk);
      ASSERT_EQ(server->TryTake(absl::MakeSpan(into), &request), Outcome::kOk);
      EXPECT_TRUE(server->IsWanted(id));
    }
    ASSERT_EQ(server->TryRespond(2, 0, {}), Outcome::kOk);
    ASSERT_EQ(sender.TrySend(1, lie), Outcome::kOk);
    EXPECT_EQ(server->TryTake(absl::MakeSpan(into), &request), Outcome::kPoisoned) << &lie - lies;
    EXPECT_EQ(server->violation(), Violation::kMetadataInvalid);
    EXPECT_FALSE(server->IsWanted(1));
    EXPECT_EQ(server->Take(absl::MakeSpan(into), Soon()).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

// Nor is a request taken that was seen before the lie was found.
TEST(RequestTest, PromiseP6ContainmentNothingIsTakenAfterALie) {
  for (const bool waits : {false, true}) {
    auto pair = ChannelPair::Create();
    Sender& sender = (*pair)->connecting().sender;
    auto server = RequestServer::Create(std::move((*pair)->accepting()));
    std::vector<std::byte> into(server->max_request_bytes());
    Request request;
    for (const uint64_t id : {uint64_t{1}, uint64_t{2}}) {
      ASSERT_EQ(sender.TrySend(1, Record(kRequestStart, 0, id, ~uint64_t{0})), Outcome::kOk);
    }
    ASSERT_EQ(server->TryTake(absl::MakeSpan(into), &request), Outcome::kOk);
    EXPECT_TRUE(server->IsWanted(1));                                   // and sees the second one
    server->receiver().Poison(Violation::kConsumerPositionOutOfRange);  // as the other end would
    ASSERT_EQ(server->TryRespond(1, 0, {}), Outcome::kPoisoned);
    for (int i = 0; i < 2; ++i) {
      if (waits) {
        EXPECT_EQ(server->Take(absl::MakeSpan(into), Soon()).status().code(),
                  absl::StatusCode::kDataLoss);
      } else {
        EXPECT_EQ(server->TryTake(absl::MakeSpan(into), &request), Outcome::kPoisoned);
      }
    }
  }
}

// A death is none: what was sent before it is taken.
TEST(RequestTest, ARequestThatWasSeenBeforeADeathIsTaken) {
  Ends ends;
  ends.Start("a");
  const Request first = ends.Take();
  ends.Start("b");
  EXPECT_TRUE(ends.server.IsWanted(first.id));
  {
    const RequestClient gone = std::move(ends.client);
  }
  EXPECT_EQ(Text(ends.question, ends.Take().size_bytes), "b");
  EXPECT_EQ(ends.server.Take(absl::MakeSpan(ends.question), Soon()).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(RequestTest, PromiseP6ContainmentAClientBeyondTheAgreedNumberIsDropped) {
  auto pair = ChannelPair::Create();
  Sender& sender = (*pair)->connecting().sender;
  auto server = RequestServer::Create(std::move((*pair)->accepting()), {.max_outstanding = 2});
  std::vector<std::byte> into(server->max_request_bytes());
  Request request;
  for (const uint64_t id : {uint64_t{1}, uint64_t{2}, uint64_t{3}}) {
    ASSERT_EQ(sender.TrySend(1, Record(kRequestStart, 0, id, 5)), Outcome::kOk);
    EXPECT_EQ(server->TryTake(absl::MakeSpan(into), &request),
              id < 3 ? Outcome::kOk : Outcome::kPoisoned);
  }
  // As is one that cancels twice.
  auto other = ChannelPair::Create();
  Sender& twice = (*other)->connecting().sender;
  auto second = RequestServer::Create(std::move((*other)->accepting()));
  ASSERT_EQ(twice.TrySend(1, Record(kRequestStart, 0, 1, 5)), Outcome::kOk);
  ASSERT_EQ(second->TryTake(absl::MakeSpan(into), &request), Outcome::kOk);
  ASSERT_EQ(twice.TrySend(1, Record(kRequestCancel, 0, 1, 0)), Outcome::kOk);
  EXPECT_EQ(second->TryTake(absl::MakeSpan(into), &request), Outcome::kWouldBlock);
  ASSERT_EQ(twice.TrySend(1, Record(kRequestCancel, 0, 1, 0)), Outcome::kOk);
  EXPECT_EQ(second->TryTake(absl::MakeSpan(into), &request), Outcome::kPoisoned);
}

TEST(RequestTest, PromiseP6ContainmentWhatNoServerSaysEndsTheChannel) {
  const std::vector<std::byte> lies[] = {
      {},
      std::vector<std::byte>(23),
      Record(kRequestStart, 0, 1, 0),
      Record(kRequestCancel, 0, 1, 0),
      Record(7, 0, 1, 0),
      Record(kRequestResponse, 0, 0, 0),
      Record(kRequestResponse, 0, 2, 0),             // answered already
      Record(kRequestResponse, 0, 3, 0),             // never asked
      Record(kRequestResponse, 0, 1, 1),             // a budget
      Record(kRequestResponse, 0, ~uint64_t{0}, 0),  //
  };
  for (const std::vector<std::byte>& lie : lies) {
    auto pair = ChannelPair::Create();
    Sender& sender = (*pair)->accepting().sender;
    auto client = RequestClient::Create(std::move((*pair)->connecting()));
    std::vector<std::byte> into(client->max_response_bytes());
    uint64_t id = 0;
    Response response;
    for (int i = 0; i < 2; ++i) ASSERT_EQ(client->TryStart(1, {}, Soon(), &id), Outcome::kOk);
    ASSERT_EQ(sender.TrySend(1, Record(kRequestResponse, 9, 2, 0, 3)), Outcome::kOk);
    ASSERT_EQ(client->TryReceive(absl::MakeSpan(into), &response), Outcome::kOk);
    EXPECT_EQ(response.code, 9u);
    EXPECT_EQ(response.size_bytes, 3u);
    ASSERT_EQ(sender.TrySend(1, lie), Outcome::kOk);
    EXPECT_EQ(client->TryReceive(absl::MakeSpan(into), &response), Outcome::kPoisoned)
        << &lie - lies;
    EXPECT_EQ(client->violation(), Violation::kMetadataInvalid);
    EXPECT_EQ(client->Receive(absl::MakeSpan(into), Soon()).status().code(),
              absl::StatusCode::kDataLoss);
    EXPECT_EQ(client->TryStart(1, {}, Soon(), &id), Outcome::kPoisoned);
  }
}

TEST(RequestDeathTest, PromiseP9AbortIsOursOnlyTheCallersBugsAbort) {
  Ends ends;
  std::vector<std::byte> small(10);
  Response response;
  Request request;
  EXPECT_DEATH(static_cast<void>(ends.client.TryReceive(absl::MakeSpan(small), &response)),
               "shorter than max_response_bytes");
  EXPECT_DEATH(static_cast<void>(ends.server.TryTake(absl::MakeSpan(small), &request)),
               "shorter than max_request_bytes");
  ends.Start("a");
  EXPECT_DEATH(static_cast<void>(ends.client.Receive(absl::MakeSpan(small), Soon())),
               "shorter than max_response_bytes");
  EXPECT_DEATH(static_cast<void>(ends.server.Take(absl::MakeSpan(small), Soon())),
               "shorter than max_request_bytes");
  EXPECT_DEATH(static_cast<void>(ends.server.TryRespond(1, 0, {})), "was not taken");
  EXPECT_DEATH(static_cast<void>(ends.server.Respond(1, 0, {}, Soon())), "was not taken");
  EXPECT_DEATH(static_cast<void>(ends.server.IsWanted(0)), "was not taken");
}

// --- two processes -------------------------------------------------------------------------------

TEST(RequestTest, TenThousandCallsBetweenTwoProcesses) {
  auto sockets = PeerSocket::Pair();
  ASSERT_TRUE(sockets.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    {
      const PeerSocket parents = std::move(sockets->first);
    }
    auto channel = ConnectChannel(std::move(sockets->second), {}, Soon());
    if (!channel.ok()) ::_exit(2);
    auto server = RequestServer::Create(*std::move(channel));
    if (!server.ok()) ::_exit(3);
    std::vector<std::byte> into(server->max_request_bytes());
    while (true) {
      auto request = server->Take(absl::MakeSpan(into), Soon());
      if (absl::IsUnavailable(request.status())) ::_exit(0);
      if (!request.ok()) ::_exit(4);
      const auto payload = absl::MakeConstSpan(into).first(request->size_bytes);
      if (!server->Respond(request->id, kRequestDone, payload, Soon()).ok()) ::_exit(5);
    }
  }
  {
    const PeerSocket childs = std::move(sockets->second);
  }
  auto channel = AcceptChannel(std::move(sockets->first), {}, Soon());
  ASSERT_TRUE(channel.ok()) << channel.status();
  {
    auto client = RequestClient::Create(*std::move(channel));
    ASSERT_TRUE(client.ok()) << client.status();
    std::vector<std::byte> into(client->max_response_bytes());
    for (int i = 0; i < 10'000; ++i) {
      const auto question = Bytes(std::to_string(i));
      const auto response = client->Call(1, question, absl::MakeSpan(into), Soon());
      ASSERT_TRUE(response.ok()) << response.status();
      ASSERT_EQ(Text(into, response->size_bytes), std::to_string(i));
    }
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace parley
