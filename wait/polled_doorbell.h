// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_POLLED_DOORBELL_H_
#define PARLEY_WAIT_POLLED_DOORBELL_H_

// What the socket and the eventfd doorbell have in common: an end that sleeps in poll, and that an
// event loop can poll by one descriptor.
//
// Trust: as Doorbell says.
// Threads: as Doorbell says.

#include <poll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "parley/os/unique_fd.h"
#include "parley/wait/doorbell.h"

namespace parley::internal {

class PolledDoorbell : public Doorbell {
 public:
  bool Sleep(Deadline deadline) final;
  Drained Drain() final;
  int descriptor() final;
  void BeginPolledSleep() final { wake_->BeginPolledSleep(); }
  void EndPolledSleep() final;
  absl::Span<const pollfd> polled() const final { return {polled_.data(), count_}; }
  void EndPolledSleep(absl::Span<const short> revents) final;
  void Throttle(int64_t until_ns) final;
  void EndThrottle() final;
  void AddDescriptors(std::vector<int>& all, std::vector<int>& eventfds) const override;
  void WatchForEnd(int connection, int pidfd) final;
  bool PeerHasEnded() final;

 protected:
  // `fd` is readable when signalled; that of `wake` when woken from this process. May be the same.
  PolledDoorbell(int fd, std::shared_ptr<LocalWake> wake);
  // Takes the signals of `fd`.
  virtual Drained DrainSignals() = 0;
  int fd() const { return polled_[0].fd; }

 private:
  bool Poll(Deadline deadline);
  bool PolledEnd() const;

  // The doorbell, this process's own wake-ups, and up to two that only ever tell of the peer's end.
  std::array<pollfd, 4> polled_ = {};
  std::size_t count_ = 1;
  std::size_t ends_from_ = 1;  // the first of the last two
  UniqueFd epoll_;             // on demand
  UniqueFd timer_;             // with it; ends a throttle
};

}  // namespace parley::internal

#endif  // PARLEY_WAIT_POLLED_DOORBELL_H_
