// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/seal_helper.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/types/span.h"
#include "parley/os/check.h"
#include "parley/os/descriptor_bound.h"
#include "parley/os/errors.h"
#include "parley/os/file_size_signal.h"
#include "parley/os/poll.h"

// In the kernel's headers, not in all C libraries.
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#if defined(__x86_64__)
#define PARLEY_SEAL_PROGRAM 1
#define PARLEY_SEAL_MACHINE "62"
#define PARLEY_SEAL_CODE                                                                       \
  "  lea 5f(%rip), %rbx\n"                                                                     \
  "  mov (%rbx), %r12d\n"                                                                      \
  "  mov $157, %eax\n  mov $15, %edi\n  lea 1f(%rip), %rsi\n  syscall\n" /* prctl(SET_NAME) */ \
  "  mov $112, %eax\n  syscall\n"                                        /* setsid */          \
  "  mov $80, %eax\n  lea 2f(%rip), %rdi\n  syscall\n"                   /* chdir("/") */      \
  "  mov $436, %eax\n  xor %edi, %edi\n  lea -1(%r12), %esi\n  xor %edx, %edx\n  syscall\n"    \
  "  test %eax, %eax\n  jnz 6f\n" /* close_range below */                                      \
  "  mov $436, %eax\n  lea 1(%r12), %edi\n  mov $-1, %esi\n  xor %edx, %edx\n  syscall\n"      \
  "  test %eax, %eax\n  jz 7f\n"                           /* close_range above */             \
  "6: mov 24(%rbx), %r13d\n  test %r13d, %r13d\n  jz 3f\n" /* refused: one by one */           \
  "8: dec %r13d\n  js 7f\n  cmp %r12d, %r13d\n  je 8b\n"                                       \
  "  mov $3, %eax\n  mov %r13d, %edi\n  syscall\n  jmp 8b\n7:\n"         /* close */           \
  "  mov $77, %eax\n  mov %r12d, %edi\n  mov 8(%rbx), %rsi\n  syscall\n" /* ftruncate */       \
  "  mov $72, %eax\n  mov %r12d, %edi\n  mov $1033, %esi\n  mov 16(%rbx), %rdx\n  syscall\n"   \
  "3: mov %eax, %edi\n  neg %edi\n  mov $231, %eax\n  syscall\n  hlt\n" /* exit_group(errno) */
#elif defined(__aarch64__)
#define PARLEY_SEAL_PROGRAM 1
#define PARLEY_SEAL_MACHINE "183"
#define PARLEY_SEAL_CODE                                                                        \
  "  adr x19, 5f\n"                                                                             \
  "  ldr w20, [x19]\n"                                                                          \
  "  mov x8, #167\n  mov x0, #15\n  adr x1, 1f\n  svc #0\n" /* prctl(SET_NAME) */               \
  "  mov x8, #157\n  svc #0\n"                              /* setsid */                        \
  "  mov x8, #49\n  adr x0, 2f\n  svc #0\n"                 /* chdir("/") */                    \
  "  mov x8, #436\n  mov w0, #0\n  sub w1, w20, #1\n  mov w2, #0\n  svc #0\n  cbnz w0, 6f\n"    \
  "  mov x8, #436\n  add w0, w20, #1\n  mov w1, #-1\n  mov w2, #0\n  svc #0\n  cbz w0, 7f\n"    \
  "6: ldr w21, [x19, #24]\n  cbz w21, 3f\n" /* close_range is refused: one by one */            \
  "8: subs w21, w21, #1\n  b.mi 7f\n  cmp w21, w20\n  b.eq 8b\n"                                \
  "  mov x8, #57\n  mov w0, w21\n  svc #0\n  b 8b\n7:\n"          /* close */                   \
  "  mov x8, #46\n  mov w0, w20\n  ldr x1, [x19, #8]\n  svc #0\n" /* ftruncate */               \
  "  mov x8, #25\n  mov w0, w20\n  mov w1, #1033\n  ldr x2, [x19, #16]\n  svc #0\n" /* seals */ \
  "3: neg w0, w0\n  mov x8, #94\n  svc #0\n  brk #1\n" /* exit_group(errno) */
