// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_PATTERNS_REQUEST_REQUEST_H_
#define PARLEY_PATTERNS_REQUEST_REQUEST_H_

// Requests and their responses over one channel: many at once, answered in any order, each with a
// deadline, each can be cancelled.
//
//   RequestClient                                    RequestServer
//     Start(payload, deadline) -> id      ==>          Take -> id, payload, deadline
//     Cancel(id)                          ==>          IsWanted(id): false
//     Receive -> id, code, payload        <==          Respond(id, code, payload)
//
// Every request that was started ends once at the client: by a response, by kRequestExpired when
// its deadline is over, or by Cancel. The server answers every request that it took, also one that
// is not wanted any more (with an empty kRequestCancelled); only then its place is free again. So
// both sides know at all times what is outstanding, and a response that belongs to nothing is a
// lie.
//
// Trust: the client: the server may answer late, never, or with anything; a server that does not
// answer makes Start say kWouldBlock once max_outstanding requests are out, also when all of them
// are expired or cancelled. The server: the client may send what it likes, cancel, or not take its
// responses (kWouldBlock). What an honest peer can't say poisons the channel: kMetadataInvalid.
// Payloads are the peer's: copied, never looked at. A Try call takes in at most kMaxRecordsPerCall
// records, and sends one, or one for each request that was cancelled.
// Threads: each end: one.
//
//   RequestClient client = *RequestClient::Create(*std::move(channel));
//   absl::StatusOr<Response> response =
//       client.Call(kTag, question, absl::MakeSpan(into), Deadline::After(absl::Seconds(1)));
//
//   RequestServer server = *RequestServer::Create(*std::move(channel));   // the other process
//   while (true) {
//     absl::StatusOr<Request> request = server.Take(absl::MakeSpan(into), deadline);
//     if (!request.ok()) break;
//     absl::Status sent =
//         server.Respond(request->id, kRequestDone, Answer(*request, into), request->deadline);
//     if (!sent.ok()) break;
//   }

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"
#include "parley/patterns/request/wire.h"
#include "parley/ring/ring_types.h"

namespace parley {

struct RequestOptions {
  // How many may be out at once: started, and not yet answered. The same number at both ends; a
  // client that goes beyond the server's is dropped. 1 to kMaxOutstandingRequests.
  uint32_t max_outstanding = 16;
};

// What a request came to.
struct Response {
  uint64_t id = 0;
  // kRequestDone and whatever the server's user says; kRequestExpired with no payload, where the
  // deadline was over at this end.
  uint32_t code = kRequestDone;
  uint32_t tag = 0;  // of the response
  std::size_t size_bytes = 0;
};

class RequestClient {
 public:
  // Takes the channel, which has both directions, else kFailedPrecondition. kInvalidArgument:
  // options.
  static absl::StatusOr<RequestClient> Create(Channel channel, const RequestOptions& options = {});
  RequestClient(RequestClient&&) = default;
  RequestClient& operator=(RequestClient&&) = default;

  // Sends a request; payload.size() <= max_request_bytes(), tag <= kMaxTag. kWouldBlock: too many
  // are out, or there is no free space. kTooLong, kClosed, kPoisoned: as of Sender; once a call
  // said that no response comes any more, kClosed or kPoisoned for good.
  Outcome TryStart(uint32_t tag, absl::Span<const std::byte> payload, Deadline deadline,
                   uint64_t* id);
  // Gives it up: there will be no response for it here. The server is told, with this call or, if
  // there is no free space now, with a later one. Of a request that has ended: nothing.
  void Cancel(uint64_t id);

  // The next response, or the next request whose deadline is over. into.size() >=
  // max_response_bytes().
  Outcome TryReceive(absl::Span<std::byte> into, Response* response);
  // The same, waiting. kDeadlineExceeded: nothing by `deadline`, whatever those of the requests
  // are; else as of Receiver::Receive. kFailedPrecondition: nothing is outstanding, and no call
  // said that nothing comes any more.
  absl::StatusOr<Response> Receive(absl::Span<std::byte> into, Deadline deadline);

  // One request and its response. kDeadlineExceeded: nothing by `deadline`. kFailedPrecondition:
  // others are outstanding. kResourceExhausted: too many that were given up are not answered yet.
  // Else as of Sender::Send and Receiver::Receive, whose end comes before the last two. After an
  // error the request is cancelled.
  absl::StatusOr<Response> Call(uint32_t tag, absl::Span<const std::byte> payload,
                                absl::Span<std::byte> into, Deadline deadline);

