// Linked with a program, before libc, this gives it the pages of another machine: PARLEY_PAGE_BYTES, 16384
// or 65536. (Not by LD_PRELOAD: a worker starts without our environment.) Not only sysconf says so:
// mappings begin at multiples of it, and an address or an offset that is none is refused with EINVAL, as
// such a kernel does; lengths are rounded up to it, and so is what a file has allocated. What the C library
// does inside of itself keeps this machine's pages.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t Page(void) { return PARLEY_PAGE_BYTES; }

static int IsOff(uintptr_t at) { return at % Page() != 0; }
static size_t Up(size_t bytes) { return (bytes + Page() - 1) / Page() * Page(); }

static int Refuse(void) {
  errno = EINVAL;
  return -1;
}

long sysconf(int name) {
  static long (*real)(int);
  if (name == _SC_PAGESIZE) return (long)Page();
  if (real == NULL) real = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
  return real(name);
}

int getpagesize(void) { return (int)Page(); }

unsigned long getauxval(unsigned long type) {
  static unsigned long (*real)(unsigned long);
  if (type == AT_PAGESZ) return Page();
  if (real == NULL) real = (unsigned long (*)(unsigned long))dlsym(RTLD_NEXT, "getauxval");
  return real(type);
}

static void* Map(void* at, size_t bytes, int prot, int flags, int fd, off_t offset) {
  return (void*)syscall(SYS_mmap, at, bytes, prot, flags, fd, offset);
}

void* mmap(void* at, size_t bytes, int prot, int flags, int fd, off_t offset) {
  if (IsOff((uintptr_t)offset)) return Refuse(), MAP_FAILED;
  if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) {
    if (IsOff((uintptr_t)at)) return Refuse(), MAP_FAILED;
    return Map(at, Up(bytes), prot, flags, fd, offset);
  }
  if (bytes == 0 || bytes > SIZE_MAX / 2) return Map(at, bytes, prot, flags, fd, offset);
  // As the kernel sees it first, for its errors; then at a multiple of the larger page.
  char* const first = Map(NULL, Up(bytes) + Page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (first == MAP_FAILED) return MAP_FAILED;
  char* const aligned = (char*)Up((uintptr_t)first);
  char* const end = first + Up(bytes) + Page();
  void* const mapped = Map(aligned, Up(bytes), prot, flags | MAP_FIXED, fd, offset);
  const int error = errno;
  if (mapped == MAP_FAILED) {
    syscall(SYS_munmap, first, end - first);
  } else {
    if (aligned > first) syscall(SYS_munmap, first, aligned - first);
    if (end > aligned + Up(bytes)) syscall(SYS_munmap, aligned + Up(bytes), end - aligned - Up(bytes));
  }
  errno = error;
  return mapped;
}

void* mmap64(void* at, size_t bytes, int prot, int flags, int fd, off_t offset) {
  return mmap(at, bytes, prot, flags, fd, offset);
}

int munmap(void* at, size_t bytes) {
  return IsOff((uintptr_t)at) ? Refuse() : (int)syscall(SYS_munmap, at, Up(bytes));
}

int mprotect(void* at, size_t bytes, int prot) {
  return IsOff((uintptr_t)at) ? Refuse() : (int)syscall(SYS_mprotect, at, Up(bytes), prot);
}

// Not rounded up: behind the end of a file that ends in the middle of a larger page, this kernel has none.
int madvise(void* at, size_t bytes, int advice) {
  return IsOff((uintptr_t)at) ? Refuse() : (int)syscall(SYS_madvise, at, bytes, advice);
}

int fstat(int fd, struct stat* facts) {
  const int result = (int)syscall(SYS_fstat, fd, facts);
  if (result == 0 && S_ISREG(facts->st_mode)) facts->st_blocks = (blkcnt_t)(Up((size_t)facts->st_blocks * 512) / 512);
  return result;
}

int fstat64(int fd, struct stat64* facts) { return fstat(fd, (struct stat*)facts); }
