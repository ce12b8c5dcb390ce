// SPDX-License-Identifier: Apache-2.0
#include "parley/os/system_call.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"
#include "parley/os/eventfd.h"

namespace parley {
namespace {

// The upper half of one of preadv2's arguments, in memory order.
constexpr uint32_t UpperHalf(int argument) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args) +
                               static_cast<size_t>(argument) * sizeof(uint64_t) + sizeof(uint32_t));
}

// From now on, preadv2 fails with EBADMSG if an int of it (descriptor, count of buffers, flags) has
// anything in its upper half, and with ENOSYS otherwise.
bool CompareWholeRegisters() {
  constexpr uint32_t kDirty = SECCOMP_RET_ERRNO | EBADMSG;
  std::array<sock_filter, 11> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UpperHalf(0)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UpperHalf(2)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UpperHalf(5)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, kDirty),
  }};
  const sock_fprog filter = {static_cast<uint16_t>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Leaves ones where the next function's arguments will lie.
[[gnu::noinline]] void DirtyTheStack() {
  volatile char dirt[4096];
  for (volatile char& byte : dirt) byte = -1;
}

// An int whose register has ones in its upper half, as a call's truncated answer may leave them.
[[gnu::always_inline]] inline int Dirty(uint32_t value) {
  uint64_t wide = uint64_t{0xffffffff} << 32 | value;
  asm volatile("" : "+r"(wide));
  return static_cast<int>(wide);
}

// What `call` says in a child process whose filter looks at whole registers; 100: there is none.
template <typename Call>
int InFilteredChild(const Call& call) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!CompareWholeRegisters()) ::_exit(100);
    DirtyTheStack();
    errno = 0;
    call();
    ::_exit(errno);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 100;
  return WEXITSTATUS(status);
}

[[gnu::noinline]] void Read(uint32_t fd, iovec* into, uint32_t count, uint32_t flags) {
  SystemCall(SYS_preadv2, Dirty(fd), into, Dirty(count), -1, -1, Dirty(flags));
}

TEST(SystemCallTest, AFilterThatLooksAtWholeRegistersSeesWhatWasMeant) {
  uint64_t count = 0;
  iovec into = {&count, sizeof(count)};
  EXPECT_EQ(InFilteredChild([&into] { Read(0, &into, 1, 8); }), ENOSYS);
  // The filter does look.
  EXPECT_EQ(InFilteredChild([&into] {
              ::syscall(SYS_preadv2, 0L, &into, 1L, -1L, -1L, int64_t{8} | int64_t{1} << 40);
            }),
            EBADMSG);
}

// Clang writes 4 of the 8 bytes of an int that lies on the stack.
TEST(SystemCallTest, ACountIsTakenUnderSuchAFilter) {
  EXPECT_EQ(InFilteredChild([] { static_cast<void>(TakeEventfdCount(0)); }), ENOSYS);
}

TEST(SystemCallTest, TheAnswerAndTheErrorAreTheKernels) {
  EXPECT_EQ(SystemCall(SYS_getpid), ::getpid());
  EXPECT_EQ(SystemCall(SYS_close, -1), -1);
  EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace parley
