// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_SPAWN_H_
#define PARLEY_SANDBOX_SPAWN_H_

// Starts a worker process that inherits what it is given and nothing else: no descriptor, no
// environment variable, no capability, no signal setting (promises P7 and P8).
//
// The child, between clone and exec: dies with the calling thread (PR_SET_PDEATHSIG, without the
// race), default signal handlers and an empty mask, a session of its own (so a Ctrl-C in the
// terminal reaches only us, and it has no controlling terminal), ordinary priorities whatever ours
// are (sandbox/ordinary.h has the list), stdin from /dev/null, no_new_privs, no capabilities, its
// resource limits, / as its directory. All of that is reported as a Status if it fails, exec
// included. It confines itself once it is set up: see sandbox/confine.h.
//
// Trust: the program file is ours. It becomes hostile when it has touched hostile input.
// Threads: any. The worker is killed when the THREAD that called Spawn ends: spawn from one that
// outlives the worker, or set dies_with_parent to false and rely on the destructor.
//
//   SpawnOptions options;
//   options.program = "/usr/libexec/film_decoder";
//   options.name = "decoder";
//   options.descriptors.push_back(  // kSocketVariable of handshake/peer_socket.h
//       InheritedDescriptor::Give(std::move(socket).Release(), kSocketVariable));
//   options.limits.address_space_bytes = uint64_t{1} << 30;
//   absl::StatusOr<Worker> worker = Spawn(std::move(options));

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/second_wall.h"
#include "parley/sandbox/worker.h"

namespace parley {

// One descriptor for the worker. It becomes 3, 4, ... there, in the order given, whatever its
// number is here, and that number is the value of the environment variable `environment_name`; the
// worker takes it with TakeInheritedFd (sandbox/inherited.h).
class InheritedDescriptor {
 public:
  // The worker's only: our copy is closed once it runs (or Spawn has failed).
  static InheritedDescriptor Give(UniqueFd fd, std::string environment_name);
  // `fd` stays ours and open; it must be valid until Spawn returns.
  static InheritedDescriptor Lend(int fd, std::string environment_name);

  int fd() const { return fd_; }
  const std::string& environment_name() const { return environment_name_; }

 private:
  InheritedDescriptor(UniqueFd owned, int fd, std::string environment_name)
      : owned_(std::move(owned)), fd_(fd), environment_name_(std::move(environment_name)) {}

  UniqueFd owned_;
  int fd_;
  std::string environment_name_;
};

// Where the worker's stdout or stderr goes.
enum class OutputTo {
  kNull,
  // To us, as printable and bounded lines: Worker::RelayOutput says who reads it and when. The
  // worker gets a socket of its own and none of ours. Writing to it never blocks the worker.
  kRelayed,
  // The same open file as ours: a worker whose profile lets it write there can send a terminal
  // escape sequences, read what is typed, and fill a file. A socket is never shared, since it could
  // also be shut down (stderr is one under systemd, inetd, ssh, Node): then as kRelayed.
  kSameAsOurs,
};

// Absent (std::nullopt): the limit that this process has. Soft and hard limit are both set, never
// above our own hard limit. Always: no core dumps (a dump would hold the hostile input and the
// region), no real-time priority, no nice value below its own, no message queues.
struct ResourceLimits {
  // RLIMIT_AS. Counts mappings, touched or not; a channel maps its data twice. Ignored in sanitizer
  // builds, whose runtimes reserve terabytes.
  std::optional<uint64_t> address_space_bytes = uint64_t{4} << 30;
  // RLIMIT_CPU: all threads together. The report then says that it ran out of CPU time.
  std::optional<uint64_t> cpu_seconds = 24 * 60 * 60;
  // RLIMIT_FSIZE. Counts memfds too, and a worker that is the connecting side of a channel creates
  // none (design, section 3); 0 is what a confined worker wants, unless its stderr is a file.
  std::optional<uint64_t> file_size_bytes = uint64_t{1} << 20;
  // RLIMIT_NOFILE: descriptor numbers stay below it. The dynamic loader needs one or two beyond
  // those that were given.
  std::optional<uint64_t> open_files = 64;
  // RLIMIT_STACK: of the first thread; how large the others' are unless they say so.
  std::optional<uint64_t> stack_bytes = uint64_t{8} << 20;
  // RLIMIT_MEMLOCK.
  std::optional<uint64_t> locked_memory_bytes = uint64_t{64} << 10;
  // RLIMIT_NPROC: processes and threads. Of this worker alone where it has a user namespace of its
  // own (Linux 5.14), and 256 there by default. Elsewhere of the whole user id, not in force for
  // uid 0, and ours by default.
  std::optional<uint64_t> processes;
};

struct SpawnOptions {
  std::string program;                 // a path; PATH is not searched
  std::string name;                    // for reports and argv[0]; `program` if empty
  std::vector<std::string> arguments;  // argv[1] and on
  // The whole environment, apart from the descriptors' variables.
  std::vector<std::pair<std::string, std::string>> environment;
  // Names of variables of ours that are copied, if they are set: "LANG", "ASAN_OPTIONS".
  std::vector<std::string> environment_from_ours;
  std::vector<InheritedDescriptor> descriptors;
  ResourceLimits limits;
  int nice =
      0;  // added to ours, or to 0 if ours is below it; a sum below ours needs the capability
  // The worker's; "" for ours. `program` is looked up from ours in any case.
  std::string working_directory = "/";
  OutputTo stdout_to = OutputTo::kNull;
  OutputTo stderr_to = OutputTo::kRelayed;
  // Takes what is relayed: whole lines, at most about 20 KiB a call, for a log; called from within
  // RelayOutput, Wait and the destructor, and must not block. Empty: they go to our stderr as far
  // as it takes them at once, and are dropped otherwise. It is opened again through /proc for that,
  // so nothing is written to a pipe or terminal that we may not open.
  std::function<void(std::string_view lines)> output;
  bool dies_with_parent = true;
  // A second wall behind the system call filter: sandbox/second_wall.h.
  NamespaceOptions namespaces;
};

// Starts the worker and returns once its program runs. On any failure no process is left. Errors
// name the step and the program: "cannot start decoder (/usr/libexec/film_decoder): No such file or
// directory". kInvalidArgument for an empty or twice-given variable name, one with '=' or a NUL.
//
// With dies_with_parent the worker also gets PARLEY_REFUSAL_FD, and this process a thread until the
// worker has ended: the kernel tells it which system call the filter refused, and it kills the
// worker (sandbox/refusal.h). Without, the kernel kills at once, and the report has no name.
// With namespaces it gets PARLEY_HOLDER_FD, over which it asks for the empty root.
absl::StatusOr<Worker> Spawn(SpawnOptions options);

}  // namespace parley

#endif  // PARLEY_SANDBOX_SPAWN_H_
