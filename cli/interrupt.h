// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_INTERRUPT_H_
#define PARLEY_CLI_INTERRUPT_H_

// Ctrl-C, SIGTERM and SIGHUP as a question that the main loop asks. The second one ends the program
// the hard way.
//
// Threads: any.
//
//   CatchInterrupts();
//   while (!Interrupted()) ...

namespace parley::cli {

void CatchInterrupts();
bool Interrupted();
// The signal's number; 0 if there was none.
int InterruptedBy();

}  // namespace parley::cli

#endif  // PARLEY_CLI_INTERRUPT_H_