#endif

#if defined(PARLEY_SEAL_PROGRAM)
// The helper's program: an ELF header, two program headers (all of it readable and executable at
// 4 MiB; a stack that is not executable), the code, and at its end what it is to do.
asm("  .pushsection .rodata\n"
    "  .balign 8\n"
    "  .globl parley_seal_program\n  .hidden parley_seal_program\n"
    "  .globl parley_seal_parameters\n  .hidden parley_seal_parameters\n"
    "  .globl parley_seal_end\n  .hidden parley_seal_end\n"
    "parley_seal_program:\n"
    "  .byte 0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0\n  .zero 8\n"
    "  .short 2, " PARLEY_SEAL_MACHINE
    "\n  .long 1\n"
    "  .quad 0x400000 + (4f - parley_seal_program)\n  .quad 64, 0\n"
    "  .long 0\n  .short 64, 56, 2, 0, 0, 0\n"
    "  .long 1, 5\n  .quad 0, 0x400000, 0x400000\n"
    "  .quad parley_seal_end - parley_seal_program, parley_seal_end - parley_seal_program\n"
    "  .quad 0x10000\n"
    "  .long 0x6474e551, 6\n  .quad 0, 0, 0, 0, 0, 16\n"
    "4:\n" PARLEY_SEAL_CODE
    "1: .asciz \"parley-seal\"\n"
    "2: .asciz \"/\"\n"
    "  .balign 8\n"
    "5:\n"
    "parley_seal_parameters:\n  .quad 0, 0, 0, 0\n"
    "parley_seal_end:\n"
    "  .popsection\n");
// NOLINTBEGIN(readability-identifier-naming): as the assembler knows them
extern "C" {
// As many bytes as lie between them.
[[gnu::visibility("hidden")]] extern const std::byte parley_seal_program[];
[[gnu::visibility("hidden")]] extern const std::byte parley_seal_parameters[];
[[gnu::visibility("hidden")]] extern const std::byte parley_seal_end[];
}
// NOLINTEND(readability-identifier-naming)
#endif

// Code of a process that shares our memory: no library, no thread-local storage, no
// instrumentation.
#define PARLEY_BARE_CODE \
  __attribute__((no_sanitize("address", "thread", "undefined"), no_stack_protector, noinline))

namespace parley::internal {
namespace {

// What a system call takes and gives.
using Word = long;  // NOLINT(google-runtime-int): the kernel's own type

#if defined(__x86_64__)
[[gnu::always_inline]] inline Word Call(Word number, Word a = 0, Word b = 0, Word c = 0, Word d = 0,
                                        Word e = 0) {
  Word result = number;
  register Word fourth asm("r10") = d;
  register Word fifth asm("r8") = e;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
               : "rcx", "r11", "memory");
  return result;
}

// clone with a stack of its own: the child calls `run(argument)`, which does not return.
Word CloneOnStack(Word flags, void* stack_end, int* pidfd, void (*run)(void*), void* argument) {
  Word result = SYS_clone;
  register Word child_tid asm("r10") = 0;
  register Word tls asm("r8") = 0;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "mov %[argument], %%rdi\n\t"
      "call *%[run]\n\t"
      "hlt\n"
      "1:"
      : "+a"(result)
      : "D"(flags), "S"(stack_end), "d"(pidfd), "r"(child_tid),
        "r"(tls), [run] "r"(run), [argument] "r"(argument)
      : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
[[gnu::always_inline]] inline Word Call(Word number, Word a = 0, Word b = 0, Word c = 0, Word d = 0,
                                        Word e = 0) {
  register Word x8 asm("x8") = number;
  register Word x0 asm("x0") = a;
  register Word x1 asm("x1") = b;
  register Word x2 asm("x2") = c;
  register Word x3 asm("x3") = d;
  register Word x4 asm("x4") = e;
  asm volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}

Word CloneOnStack(Word flags, void* stack_end, int* pidfd, void (*run)(void*), void* argument) {
  register Word x8 asm("x8") = SYS_clone;
  register Word x0 asm("x0") = flags;
  register void* x1 asm("x1") = stack_end;
  register int* x2 asm("x2") = pidfd;
  register Word x3 asm("x3") = 0;
  register Word x4 asm("x4") = 0;
  asm volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x0, %[argument]\n\t"
      "blr %[run]\n\t"
      "brk #1\n"
      "1:"
      : "+r"(x0)
      : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), [run] "r"(run), [argument] "r"(argument)
      : "memory", "x30");
  return x0;
}
#endif

