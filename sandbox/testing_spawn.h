// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_TESTING_SPAWN_H_
#define PARLEY_SANDBOX_TESTING_SPAWN_H_

// For this package's tests: starts sandbox/testing_worker.cc with a socket to answer on.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/spawn.h"

namespace parley::testing {

// Generous: a loaded machine under a sanitizer. A test that waits this long has failed.
inline constexpr absl::Duration kLong = absl::Seconds(30);

std::string WorkerPath();

// Options to run the worker's scenario; `replies` gets our end of its socket.
SpawnOptions WorkerOptions(std::vector<std::string> arguments, UniqueFd& replies);

// Whether WorkerOptions asks for no namespaces. Each test runs with them, where they can be made,
// and without: in the targets whose name ends in _without_namespaces.
bool WithoutNamespaces();

// Whether the kernel lets a process like this one make all namespaces that Spawn asks for, asked by
// this test itself: what a worker got is what the code under test says. False in a build with a
// sanitizer, for which Spawn makes none.
bool KernelMakesNamespaces();
// The same, where WorkerOptions asks for some.
bool NamespacesAreExpected();

// Spawn(options); in the targets with `_cloned` in their name a clone of a template of that
// program, with everything of `options` that a clone can have.
absl::StatusOr<Worker> StartWorker(SpawnOptions options);
absl::StatusOr<Worker> StartClone(SpawnOptions options);
bool Cloned();

// The next message of the worker; empty at its end or after kLong.
std::string NextReply(int replies);

// True in a build with the address or thread sanitizer.
bool HasSanitizer();

}  // namespace parley::testing

#endif  // PARLEY_SANDBOX_TESTING_SPAWN_H_
