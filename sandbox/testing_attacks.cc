// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/testing_attacks.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "parley/sandbox/confine.h"
#include "parley/sandbox/profile.h"

// NOLINTBEGIN(performance-no-int-to-ptr): attacks do sums with addresses.
namespace parley::testing {
namespace {

struct SharedPage {
  void* start;
};

constexpr uintptr_t kPageBytes = 4096;
constexpr int kTries = 100;

uintptr_t PageOf(uintptr_t address) { return address & ~(kPageBytes - 1); }

// The handler for SIGSYS that a lock-down of this program installs, found out in a child; 0 where
// there is none, which is as it should be.
uintptr_t HandlerOfRefusals() {
  void* const page =
      ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 0;
  // SAFETY: a fresh page, shared with the child below.
  auto* const found = static_cast<volatile uintptr_t*>(page);
  const pid_t pid = ::fork();
  if (pid == 0) {
    // Those are for the one lock-down of the whole process.
    ::unsetenv("PARLEY_REFUSAL_FD");  // NOLINT(concurrency-mt-unsafe)
    ::unsetenv("PARLEY_HOLDER_FD");   // NOLINT(concurrency-mt-unsafe)
    const auto confined = LockDown(Prepared::After(SharedPage{page}),
                                   Profile::Ring({}).WithSanitizer(), {.keep = {}});
    struct sigaction action = {};
    if (confined.ok() && ::sigaction(SIGSYS, nullptr, &action) == 0) {
      // SAFETY: the address is compared and never called.
      *found = reinterpret_cast<uintptr_t>(action.sa_sigaction);
    }
    ::_exit(0);
  }
  ::waitpid(pid, nullptr, 0);
  return *found;
}

long RawOpen() {             // NOLINT: syscall's type
  long result = SYS_openat;  // NOLINT: syscall's type
#if defined(__x86_64__)
  // Not through libc, whose own road to the kernel an attack may have moved.
  register long flags asm("r10") = 0;  // NOLINT: the register's width
  asm volatile("syscall"
               : "+a"(result)
               : "D"(AT_FDCWD), "S"("/etc/passwd"), "d"(O_RDONLY), "r"(flags)
               : "rcx", "r11", "memory");
#elif defined(__aarch64__)
  register long number asm("x8") = SYS_openat;  // NOLINT: as above
  register long folder asm("x0") = AT_FDCWD;    // NOLINT: as above
  register const char* path asm("x1") = "/etc/passwd";
  register long access asm("x2") = O_RDONLY;  // NOLINT: as above
  register long mode asm("x3") = 0;           // NOLINT: as above
  asm volatile("svc #0" : "+r"(folder) : "r"(number), "r"(path), "r"(access), "r"(mode) : "memory");
  result = folder;
#else
  result = ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
#endif
  return result;
}

int Survive() {
  int survived = 0;
  for (; survived < kTries; ++survived) RawOpen();
  return survived;
}

#if defined(__x86_64__)
// A page on which every entry ends in rt_sigreturn, as if the handler had returned.
asm(R"(
  .pushsection .text
  .balign 4096
  .globl parley_testing_sled
parley_testing_sled:
  .fill 4000, 1, 0x90
  add $8, %rsp
  mov $15, %eax
  syscall
  .balign 4096
  .globl parley_testing_pivot
parley_testing_pivot:
  and $-16, %rsp
  call parley_testing_leave
  .popsection
)");
// NOLINTBEGIN(readability-identifier-naming): as the assembler knows them
extern "C" const char parley_testing_sled[];
extern "C" const char parley_testing_pivot[];
// NOLINTEND(readability-identifier-naming)
#endif

// The slot of the main program for `name` in its table of functions; null if it has none.
uintptr_t* GotSlot(const char* name) {
  struct Search {
    const char* name;
    uintptr_t* slot;
  } search = {name, nullptr};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* argument) {
        Search& wanted = *static_cast<Search*>(argument);
        const ElfW(Rela)* relocations = nullptr;
        const ElfW(Sym)* symbols = nullptr;
        const char* names = nullptr;
        size_t size_bytes = 0;
        const ElfW(Rela)* others = nullptr;
        size_t others_bytes = 0;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
          // SAFETY: the dynamic section and its tables, as the loader has mapped them.
          const auto* entry =
              reinterpret_cast<const ElfW(Dyn)*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
          for (; entry->d_tag != DT_NULL; ++entry) {
            switch (entry->d_tag) {
              case DT_JMPREL:
                // SAFETY: the loader's tables.
                relocations = reinterpret_cast<const ElfW(Rela)*>(entry->d_un.d_ptr);
                break;
              case DT_PLTRELSZ:
                size_bytes = entry->d_un.d_val;
                break;
              case DT_RELA:
                // SAFETY: as above.
                others = reinterpret_cast<const ElfW(Rela)*>(entry->d_un.d_ptr);
                break;
              case DT_RELASZ:
                others_bytes = entry->d_un.d_val;
                break;
              case DT_SYMTAB:
                // SAFETY: as above.
                symbols = reinterpret_cast<const ElfW(Sym)*>(entry->d_un.d_ptr);
                break;
              case DT_STRTAB:
                names = reinterpret_cast<const char*>(entry->d_un.d_ptr);
                break;
              default:
                break;
            }
          }
        }
        const auto look = [&](const ElfW(Rela) * table, size_t bytes) {
          for (size_t i = 0; table != nullptr && i < bytes / sizeof(*table); ++i) {
            const auto symbol = ELF64_R_SYM(table[i].r_info);
            if (symbol == 0 || std::strcmp(names + symbols[symbol].st_name, wanted.name) != 0) {
              continue;
            }
            // SAFETY: as above.
            wanted.slot = reinterpret_cast<uintptr_t*>(info->dlpi_addr + table[i].r_offset);
          }
        };
        if (symbols != nullptr && names != nullptr) {
          look(relocations, size_bytes);
          look(others, others_bytes);
        }
        return 1;  // the main program comes first, and is enough
      },
      &search);
  return search.slot;
}

