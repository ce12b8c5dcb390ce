// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/namespace_holder.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/lone_program.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/program_probe.h"

namespace parley::internal {
namespace {

// The kernel chooses where a stack begins: one of 256 places within a page.
constexpr int kStarts = 512;

// As HoldNamespaces executes it.
[[noreturn]] void Execute(const UniqueFd& program, int socket, int root, int worker) {
  // Above those that it is to have.
  const int kept[] = {::fcntl(socket, F_DUPFD_CLOEXEC, 10), ::fcntl(root, F_DUPFD_CLOEXEC, 10),
                      ::fcntl(worker, F_DUPFD_CLOEXEC, 10)};
  const int file = ::fcntl(program.get(), F_DUPFD_CLOEXEC, 10);
  for (int i = 0; i < 3; ++i) ::dup2(kept[i], i);
  char* const none[] = {nullptr};
  ::syscall(SYS_execveat, file, "", none, none, AT_EMPTY_PATH);
  ::_exit(126);
}

// What it answers when it is told to empty the root, which is none here: 0 if nothing.
int AnswerTo(int socket) {
  if (::send(socket, "r", 1, MSG_NOSIGNAL) != 1) return 0;
  pollfd entry = {socket, POLLIN, 0};
  int error = 0;
  if (::poll(&entry, 1, 10'000) != 1) return 0;
  return ::recv(socket, &error, sizeof(error), MSG_DONTWAIT) == sizeof(error) ? error : 0;
}

// It lives on what it leaves mapped. On arm64 that lacked what lies above the address of a frame,
// so that each seventieth died as it began, and its worker with it.
TEST(NamespaceHolderTest, ItLivesWhereverItsStackBegins) {
  if (kSanitizer) GTEST_SKIP() << "there is none in a build with a sanitizer";
  if (LonePageBytes() != 4096) GTEST_SKIP() << "it is used with pages of 4 KiB alone";
  int error = -1;
  const UniqueFd program = HolderProgram(&error);
  ASSERT_TRUE(program.ok()) << error;
  if (!ProgramRunsHere(program)) GTEST_SKIP() << "no program of ours may be executed here";
  for (int i = 0; i < kStarts; ++i) {
    SCOPED_TRACE(i);
    int ends[2] = {-1, -1};
    int pipe[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    const UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    const UniqueFd worker(pipe[0]);
    UniqueFd life(pipe[1]);
    const UniqueFd root(::eventfd(0, EFD_CLOEXEC));
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      Execute(program, theirs.get(), root.get(), worker.get());
    }
    theirs.Reset();
    EXPECT_NE(AnswerTo(ours.get()), 0);
    life.Reset();  // as its worker's end
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
}

}  // namespace
}  // namespace parley::internal
