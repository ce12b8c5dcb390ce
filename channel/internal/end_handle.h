// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_INTERNAL_END_HANDLE_H_
#define PARLEY_CHANNEL_INTERNAL_END_HANDLE_H_

// How a Sender and a Receiver hold their state: shared with the ports that stand on the end, and
// never null, so that no Try call asks whether the end exists.
//
// Trust: ours.
// Threads: one at a time.

#include <memory>
#include <utility>

namespace parley::internal {

// `State` is complete where one is made, moved or assigned: in the end's own source. Its default
// constructor makes the state of an end that does not exist.
template <typename State>
class EndHandle {
 public:
  EndHandle() : state_(OfNone()) {}
  explicit EndHandle(std::shared_ptr<State> state)
      : owned_(std::move(state)), state_(owned_.get()) {}
  EndHandle(const EndHandle&) = default;
  EndHandle& operator=(const EndHandle&) = delete;
  EndHandle(EndHandle&& other) noexcept
      : owned_(std::move(other.owned_)), state_(std::exchange(other.state_, OfNone())) {}
  EndHandle& operator=(EndHandle&& other) noexcept {
    owned_ = std::move(other.owned_);
    state_ = std::exchange(other.state_, OfNone());
    return *this;
  }

  // Whether the end exists.
  explicit operator bool() const { return owned_ != nullptr; }
  State& operator*() const { return *state_; }
  State* operator->() const { return state_; }

 private:
  static State* OfNone() {
    static State none;
    return &none;
  }

  std::shared_ptr<State> owned_;
  State* state_;  // of owned_, or OfNone()
};

}  // namespace parley::internal

#endif  // PARLEY_CHANNEL_INTERNAL_END_HANDLE_H_
