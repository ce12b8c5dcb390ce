// SPDX-License-Identifier: Apache-2.0

// Runs a program under a filter that refuses some features of the kernel, as a container engine or
// a service manager that is older than they are.
//
//   refuse EPERM|ENOSYS|EINVAL FEATURE[,FEATURE...] COMMAND [ARGUMENT...]
//
// Features are those of `doctor --json`. Exit code: the command's; 125 if the filter cannot be put
// in place.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

// Refused where (low half of the argument & mask) == value; always where the mask is 0.
struct Refusal {
  long number;  // NOLINT: syscall's type
  unsigned argument;
  uint32_t mask;
  uint32_t value;
};

const std::map<std::string, std::vector<Refusal>>& Features() {
  static const std::map<std::string, std::vector<Refusal>> features = {
      {"memfd", {{SYS_memfd_create, 0, 0, 0}}},
      {"seals", {{SYS_fcntl, 1, ~0u, 1033 /* F_ADD_SEALS */}}},
      {"noexec-memfd", {{SYS_memfd_create, 1, 8 /* MFD_NOEXEC_SEAL */, 8}}},
      {"populate",
       {{SYS_madvise, 2, ~0u, 22 /* MADV_POPULATE_READ */},
        {SYS_madvise, 2, ~0u, 23 /* MADV_POPULATE_WRITE */}}},
      {"huge-pages", {{SYS_madvise, 2, ~0u, 25 /* MADV_COLLAPSE */}}},
      {"membarrier", {{SYS_membarrier, 0, 0, 0}}},
      {"eventfd", {{SYS_preadv2, 0, 0, 0}}},
      {"pidfd", {{SYS_pidfd_open, 0, 0, 0}}},
      {"peer-pidfd", {{SYS_getsockopt, 2, ~0u, 77 /* SO_PEERPIDFD */}}},
      {"pass-rights", {{SYS_setsockopt, 2, ~0u, 83 /* SO_PASSRIGHTS */}}},
      {"seccomp", {{SYS_seccomp, 0, 0, 0}}},
      {"refusal-names", {{SYS_seccomp, 1, 8 /* NEW_LISTENER */, 8}}},
      {"landlock", {{SYS_landlock_create_ruleset, 0, 0, 0}}},
      {"mdwe", {{SYS_prctl, 0, ~0u, 65 /* PR_SET_MDWE */}}},
      {"mseal", {{462, 0, 0, 0}}},
      {"namespaces", {{SYS_clone, 0, 0x10000000 /* CLONE_NEWUSER */, 0x10000000}}},
      {"close-range", {{SYS_close_range, 0, 0, 0}}},
  };
  return features;
}

void AddTo(std::vector<sock_filter>& program, const Refusal& refusal, uint32_t error) {
  const auto number = static_cast<uint32_t>(refusal.number);
  const auto at = static_cast<uint32_t>(offsetof(seccomp_data, args) + 8 * refusal.argument);
  const sock_filter part[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, refusal.mask),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refusal.value, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
  };
  program.insert(program.end(), std::begin(part), std::end(part));
}

int Usage() {
  std::fprintf(stderr, "usage: refuse EPERM|ENOSYS|EINVAL FEATURE[,FEATURE...] COMMAND...\n");
  return 125;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return Usage();
  const std::map<std::string, uint32_t> errors = {
      {"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}};
  const auto error = errors.find(argv[1]);
  if (error == errors.end()) return Usage();
  std::vector<sock_filter> program;
  std::istringstream names(argv[2]);
  for (std::string name; std::getline(names, name, ',');) {
    const auto found = Features().find(name);
    if (found == Features().end()) return Usage();
    for (const Refusal& refusal : found->second) AddTo(program, refusal, error->second);
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog filter = {};
  filter.len = static_cast<unsigned short>(program.size());  // NOLINT: the struct's type
  filter.filter = program.data();
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    std::perror("refuse");
    return 125;
  }
  ::execvp(argv[3], argv + 3);
  std::perror(argv[3]);
  return 127;
}
