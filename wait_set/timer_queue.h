// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_SET_TIMER_QUEUE_H_
#define PARLEY_WAIT_SET_TIMER_QUEUE_H_

// Timers in the order of their times: a binary heap of timers that belong to others. Each call
// takes a number of steps that is logarithmic in how many are set. Pure: the time comes in.
//
// Trust: no peer has a say in it but for how many channels there are.
// Threads: one at a time.
//
//   queue.Set(&timer, now_ns + 1'000'000);
//   while (Timer* expired = queue.PopExpired(now_ns)) Handle(expired->owner);

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace parley::internal {

struct Timer {
  static constexpr std::size_t kNotSet = std::numeric_limits<std::size_t>::max();
  explicit Timer(void* o = nullptr) : owner(o) {}
  bool set() const { return place != kNotSet; }

  void* owner;
  int64_t at_ns = 0;
  std::size_t place = kNotSet;  // in the heap; the queue's alone
};

class TimerQueue {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  // Also for one that is set already. A timer is cancelled, or popped, before it ends.
  void Set(Timer* timer, int64_t at_ns) {
    Cancel(timer);
    timer->at_ns = at_ns;
    timer->place = heap_.size();
    heap_.push_back(timer);
    Up(timer->place);
  }
  void Cancel(Timer* timer) {
    if (!timer->set()) return;
    const std::size_t place = std::exchange(timer->place, Timer::kNotSet);
    Timer* const last = heap_.back();
    heap_.pop_back();
    if (last == timer) return;
    heap_[place] = last;
    last->place = place;
    Up(place);
    Down(last->place);
  }
  // The one that was due first, no longer set; null if none is due.
  Timer* PopExpired(int64_t now_ns) {
    if (next_ns() > now_ns) return nullptr;
    Timer* const first = heap_.front();
    Cancel(first);
    return first;
  }
  // kNever: none is set.
  int64_t next_ns() const { return heap_.empty() ? kNever : heap_.front()->at_ns; }
  std::size_t size() const { return heap_.size(); }

 private:
  void Swap(std::size_t a, std::size_t b) {
    std::swap(heap_[a], heap_[b]);
    heap_[a]->place = a;
    heap_[b]->place = b;
  }
  void Up(std::size_t place) {
    while (place > 0 && heap_[place]->at_ns < heap_[(place - 1) / 2]->at_ns) {
      Swap(place, (place - 1) / 2);
      place = (place - 1) / 2;
    }
  }
  void Down(std::size_t place) {
    while (2 * place + 1 < heap_.size()) {
      std::size_t child = 2 * place + 1;
      if (child + 1 < heap_.size() && heap_[child + 1]->at_ns < heap_[child]->at_ns) ++child;
      if (heap_[place]->at_ns <= heap_[child]->at_ns) return;
      Swap(place, child);
      place = child;
    }
  }

  std::vector<Timer*> heap_;
};

}  // namespace parley::internal

#endif  // PARLEY_WAIT_SET_TIMER_QUEUE_H_
