// SPDX-License-Identifier: Apache-2.0
#if PARLEY_BENCH_HAVE_ZEROMQ

#include "parley/bench/competitors/zeromq.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace parley::bench {

absl::StatusOr<std::unique_ptr<ZeroMq>> ZeroMq::Create(const Cell& cell, Waiting waiting) {
  static int count = 0;
  std::string endpoint =
      "ipc://@parley-bench-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
  return std::make_unique<ZeroMq>(std::move(endpoint), cell, waiting);
}

absl::Status ZeroMq::Open(Side side) {
  context_ = zmq_ctx_new();
  socket_ = zmq_socket(context_, ZMQ_PAIR);
  const int depth =
      static_cast<int>(std::max<std::size_t>(QueueBytes(cell_) / cell_.size_bytes, 4));
  const int linger = 0;
  zmq_setsockopt(socket_, ZMQ_SNDHWM, &depth, sizeof(depth));
  zmq_setsockopt(socket_, ZMQ_RCVHWM, &depth, sizeof(depth));
  zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof(linger));
  const int opened = side == Side::kSender ? zmq_bind(socket_, endpoint_.c_str())
                                           : zmq_connect(socket_, endpoint_.c_str());
  if (opened != 0) return absl::UnavailableError(zmq_strerror(zmq_errno()));
  return absl::OkStatus();
}

ZeroMq::~ZeroMq() {
  if (socket_ != nullptr) zmq_close(socket_);
  if (context_ != nullptr) zmq_ctx_term(context_);
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_HAVE_ZEROMQ
