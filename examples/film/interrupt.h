#ifndef PARLEY_EXAMPLES_FILM_INTERRUPT_H_
#define PARLEY_EXAMPLES_FILM_INTERRUPT_H_

// Ctrl-C, SIGTERM and SIGHUP as a question that the main loop asks. The second one ends the program
// the hard way.
//
// Threads: any.
//
//   CatchInterrupts();
//   while (!Interrupted()) ...

namespace parley::film {

void CatchInterrupts();
bool Interrupted();

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_INTERRUPT_H_