// The child must not run our signal handlers; what arrives meanwhile is ours and waits.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

absl::Status NoProcess(int error) {
  constexpr char kWhat[] = "start a helper process to seal shared memory";
  if (error != EAGAIN) return ErrnoStatus(error, kWhat);
  return absl::ResourceExhaustedError(
      std::string("cannot ") + kWhat +
      ": this user or group is at its limit of processes (ulimit -u, pids.max): raise it");
}

constexpr size_t kStackBytes = 16384;

template <typename T>
Word AddressOf(T* object) {
  // SAFETY: system calls take addresses as words.
  return reinterpret_cast<intptr_t>(object);
}

}  // namespace

// The attendant's, the helper's until it has left our memory, and ours.
struct SealHelperMemory {
  UniqueFd program;
  std::array<char, 12> name = {"parley-seal"};
  std::array<char*, 2> arguments = {};  // the name, and the end, where a list of none begins
  // Numbers and addresses, as system calls take them: the attendant calls no function.
  pid_t maker = -1;
  Word fd = -1;
  Word program_fd = -1;
  Word empty_at = 0;
  Word arguments_at = 0;
  Word environment_at = 0;
  Word helper_pidfd_at = 0;
  Word wait_status_at = 0;
  int helper_pidfd = -1;
  int execution_error = 0;  // written by the helper if it could not be executed
  int clone_error = 0;
  int wait_status = 0;
  int has_started = 0;  // the helper has left our memory, or there is none
  alignas(16) std::array<std::byte, kStackBytes> stack;
};

