// SPDX-License-Identifier: Apache-2.0
#include "parley/doctor/feature.h"

#include <algorithm>

#include "parley/os/check.h"

namespace parley {
namespace {

constexpr char kNewer[] = "a newer kernel; a filter around this process that allows it";

constexpr Feature kFeatures[] = {
    {"memfd", "memfd_create", Need::kChannel, "Linux 3.17", "no shared memory, so no channel",
     "a system call filter that allows memfd_create"},
    {"seals", "seals for one writer (F_SEAL_FUTURE_WRITE)", Need::kChannel, "Linux 5.1",
     "nobody can promise who writes, so no channel", "a newer kernel"},
    {"region", "a region: made, sealed, mapped twice", Need::kChannel, "",
     "no channel, or only smaller ones",
     "a higher limit of address space, file size or memory, whichever the text names"},
    {"channel", "a channel: handshake and a message each way", Need::kChannel, "", "no channel",
     "what the text names"},
    {"noexec-memfd", "memory that can never be executed (MFD_NOEXEC_SEAL)", Need::kOptional,
     "Linux 6.3",
     "a peer of the same user can make a region's file executable; the kernel logs a warning once",
     kNewer},
    {"populate", "bringing in pages by one call (MADV_POPULATE)", Need::kOptional, "Linux 5.14",
     "pages are touched one by one: a channel takes longer to make", kNewer},
    {"membarrier", "barriers on other processes (membarrier)", Need::kOptional, "Linux 4.16",
     "each publish pays for a memory fence", kNewer},
    {"futex", "sleeping on memory that can only be read (futex)", Need::kOptional, "",
     "the futex doorbell polls each millisecond; the default, the socket's, does not need it",
     "a filter around this process that allows futex"},
    {"eventfd", "eventfds that are read without waiting (preadv2, RWF_NOWAIT)", Need::kOptional,
     "Linux 5.8", "no eventfd doorbells: the socket's is used", kNewer},
    {"pidfd", "process descriptors (pidfd_open)", Need::kOptional, "Linux 5.3",
     "no namespaces around a worker, and no policy for one process", kNewer},
    {"peer-pidfd", "the process of a connected peer (SO_PEERPIDFD)", Need::kOptional, "Linux 6.5",
     "the death of a peer that connected by name is seen by its socket alone", kNewer},
    {"pass-rights", "refusing descriptors at the socket (SO_PASSRIGHTS)", Need::kOptional,
     "Linux 6.16", "a receive during the handshake costs a second call", kNewer},
    {"huge-pages", "huge pages on request (MADV_COLLAPSE)", Need::kOptional, "Linux 6.1",
     "a region that asked for huge pages has ordinary ones",
     "a newer kernel; /sys/kernel/mm/transparent_hugepage/shmem_enabled other than deny"},
    {"seccomp", "system call filters (seccomp)", Need::kWorker, "Linux 3.17",
     "a worker cannot be confined",
     "a kernel with CONFIG_SECCOMP_FILTER; a filter around this process that allows seccomp"},
    {"proof", "the kernel's word that a worker is confined (/proc)", Need::kWorker, "",
     "a worker is given neither trust nor hostile input", "a mounted /proc without hidepid"},
    {"refusal-names", "names of refused calls (seccomp notifications)", Need::kOptional,
     "Linux 5.7", "a refused call ends the worker all the same; the report has no name", kNewer},
    {"landlock", "Landlock", Need::kOptional, "Linux 5.13",
     "without namespaces, files are behind the system call filter alone",
     "a kernel with CONFIG_SECURITY_LANDLOCK and lsm=landlock; a container engine that knows it"},
    {"mdwe", "no new executable memory (MDWE)", Need::kOptional, "Linux 6.3",
     "executable memory is refused by the system call filter alone", kNewer},
    {"mseal", "sealed code (mseal)", Need::kOptional, "Linux 6.10",
     "a worker that was taken over can unmap its own code", kNewer},
    {"namespaces", "namespaces around a worker", Need::kOptional, "Linux 5.3",
     "no second wall: a kernel bug behind one allowed call reaches files, processes, the network",
     "user.max_user_namespaces above 0 and no rule of AppArmor against it; not in containers"},
    {"empty-root", "an empty root at lock-down", Need::kOptional, "Linux 5.3",
     "files are behind Landlock and the filter", "see namespaces"},
    {"open-files", "descriptors (RLIMIT_NOFILE)", Need::kOptional, "",
     "few channels: each side needs up to 10, a worker 2 more", "ulimit -n, LimitNOFILE="},
    {"address-space", "address space (RLIMIT_AS)", Need::kOptional, "",
     "only small channels: each maps its data twice, and a worker's own limit is no higher",
     "ulimit -v unlimited, LimitAS="},
    {"processes", "processes and threads (RLIMIT_NPROC)", Need::kOptional, "",
     "few workers: each takes up to 3 for a moment, with a thread of the parent's",
     "ulimit -u, LimitNPROC=, a container's pids limit"},
    {"locked-memory", "locked memory (RLIMIT_MEMLOCK)", Need::kOptional, "",
     "none: Parley locks no memory", "not needed"},
    {"file-size", "file size (RLIMIT_FSIZE)", Need::kOptional, "",
     "only small channels: shared memory counts as a file", "ulimit -f unlimited, LimitFSIZE="},
    {"dev-shm", "/dev/shm", Need::kOptional, "",
     "none: the shared memory of Parley lies in no file system that is mounted", "not needed"},
    {"memfd-policy", "the policy for memfds (vm.memfd_noexec)", Need::kOptional, "Linux 6.3",
     "none: at 1 and 2 Parley's memory is what it is at 0", "not needed"},
};

constexpr std::string_view Word(Need need) {
  switch (need) {
    case Need::kChannel:
      return "channels";
    case Need::kWorker:
      return "confined workers";
    case Need::kOptional:
      break;
  }
  return "-";
}

}  // namespace

std::span<const Feature> Features() { return kFeatures; }

const Feature& FeatureNamed(std::string_view id) {
  const auto* const found = std::find_if(std::begin(kFeatures), std::end(kFeatures),
                                         [id](const Feature& feature) { return feature.id == id; });
  PARLEY_CHECK(found != std::end(kFeatures), "no such feature");
  return *found;
}

std::string FeatureTable() {
  std::string table =
      "| feature | needed for | since | what its lack costs | how to get it |\n"
      "|---|---|---|---|---|\n";
  for (const Feature& feature : Features()) {
    for (const std::string_view cell :
         {feature.title, Word(feature.need), feature.since.empty() ? "-" : feature.since,
          feature.cost, feature.remedy}) {
      table += "| ";
      table += cell;
      table += " ";
    }
    table += "|\n";
  }
  return table;
}

}  // namespace parley
