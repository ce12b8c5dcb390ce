// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_LONE_PROGRAM_H_
#define PARLEY_SANDBOX_LONE_PROGRAM_H_

// A program of a few pages, made of one section of this one: for a process that has to leave our
// memory before it goes on.
//
// Its code is one function, which begins the section: no call, no constant in memory, no libc. What
// it is to know lies at kLoneDataAddress. The section may have no relocation (objdump -r -j NAME).
// The function is called with zeros in all registers and its stack as at a process's start.
//
// Trust: our own code and words.
// Threads: any.
//
//   [[noreturn]] PARLEY_LONE_CODE("parley_end") void End() { RawCall(SYS_exit_group, 0); ... }
//   extern "C" { extern const char __start_parley_end[], __stop_parley_end[]; }  // the linker's
//   UniqueFd program = MakeLoneProgram("parley-end", {__start_parley_end, bytes}, "", &error);
//   ::execveat(program.get(), "", arguments, environment, AT_EMPTY_PATH);

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "parley/os/unique_fd.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/raw_call.h"

#define PARLEY_LONE_CODE(section_name)                                                         \
  PARLEY_PLAIN_CODE PARLEY_GENERAL_REGISTERS                                                   \
      __attribute__((noinline, used, aligned(4096), section(section_name), no_stack_protector, \
                     no_profile_instrument_function))

namespace parley::internal {

// A page of this machine: the unit of its parts in the file, 4 KiB, or 16 or 64 on some.
size_t LonePageBytes();
// Where the program finds `data`: read-only, a whole number of pages.
inline constexpr uintptr_t kLoneDataAddress = 0x10000000;

// A memfd. Not ok() with `error` 0: none may be written or executed here; else what we lack
// (descriptors, memory).
UniqueFd MakeLoneProgram(const char* name, std::string_view code, std::string_view data, int* error,
                         size_t page_bytes = LonePageBytes());

// Where in the file of one that has data there is a page of zeros, which no part of the program is:
// for it and us to share.
size_t SharedPageOffset(std::string_view code, size_t page_bytes = LonePageBytes());

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_LONE_PROGRAM_H_
