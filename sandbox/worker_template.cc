// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/worker_template.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/errors.h"
#include "parley/os/pidfd.h"
#include "parley/os/poll.h"
#include "parley/sandbox/clone_wire.h"
#include "parley/sandbox/output_relay.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/refusal.h"
#include "parley/sandbox/unreaped.h"
#include "parley/sandbox/worker_maker.h"

namespace parley {
namespace {

using internal::CloneAnswer;
using internal::CloneOrder;
using internal::StartStep;

constexpr absl::Duration kGoodbye = absl::Seconds(2);
constexpr absl::Duration kBetweenOrders = absl::Milliseconds(1);

// One message with descriptors; 0 or an errno. Never waits: the template has nothing else to do.
int SendOrder(int socket, const CloneOrder& order, absl::Span<const int> descriptors) {
  CloneOrder copy = order;  // the struct knows no const
  iovec part = {&copy, sizeof(copy)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * internal::kMaxCloneDescriptors)] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
  std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(int) * descriptors.size());
  return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(copy) ? 0 : errno;
}

absl::Status AddVariable(const std::string& name, size_t at, CloneOrder* order) {
  if (at >= order->variables.size() || name.size() + 1 > internal::kMaxVariableBytes) {
    return absl::InvalidArgumentError("a clone's descriptor has too long a name, or is too many: " +
                                      name);
  }
  std::memcpy(order->variables[at].data(), name.data(), name.size());
  return absl::OkStatus();
}

// Whether the process of `pidfd` is a child of ours: no other can be, under a number that only we
// can set free by reaping.
bool IsOurChild(int pidfd) {
  siginfo_t info = {};
  return ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info,
                  WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

// Kills and reaps a child of ours; nothing if it is none any more.
void EndChild(pid_t pid) {
  const absl::StatusOr<UniqueFd> pidfd = OpenPidfd(pid);
  if (pidfd.ok()) {
    if (IsOurChild(pidfd->get())) internal::KillAndReapChild(*pidfd);
    return;
  }
  // The kernel gives us no pidfd (ENFILE, ENOMEM), and its number is its own until it is reaped.
  siginfo_t info = {};
  const auto id = static_cast<id_t>(pid);
  if (::waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) return;
  ::kill(pid, SIGKILL);
  const Deadline deadline = Deadline::After(kGoodbye);
  while (::waitid(P_PID, id, &info, WEXITED | WNOHANG | __WALL) == 0 && info.si_pid == 0 &&
         !deadline.Expired()) {
    absl::SleepFor(kBetweenOrders);
  }
}

bool SameOptions(const NamespaceOptions& a, const NamespaceOptions& b) {
  const auto all = [](const NamespaceOptions& options) {
    const auto& [use, network, root_becomes_nobody] = options;  // no fewer than there are
    return std::make_tuple(use, network, root_becomes_nobody);
  };
  return all(a) == all(b);
}

}  // namespace

