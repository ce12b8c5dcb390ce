// SPDX-License-Identifier: Apache-2.0
#include "parley/wait_set/async_channel.h"

#include <poll.h>

#include <utility>
#include <vector>

#include "parley/os/check.h"
#include "parley/ring/ring_types.h"

namespace parley {
namespace internal {

AsyncPort::~AsyncPort() {
  registration_.Reset();
  if (waiting_ == nullptr) return;
  // Not now: the coroutine may hold this very port.
  executor_->PortEnds(waiting_);
}

WaitSet::Handler AsyncPort::handler() {
  return [this](const absl::Status& status) {
    if (waiting_ == nullptr) return;  // its frame was destroyed
    at_once_ = 0;
    if (!status.ok() || attempt_->Try()) return executor_->Resume(waiting_, status);
    // What is ready again and again does not keep its deadline from coming.
    if (!attempt_->deadline().Expired()) return registration_.Resume(attempt_->deadline());
    executor_->Resume(waiting_, absl::DeadlineExceededError("nothing came in time"));
  };
}

bool AsyncPort::Ready(Attempt* attempt, absl::Status* refusal) {
  if (executor_->closing()) {
    *refusal = absl::CancelledError("the loop has ended");
    return true;
  }
  PARLEY_CHECK(waiting_ == nullptr, "one coroutine at a time may await an end of a channel");
  // After some that needed no wait the others have their turn.
  if (at_once_ >= EventLoop::kMaxAtOnce || !attempt->Try()) return false;
  ++at_once_;
  return true;
}

void AsyncPort::Suspend(Attempt* attempt, std::coroutine_handle<> handle) {
  executor_->Suspend(attempt, handle, &waiting_);
  waiting_ = attempt;
  attempt_ = attempt;
  registration_.Resume(attempt->deadline());
}

class AsyncReceiverPort final : public AsyncPort {
 public:
  AsyncReceiverPort(std::shared_ptr<Executor> executor, Receiver receiver)
      : AsyncPort(std::move(executor)),
        receiver_(std::move(receiver)),
        buffer_(receiver_.max_message_bytes()) {}
  Receiver& receiver() { return receiver_; }
  absl::Span<std::byte> buffer() { return absl::MakeSpan(buffer_); }

 private:
  Receiver receiver_;
  std::vector<std::byte> buffer_;
};

class AsyncSenderPort final : public AsyncPort {
 public:
  AsyncSenderPort(std::shared_ptr<Executor> executor, Sender sender)
      : AsyncPort(std::move(executor)), sender_(std::move(sender)) {}
  Sender& sender() { return sender_; }

 private:
  Sender sender_;
};

class AsyncListenerPort final : public AsyncPort {
 public:
  AsyncListenerPort(std::shared_ptr<Executor> executor, ChannelListener listener)
      : AsyncPort(std::move(executor)), listener_(std::move(listener)) {}
  ~AsyncListenerPort() override { SetRegistration({}); }  // before the descriptor is closed
  ChannelListener& listener() { return listener_; }

