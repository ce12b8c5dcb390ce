// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_CHANNEL_H_
#define PARLEY_BENCH_TRANSPORTS_CHANNEL_H_

// Parley as its users have it: a channel, through its public API alone.
//
// Threads: one per process.

#include <algorithm>
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
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"
#include "parley/channel/bulk.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/wire.h"
#include "parley/os/deadline.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/geometry.h"
#include "parley/wait/wait_options.h"

namespace parley::bench {

enum class Moving : uint8_t {
  kCopied,          // TrySend, TryReceive
  kInPlace,         // Reserve and Commit, Peek and Release
  kCopiedOut,       // Reserve and Commit, TryReceive
  kInPieces,        // Reserve and Commit, Peek and CopyTo piece by piece
  kBatched,         // in place, but published and released in batches
  kChunked,         // in place, a long message as many records: both copies at once
  kBulk,            // BulkSender and BulkReceiver: copied, a long message as many records
  kFrames,          // FrameSender and FrameReceiver: in place, a message in a frame
  kFramesChunked,   // the same, a long message in several frames
  kFramesInPieces,  // as kFrames, and CopyTo piece by piece
  kFramesChunkedInPieces,
};
constexpr bool UsesFrames(Moving moving) {
  return moving == Moving::kFrames || moving == Moving::kFramesChunked ||
         moving == Moving::kFramesInPieces || moving == Moving::kFramesChunkedInPieces;
}
constexpr bool InPieces(Moving moving) {
  return moving == Moving::kInPieces || moving == Moving::kFramesInPieces ||
         moving == Moving::kFramesChunkedInPieces;
}

struct ChannelMode {
  Waiting waiting = Waiting::kSpin;
  DoorbellKind doorbell = DoorbellKind::kSocket;
  WaitOptions wait;
  std::size_t ring_bytes = 0;  // 0: QueueBytes
  ChannelLimits limits = {.max_capacity_bytes = uint64_t{64} << 20,
                          .max_message_bytes = uint32_t{32} << 20};
  FenceMode fences = FenceMode::kAsymmetric;
  HugePages pages = HugePages::kUsual;
};

inline constexpr std::size_t kBatch = 16;
inline constexpr std::size_t kChunkBytes = std::size_t{64} << 10;
// What is copied out at a time, into a buffer that stays in the first cache.
inline constexpr std::size_t kPieceBytes = std::size_t{4} << 10;
// A longer message is chunked. In place: enough to have left the writer's own cache when it is
// read. In pieces, where the reader is the slower one: so that it need not wait for the writer.
inline constexpr std::size_t kFrameChunkBytes = std::size_t{2} << 20;
inline constexpr std::size_t kPiecewiseChunkBytes = std::size_t{256} << 10;
// The longest piece of a message that is sent as one; 0: all of it is.
constexpr std::size_t ChunkBytesOf(Moving moving) {
  switch (moving) {
    case Moving::kChunked:
    case Moving::kBulk:
      return kChunkBytes;
    case Moving::kFramesChunked:
      return kFrameChunkBytes;
    case Moving::kFramesChunkedInPieces:
      return kPiecewiseChunkBytes;
    default:
      return 0;
  }
}
// An arena of as much as the ring of the chunked rows, and of a few frames at least.
inline constexpr std::size_t kArenaBytes = std::size_t{4} << 20;
inline constexpr std::size_t kFewestFrames = 4;
inline constexpr std::size_t kFrameRingBytes = std::size_t{64} << 10;
inline ArenaGeometry ArenaOf(std::size_t message_bytes) {
  ArenaGeometry arena = ArenaFor(kFewestFrames, message_bytes);
  arena.bytes = std::max<uint64_t>(arena.bytes, kArenaBytes);
  return arena;
}
// A chunk and the header of the first one.
inline constexpr std::size_t kMaxBulkRecordBytes = (std::size_t{64} << 10) + 64;

template <Moving kMoving>
class ChannelTransport {
 public:
  static absl::StatusOr<std::unique_ptr<ChannelTransport>> Create(const Cell& cell,
                                                                  const ChannelMode& mode) {
    auto sockets = PeerSocket::Pair();
    if (!sockets.ok()) return sockets.status();
    return std::make_unique<ChannelTransport>(*std::move(sockets), cell, mode);
  }
  ChannelTransport(std::pair<PeerSocket, PeerSocket> sockets, const Cell& cell,
                   const ChannelMode& mode)
      : accepting_(std::move(sockets.first)),
        connecting_(std::move(sockets.second)),
        mode_(mode),
        record_bytes_(RecordBytes(cell.size_bytes)) {
    if constexpr (UsesFrames(kMoving)) {
      ring_ = {kFrameRingBytes, kFrameRingBytes / 4, ArenaOf(record_bytes_)};
      return;
    }
    ring_ = {mode.ring_bytes != 0 ? mode.ring_bytes : QueueBytes(cell),
             std::max(kMinMessageLimitBytes,
                      static_cast<uint32_t>(kMoving == Moving::kBulk ? kMaxBulkRecordBytes
                                                                     : record_bytes_))};
  }

