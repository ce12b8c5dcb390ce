// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/seal_code.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/sandbox/plain_code.h"
#include "parley/testing/filter.h"

namespace parley::internal {
namespace {

using testing::InAProcessOfItsOwn;
using testing::Refuse;

constexpr uint32_t kMseal = 462;

struct Mapping {
  uintptr_t start, end;
  std::string rights, path;
};

std::vector<Mapping> Mappings() {
  std::vector<Mapping> mappings;
  std::ifstream file("/proc/self/maps");
  for (std::string line; std::getline(file, line);) {
    Mapping one = {};
    char dash = 0;
    std::string offset, device, inode;
    std::istringstream words(line);
    words >> std::hex >> one.start >> dash >> one.end >> one.rights >> offset >> device >> inode;
    words >> one.path;
    mappings.push_back(one);
  }
  return mappings;
}

bool IsSealed(uintptr_t page, const std::string& rights) {
  const int same = (rights[0] == 'r' ? PROT_READ : 0) | (rights[1] == 'w' ? PROT_WRITE : 0) |
                   (rights[2] == 'x' ? PROT_EXEC : 0);
  // SAFETY: an address that is given to the kernel, for the rights that are there already.
  return ::mprotect(reinterpret_cast<void*>(page), 4096, same) != 0 && errno == EPERM;
}

// Page by page: what of a program or library cannot be written is sealed, and nothing else is.
TEST(SealCodeTest, EachPageThatCannotBeWrittenIsSealedAndNoOther) {
  if (kSanitizer) GTEST_SKIP() << "a sanitizer's runtime changes its own";
  if (::sysconf(_SC_PAGESIZE) != 4096) GTEST_SKIP() << "asks for pages of 4 KiB";
  if (::syscall(kMseal, 0, 0, 0) != 0) GTEST_SKIP() << "this kernel has no mseal";
  const int code = InAProcessOfItsOwn([] {
    if (!SealCode()) return 1;
    int sealed = 0;
    int others = 0;
    for (const Mapping& one : Mappings()) {
      const bool program = one.path.substr(0, 1) == "/" && one.rights[3] == 'p';
      if (one.path.substr(0, 1) == "[" && one.path != "[heap]" && one.path != "[stack]") continue;
      for (uintptr_t page = one.start; page < one.end; page += 4096) {
        // A file that is mapped for reading, a locale's say, is no program: it has no name for us.
        const bool expected = program && one.rights[1] == '-';
        if (IsSealed(page, one.rights) != expected) {
          std::fprintf(stderr, "%zx %s %s\n", page, one.rights.c_str(), one.path.c_str());
          return 2;
        }
        ++(expected ? sealed : others);
      }
    }
    return sealed > 10 && others > 10 ? 0 : 3;
  });
  EXPECT_EQ(code, 0);
}

// In a clone, whose template has done it, once more is not asked.
TEST(SealCodeTest, OnceIsEnoughAndWithoutTheCallItIsKnown) {
  if (::syscall(kMseal, 0, 0, 0) == 0) {
    EXPECT_EQ(InAProcessOfItsOwn([] {
                if (!SealCode()) return 1;
                Refuse({.call = kMseal});
                return SealCode() ? 0 : 2;
              }),
              0);
  }
  EXPECT_EQ(InAProcessOfItsOwn([] {
              Refuse({.call = kMseal});
              if (SealCode()) return 1;
              return SealCode() ? 2 : 0;
            }),
            0);
}

}  // namespace
}  // namespace parley::internal