namespace {

#if defined(PARLEY_SEAL_PROGRAM)

PARLEY_BARE_CODE void Attend(void* argument) {
  auto* const memory = static_cast<SealHelperMemory*>(argument);
  // It ends with the thread that made it: nothing of ours is kept by a helper that hangs.
  Call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  if (Call(SYS_getppid) != memory->maker) Call(SYS_exit_group, 0);
  // Until the helper has executed its program it runs here, on this stack, and we wait.
  // DESCRIPTOR: gets its UniqueFd in Wait, in the table that we share.
  const Word helper =
      Call(SYS_clone, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, 0, memory->helper_pidfd_at);
  if (helper == 0) {
    Call(SYS_fcntl, memory->fd, F_SETFD, 0);  // of its own table: the one that it keeps
    const Word error = Call(SYS_execveat, memory->program_fd, memory->empty_at,
                            memory->arguments_at, memory->environment_at, AT_EMPTY_PATH);
    memory->execution_error = static_cast<int>(-error);
    Call(SYS_exit_group, 127);
  }
  if (helper < 0) {
    memory->clone_error = static_cast<int>(-helper);
    memory->helper_pidfd = -1;
  }
  // PAIRS WITH: the load in SealHelper::EndAttendant.
  __atomic_store_n(&memory->has_started, 1, __ATOMIC_RELEASE);
  if (helper > 0) Call(SYS_wait4, helper, memory->wait_status_at, __WALL);
  Call(SYS_exit_group, 0);
}

// The program in a file of its own, told what to do. kUnimplemented where such files can't be had.
absl::StatusOr<UniqueFd> WriteProgram(int fd, off_t size_bytes, SealSet seals) {
  UniqueFd file(::memfd_create("parley-seal", MFD_CLOEXEC | MFD_EXEC));
  if (!file.ok() && errno == EINVAL) {
    file.Reset(::memfd_create("parley-seal", MFD_CLOEXEC));  // before Linux 6.3
  }
  if (!file.ok()) {
    if (errno == EACCES || errno == EPERM || errno == ENOSYS) {
      return absl::UnimplementedError("no memfd may be executed here");
    }
    return ErrnoStatus(errno, "create a memfd");
  }
  const std::array<uint64_t, 4> parameters = {
      static_cast<uint64_t>(fd), static_cast<uint64_t>(size_bytes), seals,
      static_cast<uint64_t>(DescriptorBoundWithoutCloseRange())};
  const auto program_bytes = static_cast<size_t>(parley_seal_end - parley_seal_program);
  // A worker's limit may be 0 (ResourceLimits::file_size_bytes).
  const NoFileSizeSignal no_signal;
  const auto parameters_at = static_cast<off_t>(parley_seal_parameters - parley_seal_program);
  errno = EFBIG;  // of one that wrote only a part
  if (::pwrite(file.get(), parley_seal_program, program_bytes, 0) !=
          static_cast<ssize_t>(program_bytes) ||
      ::pwrite(file.get(), parameters.data(), sizeof(parameters), parameters_at) !=
          static_cast<ssize_t>(sizeof(parameters))) {
    if (errno == EFBIG) return absl::UnimplementedError("no file may be written here");
    return ErrnoStatus(errno, "write the program of a helper process");
  }
  return file;
}

#endif

// A copy of this process. The raw system call runs no fork handlers, and the copy touches nothing
// but its stack: other threads' locks do not matter to it.
Word CloneCopy(int fd, off_t size_bytes, SealSet seals, int* pidfd) {
  // The low byte, the signal to the parent at exit, is zero: none.
  // DESCRIPTOR: gets its UniqueFd in Start.
  constexpr Word kFlags = CLONE_PIDFD;
  const int bound = DescriptorBoundWithoutCloseRange();
#if defined(__s390__)
  const Word pid = ::syscall(SYS_clone, nullptr, kFlags, pidfd, nullptr, nullptr);
#else
  // The two orders of the last arguments do not matter: both are null.
  const Word pid = ::syscall(SYS_clone, kFlags, nullptr, pidfd, nullptr, nullptr);
#endif
  if (pid != 0) return pid < 0 ? -errno : pid;
  ::syscall(SYS_setsid);
  ::syscall(SYS_chdir, "/");
  bool ok = ::syscall(SYS_close_range, 0, fd - 1, 0) == 0 &&
            ::syscall(SYS_close_range, fd + 1, ~0U, 0) == 0;
  for (int other = 0; other < bound; ++other) {
    if (other != fd) ::syscall(SYS_close, other);
    ok = true;
  }
  if (ok) {
    ::syscall(SYS_ftruncate, fd, size_bytes);
    ok = ::syscall(SYS_fcntl, fd, F_ADD_SEALS, seals) == 0;
  }
  ::syscall(SYS_exit_group, ok ? 0 : errno);
  __builtin_unreachable();
}

}  // namespace

SealHelper::SealHelper() : memory_(std::make_unique<SealHelperMemory>()) {}
SealHelper::SealHelper(SealHelper&& other) noexcept
    : memory_(std::move(other.memory_)),
      child_(std::exchange(other.child_, -1)),
      child_pidfd_(std::move(other.child_pidfd_)),
      leftover_(std::move(other.leftover_)),
      error_(other.error_),
      was_not_executed_(other.was_not_executed_) {}

SealHelper::~SealHelper() { PARLEY_CHECK(child_ == -1, "SealHelper: destroyed before Wait"); }

