// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/spawn.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <set>

#include "absl/status/status.h"
#include "parley/os/descriptor_bound.h"
#include "parley/os/errors.h"
#include "parley/sandbox/child_start.h"
#include "parley/sandbox/namespace_holder.h"
#include "parley/sandbox/output_relay.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/refusal.h"
#include "parley/sandbox/start_process.h"
#include "parley/sandbox/unreaped.h"
#include "parley/sandbox/worker_maker.h"

namespace parley {
namespace {

using internal::ChildStart;
using internal::kSanitizer;
using internal::kThreadSanitizer;
using internal::StartStep;

constexpr unsigned kProcessesWithin = 256;

// More than MapRodata() of compiler-rt 19 writes (512 KiB).
constexpr uint64_t kThreadSanitizerFileBytes = uint64_t{1} << 20;

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

absl::Status CheckVariable(const std::string& name, const std::string& value,
                           std::set<std::string>& seen) {
  if (name.empty() || name.find('=') != std::string::npos || HasNul(name) || HasNul(value)) {
    return absl::InvalidArgumentError("not an environment variable for a worker: '" + name + "'");
  }
  if (!seen.insert(name).second) {
    return absl::InvalidArgumentError("environment variable given to the worker twice: " + name);
  }
  return absl::OkStatus();
}

// An enum of glibc's, an int elsewhere.
using LimitNumber = decltype(RLIMIT_CPU);

// Soft and hard, as nobody can raise a limit above the hard one.
ChildStart::Limit AtMostOurs(LimitNumber resource, uint64_t soft, uint64_t hard) {
  rlimit ours = {RLIM_INFINITY, RLIM_INFINITY};
  ::getrlimit(resource, &ours);
  return {static_cast<int>(resource),
          {std::min<rlim_t>(soft, ours.rlim_max), std::min<rlim_t>(hard, ours.rlim_max)}};
}

// Of a worker with these limits: its own, within ours.
uint64_t MaxFileBytes(const ResourceLimits& limits) {
  rlimit ours = {RLIM_INFINITY, RLIM_INFINITY};
  ::getrlimit(RLIMIT_FSIZE, &ours);
  if (!limits.file_size_bytes.has_value()) return ours.rlim_cur;
  return AtMostOurs(RLIMIT_FSIZE, *limits.file_size_bytes, *limits.file_size_bytes).value.rlim_cur;
}

// "NAME=value" lines. The descriptors' values are their numbers in the child.
absl::StatusOr<std::vector<std::string>> Environment(
    const SpawnOptions& options, const std::vector<InheritedDescriptor>& descriptors) {
  std::vector<std::pair<std::string, std::string>> wanted = options.environment;
  for (const std::string& name : options.environment_from_ours) {
    // Whoever changes the environment while other threads run has broken more than this.
    const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe)
    if (value != nullptr) wanted.emplace_back(name, value);
  }
  for (size_t i = 0; i < descriptors.size(); ++i) {
    if (descriptors[i].fd() < 0) {
      return absl::InvalidArgumentError("no descriptor to inherit as " +
                                        descriptors[i].environment_name());
    }
    wanted.emplace_back(descriptors[i].environment_name(), std::to_string(3 + i));
  }
  std::vector<std::string> lines;
  std::set<std::string> seen;
  for (const auto& [name, value] : wanted) {
    if (absl::Status status = CheckVariable(name, value, seen); !status.ok()) return status;
    std::string line = name;
    line += '=';
    line += value;
    lines.push_back(std::move(line));
  }
  // The thread sanitizer's runtime writes a file there before main, and goes without one that it
  // can't make; in the usual folder, SIGXFSZ would end the worker.
  if (kThreadSanitizer && MaxFileBytes(options.limits) < kThreadSanitizerFileBytes &&
      seen.insert("TMPDIR").second) {
    lines.push_back("TMPDIR=/dev/null");
  }
  return lines;
}

// The form that execve takes. The strings must outlive it.
std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// `path` as it is seen from everywhere. Unchanged if our own directory is gone.
std::string Absolute(const std::string& path) {
  if (path.empty() || path.front() == '/') return path;
  char ours[PATH_MAX];
  return ::getcwd(ours, sizeof(ours)) == nullptr ? path : std::string(ours) + "/" + path;
}

// What `wanted` becomes where ours is closed or a socket.
OutputTo OutputPossible(OutputTo wanted, int ours) {
  struct stat status;
  if (wanted != OutputTo::kSameAsOurs) return wanted;
  if (::fstat(ours, &status) != 0) return OutputTo::kNull;
  return S_ISSOCK(status.st_mode) ? OutputTo::kRelayed : OutputTo::kSameAsOurs;
}

// The descriptors 0, 1, 2 of the worker, and what they need.
struct StandardStreams {
  UniqueFd null_device;
  UniqueFd relayed;  // the worker's end
  std::optional<internal::OutputRelay> relay;
  std::vector<int> numbers;
};

absl::StatusOr<StandardStreams> MakeStandardStreams(SpawnOptions& options) {
  StandardStreams streams;
  streams.null_device.Reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!streams.null_device.ok()) return ErrnoStatus(errno, "open /dev/null");
  streams.numbers = {streams.null_device.get()};
  for (const auto& [wanted, ours] :
       {std::pair(options.stdout_to, 1), std::pair(options.stderr_to, 2)}) {
    switch (OutputPossible(wanted, ours)) {
      case OutputTo::kNull:
        streams.numbers.push_back(streams.null_device.get());
        break;
      case OutputTo::kSameAsOurs:
        streams.numbers.push_back(ours);
        break;
      case OutputTo::kRelayed:
        if (!streams.relay.has_value()) {
          internal::OutputSink sink = options.output != nullptr
                                          ? std::move(options.output)
                                          : internal::WriteToStderrWithoutBlocking;
          auto relay = internal::OutputRelay::Make(options.name, std::move(sink), streams.relayed);
          if (!relay.ok()) return relay.status();
          streams.relay = *std::move(relay);
        }
        streams.numbers.push_back(streams.relayed.get());
        break;
    }
  }
  return streams;
}

}  // namespace

