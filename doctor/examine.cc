// SPDX-License-Identifier: Apache-2.0
#include "parley/doctor/examine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/check.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/eventfd.h"
#include "parley/os/pidfd.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/huge_pages.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/seals.h"
#include "parley/shm/geometry.h"
#include "parley/shm/region.h"
#include "parley/wait/futex.h"
#include "parley/wait/memory_barrier.h"

// Newer than the headers of Debian 12; the kernel's ABI.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace parley {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(10);
constexpr uint64_t kRingBytes = uint64_t{1} << 20;
constexpr uint64_t kSmallRingBytes = uint64_t{64} << 10;

class Findings {
 public:
  void Add(std::string_view id, State state, std::string found) {
    list_.push_back({&FeatureNamed(id), state, std::move(found)});
  }
  void Add(std::string_view id, bool works, std::string found) {
    Add(id, works ? State::kWorks : State::kMissing, std::move(found));
  }
  void Add(std::string_view id, const absl::Status& status, std::string works) {
    Add(id, status.ok(), status.ok() ? std::move(works) : std::string(status.message()));
  }
  std::vector<Finding> Take() { return std::move(list_); }

 private:
  std::vector<Finding> list_;
};

// "Operation not permitted: a filter around this process refuses it".
std::string Refusal(int error) {
  std::string text = std::strerror(error);  // NOLINT(concurrency-mt-unsafe): one thread at a time
  if (error == EPERM || error == EACCES) {
    text += ": something around this process refuses it";
  } else if (error == ENOSYS || error == EINVAL || error == ENOPROTOOPT) {
    text += ": this kernel does not know it, or something around this process says so";
  }
  return text;
}

std::string FirstLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string System() {
  utsname name = {};
  ::uname(&name);
  return std::string(name.sysname) + " " + name.release + " (" + name.machine + "), user " +
         std::to_string(::geteuid());
}

// ---- Shared memory.

void AskForMemory(Findings& findings) {
  absl::StatusOr<UniqueFd> memory = CreateMemfd(4096);
  findings.Add("memfd", memory.status(), "made, with all of its pages");
  if (!memory.ok()) {
    for (const char* id : {"seals", "region", "noexec-memfd", "huge-pages"}) {
      findings.Add(id, false, "no memfd to try it with");
    }
    return;
  }
  // Before the seals that Parley adds: it is the kernel's answer to the flag.
  const absl::StatusOr<SealSet> fresh = GetSeals(memory->get());
  const bool noexec = fresh.ok() && (*fresh & F_SEAL_EXEC) != 0;
  findings.Add("seals", AddSeals(memory->get(), kRegionSeals), SealNames(kRegionSeals));
  FileRegistry registry;
  const absl::StatusOr<OutgoingRegion> region =
      OutgoingRegion::Create({.data_bytes = kRingBytes}, {.registry = &registry});
  const absl::StatusOr<OutgoingRegion> small =
      OutgoingRegion::Create({.data_bytes = kSmallRingBytes}, {.registry = &registry});
  findings.Add("region",
               region.ok()  ? State::kWorks
               : small.ok() ? State::kLimited
                            : State::kMissing,
               region.ok() ? "of 1 MiB" : std::string(region.status().message()));
  findings.Add("noexec-memfd", noexec,
               noexec ? "the seal is there" : "the kernel, or a filter, did not set the seal");
  absl::StatusOr<UniqueFd> large = CreateMemfd(kHugePageBytes);
  const bool huge = large.ok() && GatherOneHugePage(large->get(), 0);
  const std::string policy = FirstLine("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  findings.Add("huge-pages", huge,
               (huge ? "gathered one of 2 MiB" : "none could be gathered") +
                   (policy.empty() ? "" : "; the policy is " + policy));
}

void AskForPopulate(Findings& findings) {
  void* const page =
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool works = ::madvise(page, 4096, MADV_POPULATE_WRITE) == 0;
  findings.Add("populate", works, works ? "works" : Refusal(errno));
  ::munmap(page, 4096);
}

// ---- A channel between two threads, each with a registry of its own, as two processes have.

absl::Status SendAndReceive(Channel& channel, Deadline deadline) {
  const std::array<std::byte, 5> message = {};
  if (absl::Status sent = channel.sender.Send(1, message, deadline); !sent.ok()) return sent;
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  return channel.receiver.Receive(absl::MakeSpan(buffer), deadline).status();
}

