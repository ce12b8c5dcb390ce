// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_FILTER_H_
#define PARLEY_TESTING_FILTER_H_

// For tests: a system call filter around the code under test, as a container's, that
// makes one call fail; and a process of its own for it, since it never goes away.

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

namespace parley::testing {

struct RefusedCall {
  uint32_t call;
  uint32_t error = EPERM;
  // Where the bits of `mask` in that argument are `value`: everywhere unless told otherwise.
  uint32_t argument = 0;
  uint32_t mask = 0;
  uint32_t value = 0;
};

// Installs the filter that answers the call by `answer`, SECCOMP_RET_*, for the rest of the calling
// thread's life and for its children; the rest is allowed. What seccomp(2) returns with `flags`.
inline int Filter(const RefusedCall& refused, uint32_t answer, unsigned long flags = 0) {
  const auto at =
      static_cast<uint32_t>(offsetof(seccomp_data, args) + refused.argument * sizeof(uint64_t));
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused.call, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, refused.mask),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused.value, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, answer),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {7, filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

inline void Answer(const RefusedCall& refused, uint32_t answer) {
  if (Filter(refused, answer) != 0) ::_exit(9);
}

inline void Refuse(const RefusedCall& refused) {
  Answer(refused, SECCOMP_RET_ERRNO | refused.error);
}

// The descriptor through which one is notified of that call. -1: not here.
inline int NotificationsOf(uint32_t call) {
  return Filter({call}, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
}

// The same as an argument of a program: "CALL ERROR ARGUMENT MASK VALUE".
inline std::string OrderOf(const RefusedCall& refused) {
  std::ostringstream order;
  order << refused.call << " " << refused.error << " " << refused.argument << " " << refused.mask
        << " " << refused.value;
  return order.str();
}

inline void RefuseByOrder(const std::string& order) {
  std::istringstream words(order);
  RefusedCall refused = {};
  words >> refused.call >> refused.error >> refused.argument >> refused.mask >> refused.value;
  if (words.fail()) ::_exit(9);
  Refuse(refused);
}

// What `body` returns, in a process of its own; 255: it was ended.
template <typename Body>
int InAProcessOfItsOwn(const Body& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) return 255;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

// The call without which the C library makes no thread: clone3, or clone where it knows no other.
inline RefusedCall NoThread(uint32_t error) {
  const bool by_clone = InAProcessOfItsOwn([] {
                          Refuse({SYS_clone3, EPERM});
                          pthread_t thread;
                          const auto nothing = [](void*) -> void* { return nullptr; };
                          return ::pthread_create(&thread, nullptr, nothing, nullptr) == 0 ? 1 : 0;
                        }) == 1;
  if (by_clone) return {SYS_clone, error, 0, CLONE_THREAD, CLONE_THREAD};
  return {SYS_clone3, error};
}

}  // namespace parley::testing

#endif  // PARLEY_TESTING_FILTER_H_
