// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_SET_ASYNC_CHANNEL_H_
#define PARLEY_WAIT_SET_ASYNC_CHANNEL_H_

// The ends of a channel, and a listener, for coroutines of an EventLoop.
//
//   absl::StatusOr<AsyncChannel> channel = AsyncChannel::Create(loop, std::move(plain_channel));
//   absl::StatusOr<Message> message = co_await channel->receiver.Next(deadline);
//   absl::Status sent = co_await channel->sender.Send(message->tag, message->bytes, deadline);
//
// Trust: as Receiver and Sender; a peer that always has something ready gets the turn of one
// (EventLoop::kMaxAtOnce). The bytes of a message are a private copy.
// Threads: that of the loop. One coroutine at a time awaits an end; a second one is our caller's
// bug and aborts.
// Lifetime: an end may be destroyed while a coroutine awaits it, which is resumed with kCancelled
// in the next round; it may outlive the loop.

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/channel/receiver.h"
#include "parley/channel/sender.h"
#include "parley/os/deadline.h"
#include "parley/wait_set/event_loop.h"

namespace parley {

// A received message; its bytes lie in the receiver until the next one is asked for.
struct Message {
  uint32_t tag = 0;
  absl::Span<const std::byte> bytes;
};

namespace internal {

// What an end's awaits have in common: they try, wait, and try again.
class Attempt : public Awaiter {
 public:
  virtual bool Try() = 0;  // true: done, or final
  Deadline deadline() const { return deadline_; }

 protected:
  explicit Attempt(Deadline deadline) : deadline_(deadline) {}
  ~Attempt() = default;

 private:
  const Deadline deadline_;
};

// One thing that a coroutine waits for, again and again, through one registration.
class AsyncPort {
 public:
  explicit AsyncPort(std::shared_ptr<Executor> executor) : executor_(std::move(executor)) {}
  virtual ~AsyncPort();
  AsyncPort(const AsyncPort&) = delete;
  AsyncPort& operator=(const AsyncPort&) = delete;

  // A handler for the registration, which the maker sets.
  WaitSet::Handler handler();
  void SetRegistration(Registration registration) { registration_ = std::move(registration); }

  // For awaiters. True: the turn is not over and `attempt` is done, or there is no loop any more.
  bool Ready(Attempt* attempt, absl::Status* refusal);
  void Suspend(Attempt* attempt, std::coroutine_handle<> handle);

 private:
  const std::shared_ptr<Executor> executor_;
  Awaiter* waiting_ = nullptr;
  Attempt* attempt_ = nullptr;
  int at_once_ = 0;
  Registration registration_;
};

class AsyncReceiverPort;
class AsyncSenderPort;
class AsyncListenerPort;

class PortAwaiter : public Attempt {
 public:
  bool await_ready() {
    absl::Status refusal;
    if (!port_->Ready(this, &refusal)) return false;
    if (!refusal.ok()) SetStatus(refusal);
    return true;
  }
  void await_suspend(std::coroutine_handle<> handle) { port_->Suspend(this, handle); }

 protected:
  PortAwaiter(AsyncPort* port, Deadline deadline) : Attempt(deadline), port_(port) {}
  ~PortAwaiter() = default;

 private:
  AsyncPort* const port_;
};

class NextAwaiter final : public PortAwaiter {
 public:
  NextAwaiter(AsyncReceiverPort* port, Deadline deadline);
  bool Try() override;
  absl::StatusOr<Message> await_resume();

 private:
  AsyncReceiverPort* const port_;
  std::optional<absl::StatusOr<Message>> result_;
};

class SendAwaiter final : public PortAwaiter {
 public:
  SendAwaiter(AsyncSenderPort* port, uint32_t tag, absl::Span<const std::byte> bytes,
              Deadline deadline);
  bool Try() override;
  absl::Status await_resume();

 private:
  AsyncSenderPort* const port_;
  const uint32_t tag_;
  const absl::Span<const std::byte> bytes_;
  std::optional<absl::Status> result_;
};

class AcceptAwaiter final : public PortAwaiter {
 public:
  AcceptAwaiter(AsyncListenerPort* port, Deadline deadline);
  bool Try() override;
  absl::StatusOr<Channel> await_resume();

 private:
  AsyncListenerPort* const port_;
  std::optional<absl::StatusOr<Channel>> result_;
};

}  // namespace internal

class AsyncReceiver {
 public:
  // Errors as WaitSet::Add.
  static absl::StatusOr<AsyncReceiver> Create(EventLoop* loop, Receiver receiver);
  AsyncReceiver(AsyncReceiver&&) noexcept;
  AsyncReceiver& operator=(AsyncReceiver&&) noexcept;
  ~AsyncReceiver();

  // co_await: absl::StatusOr<Message>. Errors as Receiver::Receive, and kCancelled (see above, and
  // Receiver::Interrupt).
  internal::NextAwaiter Next(Deadline deadline);
  Receiver& plain();

 private:
  explicit AsyncReceiver(std::unique_ptr<internal::AsyncReceiverPort> port);
  std::unique_ptr<internal::AsyncReceiverPort> port_;
};

class AsyncSender {
 public:
  static absl::StatusOr<AsyncSender> Create(EventLoop* loop, Sender sender);
  AsyncSender(AsyncSender&&) noexcept;
  AsyncSender& operator=(AsyncSender&&) noexcept;
  ~AsyncSender();

  // co_await: absl::Status. `bytes` stay as they are until then. Errors as Sender::Send, and
  // kCancelled.
  internal::SendAwaiter Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline);
  Sender& plain();

 private:
  explicit AsyncSender(std::unique_ptr<internal::AsyncSenderPort> port);
  std::unique_ptr<internal::AsyncSenderPort> port_;
};

// Both directions.
struct AsyncChannel {
  AsyncReceiver receiver;
  AsyncSender sender;
  // `channel` has both. Errors as WaitSet::Add.
  static absl::StatusOr<AsyncChannel> Create(EventLoop* loop, Channel channel);
};

class AsyncListener {
 public:
  static absl::StatusOr<AsyncListener> Create(EventLoop* loop, ChannelListener listener);
  AsyncListener(AsyncListener&&) noexcept;
  AsyncListener& operator=(AsyncListener&&) noexcept;
  ~AsyncListener();

  // co_await: absl::StatusOr<Channel>. Errors as ChannelListener::Accept, and kCancelled.
  internal::AcceptAwaiter Accept(Deadline deadline);
  ChannelListener& plain();

 private:
  explicit AsyncListener(std::unique_ptr<internal::AsyncListenerPort> port);
  std::unique_ptr<internal::AsyncListenerPort> port_;
};

}  // namespace parley

#endif  // PARLEY_WAIT_SET_ASYNC_CHANNEL_H_