absl::Status TryChannel() {
  const Deadline deadline = Deadline::After(kPatience);
  auto pair = PeerSocket::Pair();
  if (!pair.ok()) return pair.status();
  FileRegistry accepting;
  FileRegistry connecting;
  absl::Status peer;
  std::thread other;
  try {
    other = std::thread([&, socket = std::move(pair->second)]() mutable {
      ConnectOptions options;
      options.registry = &connecting;
      absl::StatusOr<Channel> channel = ConnectChannel(std::move(socket), options, deadline);
      peer = channel.ok() ? SendAndReceive(*channel, deadline) : channel.status();
    });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(std::string("cannot start a thread: ") + error.what());
  }
  AcceptOptions options;
  options.registry = &accepting;
  absl::Status ours;
  {
    absl::StatusOr<Channel> channel = AcceptChannel(std::move(pair->first), options, deadline);
    ours = channel.ok() ? SendAndReceive(*channel, deadline) : channel.status();
    if (!ours.ok() && channel.ok()) channel->sender.Close();
    other.join();
  }
  // The side that failed by itself says more than the one that saw it go.
  return peer.ok() || absl::IsUnavailable(peer) ? ours : peer;
}

// ---- Waiting and who the peer is.

void AskForWaiting(Findings& findings) {
  const bool barrier = SystemWideBarrierWorks();
  findings.Add("membarrier", barrier, barrier ? "works" : "the kernel, or a filter, refuses it");

  FileRegistry ours;
  FileRegistry theirs;
  absl::StatusOr<OutgoingRegion> outgoing =
      OutgoingRegion::Create({.data_bytes = 0}, {.registry = &ours});
  std::string futex = "no region to try it with";
  if (outgoing.ok()) {
    absl::StatusOr<IncomingRegion> incoming =
        IncomingRegion::Adopt(UniqueFd(::fcntl(outgoing->fd(), F_DUPFD_CLOEXEC, 3)),
                              {.data_bytes = 0}, {.registry = &theirs});
    futex = incoming.ok() ? "" : std::string(incoming.status().message());
    if (incoming.ok() &&
        Futex::SleepWhile(incoming->control(), 0, 0, MonotonicNowNs() + 1'000'000) !=
            Futex::Slept::kTimedOut) {
      futex = "the kernel, or a filter, refuses it";
    }
  }
  findings.Add("futex", futex.empty(), futex.empty() ? "works" : futex);
  const absl::StatusOr<bool> counts = EventfdCountsCanBeTaken();
  if (counts.ok()) {
    findings.Add("eventfd", *counts, *counts ? "works" : "the kernel, or a filter, refuses it");
  } else {
    findings.Add("eventfd", counts.status(), "");
  }
}

// Ends of a connection by name: the two are this process.
void AskForPeers(Findings& findings) {
  const absl::StatusOr<UniqueFd> self = OpenPidfd(::getpid());
  findings.Add("pidfd", self.status(), "works");
  std::array<int, 2> ends = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    const std::string why = Refusal(errno);
    findings.Add("peer-pidfd", false, why);
    findings.Add("pass-rights", false, why);
    return;
  }
  const UniqueFd one(ends[0]);
  const UniqueFd other(ends[1]);
  int number = -1;
  socklen_t length = sizeof(number);
  const bool named = ::getsockopt(one.get(), SOL_SOCKET, SO_PEERPIDFD, &number, &length) == 0;
  const std::string why = named ? "works" : Refusal(errno);
  const UniqueFd peer(number);
  findings.Add("peer-pidfd", named, why);
  const bool refuses = RefuseRights(one.get());
  findings.Add("pass-rights", refuses, refuses ? "works" : Refusal(errno));
}

// ---- A confined worker.

