// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/interrupt.h"

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace parley::cli {
namespace {

// Written by a handler, read by any thread.
std::atomic<int> interrupted_by{0};
static_assert(std::atomic<int>::is_always_lock_free);

void OnSignal(int number) { interrupted_by.store(number); }

}  // namespace

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  // Once: afterwards the signal does what it always does.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    // What was ignored when we began stays so: nohup, a job in the background.
    struct sigaction before = {};
    if (::sigaction(number, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    ::sigaction(number, &action, nullptr);
  }
}

bool Interrupted() { return interrupted_by.load() != 0; }

int InterruptedBy() { return interrupted_by.load(); }

}  // namespace parley::cli
