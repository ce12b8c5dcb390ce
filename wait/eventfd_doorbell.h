// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_EVENTFD_DOORBELL_H_
#define PARLEY_WAIT_EVENTFD_DOORBELL_H_

// A doorbell of two eventfds that both sides share: this end waits on the one and signals the
// other.
//
// Trust: only for a peer that can't clear O_NONBLOCK, or that is trusted (wait/doorbell.h).

#include <memory>

#include "parley/os/unique_fd.h"
#include "parley/wait/doorbell.h"

namespace parley {

std::unique_ptr<Doorbell> MakeEventfdDoorbell(UniqueFd wait, UniqueFd signal);

}  // namespace parley

#endif  // PARLEY_WAIT_EVENTFD_DOORBELL_H_
