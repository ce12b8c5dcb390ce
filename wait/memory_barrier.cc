// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/memory_barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>

#include "parley/os/system_call.h"

namespace parley {
namespace {

bool Membarrier(int command) { return SystemCall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

// The kernel answers a second registration at once.
bool RegisterForBarriers() { return Membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED); }

// MEMBARRIER_CMD_QUERY would not tell of a filter on the command.
bool SystemWideBarrierWorks() { return SystemWideBarrier(); }

bool SystemWideBarrier() { return Membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED); }

}  // namespace parley
