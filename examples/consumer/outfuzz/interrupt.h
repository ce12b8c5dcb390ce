// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_INTERRUPT_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_INTERRUPT_H_

// Ctrl-C, SIGTERM and SIGHUP as a question that the main loop asks. The second one ends the program
// the hard way (and the worker with it: it dies with its parent).
//
// Threads: any.

namespace outfuzz {

void CatchInterrupts();
bool Interrupted();

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_INTERRUPT_H_
