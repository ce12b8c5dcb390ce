// SPDX-License-Identifier: Apache-2.0

// Every rule of every profile, word for word: what a worker may do changes here as well, or not at
// all. policy_test.cc says what the kernel makes of them.

#include <cstdint>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/profile.h"

namespace parley {
namespace {

using Stream = Profile::Stream;

constexpr int kDescriptor = 444;  // 1bc; not open here

// "allow sendto 0=1bc 3=4040, time, kill ptrace, errno 2 open": each rule's call and what its
// arguments must be; "2&fc=0" looks at those bits alone, "1<=40" is at most that. In hexadecimal,
// with a word for the answer where it is another than that of the rule before.
std::string ToString(const Profile& profile, size_t first = 0) {
  std::ostringstream text;
  text << std::hex;
  std::string before;
  for (size_t i = first; i < profile.rules().size(); ++i) {
    const Rule& rule = profile.rules()[i];
    std::ostringstream answer;
    answer << std::hex;
    if (rule.answer == Rule::Answer::kAllow) answer << "allow ";
    if (rule.answer == Rule::Answer::kKill) answer << "kill ";
    if (rule.answer == Rule::Answer::kErrno) answer << "errno " << rule.error << " ";
    text << (i == first ? "" : ", ") << (answer.str() == before ? "" : answer.str()) << rule.call;
    before = answer.str();
    for (const ArgumentFilter& filter : rule.filters) {
      text << " " << filter.index;
      if (filter.mask != ~uint64_t{0}) text << "&" << filter.mask;
      text << (filter.op == ArgumentFilter::Op::kAtMost ? "<=" : "=") << filter.value;
    }
  }
  return text.str();
}

// What `profile` has more than `base`.
std::string Added(const Profile& base, const Profile& profile) {
  for (size_t i = 0; i < base.rules().size(); ++i) {
    EXPECT_STREQ(profile.rules().at(i).call, base.rules()[i].call) << "an addition only adds";
  }
  return ToString(profile, base.rules().size());
}

// A list as it is written below: its line ends are blanks.
std::string Joined(const char* list) {
  std::istringstream words(list);
  std::string text;
  for (std::string word; words >> word;) text += (text.empty() ? "" : " ") + word;
  return text;
}

constexpr char kRing[] = R"(
kill ptrace, process_vm_readv, process_vm_writev, process_madvise, process_mrelease,
pidfd_open, pidfd_getfd, pidfd_send_signal, kcmp, perf_event_open, migrate_pages, move_pages,
io_uring_setup, io_uring_enter, io_uring_register, io_setup, io_submit, bpf, userfaultfd,
modify_ldt, iopl, ioperm, personality, remap_file_pages, memfd_secret, mount, umount2,
pivot_root, chroot, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr,
setns, unshare, name_to_handle_at, open_by_handle_at, fanotify_init, quotactl, swapon,
swapoff, acct, init_module, finit_module, delete_module, kexec_load, kexec_file_load, reboot,
add_key, request_key, keyctl, settimeofday, clock_settime, clock_adjtime, adjtimex, errno 26
clone3, allow restart_syscall, nanosleep, sched_yield, ppoll 1<=40, poll 1<=40,
clock_nanosleep 0<=b, sendto 0=1bc 3=4040 4=0, recvfrom 0=1bc 3&40=40, shutdown 0=1bc,
epoll_ctl 0=1bc 1=3, timerfd_settime 0=1bc 1=1, fstat 0=1bc, fcntl 0=1bc 1=1, fcntl 0=1bc 1=3,
fcntl 0=1bc 1=40a, futex 1&fffffffffffffe7f=0, futex 1&fffffffffffffe7f=1, futex
1&fffffffffffffe7f=9, futex 1&fffffffffffffe7f=a, membarrier 0=0 1=0, membarrier 0=8 1=0,
membarrier 0=4 1=0, errno 1 membarrier 0=2 1=0, allow clock_gettime 0<=b, clock_getres 0<=b,
gettimeofday, time, getpid, gettid, getrandom, close, munmap, exit, exit_group, rt_sigreturn,
rt_sigprocmask)";

constexpr char kHeap[] = R"(
allow brk, mmap 2&fffffffffffffffc=0 3&42123=22, errno c mmap 2&fffffffffffffffc=0
3&42123=40022, allow mprotect 2&fffffffffffffffc=0, errno c mremap, allow madvise 2=4, madvise
2=8, madvise 2=f, errno 16 madvise 2=0, madvise 2=1, madvise 2=2, madvise 2=3, madvise 2=e,
madvise 2=14, madvise 2=15, madvise 2=16, madvise 2=17, madvise 2=19)";

