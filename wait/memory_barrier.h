// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_MEMORY_BARRIER_H_
#define PARLEY_WAIT_MEMORY_BARRIER_H_

// A memory barrier on other processes: the asymmetric half of a store-load pair. Whoever stores and
// then loads often (publishes, looks whether somebody sleeps) needs no fence of its own if whoever
// does the opposite rarely (announces a sleep, looks once more) calls SystemWideBarrier between its
// two. It is membarrier(2), GLOBAL_EXPEDITED.
//
// Trust: the barrier reaches only processes that registered themselves. One that says so and did
// not loses stores of its own for our eyes, so that its own wake-ups may come late; we never wait
// without a deadline. Being registered has a price: any process that may make the call can then
// interrupt the processors that we run on. Measured on two virtual processors: a loop of such calls
// on one made a registered process on the other 2.4 times slower, and an unregistered one not at
// all. So nobody registers who has not asked to.
// Threads: any.
//
//   own.StoreRelaxed64(kEpoch, n);          // the sleeper
//   if (!SystemWideBarrier()) Fence();
//   if (!Ready()) Sleep();

namespace parley {

// Registers this process, for as long as it lives (not across execve). False: this kernel has no
// such call, or a filter denies it. The first call in a process with several threads waits for all
// processors: 10 to 20 ms, measured, on a machine with two. With one thread, and again, it takes 10
// us. So a process whose first connect has a short deadline calls this before it starts threads.
bool RegisterForBarriers();

// Whether SystemWideBarrier works here and now. One system call.
bool SystemWideBarrierWorks();

// All memory accesses of this thread before the call are seen by every registered process before
// what that process loads after it, and the reverse; also a full fence for this thread. False if
// the call failed: then it was not even that.
bool SystemWideBarrier();

}  // namespace parley

#endif  // PARLEY_WAIT_MEMORY_BARRIER_H_