sigjmp_buf way_out;

}  // namespace

// NOLINTNEXTLINE: as libc's syscall, and with a name for the assembler
extern "C" long parley_testing_leave(long, ...) { ::siglongjmp(way_out, 1); }

Attack MoveCodeOverTheHandler() {
  const uintptr_t handler = HandlerOfRefusals();
  return [handler] {
#if defined(__x86_64__)
    if (handler != 0) {
      // SAFETY: addresses of code that nobody runs any more.
      ::syscall(SYS_mremap, parley_testing_sled, kPageBytes, kPageBytes,
                MREMAP_MAYMOVE | MREMAP_FIXED, PageOf(handler));
    }
#endif
    return Survive();
  };
}

Attack OverwriteTheGotSlot() {
  uintptr_t* const slot = GotSlot("syscall");
  return [slot] {
    static std::atomic<int> survived{0};
    if (slot != nullptr) {
      // SAFETY: as above. Without the right to write it stays as it is.
      const uintptr_t page = PageOf(reinterpret_cast<uintptr_t>(slot));
      if (::mprotect(reinterpret_cast<void*>(page), kPageBytes, PROT_READ | PROT_WRITE) == 0) {
        *slot = reinterpret_cast<uintptr_t>(&parley_testing_leave);
      }
    }
    while (survived.load() < kTries) {
      if (::sigsetjmp(way_out, 1) != 0) {
        survived.fetch_add(1);
        continue;
      }
      RawOpen();
      return 0;
    }
    return survived.load();
  };
}

Attack RewriteTheStackFromASecondThread() {
  static std::atomic<uintptr_t> stack{0};
  static std::atomic<bool> scanning{false};
  const uintptr_t handler = HandlerOfRefusals();
  std::thread([handler] {
    uintptr_t top = 0;
    while ((top = stack.load()) == 0) ::sched_yield();
    scanning.store(true);
    while (handler != 0) {  // NOLINT(bugprone-infinite-loop): until the process ends
      for (uintptr_t at = top - 8 * kPageBytes; at < top; at += sizeof(uintptr_t)) {
        // SAFETY: the other thread's stack, which is mapped that far down.
        auto* const word = reinterpret_cast<volatile uintptr_t*>(at);
        if (*word > handler && *word < handler + 512) {
#if defined(__x86_64__)
          // SAFETY: the attack: an address of this program's own.
          *word = reinterpret_cast<uintptr_t>(&parley_testing_pivot);
#endif
        }
      }
    }
  }).detach();
  return [] {
    volatile char room[16 * kPageBytes];
    for (size_t i = 0; i < sizeof(room); i += 64) room[i] = 0;
    uintptr_t here = 0;
    if (::sigsetjmp(way_out, 1) != 0) return 1;
    // The handler's frame will lie below this function's.
    // SAFETY: the attack: an address of this program's own.
    here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) - sizeof(room);
    stack.store(here);
    while (!scanning.load()) ::sched_yield();
    RawOpen();
    return 1;
  };
}

Attack InterruptFromASecondThread() {
  static std::atomic<pid_t> refused{0};
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGABRT, &action, nullptr);
  const pid_t process = ::getpid();
  std::thread([process] {
    while (refused.load() == 0) ::sched_yield();
    while (true) ::syscall(SYS_tgkill, process, refused.load(), SIGABRT);
  }).detach();
  return [] {
    refused.store(::gettid());
    return Survive();
  };
}

std::function<bool()> RunReadOnlyBytes() {
#if defined(__x86_64__)
  // mov $0x5eed, %eax; ret
  struct alignas(kPageBytes) Payload {
    uint8_t bytes[kPageBytes];
  };
  static const Payload payload = {{0xb8, 0xed, 0x5e, 0x00, 0x00, 0xc3}};
  // SAFETY: addresses of this program's own segments, which lie in memory as in the file.
  const auto wanted = reinterpret_cast<uintptr_t>(&payload);
  const auto code = PageOf(reinterpret_cast<uintptr_t>(&parley_testing_sled));
  return [wanted, code] {
    if (wanted < code) return false;
    // SAFETY: the attack: an address of this program's own.
    void* const moved = ::mremap(reinterpret_cast<void*>(code), kPageBytes,
                                 wanted - code + kPageBytes, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) return false;
    // SAFETY: the attack: an address of this program's own.
    const auto entry = reinterpret_cast<uintptr_t>(moved) + (wanted - code);
    return reinterpret_cast<int (*)()>(entry)() == 0x5eed;
  };
#else
  return [] { return false; };
#endif
}

}  // namespace parley::testing
// NOLINTEND(performance-no-int-to-ptr)
