#ifndef PARLEY_BENCH_TRANSPORTS_UNPINNED_H_
#define PARLEY_BENCH_TRANSPORTS_UNPINNED_H_

// Takes the calling thread off its processor for a while. A channel that is made where only one
// processor may be used never spins, for its peer is thought to need that one: so ends that are
// pinned apart make theirs first.
//
//   {
//     const Unpinned unpinned;
//     ... make the channel ...
//   }
//
// Threads: the calling one.

#include <sched.h>

#include <cstring>

namespace parley::bench {

class Unpinned {
 public:
  Unpinned() {
    if (::sched_getaffinity(0, sizeof(before_), &before_) != 0) return;
    cpu_set_t all;  // the kernel takes those that there are
    std::memset(&all, 0xff, sizeof(all));
    changed_ = ::sched_setaffinity(0, sizeof(all), &all) == 0;
  }
  Unpinned(const Unpinned&) = delete;
  Unpinned& operator=(const Unpinned&) = delete;
  ~Unpinned() {
    if (changed_) ::sched_setaffinity(0, sizeof(before_), &before_);
  }

 private:
  cpu_set_t before_ = {};
  bool changed_ = false;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_UNPINNED_H_
