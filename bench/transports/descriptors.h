// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_DESCRIPTORS_H_
#define PARLEY_BENCH_TRANSPORTS_DESCRIPTORS_H_

// What the kernel offers: pipe, unix sockets, TCP and UDP over loopback, POSIX message queues.
//
// Each message goes through a private buffer at both ends, as these interfaces want it. Lengths are
// known to both, so a stream needs no header. Sleeping rows block in the kernel; spinning ones use
// O_NONBLOCK and try again.
//
// Threads: one per process.

#include <mqueue.h>
#include <sys/types.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/cell.h"
#include "parley/os/unique_fd.h"

namespace parley::bench {

enum class Kind : uint8_t { kPipe, kUnixStream, kUnixSeqpacket, kTcp };

// Why `kind` cannot have messages of this length in one piece; empty: it can. Tried, not guessed.
std::string SeqpacketRefuses(std::size_t size_bytes);
std::string UdpRefuses(std::size_t size_bytes);
std::string MessageQueueRefuses(std::size_t size_bytes);

// Bytes through a descriptor per direction, or one for both.
class ByteChannel {
 public:
  static absl::StatusOr<std::unique_ptr<ByteChannel>> Create(const Cell& cell, Kind kind,
                                                             Waiting waiting);
  absl::Status Open(Side side);

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    fill(buffer_.data(), 0, bytes);
    return WriteAll(bytes);
  }
  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    if (!ReadAll(bytes)) return false;
    read(buffer_.data(), bytes);
    return true;
  }
  std::string error() const;

  explicit ByteChannel(std::size_t size_bytes) : buffer_(size_bytes) {}

 private:
  bool WriteAll(std::size_t bytes);
  bool ReadAll(std::size_t bytes);

  // By side: what it reads from and writes to; the same descriptor for sockets, in `in` alone.
  struct End {
    UniqueFd in;
    UniqueFd out;
  };
  std::array<End, 2> ends_;
  int in_ = -1;
  int out_ = -1;
  int error_ = 0;
  std::vector<std::byte> buffer_;
};

// Datagrams over loopback. The kernel drops what does not fit the receiver's buffer, so the sender
// of a stream stops after a window of them until the receiver says that it has come so far.
class UdpChannel {
 public:
  static absl::StatusOr<std::unique_ptr<UdpChannel>> Create(const Cell& cell, Waiting waiting);
  absl::Status Open(Side side);

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    fill(buffer_.data(), 0, bytes);
    return SendOne(bytes);
  }
  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    if (!ReceiveOne(bytes)) return false;
    read(buffer_.data(), bytes);
    return true;
  }
  std::string error() const;

  UdpChannel(std::size_t size_bytes, bool windowed) : windowed_(windowed), buffer_(size_bytes) {}

 private:
  bool SendOne(std::size_t bytes);
  bool ReceiveOne(std::size_t bytes);
  // One datagram of any size, waiting for it. Negative: failed.
  ssize_t Take(void* into, std::size_t bytes);

  std::array<UniqueFd, 2> sockets_;
  int fd_ = -1;
  int error_ = 0;
  const bool windowed_;
  uint64_t window_ = 1;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  std::vector<std::byte> buffer_;
};

class MessageQueue {
 public:
  static absl::StatusOr<std::unique_ptr<MessageQueue>> Create(const Cell& cell, Waiting waiting);
  absl::Status Open(Side side);

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    fill(buffer_.data(), 0, bytes);
    return SendOne(bytes);
  }
  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    if (!ReceiveOne(bytes)) return false;
    read(buffer_.data(), bytes);
    return true;
  }
  std::string error() const;

  explicit MessageQueue(std::size_t size_bytes) : buffer_(size_bytes) {}

 private:
  bool SendOne(std::size_t bytes);
  bool ReceiveOne(std::size_t bytes);

  std::array<UniqueFd, 2> queues_;  // by who sends; an mqd_t is a descriptor on Linux
  mqd_t out_ = -1;
  mqd_t in_ = -1;
  int error_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_DESCRIPTORS_H_