const char* internal::StepText(StartStep step) {
  switch (step) {
    case StartStep::kDieWithParent:
      return ", tying its life to ours";
    case StartStep::kSignals:
      return ", resetting its signals";
    case StartStep::kSession:
      return ", giving it a session of its own";
    case StartStep::kDescriptors:
      return ", placing its descriptors";
    case StartStep::kLimits:
      return ", setting its resource limits";
    case StartStep::kOrdinary:
      return ", giving it an ordinary priority";
    case StartStep::kPrivileges:
      return ", dropping its privileges";
    case StartStep::kDirectory:
      return ", entering its directory";
    case StartStep::kNamespaces:
      return ", making its namespaces";
    case StartStep::kClone:
    case StartStep::kNobody:
    case StartStep::kHolderProgram:
    case StartStep::kExec:
    case StartStep::kNone:
      break;
  }
  return "";
}

std::vector<ChildStart::Limit> internal::LimitsOfChild(const ResourceLimits& limits) {
  std::vector<ChildStart::Limit> result;
  for (const LimitNumber none : {RLIMIT_CORE, RLIMIT_RTPRIO, RLIMIT_NICE, RLIMIT_MSGQUEUE}) {
    result.push_back({static_cast<int>(none), {0, 0}});
  }
  const auto add = [&result](LimitNumber resource, const std::optional<uint64_t>& value) {
    if (value.has_value()) result.push_back(AtMostOurs(resource, *value, *value));
  };
  if (!kSanitizer) add(RLIMIT_AS, limits.address_space_bytes);
  add(RLIMIT_FSIZE, limits.file_size_bytes);
  add(RLIMIT_NOFILE, limits.open_files);
  add(RLIMIT_NPROC, limits.processes);
  add(RLIMIT_STACK, limits.stack_bytes);
  add(RLIMIT_MEMLOCK, limits.locked_memory_bytes);
  if (limits.cpu_seconds.has_value()) {
    // SIGXCPU first, which says why; SIGKILL a second later for a worker that ignores it.
    result.push_back(AtMostOurs(RLIMIT_CPU, *limits.cpu_seconds, *limits.cpu_seconds + 1));
  }
  return result;
}

