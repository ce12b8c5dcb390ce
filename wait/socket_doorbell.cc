// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/socket_doorbell.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <utility>

#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/wait/eventfd.h"
#include "parley/wait/polled_doorbell.h"

namespace parley {
namespace {

constexpr int kMaxReceives = 8;
constexpr char kDataSignal = 1;
constexpr char kSpaceSignal = 2;

class SocketDoorbell final : public internal::PolledDoorbell {
 public:
  SocketDoorbell(int socket, std::shared_ptr<internal::LocalWake> wake, char signals, char awaits,
                 std::shared_ptr<internal::LocalWake> other, std::shared_ptr<std::mutex> looks)
      : PolledDoorbell(socket, std::move(wake)),
        signals_(signals),
        awaits_(awaits),
        other_(std::move(other)),
        looks_(std::move(looks)) {}

  void Signal() override {
    // Failure is never ours to handle: EAGAIN means that signals are waiting there already,
    // anything else that nobody is left to be woken, which the waits find out.
    static_cast<void>(::send(fd(), &signals_, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
  }

  Kind kind() const override { return Kind::kSocket; }
  void Prepare() override { static_cast<void>(wake_->Take(internal::LocalWake::kSignal)); }
  int64_t OtherThrottleEnd(int64_t now_ns) const override {
    return other_ != nullptr ? other_->ThrottleEnd(now_ns) : 0;
  }

 protected:
  Drained DrainSignals() override {
    std::unique_lock<std::mutex> lock;
    if (looks_ != nullptr) lock = std::unique_lock<std::mutex>(*looks_);
    bool own = wake_->Take(internal::LocalWake::kSignal);
    bool others = false;
    int taken = 0;
    Drained end = Drained::kQuiet;
    while (taken < kMaxReceives) {
      if (looks_ != nullptr && PeekNext(fd()) == NextMessage::kWithDescriptors) {
        end = Drained::kUnexpected;
        break;
      }
      // Two bytes, to tell a signal from anything longer; no control buffer.
      std::array<char, 2> bytes;
      const ssize_t got = ::recv(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got < 0 && errno != ECONNRESET) break;  // empty; or EINTR: a later drain will tell
      // An empty message looks like the end, and is treated as one.
      if (got <= 0) {
        end = Drained::kPeerGone;
        break;
      }
      ++taken;
      if (got == 1 && bytes[0] == awaits_) {
        own = true;
      } else if (got == 1 && bytes[0] == signals_ && other_ != nullptr) {
        others = true;
      } else {
        end = Drained::kUnexpected;
        break;
      }
    }
    bool redundant = false;
    if (other_ != nullptr && (others || taken >= 2)) {
      redundant = !other_->Post(internal::LocalWake::kSignal);
    }
    if (end != Drained::kQuiet) return end;
    if (own) return Drained::kSignalled;
    if (!others) return Drained::kQuiet;
    if (OtherThrottleEnd(MonotonicNowNs()) != 0) return Drained::kThrottled;
    return redundant ? Drained::kRedundant : Drained::kQuiet;
  }

 private:
  const char signals_;
  const char awaits_;
  // Of the other end of this side; null if this channel has one direction.
  const std::shared_ptr<internal::LocalWake> other_;
  // Held from a look at the queue to the receive, so that what is received is what was seen. Null
  // where the kernel keeps descriptors out.
  const std::shared_ptr<std::mutex> looks_;
};

absl::StatusOr<std::shared_ptr<internal::LocalWake>> MakeWake(bool exists) {
  if (!exists) return std::shared_ptr<internal::LocalWake>();
  auto eventfd = CreateEventfd();
  if (!eventfd.ok()) return eventfd.status();
  return std::make_shared<internal::LocalWake>(*std::move(eventfd));
}

}  // namespace

absl::StatusOr<SocketDoorbells> MakeSocketDoorbells(int socket, bool sends, bool receives,
                                                    bool peer_is_supervisor) {
  // The shortest queue: a few signals, which one Drain empties. With the system's default, signals
  // for sleeps that did not take place pile up, and an honest peer looks like a flood when they are
  // drained eight at a time. Each end limits what it sends. If it is refused, that is all.
  const int min_bytes = 1;
  static_cast<void>(::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &min_bytes, sizeof(min_bytes)));
  auto send = MakeWake(sends);
  if (!send.ok()) return send.status();
  auto receive = MakeWake(receives);
  if (!receive.ok()) return receive.status();
  // Taking a message out of the queue releases its files in this thread, for as long as they like.
  std::shared_ptr<std::mutex> looks;
  if (!peer_is_supervisor && !RefusesRights(socket)) looks = std::make_shared<std::mutex>();
  SocketDoorbells made;
  if (sends) {
    made.send =
        std::make_unique<SocketDoorbell>(socket, *send, kDataSignal, kSpaceSignal, *receive, looks);
  }
  if (receives) {
    made.receive =
        std::make_unique<SocketDoorbell>(socket, *receive, kSpaceSignal, kDataSignal, *send, looks);
  }
  return made;
}

}  // namespace parley
