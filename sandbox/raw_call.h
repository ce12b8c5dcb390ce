// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_RAW_CALL_H_
#define PARLEY_SANDBOX_RAW_CALL_H_

// A system call without libc: for code that runs where libc no longer is mapped, or beside the
// thread whose errno libc would overwrite.
//
// Trust: the caller's numbers.
// Threads: any; no errno is set.
//
//   const long answer = RawCall(SYS_close, 3);  // -errno on failure

// Without vector registers a compiler has no reason to keep constants in memory, which may be gone
// where such code runs. On each function that makes these calls, or they could not be inlined.
#define PARLEY_GENERAL_REGISTERS __attribute__((target("general-regs-only")))

namespace parley::internal {

// NOLINTBEGIN(google-runtime-int): the kernel's type is long
#if defined(__x86_64__)
inline __attribute__((always_inline)) PARLEY_GENERAL_REGISTERS long RawCall(long number, long a = 0,
                                                                            long b = 0, long c = 0,
                                                                            long d = 0, long e = 0,
                                                                            long f = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result = number;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
inline __attribute__((always_inline)) PARLEY_GENERAL_REGISTERS long RawCall(long number, long a = 0,
                                                                            long b = 0, long c = 0,
                                                                            long d = 0, long e = 0,
                                                                            long f = 0) {
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc 0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0;
}
#else
#error "how is a system call made on this architecture?"
#endif

// An address as a system call takes it.
inline __attribute__((always_inline)) PARLEY_GENERAL_REGISTERS long RawAddress(
    const volatile void* address) {
  return __builtin_bit_cast(long, address);
}
// NOLINTEND(google-runtime-int)

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_RAW_CALL_H_
