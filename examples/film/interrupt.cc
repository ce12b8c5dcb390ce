#include "parley/examples/film/interrupt.h"

#include <csignal>
#include <initializer_list>

namespace parley::film {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void OnSignal(int) { interrupted = 1; }

}  // namespace

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  // Once: afterwards the signal does what it always does.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
}

bool Interrupted() { return interrupted != 0; }

}  // namespace parley::film
