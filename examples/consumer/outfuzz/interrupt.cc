// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/interrupt.h"

#include <csignal>
#include <initializer_list>

namespace outfuzz {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void OnSignal(int) { interrupted = 1; }

}  // namespace

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
}

bool Interrupted() { return interrupted != 0; }

}  // namespace outfuzz