  absl::Status Open(Side side) {
    deadline_ = Deadline::After(absl::Minutes(2));  // who starts us ends us earlier
    auto channel = side == Side::kSender ? Accept() : Connect();
    if (!channel.ok()) return channel.status();
    channel_ = *std::move(channel);
    if constexpr (kMoving == Moving::kBulk) {
      buffer_.resize(record_bytes_);
      bulk_sender_.emplace(&channel_.sender);
      bulk_receiver_.emplace(&channel_.receiver, record_bytes_);
    } else if constexpr (UsesFrames(kMoving)) {
      buffer_.resize(kPieceBytes);
      auto frame_sender = FrameSender::Create(channel_);
      if (!frame_sender.ok()) return frame_sender.status();
      frame_sender_.emplace(*std::move(frame_sender));
      auto frame_receiver = FrameReceiver::Create(channel_);
      if (!frame_receiver.ok()) return frame_receiver.status();
      frame_receiver_.emplace(*std::move(frame_receiver));
    } else {
      buffer_.resize(channel_.receiver.max_message_bytes());
    }
    return absl::OkStatus();
  }

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    if constexpr (kMoving == Moving::kBulk) {
      fill(buffer_.data(), 0, bytes);
      return Ok(bulk_sender_->Send(0, absl::MakeConstSpan(buffer_.data(), bytes), deadline_));
    } else if constexpr (kMoving == Moving::kCopied) {
      fill(buffer_.data(), 0, bytes);
      const auto message = absl::MakeConstSpan(buffer_.data(), bytes);
      if (mode_.waiting != Waiting::kSpin) {
        return Ok(channel_.sender.Send(0, message, deadline_));
      }
      return Spin([&] { return channel_.sender.TrySend(0, message); });
    } else if constexpr (kMoving == Moving::kChunked || UsesFrames(kMoving)) {
      for (std::size_t at = 0; at < bytes; at += record_bytes_) {
        const std::size_t length = std::min(record_bytes_, bytes - at);
        const auto fill_chunk = [&](std::byte* to) { fill(to, at, length); };
        const bool sent =
            UsesFrames(kMoving) ? SendFrame(length, fill_chunk) : SendInPlace(length, fill_chunk);
        if (!sent) return false;
      }
      return true;
    } else {
      return SendInPlace(bytes, [&](std::byte* to) { fill(to, 0, bytes); });
    }
  }

  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    if constexpr (kMoving == Moving::kBulk) {
      auto message = bulk_receiver_->Receive(absl::MakeSpan(buffer_), deadline_);
      if (!message.ok()) return Ok(message.status());
      if (message->size_bytes != bytes) return false;
      read(buffer_.data(), bytes);
      return true;
    } else if constexpr (kMoving == Moving::kCopied || kMoving == Moving::kCopiedOut) {
      Record record;
      if (!Receive(&record) || record.size_bytes != bytes) return false;
      read(buffer_.data(), bytes);
      return true;
    } else if constexpr (kMoving == Moving::kChunked || UsesFrames(kMoving)) {
      for (std::size_t at = 0; at < bytes; at += record_bytes_) {
        const std::size_t length = std::min(record_bytes_, bytes - at);
        const bool received =
            UsesFrames(kMoving) ? ReceiveFrame(length, read) : ReceiveInPlace(length, read);
        if (!received) return false;
      }
      return true;
    } else {
      return ReceiveInPlace(bytes, read);
    }
  }

  bool Flush() {
    if constexpr (kMoving == Moving::kBatched) {
      channel_.sender.Publish();
      staged_ = 0;
    }
    return true;
  }

  std::string error() const {
    if (!status_.ok()) return status_.ToString();
    return "the channel ended";
  }

 private:
  absl::StatusOr<Channel> Accept() {
    {
      PeerSocket unused = std::move(*connecting_);
      connecting_.reset();
    }
    AcceptOptions options;
    options.send = ring_;
    options.receive = ring_;
    options.limits = mode_.limits;
    options.fences = mode_.fences;
    options.pages = mode_.pages;
    options.doorbell = mode_.doorbell;
    if (mode_.doorbell == DoorbellKind::kEventfd)
      options.trust = PeerTrust::Because("both ends are this benchmark");
    PeerSocket socket = std::move(*accepting_);
    accepting_.reset();
    return AcceptChannel(std::move(socket), options, deadline_, mode_.wait);
  }
  absl::StatusOr<Channel> Connect() {
    {
      PeerSocket unused = std::move(*accepting_);
      accepting_.reset();
    }
    ConnectOptions options;
    options.send = ring_;
    options.receive = ring_;
    options.limits = mode_.limits;
    options.fences = mode_.fences;
    if (mode_.doorbell == DoorbellKind::kEventfd)
      options.trust = PeerTrust::Because("both ends are this benchmark");
    options.doorbell = mode_.doorbell;
    PeerSocket socket = std::move(*connecting_);
    connecting_.reset();
    return ConnectChannel(std::move(socket), options, deadline_, mode_.wait);
  }

  // Bulk does its own cutting.
  static std::size_t RecordBytes(std::size_t message_bytes) {
    constexpr std::size_t kChunk = kMoving == Moving::kBulk ? 0 : ChunkBytesOf(kMoving);
    return kChunk == 0 ? message_bytes : std::min(message_bytes, kChunk);
  }

  // In place, or a copy of each piece.
  template <typename Read>
  void Look(const PeerView& view, const Read& read) {
    if constexpr (InPieces(kMoving)) {
      for (std::size_t at = 0; at < view.size_bytes(); at += kPieceBytes) {
        const std::size_t length = std::min(kPieceBytes, view.size_bytes() - at);
        view.CopyTo(at, absl::MakeSpan(buffer_).first(length));
        read(buffer_.data(), length);
      }
    } else {
      read(view.BytesThatThePeerMayRewriteAtAnyTime(), view.size_bytes());
    }
  }

  template <typename Fill>
  bool SendFrame(std::size_t bytes, const Fill& fill) {
    OutFrame frame;
    if (mode_.waiting != Waiting::kSpin) {
      auto acquired = frame_sender_->Acquire(bytes, deadline_);
      if (!acquired.ok()) return Ok(acquired.status());
      frame = *std::move(acquired);
    } else if (!Spin([&] { return frame_sender_->TryAcquire(bytes, &frame); })) {
      return false;
    }
    fill(frame.bytes().data());
    if (mode_.waiting != Waiting::kSpin) {
      return Ok(frame_sender_->Send(&frame, bytes, 0, {}, deadline_));
    }
    return Spin([&] { return frame_sender_->TrySend(&frame, bytes, 0); });
  }

  template <typename Read>
  bool ReceiveFrame(std::size_t bytes, const Read& read) {
    InFrame frame;
    if (mode_.waiting != Waiting::kSpin) {
      auto received = frame_receiver_->Receive(deadline_);
      if (!received.ok()) return Ok(received.status());
      frame = *std::move(received);
    } else if (!Spin([&] { return frame_receiver_->TryReceive(&frame); })) {
      return false;
    }
    if (frame.size_bytes() != bytes) return false;
    Look(frame.view(), read);
    return true;
  }

  template <typename Fill>
  bool SendInPlace(std::size_t bytes, const Fill& fill) {
    absl::Span<std::byte> room;
    if (mode_.waiting != Waiting::kSpin) {
      auto reserved = channel_.sender.Reserve(bytes, deadline_);
      if (!reserved.ok()) return Ok(reserved.status());
      room = *reserved;
    } else {
      Outcome outcome = channel_.sender.TryReserve(bytes, &room);
      if (outcome == Outcome::kWouldBlock) {
        Flush();
        if (!Spin([&] { return channel_.sender.TryReserve(bytes, &room); })) return false;
      } else if (outcome != Outcome::kOk) {
        return false;
      }
    }
    fill(room.data());
    if constexpr (kMoving == Moving::kBatched) {
      channel_.sender.Stage(0, bytes);
      if (++staged_ == kBatch) return Flush();
    } else {
      channel_.sender.Commit(0, bytes);
    }
    return true;
  }

  bool Receive(Record* record) {
    if (mode_.waiting == Waiting::kSpin) {
      return Spin([&] { return channel_.receiver.TryReceive(absl::MakeSpan(buffer_), record); });
    }
    auto received = channel_.receiver.Receive(absl::MakeSpan(buffer_), deadline_);
    if (!received.ok()) return Ok(received.status());
    *record = *received;
    return true;
  }

  template <typename Read>
  bool ReceiveInPlace(std::size_t bytes, const Read& read) {
    PeekedMessage message;
    if (mode_.waiting != Waiting::kSpin) {
      auto peeked = channel_.receiver.Peek(deadline_);
      if (!peeked.ok()) return Ok(peeked.status());
      message = *peeked;
    } else if constexpr (kMoving == Moving::kBatched) {
      Outcome outcome = channel_.receiver.TryPeek(&message);
      if (outcome == Outcome::kWouldBlock) {
        Release();
        if (!Spin([&] { return channel_.receiver.TryPeek(&message); })) return false;
      } else if (outcome != Outcome::kOk) {
        return false;
      }
    } else {
      if (!Spin([&] { return channel_.receiver.TryPeek(&message); })) return false;
    }
    if (message.record.size_bytes != bytes) return false;
    Look(message.view, read);
    if (kMoving != Moving::kBatched || ++peeked_ == kBatch) Release();
    return true;
  }

  void Release() {
    peeked_ = 0;
    channel_.receiver.Release();
  }

  template <typename Try>
  static bool Spin(const Try& attempt) {
    Outcome outcome = attempt();
    while (outcome == Outcome::kWouldBlock) {
      SpinOnce();
      outcome = attempt();
    }
    return outcome == Outcome::kOk;
  }

  bool Ok(absl::Status status) {
    if (status.ok()) return true;
    status_ = std::move(status);
    return false;
  }

  std::optional<PeerSocket> accepting_;
  std::optional<PeerSocket> connecting_;
  const ChannelMode mode_;
  const std::size_t record_bytes_;
  RingRequest ring_;
  Channel channel_;
  Deadline deadline_ = Deadline::AtMonotonicNs(0);
  std::vector<std::byte> buffer_;
  std::optional<BulkSender> bulk_sender_;
  std::optional<BulkReceiver> bulk_receiver_;
  std::optional<FrameSender> frame_sender_;
  std::optional<FrameReceiver> frame_receiver_;
  std::size_t staged_ = 0;
  std::size_t peeked_ = 0;
  absl::Status status_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_CHANNEL_H_
