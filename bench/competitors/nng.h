// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_COMPETITORS_NNG_H_
#define PARLEY_BENCH_COMPETITORS_NNG_H_

// nng: a pair0 socket over ipc, on an abstract name. Messages are written and read where nng keeps
// them; its own threads run on the processor of the process that they belong to.
//
// Threads: one per process (and the library's).

#include <nng/nng.h>

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"

namespace parley::bench {

class Nng {
 public:
  static absl::StatusOr<std::unique_ptr<Nng>> Create(const Cell& cell, Waiting waiting);
  Nng(std::string url, const Cell& cell, Waiting waiting)
      : url_(std::move(url)), cell_(cell), waiting_(waiting) {}
  Nng(const Nng&) = delete;
  Nng& operator=(const Nng&) = delete;
  ~Nng();

  absl::Status Open(Side side);

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    nng_msg* message = nullptr;
    error_ = nng_msg_alloc(&message, bytes);
    if (error_ != 0) return false;
    fill(static_cast<std::byte*>(nng_msg_body(message)), 0, bytes);
    while ((error_ = nng_sendmsg(socket_, message, Flags())) == NNG_EAGAIN) SpinOnce();
    if (error_ != 0) nng_msg_free(message);
    return error_ == 0;
  }

  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    nng_msg* message = nullptr;
    while ((error_ = nng_recvmsg(socket_, &message, Flags())) == NNG_EAGAIN) SpinOnce();
    if (error_ != 0) return false;
    const bool right = nng_msg_len(message) == bytes;
    if (right) read(static_cast<const std::byte*>(nng_msg_body(message)), bytes);
    nng_msg_free(message);
    return right;
  }

  std::string error() const { return nng_strerror(error_); }

 private:
  int Flags() const { return waiting_ == Waiting::kSpin ? NNG_FLAG_NONBLOCK : 0; }

  const std::string url_;
  const Cell cell_;
  const Waiting waiting_;
  nng_socket socket_ = NNG_SOCKET_INITIALIZER;
  bool open_ = false;
  int error_ = 0;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_COMPETITORS_NNG_H_
