// SPDX-License-Identifier: Apache-2.0
// The examples in the headers, extracted as they stand there (extract.awk), each in a function that
// has what the example takes for granted. All compile; those of a channel's two ends run as well.

#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_type.h"
#include "parley/channel/bulk.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_fan_out.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/handshake/acceptor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/identity.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/peer_trust.h"
#include "parley/handshake/server.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/patterns/latest/latest.h"
#include "parley/patterns/request/request.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/producer.h"
#include "parley/ring/ring_types.h"
#include "parley/ring/typed_ring.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/sections.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait/signaller.h"
#include "parley/wait/wait_options.h"
#include "parley/wait_set/async_channel.h"
#include "parley/wait_set/event_loop.h"
#include "parley/wait_set/listener.h"
#include "parley/wait_set/task.h"
#include "parley/wait_set/wait_set.h"

namespace parley {
namespace {

using ConstBytes = absl::Span<const std::byte>;
using MutableBytes = absl::Span<std::byte>;

constexpr uint32_t kTag = 7;
constexpr uint64_t kMax = uint64_t{1} << 20;
constexpr std::size_t kMaxBytes = 4096;
constexpr uint64_t kMaxFilmBytes = kMax;

ConstBytes Bytes(const char* text) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text),
                             std::char_traits<char>::length(text));
}
Deadline In(int64_t ms) { return Deadline::After(absl::Milliseconds(ms)); }

// Those that run.

absl::Status SenderExample(Channel* channel, ConstBytes bytes, std::size_t frame_bytes,
                           Deadline deadline) {
  const auto Render = [](MutableBytes room) {
    for (std::byte& byte : room) byte = std::byte{3};
  };
#include "tests/header_examples/channel/sender_0.inc"
  return absl::OkStatus();
}

absl::Status ReceiverExample(Channel* channel, Deadline deadline,
                             std::vector<std::vector<std::byte>>* got) {
  const auto Handle = [&](uint32_t tag, ConstBytes bytes) {
    EXPECT_EQ(tag, kTag);
    got->emplace_back(bytes.begin(), bytes.end());
  };
#include "tests/header_examples/channel/receiver_0.inc"
  return absl::OkStatus();
}

TEST(HeaderExamplesTest, WhatTheSendersExampleSendsTheReceiversExampleGets) {
  auto pair = testing::ChannelPair::Create();
  ASSERT_TRUE(pair.ok());
  const auto deadline = Deadline::After(absl::Seconds(10));
  ASSERT_TRUE(SenderExample(&(*pair)->connecting(), Bytes("hello"), 24, deadline).ok());
  std::vector<std::vector<std::byte>> got;
  const absl::Status status = ReceiverExample(&(*pair)->accepting(), deadline, &got);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(absl::MakeConstSpan(got[0]), Bytes("hello"));
  EXPECT_EQ(got[1], std::vector<std::byte>(24, std::byte{3}));
}

// The others compile.

[[maybe_unused]] void ChannelExamples(ConstBytes bytes, Deadline deadline) {
#include "tests/header_examples/channel/channel_0.inc"
}

[[maybe_unused]] void BulkExamples(Channel* channel, ConstBytes picture, Deadline deadline) {
  const auto Show = [](ConstBytes /*picture*/) {};
#include "tests/header_examples/channel/bulk_0.inc"
}

[[maybe_unused]] void FrameExamples(absl::StatusOr<Channel> channel, const std::string& name,
                                    ConstBytes metadata, std::vector<std::byte> picture,
                                    Deadline deadline) {
  constexpr uint64_t kPictureBytes = 640 * 480;
  const bool running = true;
  const auto Render = [](MutableBytes /*room*/) {};
  const auto Show = [](const std::vector<std::byte>& /*picture*/, ConstBytes /*metadata*/) {};
  const auto Log = [](const absl::Status& /*status*/) {};
  {
#include "tests/header_examples/frames/frame_sender_0.inc"
  } {
#include "tests/header_examples/frames/frame_receiver_0.inc"
  } {
#include "tests/header_examples/frames/frame_fan_out_0.inc"
  }
}

[[maybe_unused]] absl::StatusOr<std::shared_ptr<Session>> AcceptorExample(
    PeerSocket socket, const CheckedAcceptOptions& checked_options, Deadline deadline) {
  const auto AwaitReadable = [](int /*fd*/, Deadline /*until*/) {};
#include "tests/header_examples/handshake/acceptor_0.inc"
}

[[maybe_unused]] absl::Status CheckedOptionsExample(const AcceptOptions& options) {
#include "tests/header_examples/handshake/checked_options_0.inc"
  return absl::OkStatus();
}

[[maybe_unused]] void ConnectorExample(const ConnectOptions& options) {
#include "tests/header_examples/handshake/connector_0.inc"
}

[[maybe_unused]] void IdentityExample() {
#include "tests/header_examples/handshake/identity_0.inc"
}

[[maybe_unused]] void ListenerExample(Deadline deadline) {
#include "tests/header_examples/handshake/listener_0.inc"
}

[[maybe_unused]] void PeerSocketExample(ConstBytes bytes, std::vector<std::byte> buffer,
                                        Deadline deadline) {
#include "tests/header_examples/handshake/peer_socket_0.inc"
}

[[maybe_unused]] void PeerTrustExample(AcceptOptions options) {
#include "tests/header_examples/handshake/peer_trust_0.inc"
}