void AskForWorker(const SelfProgram& self, Findings& findings) {
  const absl::StatusOr<WorkerAnswer> answer = TryInWorker(self, "heap", "file");
  if (!answer.ok() || !answer->locked_down.has_value()) {
    const std::string why = answer.ok() ? answer->why_not : std::string(answer.status().message());
    findings.Add("seccomp", false, why);
    for (const char* id :
         {"proof", "refusal-names", "landlock", "mdwe", "mseal", "namespaces", "empty-root"}) {
      findings.Add(id, false, "no confined worker to ask");
    }
    return;
  }
  const LockedDown& report = *answer->locked_down;
  findings.Add("seccomp", true, "a worker was confined");
  findings.Add("proof", answer->unproven.empty(),
               answer->unproven.empty() ? "the kernel says so of each thread" : answer->unproven);
  const std::optional<std::string>& refused = answer->report.refused_call;
  findings.Add(
      "refusal-names", refused.has_value(),
      refused.has_value() ? "the parent was told \"" + *refused + "\"" : answer->report.ToString());
  findings.Add("landlock", report.landlock_abi > 0,
               report.landlock_abi > 0 ? "version " + std::to_string(report.landlock_abi)
                                       : "the kernel has none, or a filter refuses it");
  findings.Add("mdwe", report.mdwe, report.mdwe ? "in force" : "the kernel has none");
  findings.Add("mseal", report.code_is_sealed,
               report.code_is_sealed ? "in force" : "the kernel, or a filter, refuses it");
  const SecondWall& wall = answer->wall;
  const bool all = wall.user && wall.pid && wall.mount && wall.network && wall.ipc && wall.uts;
  findings.Add("namespaces",
               !wall.user                    ? State::kMissing
               : all && wall.missing.empty() ? State::kWorks
                                             : State::kLimited,
               wall.ToString());
  findings.Add("empty-root", report.empty_root,
               report.empty_root ? "in force" : "the worker keeps the root that it sees");
}

// ---- Limits and settings.

std::string Amount(rlim_t value) {
  return value == RLIM_INFINITY ? "unlimited" : std::to_string(value);
}

// `enough`: less than that is reported as limited.
void AskForLimit(Findings& findings, std::string_view id, __rlimit_resource resource,
                 uint64_t enough) {
  rlimit limit = {};
  if (::getrlimit(resource, &limit) != 0) {
    findings.Add(id, false, Refusal(errno));
    return;
  }
  const bool is_enough = limit.rlim_cur >= enough;
  findings.Add(id, is_enough ? State::kWorks : State::kLimited,
               Amount(limit.rlim_cur) + " (at most " + Amount(limit.rlim_max) + ")");
}

void AskForSettings(Findings& findings) {
  AskForLimit(findings, "open-files", RLIMIT_NOFILE, 256);
  AskForLimit(findings, "address-space", RLIMIT_AS, uint64_t{4} << 30);
  AskForLimit(findings, "processes", RLIMIT_NPROC, 64);
  AskForLimit(findings, "locked-memory", RLIMIT_MEMLOCK, 0);
  AskForLimit(findings, "file-size", RLIMIT_FSIZE, uint64_t{1} << 30);
  struct statvfs shm = {};
  const bool has_shm = ::statvfs("/dev/shm", &shm) == 0;
  findings.Add("dev-shm", true,
               has_shm ? std::to_string(uint64_t{shm.f_blocks} * shm.f_frsize >> 10) + " KiB"
                       : "there is none");
  const std::string policy = FirstLine("/proc/sys/vm/memfd_noexec");
  findings.Add("memfd-policy", true, policy.empty() ? "the kernel has none" : policy);
}

bool AllThere(const std::vector<Finding>& findings, Need need) {
  return std::none_of(findings.begin(), findings.end(), [need](const Finding& finding) {
    return finding.feature->need == need && finding.state == State::kMissing;
  });
}

}  // namespace

const Finding& Diagnosis::Of(std::string_view id) const {
  const auto found = std::find_if(findings.begin(), findings.end(), [id](const Finding& finding) {
    return finding.feature->id == id;
  });
  PARLEY_CHECK(found != findings.end(), "not examined");
  return *found;
}

Diagnosis Examine(const SelfProgram& self) {
  Findings findings;
  AskForMemory(findings);
  AskForPopulate(findings);
  findings.Add("channel", TryChannel(), "a message went each way");
  AskForWaiting(findings);
  AskForPeers(findings);
  AskForWorker(self, findings);
  AskForSettings(findings);
  Diagnosis diagnosis;
  diagnosis.system = System();
  diagnosis.findings = findings.Take();
  const Feature* const first = Features().data();
  std::sort(diagnosis.findings.begin(), diagnosis.findings.end(),
            [first](const Finding& one, const Finding& other) {
              return one.feature - first < other.feature - first;
            });
  diagnosis.channels_work = AllThere(diagnosis.findings, Need::kChannel);
  diagnosis.workers_work = diagnosis.channels_work && AllThere(diagnosis.findings, Need::kWorker);
  return diagnosis;
}

}  // namespace parley