bool internal::CountsProcessesWithin(const std::string& release) {
  const size_t dot = release.find('.');
  if (dot == std::string::npos) return false;
  const int major = std::atoi(release.c_str());            // NOLINT(cert-err34-c): the kernel's own
  const int minor = std::atoi(release.c_str() + dot + 1);  // NOLINT(cert-err34-c): the kernel's own
  return major > 5 || (major == 5 && minor >= 14);
}

unsigned internal::ProcessesWithin(const ResourceLimits& limits) {
  utsname system = {};
  ::uname(&system);
  const bool counts = CountsProcessesWithin(system.release);
  return !limits.processes.has_value() && counts ? kProcessesWithin : 0;
}

InheritedDescriptor InheritedDescriptor::Give(UniqueFd fd, std::string environment_name) {
  const int number = fd.get();
  return InheritedDescriptor(std::move(fd), number, std::move(environment_name));
}

InheritedDescriptor InheritedDescriptor::Lend(int fd, std::string environment_name) {
  return InheritedDescriptor(UniqueFd(), fd, std::move(environment_name));
}

absl::StatusOr<Worker> Spawn(SpawnOptions options) {
  if (options.name.empty()) options.name = options.program;
  std::vector<std::string> arguments = {options.name};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  for (const std::string& argument : arguments) {
    if (HasNul(argument)) return absl::InvalidArgumentError("a worker's argument contains a NUL");
  }
  internal::ReapWhatCanBe();
  const std::string what = "start " + options.name + " (" + options.program + ")";

  absl::StatusOr<internal::RefusalSockets> refusals = internal::MakeRefusalSockets();
  if (!refusals.ok()) return refusals.status();
  std::vector<InheritedDescriptor> descriptors = std::move(options.descriptors);
  // A worker that outlives us would have its refused calls answered by ENOSYS, and not be ended.
  if (options.dies_with_parent) {
    descriptors.push_back(
        InheritedDescriptor::Give(std::move(refusals->worker), internal::kRefusalVariable));
  }
  UniqueFd holder_socket;
  if (options.namespaces.use != NamespaceOptions::Use::kNone) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
      return ErrnoStatus(errno, what);
    }
    holder_socket.Reset(ends[0]);
    descriptors.push_back(InheritedDescriptor::Give(UniqueFd(ends[1]), internal::kHolderVariable));
  }
  absl::StatusOr<std::vector<std::string>> environment = Environment(options, descriptors);
  if (!environment.ok()) return environment.status();

  absl::StatusOr<StandardStreams> streams = MakeStandardStreams(options);
  if (!streams.ok()) return streams.status();
  std::vector<int> numbers = std::move(streams->numbers);
  for (const InheritedDescriptor& descriptor : descriptors) numbers.push_back(descriptor.fd());

  const std::string program = Absolute(options.program);
  const std::vector<char*> argument_pointers = Pointers(arguments);
  const std::vector<char*> environment_pointers = Pointers(*environment);
  const std::vector<ChildStart::Limit> limits = internal::LimitsOfChild(options.limits);
  const ChildStart start = {
      .program = program.c_str(),
      .arguments = argument_pointers.data(),
      .environment = environment_pointers.data(),
      .descriptors = numbers.data(),
      .descriptor_count = static_cast<int>(numbers.size()),
      .descriptor_bound = DescriptorBoundWithoutCloseRange(),
      .limits = limits.data(),
      .limit_count = limits.size(),
      .nice = options.nice,
      .directory = options.working_directory.empty() ? nullptr : options.working_directory.c_str(),
      .parent = ::getpid(),
      .dies_with_parent = options.dies_with_parent,
      .wall = nullptr,
      .parent_pidfd = -1,
      .processes_within = internal::ProcessesWithin(options.limits),
      .failure = nullptr,
  };
  internal::StartedProcess process =
      internal::StartProcess(start, options.namespaces, std::move(holder_socket));
  if (process.failure.step != StartStep::kNone) {
    return ErrnoStatus(process.failure.error, what + internal::StepText(process.failure.step));
  }
  Worker worker =
      WorkerMaker::Make(options.name, std::move(process), std::nullopt, std::move(streams->relay));
  if (!options.dies_with_parent) return worker;
  auto watch = internal::RefusalWatch::Start(std::move(refusals->parent), worker.pidfd());
  if (!watch.ok()) return watch.status();
  WorkerMaker::Watch(worker, *std::move(watch));
  return worker;
}

}  // namespace parley
