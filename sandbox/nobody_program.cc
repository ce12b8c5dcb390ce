// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/nobody_program.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "parley/os/deadline.h"
#include "parley/os/pidfd.h"
#include "parley/sandbox/lone_program.h"
#include "parley/sandbox/namespace_holder.h"
#include "parley/sandbox/raw_call.h"

// The linker's: where the section of BecomeNobody lies, which begins with it.
extern "C" {
[[gnu::visibility("hidden")]] extern const char __start_parley_nobody[];
[[gnu::visibility("hidden")]] extern const char __stop_parley_nobody[];
}

namespace parley::internal {

// Shared by us and the program.
struct NobodyProgram::Page {
  robust_list entry;
  // kRuns until the kernel has gone through the list.
  Event runs;
  StartFailure failure;
};

namespace {

constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr int kSliceMs = 20;
// The process 2 of its namespace holds the futex, and somebody waits for it.
constexpr uint32_t kRuns = FUTEX_WAITERS | 2;

// What lies at kLoneDataAddress. Addresses are the program's.
struct Orders {
  int page_fd;  // the program's own file
  uint64_t page_offset;
  int parent_pidfd;
  bool dies_with_parent;
  unsigned processes_within;  // 0: no limit of its own
  uint64_t limit_count;
  const ChildStart::Limit* limits;
  const char* directory;  // null: stays where it is
  const char* program;
  char* const* arguments;
  char* const* environment;
};

// NOLINTBEGIN(google-runtime-int): addresses and answers as the kernel takes them

// Every local that the kernel reads is volatile, or an optimizing compiler copies it from a
// constant elsewhere. With steps one below the other, for a function would be a call.
[[noreturn]] PARLEY_LONE_CODE("parley_nobody") void BecomeNobody() {
  const uintptr_t start = kLoneDataAddress;  // a copy, or it would be read from where it lies
  // SAFETY: the program's file has them there.
  const Orders& orders = *__builtin_bit_cast(const Orders*, start);
  const long at = RawCall(SYS_mmap, 0, sizeof(NobodyProgram::Page), PROT_READ | PROT_WRITE,
                          MAP_SHARED, orders.page_fd, static_cast<long>(orders.page_offset));
  while (at < 0) RawCall(SYS_exit_group, 127);
  // SAFETY: a page that the kernel has just mapped, and that both sides see as this struct.
  NobodyProgram::Page& page = *__builtin_bit_cast(NobodyProgram::Page*, at);
  volatile robust_list_head head;
  head.list.next = &page.entry;
  head.futex_offset = offsetof(NobodyProgram::Page, runs) - offsetof(NobodyProgram::Page, entry);
  head.list_op_pending = nullptr;
  page.entry.next = __builtin_bit_cast(robust_list*, &head.list);

  StartStep step = StartStep::kHolderProgram;
  long answer = RawCall(SYS_set_robust_list, RawAddress(&head), sizeof(head));
  if (answer == 0) {
    step = StartStep::kNamespaces;
    answer = RawCall(SYS_setgroups, 0, 0);
  }
  if (answer == 0) answer = RawCall(SYS_setresgid, kNobody, kNobody, kNobody);
  if (answer == 0) answer = RawCall(SYS_setresuid, kNobody, kNobody, kNobody);
  if (answer == 0) {
    step = StartStep::kPrivileges;
    answer = RawCall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  }
  if (answer == 0) answer = RawCall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (answer == 0) {
    volatile __user_cap_header_struct header;
    header.version = _LINUX_CAPABILITY_VERSION_3;
    header.pid = 0;
    volatile __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; ++i) {
      none[i].effective = 0;
      none[i].permitted = 0;
      none[i].inheritable = 0;
    }
    answer = RawCall(SYS_capset, RawAddress(&header), RawAddress(none));
  }
  // After the last change of ids or capabilities, which could undo it.
  if (answer == 0 && orders.dies_with_parent) {
    step = StartStep::kDieWithParent;
    answer = RawCall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (answer == 0) {
      volatile pollfd entry;
      entry.fd = orders.parent_pidfd;
      entry.events = POLLIN;
      entry.revents = 0;
      volatile timespec no_time;
      no_time.tv_sec = 0;
      no_time.tv_nsec = 0;
      // The parent may have ended before that.
      const long ended = RawCall(SYS_ppoll, RawAddress(&entry), 1, RawAddress(&no_time), 0, 8);
      if (ended != 0) answer = -ESRCH;
    }
  }
  RawCall(SYS_close, orders.parent_pidfd);
  RawCall(SYS_close, orders.page_fd);
  for (uint64_t i = 0; answer == 0 && i < orders.limit_count; ++i) {
    step = StartStep::kLimits;
    answer = RawCall(SYS_prlimit64, 0, orders.limits[i].resource,
                     RawAddress(&orders.limits[i].value), 0);
  }
  if (answer == 0 && orders.processes_within != 0) {
    // It fails where ours is lower, which is then the one in force.
    volatile rlimit limit;
    limit.rlim_cur = orders.processes_within;
    limit.rlim_max = orders.processes_within;
    RawCall(SYS_prlimit64, 0, RLIMIT_NPROC, RawAddress(&limit), 0);
  }
  if (answer == 0 && orders.directory != nullptr) {
    step = StartStep::kDirectory;
    answer = RawCall(SYS_chdir, RawAddress(orders.directory));
  }
  if (answer == 0) {
    step = StartStep::kExec;
    answer = RawCall(SYS_execve, RawAddress(orders.program), RawAddress(orders.arguments),
                     RawAddress(orders.environment));
  }
  page.failure.error = static_cast<int>(-answer);
  page.failure.step = step;
  while (true) RawCall(SYS_exit_group, 127);
}

// NOLINTEND(google-runtime-int)

// A program that is a link of procfs, or leads to one: /proc/self/exe and /proc/self/fd/3 are other
// files to a process that has executed another program.
bool LeadsToProcfs(const ChildStart& start) {
  constexpr int kMaxLinks = 40;
  std::string path = start.program;
  if (path.substr(0, 1) != "/" && start.directory != nullptr) {
    path = std::string(start.directory) + "/" + path;
  }
  for (int i = 0; i < kMaxLinks; ++i) {
    const UniqueFd file(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat info = {};
    struct statfs system = {};
    if (!file.ok() || ::fstat(file.get(), &info) != 0 || !S_ISLNK(info.st_mode)) return false;
    if (::fstatfs(file.get(), &system) == 0 && system.f_type == PROC_SUPER_MAGIC) return true;
    std::array<char, 4096> target;
    const ssize_t size = ::readlinkat(file.get(), "", target.data(), target.size());
    if (size <= 0) return false;
    const std::string next(target.data(), static_cast<size_t>(size));
    path = next[0] == '/' ? next : path.substr(0, path.find_last_of('/') + 1) + next;
  }
  return false;
}

// The bytes of what lies at kLoneDataAddress, one after the other.
class Data {
 public:
  // Where it will lie.
  uintptr_t Add(const void* bytes, size_t size_bytes) {
    bytes_.resize((bytes_.size() + 7) / 8 * 8);
    const uintptr_t address = kLoneDataAddress + bytes_.size();
    bytes_.append(static_cast<const char*>(bytes), size_bytes);
    return address;
  }
  const char* AddText(const char* text) {
    return text == nullptr ? nullptr : std::bit_cast<const char*>(Add(text, std::strlen(text) + 1));
  }
  // A list that ends with a null pointer.
  char* const* AddTexts(char* const* texts) {
    std::vector<const char*> addresses;
    for (; *texts != nullptr; ++texts) addresses.push_back(AddText(*texts));
    addresses.push_back(nullptr);
    return std::bit_cast<char* const*>(Add(addresses.data(), addresses.size() * sizeof(char*)));
  }
  void Replace(const void* bytes, size_t size_bytes) {
    std::memcpy(bytes_.data(), bytes, size_bytes);
  }
  std::string_view bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace

NobodyProgram::~NobodyProgram() {
  if (page_ != nullptr) ::munmap(page_, sizeof(Page));
}

int NobodyProgram::Make(const ChildStart& start) {
  if (LeadsToProcfs(start)) return 0;
  const std::string_view code(__start_parley_nobody,
                              static_cast<size_t>(__stop_parley_nobody - __start_parley_nobody));
  Orders orders = {
      .page_fd = start.descriptor_count + 1,
      .page_offset = SharedPageOffset(code),
      .parent_pidfd = start.descriptor_count,
      .dies_with_parent = start.dies_with_parent,
      .processes_within = start.processes_within,
      .limit_count = start.limit_count,
      .limits = nullptr,
      .directory = nullptr,
      .program = nullptr,
      .arguments = nullptr,
      .environment = nullptr,
  };
  Data data;
  data.Add(&orders, sizeof(orders));
  orders.limits = std::bit_cast<const ChildStart::Limit*>(
      data.Add(start.limits, start.limit_count * sizeof(ChildStart::Limit)));
  orders.directory = data.AddText(start.directory);
  orders.program = data.AddText(start.program);
  orders.arguments = data.AddTexts(start.arguments);
  orders.environment = data.AddTexts(start.environment);
  data.Replace(&orders, sizeof(orders));
  int error = 0;
  file_ = MakeLoneProgram("parley-nobody", code, data.bytes(), &error);
  if (!file_.ok()) return error;
  void* const page = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(),
                            static_cast<off_t>(SharedPageOffset(code)));
  if (page == MAP_FAILED) return errno;
  // SAFETY: page-aligned, zeros of the file, a plain struct.
  page_ = static_cast<Page*>(page);
  page_->runs.value = kRuns;
  return 0;
}

StartFailure NobodyProgram::Await(const UniqueFd& pidfd) const {
  const Deadline deadline = Deadline::After(kPatience);
  while (AwaitChange(page_->runs, kRuns, kSliceMs) == kRuns) {
    if (ProcessHasEnded(pidfd.get()) && page_->runs.value == kRuns) {
      // It says so where the kernel would not have gone through the list.
      const bool said = page_->failure.step != StartStep::kNone;
      return said ? page_->failure : StartFailure{StartStep::kClone, ECHILD};
    }
    if (deadline.Expired()) return {StartStep::kHolderProgram, ETIMEDOUT};
  }
  return page_->failure;
}

}  // namespace parley::internal
