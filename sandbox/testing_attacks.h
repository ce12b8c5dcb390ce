// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_TESTING_ATTACKS_H_
#define PARLEY_SANDBOX_TESTING_ATTACKS_H_

// For this package's tests: what a hijacked worker does to survive a call that its filter refuses,
// and to run bytes that are no code. Each attack worked against the filter of version 0.1, whose
// answer was a signal handler inside of the worker.
//
// Trust: this is the attacker.
// Threads: each attack says how many it has.

#include <functional>
#include <string>

namespace parley::testing {

// Set up before lock-down, as a worker's own memory lets it; gives the part for after lock-down.
// That part makes a refused openat, and returns only if the worker survived it: then how many.
using Attack = std::function<int()>;

// Another page of code is moved over the page of the handler for SIGSYS.
Attack MoveCodeOverTheHandler();
// The slot through which the handler calls the kernel points elsewhere.
Attack OverwriteTheGotSlot();
// A second thread rewrites the return address on the stack of the thread that was refused.
Attack RewriteTheStackFromASecondThread();
// A second thread interrupts the refused call by the one signal that a worker may send itself.
Attack InterruptFromASecondThread();

// Bytes of .rodata, run by growing the mapping of the code before them. Returns whether they ran.
std::function<bool()> RunReadOnlyBytes();

}  // namespace parley::testing

#endif  // PARLEY_SANDBOX_TESTING_ATTACKS_H_