[[maybe_unused]] void ServerExamples(const std::string& path, const AcceptOptions& options) {
  const auto Use = [](const std::shared_ptr<Session>& /*session*/) {};
#include "tests/header_examples/handshake/server_0.inc"
}

[[maybe_unused]] void SessionExample(PeerSocket socket, const ConnectOptions& options,
                                     Deadline deadline) {
  const auto SendOn = [](const std::shared_ptr<Session>& /*session*/) {};
#include "tests/header_examples/handshake/session_0.inc"
}

[[maybe_unused]] void DeadlineExample() {
  const bool done = false;
  const auto Work = [] {};
#include "tests/header_examples/os/deadline_0.inc"
}

[[maybe_unused]] absl::Status UniqueFdExample() {
#include "tests/header_examples/os/unique_fd_0.inc"
  return absl::OkStatus();
}

[[maybe_unused]] void OwnMemoryExample(std::byte* mapping_base, uint64_t tail) {
#include "tests/header_examples/boundary/own_memory_0.inc"
}

[[maybe_unused]] void PeerMemoryExample(const std::byte* mapping_base) {
#include "tests/header_examples/boundary/peer_memory_0.inc"
}

[[maybe_unused]] void UntrustedExample(const PeerMemory& peer, uint64_t head, uint64_t capacity) {
  const auto Poison = [](Violation /*why*/) {};
#include "tests/header_examples/boundary/untrusted_0.inc"
}

[[maybe_unused]] void WireTypeExample() {
#include "tests/header_examples/boundary/wire_type_0.inc"
}

[[maybe_unused]] void ProducerExamples(OwnMemory own_control, OwnMemory own_data,
                                       PeerMemory peer_control, const RingGeometry& geometry,
                                       ConstBytes bytes, std::size_t n) {
  const auto WaitForFreeSpace = [] {};
  const auto Fill = [](MutableBytes /*room*/) {};
#include "tests/header_examples/ring/producer_0.inc"
}

[[maybe_unused]] void ConsumerExample(Consumer& consumer) {
  const auto Handle = [](uint32_t /*tag*/, ConstBytes /*bytes*/) {};
#include "tests/header_examples/ring/consumer_0.inc"
}

[[maybe_unused]] void TypedRingExamples(OwnMemory own_control, OwnMemory own_data,
                                        PeerMemory peer_control, PeerMemory peer_data,
                                        uint64_t capacity_bytes, absl::Span<const float> samples,
                                        std::vector<float> buffer) {
  const auto Drop = [](Violation /*why*/) {};
#include "tests/header_examples/ring/typed_ring_0.inc"
}

[[maybe_unused]] absl::Status FileRegistryExample(FileRegistry& held, FileId identity) {
#include "tests/header_examples/sealing/file_registry_0.inc"
  return absl::OkStatus();
}

[[maybe_unused]] void SealedBlobExample(int fd, UniqueFd received) {
  const auto SendOverASocket = [](int /*descriptor*/) {};
  const auto Parse = [](ConstBytes /*bytes*/) {};
#include "tests/header_examples/sealing/sealed_blob_0.inc"
}

[[maybe_unused]] void BroadcastExamples(AcceptOptions accept_options,
                                        ConnectOptions connect_options,
                                        const std::shared_ptr<Session>& session) {
#include "tests/header_examples/shm/broadcast_0.inc"
}

[[maybe_unused]] void SectionsExample() {
#include "tests/header_examples/shm/sections_0.inc"
}

[[maybe_unused]] void SignallerExample() {
#include "tests/header_examples/wait/signaller_0.inc"
}

[[maybe_unused]] void WaitOptionsExample(const std::string& name, const ConnectOptions& options,
                                         Deadline deadline) {
#include "tests/header_examples/wait/wait_options_0.inc"
}

[[maybe_unused]] void LatestExamples(const std::string& name, ConstBytes value, Deadline deadline) {
#include "tests/header_examples/patterns/latest/latest_0.inc"
}

[[maybe_unused]] void RequestExamples(absl::StatusOr<Channel> channel, ConstBytes question,
                                      std::vector<std::byte> into, Deadline deadline) {
  const auto Answer = [](const Request& /*request*/, ConstBytes question_of) {
    return question_of;
  };
#include "tests/header_examples/patterns/request/request_0.inc"
}

[[maybe_unused]] void WaitSetExample(Channel channel, std::vector<std::byte> buffer) {
  const bool running = false;
  const auto Drop = [](Channel* gone) { *gone = Channel(); };
  const auto Handle = [](const Record& /*record*/, ConstBytes /*bytes*/) {};
#include "tests/header_examples/wait_set/wait_set_0.inc"
}

[[maybe_unused]] void ListenerInASetExample(WaitSet* set, ChannelListener listener) {
  const auto Serve = [](Channel /*channel*/) {};
#include "tests/header_examples/wait_set/listener_0.inc"
}

#include "tests/header_examples/wait_set/event_loop_1.inc"
#include "tests/header_examples/wait_set/task_0.inc"

[[maybe_unused]] void TaskExample(AsyncSender& sender) {
  const Task<absl::Status> greeting = Greet(sender);
}

[[maybe_unused]] void EventLoopExample(EventLoop* loop, Channel channel) {
#include "tests/header_examples/wait_set/event_loop_2.inc"
}

[[maybe_unused]] Task<void> AsyncChannelExample(EventLoop* loop, Channel plain_channel,
                                                Deadline deadline) {
#include "tests/header_examples/wait_set/async_channel_0.inc"
}

}  // namespace
}  // namespace parley
