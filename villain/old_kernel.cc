// SPDX-License-Identifier: Apache-2.0
#include "parley/villain/old_kernel.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace parley::villain {
namespace {

constexpr uint32_t kPassRights = 83;     // SO_PASSRIGHTS
constexpr uint32_t kPeerPidfd = 77;      // SO_PEERPIDFD
constexpr uint32_t kNewMemfdFlags = 24;  // MFD_NOEXEC_SEAL, MFD_EXEC
constexpr uint32_t kMseal = 462;

constexpr uint32_t Fails(int error) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error); }
// The low half of an argument.
constexpr uint32_t Argument(std::size_t number) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + number * sizeof(uint64_t) +
                               (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0));
}

}  // namespace

bool ForgetNewKernels() {
  std::array<sock_filter, 15> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockopt, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kMseal, 8, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, Argument(2)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kPassRights, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kPeerPidfd, 0, 3),
      BPF_STMT(BPF_RET | BPF_K, Fails(ENOPROTOOPT)),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, Argument(1)),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kNewMemfdFlags, 2, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, Fails(ENOSYS)),
      BPF_STMT(BPF_RET | BPF_K, Fails(EINVAL)),
  }};
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace parley::villain
