// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_COMPETITORS_ZEROMQ_H_
#define PARLEY_BENCH_COMPETITORS_ZEROMQ_H_

// ZeroMQ: a PAIR socket over ipc, on an abstract name. Messages are written and read where ZeroMQ
// keeps them; its own threads run on the processor of the process that they belong to.
//
// Threads: one per process (and the library's).

#include <zmq.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"

namespace parley::bench {

class ZeroMq {
 public:
  static absl::StatusOr<std::unique_ptr<ZeroMq>> Create(const Cell& cell, Waiting waiting);
  ZeroMq(std::string endpoint, const Cell& cell, Waiting waiting)
      : endpoint_(std::move(endpoint)), cell_(cell), waiting_(waiting) {}
  ZeroMq(const ZeroMq&) = delete;
  ZeroMq& operator=(const ZeroMq&) = delete;
  ~ZeroMq();

  absl::Status Open(Side side);

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    zmq_msg_t message;
    if (zmq_msg_init_size(&message, bytes) != 0) return Failed();
    fill(static_cast<std::byte*>(zmq_msg_data(&message)), 0, bytes);
    while (zmq_msg_send(&message, socket_, Flags()) < 0) {
      if (zmq_errno() != EAGAIN && zmq_errno() != EINTR) return Failed();
      SpinOnce();
    }
    return true;
  }

  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    zmq_msg_t message;
    zmq_msg_init(&message);
    while (zmq_msg_recv(&message, socket_, Flags()) < 0) {
      if (zmq_errno() != EAGAIN && zmq_errno() != EINTR) return Failed();
      SpinOnce();
    }
    const bool right = zmq_msg_size(&message) == bytes;
    if (right) read(static_cast<const std::byte*>(zmq_msg_data(&message)), bytes);
    zmq_msg_close(&message);
    return right;
  }

  std::string error() const { return zmq_strerror(error_); }

 private:
  int Flags() const { return waiting_ == Waiting::kSpin ? ZMQ_DONTWAIT : 0; }
  bool Failed() {
    error_ = zmq_errno();
    return false;
  }

  const std::string endpoint_;
  const Cell cell_;
  const Waiting waiting_;
  void* context_ = nullptr;
  void* socket_ = nullptr;
  int error_ = 0;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_COMPETITORS_ZEROMQ_H_
