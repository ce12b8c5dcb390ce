// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_WARM_UP_H_
#define PARLEY_SANDBOX_WARM_UP_H_

// What libc puts off until the first use, and then wants files for: done before there are none.
//
//   malloc   the first time that a thread's arena shrinks, glibc reads
//            /proc/sys/vm/overcommit_memory
//   qsort    the first time that it needs memory, glibc asks how much there is (sysinfo)
//   gmtime   the first time, the time zone is read
//
// What cannot be done here, since it is read again each time: localtime and mktime without TZ set.
//
// All of that is state of the process, so a clone of a template has it, and a second call does
// nothing.
//
// Trust: no peer yet; this is for before there is one.
// Threads: any; starts one, whose arena is the one to shrink, and returns when it is gone.

namespace parley::internal {

void WarmUpLibc();

// For a profile that lets the heap neither grow nor shrink: malloc has some of it left, in the
// calling thread, and free gives none back. What a program does with it is little, but how much
// malloc has left just then depends on the lengths of paths, and the first call for more would end
// the worker.
void KeepHeap();

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_WARM_UP_H_