 private:
  ChannelListener listener_;
};

NextAwaiter::NextAwaiter(AsyncReceiverPort* port, Deadline deadline)
    : PortAwaiter(port, deadline), port_(port) {}

bool NextAwaiter::Try() {
  Record record;
  const Outcome outcome = port_->receiver().TryReceive(port_->buffer(), &record);
  if (outcome == Outcome::kWouldBlock) return false;
  if (outcome == Outcome::kOk) {
    result_.emplace(Message{record.tag, port_->buffer().first(record.size_bytes)});
  } else {
    // Says how it ended, without waiting.
    result_.emplace(
        port_->receiver().Receive(port_->buffer(), Deadline::AtMonotonicNs(0)).status());
  }
  return true;
}

absl::StatusOr<Message> NextAwaiter::await_resume() {
  if (result_.has_value()) return *std::move(result_);
  return status();
}

SendAwaiter::SendAwaiter(AsyncSenderPort* port, uint32_t tag, absl::Span<const std::byte> bytes,
                         Deadline deadline)
    : PortAwaiter(port, deadline), port_(port), tag_(tag), bytes_(bytes) {}

bool SendAwaiter::Try() {
  // Closed by another coroutine, or by a handler, while this one waited.
  if (port_->sender().closed()) {
    result_.emplace(absl::CancelledError("the sender was closed"));
    return true;
  }
  const Outcome outcome = port_->sender().TrySend(tag_, bytes_);
  if (outcome == Outcome::kOk) {
    result_.emplace(absl::OkStatus());
  } else if (outcome != Outcome::kWouldBlock) {
    result_.emplace(port_->sender().Send(tag_, bytes_, Deadline::AtMonotonicNs(0)));
  } else {
    // What the registration waits for.
    static_cast<void>(port_->sender().waitable(bytes_.size()));
  }
  return outcome != Outcome::kWouldBlock;
}

absl::Status SendAwaiter::await_resume() {
  return result_.has_value() ? *std::move(result_) : status();
}

AcceptAwaiter::AcceptAwaiter(AsyncListenerPort* port, Deadline deadline)
    : PortAwaiter(port, deadline), port_(port) {}

bool AcceptAwaiter::Try() {
  ChannelListener& listener = port_->listener();
  if (!listener.HasReady()) listener.Tend();
  if (!listener.HasReady()) return false;
  result_.emplace(listener.Accept(Deadline::AtMonotonicNs(0)));
  return true;
}

absl::StatusOr<Channel> AcceptAwaiter::await_resume() {
  if (result_.has_value()) return *std::move(result_);
  return status();
}

}  // namespace internal

namespace {

// Registers what `port` waits for; false: with `*status`.
template <typename Port>
absl::Status Register(internal::AsyncPort* async, EventLoop* loop, Port* waitable) {
  auto added = loop->set().Add(waitable, async->handler(), WaitSet::Mode::kOnce);
  if (!added.ok()) return added.status();
  async->SetRegistration(*std::move(added));
  return absl::OkStatus();
}

}  // namespace

AsyncReceiver::AsyncReceiver(std::unique_ptr<internal::AsyncReceiverPort> port)
    : port_(std::move(port)) {}
AsyncReceiver::AsyncReceiver(AsyncReceiver&&) noexcept = default;
AsyncReceiver& AsyncReceiver::operator=(AsyncReceiver&&) noexcept = default;
AsyncReceiver::~AsyncReceiver() = default;
Receiver& AsyncReceiver::plain() { return port_->receiver(); }
internal::NextAwaiter AsyncReceiver::Next(Deadline deadline) { return {port_.get(), deadline}; }

absl::StatusOr<AsyncReceiver> AsyncReceiver::Create(EventLoop* loop, Receiver receiver) {
  auto port = std::make_unique<internal::AsyncReceiverPort>(loop->executor(), std::move(receiver));
  absl::Status status = Register(port.get(), loop, port->receiver().waitable());
  if (!status.ok()) return status;
  return AsyncReceiver(std::move(port));
}

AsyncSender::AsyncSender(std::unique_ptr<internal::AsyncSenderPort> port)
    : port_(std::move(port)) {}
AsyncSender::AsyncSender(AsyncSender&&) noexcept = default;
AsyncSender& AsyncSender::operator=(AsyncSender&&) noexcept = default;
AsyncSender::~AsyncSender() = default;
Sender& AsyncSender::plain() { return port_->sender(); }
internal::SendAwaiter AsyncSender::Send(uint32_t tag, absl::Span<const std::byte> bytes,
                                        Deadline deadline) {
  return {port_.get(), tag, bytes, deadline};
}

absl::StatusOr<AsyncSender> AsyncSender::Create(EventLoop* loop, Sender sender) {
  auto port = std::make_unique<internal::AsyncSenderPort>(loop->executor(), std::move(sender));
  absl::Status status = Register(port.get(), loop, port->sender().waitable(0));
  if (!status.ok()) return status;
  return AsyncSender(std::move(port));
}

absl::StatusOr<AsyncChannel> AsyncChannel::Create(EventLoop* loop, Channel channel) {
  auto receiver = AsyncReceiver::Create(loop, std::move(channel.receiver));
  if (!receiver.ok()) return receiver.status();
  auto sender = AsyncSender::Create(loop, std::move(channel.sender));
  if (!sender.ok()) return sender.status();
  return AsyncChannel{*std::move(receiver), *std::move(sender)};
}

AsyncListener::AsyncListener(std::unique_ptr<internal::AsyncListenerPort> port)
    : port_(std::move(port)) {}
AsyncListener::AsyncListener(AsyncListener&&) noexcept = default;
AsyncListener& AsyncListener::operator=(AsyncListener&&) noexcept = default;
AsyncListener::~AsyncListener() = default;
ChannelListener& AsyncListener::plain() { return port_->listener(); }
internal::AcceptAwaiter AsyncListener::Accept(Deadline deadline) { return {port_.get(), deadline}; }

absl::StatusOr<AsyncListener> AsyncListener::Create(EventLoop* loop, ChannelListener listener) {
  auto port = std::make_unique<internal::AsyncListenerPort>(loop->executor(), std::move(listener));
  const auto descriptor = port->listener().descriptor();
  if (!descriptor.ok()) return descriptor.status();
  auto added =
      loop->set().AddDescriptor(*descriptor, POLLIN, port->handler(), WaitSet::Mode::kOnce);
  if (!added.ok()) return added.status();
  port->SetRegistration(*std::move(added));
  return AsyncListener(std::move(port));
}

}  // namespace parley