absl::StatusOr<WorkerTemplate> WorkerTemplate::Start(SpawnOptions options, Deadline deadline) {
  if (internal::kSanitizer) {
    return absl::UnimplementedError("no templates in a build with a sanitizer");
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus(errno, "make a template's socket");
  }
  UniqueFd ours(ends[0]);
  const int on = 1;
  if (::setsockopt(ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0) {
    return ErrnoStatus(errno, "make a template's socket");
  }
  options.descriptors.push_back(
      InheritedDescriptor::Give(UniqueFd(ends[1]), internal::kTemplateVariable));
  options.namespaces.use = NamespaceOptions::Use::kNone;
  options.dies_with_parent = true;
  absl::StatusOr<Worker> process = Spawn(std::move(options));
  if (!process.ok()) return process.status();
  WorkerTemplate started(*std::move(process), std::move(ours));
  char ready = 0;
  const auto message = started.AwaitMessage(deadline, absl::MakeSpan(&ready, 1));
  if (!message.ok()) return message.status();
  return started;
}

absl::StatusOr<WorkerTemplate::Message> WorkerTemplate::AwaitMessage(Deadline deadline,
                                                                     absl::Span<char> into) {
  pollfd entry = {socket_.get(), POLLIN, 0};
  const absl::StatusOr<int> ready = PollUntil(absl::MakeSpan(&entry, 1), deadline);
  if (!ready.ok()) return ready.status();
  if (*ready == 0) {
    return absl::UnavailableError(
        absl::StrCat("the template ", process_.name(), " did not answer in time"));
  }
  iovec part = {into.data(), into.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t size_bytes = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (size_bytes > 0 && header != nullptr && header->cmsg_type == SCM_CREDENTIALS) {
    ucred sender = {};
    std::memcpy(&sender, CMSG_DATA(header), sizeof(sender));
    return Message{static_cast<std::size_t>(size_bytes), sender.pid};
  }
  // The end: of the template, and of all that it has made and that still had this socket.
  const absl::StatusOr<ExitReport> report = process_.Wait(Deadline::After(kGoodbye));
  if (!report.ok()) process_.Kill();
  const std::string line = process_.last_line();
  return absl::UnavailableError(
      absl::StrCat("the template ", report.ok() ? report->ToString() : process_.name() + " hung up",
                   line.empty() ? "" : ": ", line));
}

absl::Status WorkerTemplate::Take(const Message& message, const char* bytes, Making* making) {
  if (message.size_bytes == 1) {
    making->between = message.sender;
    return absl::OkStatus();
  }
  CloneAnswer answer;
  internal::CloneStarted started;
  if (message.size_bytes == sizeof(answer) && !making->answered) {
    std::memcpy(&answer, bytes, sizeof(answer));
    making->answered = true;
    if (answer.step != 0) making->failure = {static_cast<StartStep>(answer.step), answer.error};
    return absl::OkStatus();
  }
  if (message.size_bytes == sizeof(started) && !making->has_started) {
    std::memcpy(&started, bytes, sizeof(started));
    making->has_started = true;
    making->pid = message.sender;
    making->proc_error = started.proc_error;
    if (started.step != 0) making->failure = {static_cast<StartStep>(started.step), started.error};
    return absl::OkStatus();
  }
  return absl::InternalError("a template's message is none");
}

// The clone has started, and the template has said so; or one of the two has said why not.
absl::Status WorkerTemplate::AwaitClone(Deadline deadline, Making* making) {
  const auto failed = [making] { return making->failure.step != StartStep::kNone; };
  while (!making->answered || (!making->has_started && !failed())) {
    char bytes[64];
    const absl::StatusOr<Message> message = AwaitMessage(deadline, absl::MakeSpan(bytes));
    if (!message.ok()) return message.status();
    if (absl::Status status = Take(*message, bytes, making); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void WorkerTemplate::Abandon(Making* making) {
  const Deadline deadline = Deadline::After(kGoodbye);
  // Who was made has said so before anything else.
  while (true) {
    char bytes[64];
    const absl::StatusOr<Message> message = AwaitMessage(
        making->answered ? Deadline::AtMonotonicNs(0) : deadline, absl::MakeSpan(bytes));
    if (!message.ok() || !Take(*message, bytes, making).ok()) break;
  }
  for (const pid_t pid : {making->between, making->pid}) {
    if (pid > 0) EndChild(pid);
  }
}

// What one clone needs of us, whatever namespaces it gets.
struct WorkerTemplate::Request {
  std::string what;              // "clone decoder"
  CloneOrder order = {};         // but for what the attempt decides
  std::vector<int> descriptors;  // its 2, 3, ...
  std::vector<InheritedDescriptor> given;
  UniqueFd printed;
  std::optional<internal::OutputRelay> relay;
  internal::RefusalSockets refusals;
  UniqueFd holder_socket;
  UniqueFd to_holder;
  UniqueFd self;
};

absl::Status WorkerTemplate::FindAttempts(const CloneOptions& options) {
  if (!attempts_.empty() && SameOptions(asked_, options.namespaces)) return absl::OkStatus();
  attempts_.clear();
  missing_.clear();
  asked_ = options.namespaces;
  internal::StartFailure failure = {};
  attempts_ = internal::NamespaceAttempts(options.namespaces, &missing_, &failure);
  if (failure.step == StartStep::kNone) return absl::OkStatus();
  return ErrnoStatus(failure.error, "clone " + options.name + internal::StepText(failure.step));
}

absl::StatusOr<WorkerTemplate::Request> WorkerTemplate::MakeRequest(CloneOptions* options) {
  Request request;
  request.what = "clone " + options->name;
  internal::OutputSink sink = options->output != nullptr ? std::move(options->output)
                                                         : internal::WriteToStderrWithoutBlocking;
  absl::StatusOr<internal::OutputRelay> relay =
      internal::OutputRelay::Make(options->name, std::move(sink), request.printed);
  if (!relay.ok()) return relay.status();
  request.relay = *std::move(relay);
  absl::StatusOr<internal::RefusalSockets> refusals = internal::MakeRefusalSockets();
  if (!refusals.ok()) return refusals.status();
  request.refusals = *std::move(refusals);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus(errno, request.what);
  }
  request.holder_socket.Reset(ends[0]);
  request.to_holder.Reset(ends[1]);
  request.self.Reset(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!request.self.ok()) return ErrnoStatus(errno, request.what);

  CloneOrder& order = request.order;
  std::vector<int>& descriptors = request.descriptors;
  request.given = std::move(options->descriptors);
  descriptors = {request.printed.get(), request.refusals.worker.get()};
  absl::Status named = AddVariable(internal::kRefusalVariable, 1, &order);
  for (const InheritedDescriptor& descriptor : request.given) {
    if (named.ok()) named = AddVariable(descriptor.environment_name(), descriptors.size(), &order);
    descriptors.push_back(descriptor.fd());
  }
  // Sent with namespaces alone.
  if (named.ok()) named = AddVariable(internal::kHolderVariable, descriptors.size(), &order);
  if (!named.ok()) return named;
  if (descriptors.size() + 2 > internal::kMaxCloneDescriptors) {
    return absl::InvalidArgumentError("too many descriptors for a clone");
  }
  const std::vector<internal::ChildStart::Limit> limits = internal::LimitsOfChild(options->limits);
  if (limits.size() > order.limits.size()) return absl::InternalError("too many limits");
  for (size_t i = 0; i < limits.size(); ++i) {
    order.limits[i] = {limits[i].resource, 0, limits[i].value.rlim_cur, limits[i].value.rlim_max};
  }
  order.limit_count = static_cast<uint32_t>(limits.size());
  order.processes_within = internal::ProcessesWithin(options->limits);
  return request;
}

absl::StatusOr<Worker> WorkerTemplate::MakeWorker(const std::string& name,
                                                  internal::StartedProcess process,
                                                  Request request) {
  Worker worker =
      WorkerMaker::Make(name, std::move(process), std::nullopt, std::move(request.relay));
  auto watch = internal::RefusalWatch::Start(std::move(request.refusals.parent), worker.pidfd());
  if (!watch.ok()) return watch.status();
  WorkerMaker::Watch(worker, *std::move(watch));
  return worker;
}

absl::Status WorkerTemplate::Order(const internal::NamespaceAttempt& attempt,
                                   const Request& request, Deadline deadline,
                                   internal::StartedProcess* process, int* proc_error) {
  const bool within = attempt.namespaces != 0;
  CloneOrder order = request.order;
  std::vector<int> sent = request.descriptors;
  if (within) {
    sent.insert(sent.begin(), process->holder.get());
    sent.push_back(request.to_holder.get());
  }
  order.namespaces = attempt.namespaces;
  order.becomes_nobody = attempt.nobody ? 1 : 0;
  order.descriptor_count = static_cast<uint32_t>(sent.size() - (within ? 1 : 0));
  // For its pidfd, without which a clone could be neither watched nor ended.
  UniqueFd place(::fcntl(request.self.get(), F_DUPFD_CLOEXEC, 0));
  if (!place.ok()) return ErrnoStatus(errno, request.what);
  int error = SendOrder(socket_.get(), order, sent);
  // Others of this user have more descriptors on their way than we may have open.
  while (error == ETOOMANYREFS && !deadline.Expired()) {
    absl::SleepFor(kBetweenOrders);
    error = SendOrder(socket_.get(), order, sent);
  }
  if (error == ETOOMANYREFS) {
    return absl::ResourceExhaustedError(
        request.what +
        ": this user's processes have more descriptors on their way through sockets "
        "than this one may have open (RLIMIT_NOFILE)");
  }
  if (error != 0) {
    process_.Kill();
    return absl::UnavailableError(request.what + ": its template has ended or does not listen");
  }
  Making making;
  const absl::Status status = AwaitClone(deadline, &making);
  place.Reset();
  if (!status.ok()) {
    // It has one clone too few or too many: nothing more is to be had of it.
    Abandon(&making);
    process_.Kill();
    return status;
  }
  // It has ended, but for the last steps of an exit.
  if (making.between > 0) {
    siginfo_t info = {};
    static_cast<void>(::waitid(P_PID, static_cast<id_t>(making.between), &info, WEXITED | __WALL));
    making.between = -1;
  }
  process->failure = making.failure;
  *proc_error = making.proc_error;
  if (making.failure.step != StartStep::kNone) {
    Abandon(&making);
    return absl::OkStatus();
  }
  process->pid = making.pid;
  absl::StatusOr<UniqueFd> pidfd = OpenPidfd(making.pid);
  if (!pidfd.ok() && absl::IsResourceExhausted(pidfd.status())) {
    EndChild(making.pid);
    return pidfd.status();
  }
  if (!pidfd.ok() || !IsOurChild(pidfd->get())) {
    EndChild(making.pid);
    return absl::UnavailableError(request.what + ": it ended before it could be watched");
  }
  process->pidfd = *std::move(pidfd);
  return absl::OkStatus();
}

absl::Status WorkerTemplate::Attempt(const internal::NamespaceAttempt& attempt,
                                     const Request& request, internal::HolderPage& page,
                                     Deadline deadline, internal::StartedProcess* process) {
  const bool within = attempt.namespaces != 0;
  int proc_error = ENOSYS;
  if (within) {
    if (!page.ok()) return ErrnoStatus(ENOMEM, request.what);
    process->failure = internal::MakeHolder(attempt, request.holder_socket.get(),
                                            request.self.get(), page, &process->holder);
    if (process->failure.step != StartStep::kNone) return absl::OkStatus();
    // A clone runs at once, where Spawn's worker has an exec before it.
    if (!internal::HolderSays(process->holder, page.events().networked) ||
        !internal::HolderSays(process->holder, page.events().walled)) {
      const int error = page.events().network_error;
      process->failure = {StartStep::kNamespaces, error != 0 ? error : EPERM};
      return absl::OkStatus();
    }
  }
  if (absl::Status status = Order(attempt, request, deadline, process, &proc_error);
      !status.ok() || process->failure.step != StartStep::kNone) {
    return status;
  }
  if (within) {
    internal::Announce(page.events().runs, internal::kHappened);
    process->failure = internal::AwaitHolderAlone(process->holder, page);
    process->wall = internal::WallOf(attempt, proc_error);
  }
  process->wall.missing = missing_;
  return absl::OkStatus();
}

bool WorkerTemplate::HasAnother(const internal::StartFailure& failure) {
  const auto miss = [this](const std::string& why) {
    absl::StrAppend(&missing_, missing_.empty() ? "" : "; ", why);
  };
  if (failure.step == StartStep::kNobody) {
    for (internal::NamespaceAttempt& left : attempts_) left.nobody = false;
    miss("its user id stays root's: this process may not change user ids");
    return true;
  }
  if (failure.step != StartStep::kNamespaces || internal::IsScarce(failure.error) ||
      attempts_.size() == 1) {
    return false;
  }
  miss("making its namespaces: " + ErrnoText(failure.error));
  attempts_.erase(attempts_.begin());
  return true;
}

absl::StatusOr<Worker> WorkerTemplate::Clone(CloneOptions options, Deadline deadline) {
  internal::ReapWhatCanBe();
  if (absl::Status status = FindAttempts(options); !status.ok()) return status;
  absl::StatusOr<Request> request = MakeRequest(&options);
  if (!request.ok()) return request.status();
  while (true) {
    internal::HolderPage page;
    internal::StartedProcess process;
    const absl::Status status = Attempt(attempts_.front(), *request, page, deadline, &process);
    if (status.ok() && process.failure.step == StartStep::kNone) {
      ++clones_;
      return MakeWorker(options.name, std::move(process), *std::move(request));
    }
    internal::KillAndReapChild(process.pidfd);
    internal::KillAndReapChild(process.holder);
    if (!status.ok()) return status;
    // It ran, and has spoken over its sockets: another one over the same would not be understood.
    if (process.failure.step == StartStep::kHolderProgram) {
      return absl::AbortedError(
          absl::StrCat(request->what,
                       ": the process that holds its namespaces may not execute its "
                       "program any more; the next one will be a copy"));
    }
    if (!HasAnother(process.failure)) {
      return ErrnoStatus(process.failure.error,
                         request->what + internal::StepText(process.failure.step));
    }
  }
}

}  // namespace parley
