// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/template_main.h"

#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parley/os/descriptor_bound.h"
#include "parley/os/errors.h"
#include "parley/sandbox/child_start.h"
#include "parley/sandbox/clone_wire.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/rseq.h"
#include "parley/sandbox/seal_code.h"
#include "parley/sandbox/threads.h"
#include "parley/sandbox/warm_up.h"

namespace parley {
namespace {

using internal::ChildStart;
using internal::CloneAnswer;
using internal::CloneOrder;
using internal::StartStep;

constexpr size_t kBetweenBytes = size_t{64} << 10;
constexpr size_t kMinStackBytes = size_t{1} << 20;
constexpr size_t kMaxStackBytes = size_t{64} << 20;

size_t GuardBytes() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

// A stack whose lowest page ends whoever runs over it. Never unmapped: the template lives
// as long, and each clone runs on its copy.
char* MakeStack(size_t size_bytes) {
  void* const start = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  ::mprotect(start, GuardBytes(), PROT_NONE);
  return static_cast<char*>(start) + size_bytes;
}

size_t StackBytes() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_STACK, &limit) != 0) return kMinStackBytes;
  return std::clamp<size_t>(limit.rlim_cur, kMinStackBytes, kMaxStackBytes) & ~size_t{0xffff};
}

// Mappings that a clone would have in common with the template.
absl::Status CheckMemory() {
  const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"),
                                                   std::fclose);
  if (maps == nullptr) return ErrnoStatus(errno, "look at the template's memory");
  char line[1024];
  while (std::fgets(line, sizeof(line), maps.get()) != nullptr) {
    // "7f0000000000-7f0000001000 rw-s ..."
    const char* const kind = std::strchr(line, ' ');
    if (kind == nullptr || std::strlen(kind) < 5) continue;
    if (kind[2] == 'w' && kind[4] == 's') {
      return absl::FailedPreconditionError(
          std::string("the template has shared memory, which its clones would have in common: ") +
          std::string(line, std::strcspn(line, "\n")));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckThreads() {
  const auto threads = internal::ListThreads();
  if (!threads.ok()) return threads.status();
  if (threads->size() == 1) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the template has more than one thread, and a clone would have one: " +
      internal::DescribeThread(
          *threads, (*threads)[1].id == ::gettid() ? (*threads)[0].id : (*threads)[1].id));
}

// Everything that a clone is made of, prepared in the template.
struct CloneContext {
  ChildStart start = {};
  internal::WallStart wall = {};
  internal::StartFailure failure = {};
  int proc_error = 0;
  std::array<ChildStart::Limit, internal::kMaxCloneLimits> limits = {};
  std::vector<int> descriptors;
  std::vector<std::string> variables;
  int holder_pidfd = -1;
  char* stack = nullptr;    // of the clone: its end
  char* between = nullptr;  // of the process in between: its end
  // Where libc keeps what the kernel writes to.
  void* thread_id = nullptr;
  void* robust_list = nullptr;
  size_t robust_list_bytes = 0;
  const std::function<void()>* in_clone = nullptr;
  const std::function<void()>* body = nullptr;
  // Set by the process in between.
  pid_t pid = -1;
  StartStep failed_step = StartStep::kNone;
  int error = 0;
};

void SayVariables(const CloneContext& context) {
  for (size_t i = 0; i < context.variables.size(); ++i) {
    if (context.variables[i].empty()) continue;
    // One thread.
    ::setenv(context.variables[i].c_str(), std::to_string(2 + i).c_str(), 1);  // NOLINT
  }
}

// By the kernel itself: newer C libraries draw from a state of their own, which the clone has from
// its template.
bool Draw(void* bytes, size_t size) {
  return ::syscall(SYS_getrandom, bytes, size, 0) == static_cast<long>(size);  // NOLINT: its type
}

void DrawAnew() {
  // SAFETY: the kernel's 16 bytes on this process's stack, which the auxiliary vector names.
  auto* const bytes = std::bit_cast<unsigned char*>(::getauxval(AT_RANDOM));
  if (bytes != nullptr && !Draw(bytes, 16)) ::_exit(internal::kCloneFailed);
}

// Not inlined: its own frame has the new value from its start to its end.
[[noreturn]] __attribute__((noinline)) void RunBody(const CloneContext& context) {
  if (*context.in_clone != nullptr) (*context.in_clone)();
  (*context.body)();
  ::_exit(0);
}

// The clone's first function. It changes the stack protector's value, and so can't have one.
__attribute__((no_stack_protector)) int BeClone(void* argument) {
  const auto& context = *static_cast<const CloneContext*>(argument);
  internal::PrepareClone(context.start);
  if (context.robust_list != nullptr) {
    ::syscall(SYS_set_robust_list, context.robust_list, context.robust_list_bytes);
  }
  // The process in between shared the template's memory, so that its were forgotten.
  if (&__rseq_offset != nullptr) {
    ::syscall(SYS_rseq, static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset,
              internal::kRseqBytes, 0, internal::kRseqSignature);
  }
  DrawAnew();
#if defined(__x86_64__)
  uint64_t fresh = 0;
  if (!Draw(&fresh, sizeof(fresh))) ::_exit(internal::kCloneFailed);
  fresh &= ~uint64_t{0xff};  // as glibc's: a string function does not get past it
  asm volatile("movq %0, %%fs:0x28" : : "r"(fresh) : "memory");
#endif
  SayVariables(context);
  RunBody(context);
}

int CloneFlags() { return CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID; }

pid_t MakeCloneOf(CloneContext& context) {
  // The host's child: it has the template's parent.
  const int flags = context.thread_id != nullptr ? CloneFlags() : CLONE_PARENT;
  return ::clone(BeClone, context.stack, flags, &context, nullptr, nullptr, context.thread_id);
}

// The process in between: it shares the template's memory, which waits for its end.
PARLEY_PLAIN_CODE int EnterAndClone(void* argument) {
  auto& context = *static_cast<CloneContext*>(argument);
  const char runs = 'b';
  ::syscall(SYS_sendto, context.start.report_socket, &runs, 1, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr,
            0);
  const bool entered = ::syscall(SYS_setns, context.holder_pidfd, context.wall.namespaces) == 0;
  if (entered) context.pid = MakeCloneOf(context);
  if (!entered || context.pid < 0) {
    context.failed_step = StartStep::kNamespaces;
    context.error = errno;
  }
  while (true) ::syscall(SYS_exit, 0);
}

class Template {
 public:
  Template(UniqueFd socket, const std::function<void()>& in_clone,
           const std::function<void()>& body)
      : socket_(std::move(socket)), in_clone_(in_clone), body_(body) {}

  absl::Status Prepare() {
    internal::WarmUpLibc();  // or each clone does
    static_cast<void>(internal::SealCode());
    if (absl::Status status = CheckThreads(); !status.ok()) return status;
    if (absl::Status status = CheckMemory(); !status.ok()) return status;
    parent_ = ::getppid();
    // DESCRIPTOR: our parent's, for the question whether it lives.
    parent_pidfd_.Reset(static_cast<int>(::syscall(SYS_pidfd_open, parent_, 0)));
    stack_ = MakeStack(StackBytes());
    between_ = MakeStack(kBetweenBytes + GuardBytes());
    if (stack_ == nullptr || between_ == nullptr) return ErrnoStatus(errno, "make stacks");
    const char ready = 'r';
    if (::send(socket_.get(), &ready, 1, MSG_NOSIGNAL) != 1) return ErrnoStatus(errno, "get ready");
    return absl::OkStatus();
  }

  // One order; false at the host's end.
  bool Serve() {
    CloneOrder order;
    std::vector<UniqueFd> descriptors;
    if (!Receive(&order, &descriptors)) return false;
    const CloneAnswer answer = Carry(order, descriptors);
    return ::send(socket_.get(), &answer, sizeof(answer), MSG_NOSIGNAL) == sizeof(answer);
  }

 private:
  bool Receive(CloneOrder* order, std::vector<UniqueFd>* descriptors) {
    iovec part = {order, sizeof(*order)};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * internal::kMaxCloneDescriptors)] = {};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    ssize_t size_bytes = 0;
    while ((size_bytes = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC)) < 0 &&
           errno == EINTR) {
    }
    const cmsghdr* const header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
      const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int number = -1;
        std::memcpy(&number, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        descriptors->emplace_back(number);
      }
    }
    return size_bytes == sizeof(*order) && (message.msg_flags & MSG_CTRUNC) == 0 &&
           descriptors->size() == order->descriptor_count + (order->namespaces != 0 ? 1 : 0) &&
           order->limit_count <= internal::kMaxCloneLimits;
  }

  CloneAnswer Carry(const CloneOrder& order, const std::vector<UniqueFd>& given) {
    CloneContext context;
    Fill(order, given, &context);
    CloneAnswer answer = {.pid = -1, .between = -1, .step = 0, .error = 0};
    if (order.namespaces == 0) {
      context.pid = MakeCloneOf(context);
      if (context.pid < 0) {
        context.failed_step = StartStep::kClone;
        context.error = errno;
      }
    } else {
      // Its parent is the host, too: else the clone's would be us.
      answer.between = ::clone(EnterAndClone, between_,
                               CLONE_VM | CLONE_FILES | CLONE_VFORK | CLONE_PARENT, &context);
      if (answer.between < 0) {
        context.failed_step = StartStep::kClone;
        context.error = errno;
      }
    }
    answer.pid = context.pid;
    answer.step = static_cast<int32_t>(context.failed_step);
    answer.error = context.error;
    return answer;
  }

  void Fill(const CloneOrder& order, const std::vector<UniqueFd>& given, CloneContext* context) {
    size_t next = 0;
    if (order.namespaces != 0) context->holder_pidfd = given[next++].get();
    // /dev/null, as Spawn left it.
    context->descriptors = {0, 1};
    for (size_t i = 0; next < given.size(); ++i, ++next) {
      context->descriptors.push_back(given[next].get());
      const auto& name = order.variables[i];
      context->variables.emplace_back(name.data(), ::strnlen(name.data(), name.size()));
    }
    for (size_t i = 0; i < order.limit_count; ++i) {
      rlimit ours = {RLIM_INFINITY, RLIM_INFINITY};
      // Nobody can raise a limit above the hard one.
      ::syscall(SYS_prlimit64, 0, order.limits[i].resource, nullptr, &ours);
      context->limits[i] = {order.limits[i].resource,
                            {std::min<rlim_t>(order.limits[i].soft, ours.rlim_max),
                             std::min<rlim_t>(order.limits[i].hard, ours.rlim_max)}};
    }
    context->wall = {.events = nullptr,
                     .holder_pidfd = context->holder_pidfd,
                     .namespaces = order.namespaces,
                     .entered_late = 0,
                     .becomes_nobody = order.becomes_nobody != 0,
                     .proc_error = &context->proc_error};
    context->start = {.program = nullptr,
                      .arguments = nullptr,
                      .environment = nullptr,
                      .descriptors = context->descriptors.data(),
                      .descriptor_count = static_cast<int>(context->descriptors.size()),
                      .descriptor_bound = DescriptorBoundWithoutCloseRange(),
                      .limits = context->limits.data(),
                      .limit_count = order.limit_count,
                      .nice = 0,
                      .directory = nullptr,
                      .parent = parent_,
                      .dies_with_parent = true,
                      .wall = order.namespaces != 0 ? &context->wall : nullptr,
                      .parent_pidfd = parent_pidfd_.get(),
                      .processes_within = order.processes_within,
                      .failure = &context->failure,
                      .report_socket = socket_.get()};
    context->stack = stack_;
    context->between = between_;
    if (::prctl(PR_GET_TID_ADDRESS, &context->thread_id, 0, 0, 0) != 0) {
      context->thread_id = nullptr;  // a kernel without checkpoint and restore
    }
    if (::syscall(SYS_get_robust_list, 0, &context->robust_list, &context->robust_list_bytes) !=
        0) {
      context->robust_list = nullptr;
    }
    context->in_clone = &in_clone_;
    context->body = &body_;
  }

  UniqueFd socket_;
  const std::function<void()>& in_clone_;
  const std::function<void()>& body_;
  pid_t parent_ = -1;
  UniqueFd parent_pidfd_;
  char* stack_ = nullptr;
  char* between_ = nullptr;
};

}  // namespace

absl::Status ServeClones(UniqueFd socket, const std::function<void()>& in_clone,
                         const std::function<void()>& body) {
  Template server(std::move(socket), in_clone, body);
  if (absl::Status status = server.Prepare(); !status.ok()) return status;
  while (server.Serve()) {
  }
  ::_exit(0);
}

}  // namespace parley
