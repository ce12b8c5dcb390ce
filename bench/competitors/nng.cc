// SPDX-License-Identifier: Apache-2.0
#if PARLEY_BENCH_HAVE_NNG

#include "parley/bench/competitors/nng.h"

#include <nng/protocol/pair0/pair.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace parley::bench {

absl::StatusOr<std::unique_ptr<Nng>> Nng::Create(const Cell& cell, Waiting waiting) {
  static int count = 0;
  std::string url =
      "abstract://parley-bench-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
  return std::make_unique<Nng>(std::move(url), cell, waiting);
}

absl::Status Nng::Open(Side side) {
  error_ = nng_pair0_open(&socket_);
  if (error_ != 0) return absl::UnavailableError(error());
  open_ = true;
  constexpr int kDeepest = 8192;
  const int depth = std::clamp(static_cast<int>(QueueBytes(cell_) / cell_.size_bytes), 4, kDeepest);
  nng_socket_set_int(socket_, NNG_OPT_SENDBUF, depth);
  nng_socket_set_int(socket_, NNG_OPT_RECVBUF, depth);
  nng_socket_set_size(socket_, NNG_OPT_RECVMAXSZ, 0);  // any
  // A dialer that comes too early tries again in the background.
  error_ = side == Side::kSender ? nng_listen(socket_, url_.c_str(), nullptr, 0)
                                 : nng_dial(socket_, url_.c_str(), nullptr, NNG_FLAG_NONBLOCK);
  return error_ == 0 ? absl::OkStatus() : absl::UnavailableError(error());
}

Nng::~Nng() {
  if (open_) nng_close(socket_);
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_HAVE_NNG
