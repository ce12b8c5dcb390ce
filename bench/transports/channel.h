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
#include "parley/channel/wait_options.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/shm/geometry.h"

namespace parley::bench {

enum class Moving : uint8_t {
  kCopied,   // TrySend, TryReceive
  kInPlace,  // Reserve and Commit, Peek and Release
  kBatched,  // in place, but published and released in batches
  kChunked,  // in place, a long message as many records: both copies at once
  kBulk,     // BulkSender and BulkReceiver: copied, a long message as many records
};

struct ChannelMode {
  Waiting waiting = Waiting::kSpin;
  DoorbellChoice doorbell = DoorbellChoice::kSocket;
  WaitOptions wait;
  std::size_t ring_bytes = 0;  // 0: QueueBytes
  ChannelLimits limits;
  FenceChoice fences = FenceChoice::kAsymmetric;
  PageChoice pages = PageChoice::kUsual;
};

inline constexpr std::size_t kBatch = 16;
inline constexpr std::size_t kChunkBytes = std::size_t{64} << 10;
// A chunk and the header of the first one.
inline constexpr std::size_t kLongestBulkRecordBytes = (std::size_t{64} << 10) + 64;

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
        record_bytes_(kMoving == Moving::kChunked ? std::min(cell.size_bytes, kChunkBytes)
                                                  : cell.size_bytes) {
    ring_ = {
        mode.ring_bytes != 0 ? mode.ring_bytes : QueueBytes(cell),
        static_cast<uint32_t>(kMoving == Moving::kBulk ? kLongestBulkRecordBytes : record_bytes_)};
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
    } else if constexpr (kMoving == Moving::kChunked) {
      for (std::size_t at = 0; at < bytes; at += record_bytes_) {
        const std::size_t length = std::min(record_bytes_, bytes - at);
        if (!SendInPlace(length, [&](std::byte* to) { fill(to, at, length); })) return false;
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
    } else if constexpr (kMoving == Moving::kCopied) {
      Record record;
      if (!Receive(&record) || record.size_bytes != bytes) return false;
      read(buffer_.data(), bytes);
      return true;
    } else if constexpr (kMoving == Moving::kChunked) {
      for (std::size_t at = 0; at < bytes; at += record_bytes_) {
        if (!ReceiveInPlace(std::min(record_bytes_, bytes - at), read)) return false;
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
    options.peer_is_confined_or_trusted = mode_.doorbell == DoorbellChoice::kEventfd;
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
    options.accepting_side_is_supervisor = mode_.doorbell == DoorbellChoice::kEventfd;
    options.doorbell = mode_.doorbell;
    PeerSocket socket = std::move(*connecting_);
    connecting_.reset();
    return ConnectChannel(std::move(socket), options, deadline_, mode_.wait);
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
      if (outcome == Outcome::kNotNow) {
        Flush();
        if (!Spin([&] { return channel_.sender.TryReserve(bytes, &room); })) return false;
      } else if (outcome != Outcome::kDone) {
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
      if (outcome == Outcome::kNotNow) {
        Release();
        if (!Spin([&] { return channel_.receiver.TryPeek(&message); })) return false;
      } else if (outcome != Outcome::kDone) {
        return false;
      }
    } else {
      if (!Spin([&] { return channel_.receiver.TryPeek(&message); })) return false;
    }
    if (message.record.size_bytes != bytes) return false;
    read(message.view.BytesThatThePeerMayRewriteAtAnyTime(), bytes);
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
    while (outcome == Outcome::kNotNow) {
      SpinOnce();
      outcome = attempt();
    }
    return outcome == Outcome::kDone;
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
  RingWanted ring_;
  Channel channel_;
  Deadline deadline_ = Deadline::AtMonotonicNs(0);
  std::vector<std::byte> buffer_;
  std::optional<BulkSender> bulk_sender_;
  std::optional<BulkReceiver> bulk_receiver_;
  std::size_t staged_ = 0;
  std::size_t peeked_ = 0;
  absl::Status status_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_CHANNEL_H_