  // Started, and neither ended nor given up. With those that were given up and are not answered
  // yet they take the places.
  uint32_t outstanding() const { return waiting_; }
  uint32_t free_places() const { return options_.max_outstanding - used_; }
  std::size_t max_request_bytes() const;
  std::size_t max_response_bytes() const;
  Violation violation() const { return channel_.receiver.violation(); }
  // For event loops: PrepareToWait, descriptor and FinishWait of the receiver. Requests' deadlines
  // are the caller's to time.
  Receiver& receiver() { return channel_.receiver; }

 private:
  enum class Taken { kDelivered, kDropped, kViolation };
  struct Entry {
    uint64_t id = 0;  // 0: free
    int64_t deadline_ns = 0;
    bool given_up = false;
    bool tell = false;  // the server that it was
  };
  RequestClient(Channel channel, const RequestOptions& options)
      : channel_(std::move(channel)), options_(options), entries_(options.max_outstanding) {}
  absl::Status End();
  void GiveUp(Entry& entry);
  void TellOfCancelled();
  bool TakeExpired(Response* response);
  int64_t EarliestDeadlineNs() const;
  Taken TakeIn(const PeekedMessage& message, absl::Span<std::byte> into, Response* response);

  Channel channel_;
  RequestOptions options_;
  std::vector<Entry> entries_;
  uint64_t last_id_ = 0;
  uint32_t used_ = 0;
  uint32_t waiting_ = 0;
  bool ended_ = false;  // a call said that no response comes any more
};

// A request as the server has it.
struct Request {
  uint64_t id = 0;
  uint32_t tag = 0;
  std::size_t size_bytes = 0;
  Deadline deadline = Deadline::AtMonotonicNs(0);  // when the client stops waiting for it
};

class RequestServer {
 public:
  // As of RequestClient::Create.
  static absl::StatusOr<RequestServer> Create(Channel channel, const RequestOptions& options = {});
  RequestServer(RequestServer&&) = default;
  RequestServer& operator=(RequestServer&&) = default;

  // The next request, which is then to be answered. into.size() >= max_request_bytes().
  Outcome TryTake(absl::Span<std::byte> into, Request* request);
  // Errors as of Receiver::Receive.
  absl::StatusOr<Request> Take(absl::Span<std::byte> into, Deadline deadline);

  // Whether an answer is still of use: the client has not cancelled it and its deadline is not
  // over. Cancellations behind a request that is not taken yet are not seen: take what there is
  // first. `id` was taken and is not answered.
  bool IsWanted(uint64_t id);

  // Answers it. payload.size() <= max_response_bytes(); `id` was taken and is not answered, else
  // this aborts. Where the client gave it up, the payload stays here. kWouldBlock: no free space;
  // it is still to be answered.
  Outcome TryRespond(uint64_t id, uint32_t code, absl::Span<const std::byte> payload);
  absl::Status Respond(uint64_t id, uint32_t code, absl::Span<const std::byte> payload,
                       Deadline deadline);

  // Taken, and not answered.
  uint32_t outstanding() const { return used_; }
  std::size_t max_request_bytes() const;
  std::size_t max_response_bytes() const;
  Violation violation() const { return channel_.receiver.violation(); }
  // For event loops, once TryTake said kWouldBlock and no other call came after it: IsWanted may
  // have seen a request, of which the receiver does not know any more.
  Receiver& receiver() { return channel_.receiver; }

  static constexpr int kMaxRecordsPerCall = 2 * kMaxOutstandingRequests;

 private:
  struct Entry {
    uint64_t id = 0;  // 0: free
    uint32_t tag = 0;
    int64_t deadline_ns = 0;
    bool cancelled = false;
  };
  RequestServer(Channel channel, const RequestOptions& options)
      : channel_(std::move(channel)), options_(options), entries_(options.max_outstanding) {}
  Entry& Outstanding(uint64_t id);
  Outcome Advance();
  bool OnRecord(const PeekedMessage& message);
  Request TakeNext(absl::Span<std::byte> into);

  // A request that is seen and not taken, still in the ring.
  struct Next {
    PeekedMessage message;
    uint64_t budget_us = 0;
  };
  Channel channel_;
  RequestOptions options_;
  std::vector<Entry> entries_;
  std::optional<Next> next_;
  uint64_t last_id_ = 0;
  uint32_t used_ = 0;
};

}  // namespace parley

#endif  // PARLEY_PATTERNS_REQUEST_REQUEST_H_