absl::StatusOr<SealHelper> SealHelper::Start(int fd, off_t size_bytes, SealSet seals, Kind kind) {
  PARLEY_CHECK(fd >= UniqueFd::kFirst, "SealHelper: not a descriptor of ours");
  SealHelper helper;
  SealHelperMemory& memory = *helper.memory_;
  int pidfd = -1;
  Word pid = -1;
  if (kind == Kind::kCopyOfThisProcess) {
    memory.has_started = 1;
    const SignalsBlocked blocked;
    pid = CloneCopy(fd, size_bytes, seals, &pidfd);
  } else {
#if defined(PARLEY_SEAL_PROGRAM)
    absl::StatusOr<UniqueFd> program = WriteProgram(fd, size_bytes, seals);
    if (!program.ok()) return program.status();
    memory.program = *std::move(program);
    memory.maker = ::getpid();
    memory.fd = fd;
    memory.program_fd = memory.program.get();
    memory.arguments[0] = memory.name.data();
    memory.empty_at = AddressOf(memory.name.data() + memory.name.size() - 1);
    memory.arguments_at = AddressOf(memory.arguments.data());
    memory.environment_at = AddressOf(memory.arguments.data() + 1);
    memory.helper_pidfd_at = AddressOf(&memory.helper_pidfd);
    memory.wait_status_at = AddressOf(&memory.wait_status);
    const SignalsBlocked blocked;
    // DESCRIPTOR: gets its UniqueFd below.
    pid = CloneOnStack(CLONE_VM | CLONE_FILES | CLONE_PIDFD, memory.stack.data() + kStackBytes,
                       &pidfd, Attend, &memory);
#else
    return absl::UnimplementedError("the helper has no program of its own on this processor");
#endif
  }
  if (pid < 0) return NoProcess(static_cast<int>(-pid));
  helper.child_ = static_cast<pid_t>(pid);
  helper.child_pidfd_ = UniqueFd(pidfd);
  return helper;
}

void SealHelper::EndAttendant() {
  // Not before the helper has left our memory, which no peer can delay.
  // PAIRS WITH: the store in Attend.
  while (__atomic_load_n(&memory_->has_started, __ATOMIC_ACQUIRE) == 0) {
    siginfo_t ended = {};
    if (::waitid(P_PID, static_cast<id_t>(child_), &ended, WEXITED | WNOHANG | WNOWAIT | __WALL) !=
            0 ||
        ended.si_pid != 0) {
      break;
    }
    const timespec moment = {0, 50'000};
    ::nanosleep(&moment, nullptr);
  }
  // By its descriptor: a wrong number could mean every process there is.
  ::syscall(SYS_pidfd_send_signal, child_pidfd_.get(), SIGKILL, nullptr, 0);
}

absl::StatusOr<bool> SealHelper::Wait(Deadline deadline) {
  const bool is_copy = memory_->maker == -1;
  pollfd entry = {child_pidfd_.get(), POLLIN, 0};
  const absl::StatusOr<int> ended = PollUntil(absl::MakeSpan(&entry, 1), deadline);
  const bool in_time = ended.ok() && *ended > 0;
  if (!in_time) EndAttendant();
  if (is_copy && !in_time) {
    leftover_ = std::move(child_pidfd_);
    child_ = -1;
    if (!ended.ok()) return ended.status();
    return false;
  }
  int child_status = 0;
  while (::waitpid(child_, &child_status, __WALL) < 0 && errno == EINTR) {
  }
  child_ = -1;
  int status = is_copy ? child_status : memory_->wait_status;
  UniqueFd helper(memory_->helper_pidfd);
  if (!in_time) {
    // A process that is somebody else's child: by its descriptor.
    if (helper.ok()) ::syscall(SYS_pidfd_send_signal, helper.get(), SIGKILL, nullptr, 0);
    leftover_ = std::move(helper);
    if (!ended.ok()) return ended.status();
    return false;
  }
  if (memory_->clone_error != 0) return NoProcess(memory_->clone_error);
  // Nor was it if something else ended it, or the attendant.
  was_not_executed_ =
      memory_->execution_error != 0 || !WIFEXITED(status) || !WIFEXITED(child_status);
  error_ = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  return true;
}

}  // namespace parley::internal
