#include "parley/os/eventfd.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"

namespace parley {
namespace {

// From now on, preadv2 fails with `error` in this process, as in a kernel or filter without it.
bool RefusePreadv2(int error) {
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter = {static_cast<uint16_t>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// What `body` returns in a child process; its own numbers are below 100.
template <typename Body>
int InChild(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 100;
  return WEXITSTATUS(status);
}

TEST(EventfdTest, TheCountIsTakenOnceAndNeverWaitedFor) {
  const UniqueFd fd(::eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK));
  EXPECT_EQ(TakeEventfdCount(fd.get()), 3u);
  EXPECT_EQ(TakeEventfdCount(fd.get()), 0u);
  // As a peer can, who shares it.
  ASSERT_EQ(::fcntl(fd.get(), F_SETFL, O_RDWR), 0);
  EXPECT_EQ(TakeEventfdCount(fd.get()), 0u);
  EXPECT_EQ(TakeEventfdCount(-1), 0u);
}

TEST(EventfdTest, AMachineWithoutPreadv2IsToldFromOneWithIt) {
  EXPECT_TRUE(EventfdCountsCanBeTaken());
  for (const int error : {ENOSYS, EOPNOTSUPP, EPERM}) {
    EXPECT_EQ(InChild([&] {
                if (!RefusePreadv2(error)) return 2;
                return EventfdCountsCanBeTaken() ? 1 : 0;
              }),
              0)
        << error;
  }
}

}  // namespace
}  // namespace parley
