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
  Ends ends;
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
  Ends ends;
  uint64_t id = 0;
  const std::vector<std::byte> long_one(ends.client.max_request_bytes() + 1);
  EXPECT_EQ(ends.client.TryStart(1, long_one, Soon(), &id), Outcome::kTooLong);
  EXPECT_EQ(ends.client.outstanding(), 0u);
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
  EXPECT_DEATH(static_cast<void>(ends.server.TryRespond(1, 0, {})), "was not taken");
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