constexpr char kThreads[] = R"(
allow madvise 2=4, sched_getaffinity 0=0, set_robust_list, rseq)";

constexpr char kAbsent[] = R"(
errno 2 open, openat, openat2, stat, newfstatat, statx, lstat, access, faccessat, faccessat2,
readlink, readlinkat, errno 19 ioctl 1=5401)";

constexpr char kSanitizer[] = R"(
allow sigaltstack, rt_sigaction, getrusage, prctl 0=3, madvise 2=10,
madvise 2=11, errno 1 open, openat, stat, newfstatat, statx, lstat, access, readlink,
readlinkat, pipe, pipe2, socketpair, clone, fork, vfork)";

constexpr char kUnder[] = R"(
allow accept, accept4, access, bind, brk, chdir, clock_getres, clock_gettime, clock_nanosleep,
clone3, close, connect, creat, dup, dup2, dup3, epoll_create1, epoll_ctl, epoll_pwait,
epoll_wait, eventfd2, execve, exit, exit_group, faccessat, faccessat2, fallocate, fcntl, fork,
fstat, fstatfs, fsync, ftruncate, futex, getcwd, getdents64, getegid, geteuid, getgid,
getpeername, getpgrp, getpid, getppid, getrandom, getrlimit, getrusage, getsockname,
getsockopt, gettid, gettimeofday, getuid, kill, listen, lseek, lstat, madvise, membarrier,
memfd_create, mkdir, mkdirat, mmap, mprotect, mremap, munmap, nanosleep, newfstatat, open,
openat, openat2, pipe, pipe2, poll, ppoll, pread64, preadv2, prlimit64, pselect6, pwrite64,
read, readlink, readlinkat, readv, recvfrom, recvmsg, rename, renameat2, restart_syscall,
rt_sigaction, rt_sigprocmask, rt_sigreturn, sched_getaffinity, sched_setaffinity, sched_yield,
seccomp, select, sendfile, sendmsg, sendto, set_robust_list, setrlimit, setsid, setsockopt,
shutdown, sigaltstack, socketpair, stat, statfs, statx, sysinfo, tgkill, time, timerfd_create,
timerfd_settime, uname, unlink, unlinkat, vfork, wait4, waitid, write, writev, ioctl 1=5401,
clone 0&7e020080=0, socket 0=1, socket 0=2, socket 0=a)";

TEST(ProfileListTest, EachAdditionIsThatList) {
  const Profile ring = Profile::Ring({kDescriptor});
  EXPECT_EQ(ToString(ring), Joined(kRing));
  EXPECT_EQ(Added(ring, ring.WithEventfd(5)), "allow write 0=5 2=8, preadv2 0=5 2=1 5=8");
  EXPECT_EQ(Added(ring, ring.WithEpoll(5)),
            "allow epoll_wait 0=5, epoll_pwait 0=5, epoll_pwait2 0=5");
  EXPECT_EQ(Added(ring, ring.WithWriteTo(5)), "allow write 0=5, writev 0=5");
  EXPECT_EQ(Added(ring, ring.WithReadFrom(5)), "allow read 0=5");
  EXPECT_EQ(Added(ring, ring.WithHeap()), Joined(kHeap));
  EXPECT_EQ(Added(ring, ring.WithThreads()), Joined(kThreads));
  EXPECT_EQ(Added(ring, ring.WithFilesAbsent()), Joined(kAbsent));
  const Profile before = ring.WithHeap().WithThreads().WithWriteTo(2);
  EXPECT_EQ(Added(before, ring.WithSanitizer()), Joined(kSanitizer));
  EXPECT_EQ(Added(ring, ring.WithoutDump()), "allow prctl 0=4 1=0");
  EXPECT_EQ(Added(ring, ring.WithSendmsgOf(7)), "allow sendmsg 0=7 2=4040");
}

TEST(ProfileListTest, EachDescriptorHasRulesOfItsOwn) {
  std::string two = Joined(kRing);
  const std::string of_one = two.substr(two.find("sendto"), two.find("futex") - two.find("sendto"));
  std::string of_other = of_one;
  for (size_t at = 0; (at = of_other.find("=1bc", at)) != std::string::npos;) {
    of_other.replace(at, 4, "=1bd");
  }
  two.insert(two.find("futex"), of_other);
  EXPECT_EQ(ToString(Profile::Ring({kDescriptor, kDescriptor + 1})), two);
  two.erase(two.find(of_one), of_one.size() + of_other.size());
  EXPECT_EQ(ToString(Profile::Ring({})), two);
}

TEST(ProfileListTest, AnAbortWantsAMappingWhereThereIsNoHeap) {
  const Profile ring = Profile::Ring({kDescriptor});
  EXPECT_EQ(Added(ring, ring.WithAbortOf(7)), "allow tgkill 0=7 2=6, errno c mmap 2=3 3=22");
  EXPECT_EQ(Added(ring.WithHeap(), ring.WithHeap().WithAbortOf(7)), "allow tgkill 0=7 2=6");
}

TEST(ProfileListTest, AStreamIsQuietOrNothingOrNamed) {
  const Profile ring = Profile::Ring({kDescriptor});
  const std::string questions = "errno 9 newfstatat 0=2, errno 19 ioctl 0=2 1=5401";
  EXPECT_EQ(Added(ring, ring.WithStream(2, Stream::kNamed)), questions);
  EXPECT_EQ(Added(ring, ring.WithStream(2, Stream::kNull)),
            questions +
                ", allow read 0=2, write 0=2, writev 0=2"
                ", fstat 0=2, fcntl 0=2 1=1, fcntl 0=2 1=3, fcntl 0=2 1=40a");
  EXPECT_EQ(Added(ring, ring.WithStream(2, Stream::kNone)),
            questions + ", errno 9 read 0=2, write 0=2, writev 0=2");
}

TEST(ProfileListTest, ACodecHasAHeapThreadsAndNoFiles) {
  const Profile ring = Profile::Ring({kDescriptor});
  const Profile codec = ring.WithHeap().WithThreads().WithFilesAbsent();
  EXPECT_EQ(ToString(ring.ForCodec()),
            ToString(internal::kSanitizer ? codec.WithSanitizer() : codec));
  EXPECT_EQ(ToString(ring.WithSanitizerIfBuiltIn()),
            ToString(internal::kSanitizer ? ring.WithSanitizer() : ring));
  EXPECT_FALSE(codec.has_sanitizer_exceptions());
  EXPECT_TRUE(ring.WithSanitizer().has_sanitizer_exceptions());
}

TEST(ProfileListTest, UnderAnotherFilterOrdinaryCallsLive) {
  EXPECT_EQ(ToString(Profile::Ring({kDescriptor}).UnderAnotherFilter()), Joined(kUnder));
  // Of a profile whose addition has a call that is none of them.
  const std::string more = ToString(Profile::Ring({}).WithSanitizer().UnderAnotherFilter());
  EXPECT_NE(more.find(", prctl, "), std::string::npos) << more;
  EXPECT_EQ(Joined(kUnder).find(", prctl, "), std::string::npos);
}

}  // namespace
}  // namespace parley
