// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/lone_program.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/filter.h"

namespace parley::internal {
namespace {

using testing::InAProcessOfItsOwn;
using testing::Refuse;

std::string Contents(const UniqueFd& file) {
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) return "";
  std::string bytes(static_cast<size_t>(status.st_size), '?');
  if (::pread(file.get(), bytes.data(), bytes.size(), 0) != status.st_size) return "";
  return bytes;
}

size_t Up(size_t size_bytes, size_t page) { return (size_bytes + page - 1) / page * page; }

template <typename T>
T At(const std::string& bytes, size_t offset) {
  T value = {};
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

void ExpectPart(const Elf64_Phdr& part, uint64_t address, uint64_t offset, uint64_t size_bytes,
                uint32_t flags, size_t page) {
  EXPECT_EQ(part.p_type, uint32_t{PT_LOAD});
  EXPECT_EQ(part.p_flags, flags);
  EXPECT_EQ(part.p_offset, offset);
  EXPECT_EQ(part.p_vaddr, address);
  EXPECT_EQ(part.p_filesz, size_bytes);
  EXPECT_EQ(part.p_memsz, size_bytes);
  EXPECT_EQ(part.p_align, page);
  // Or the kernel does not map it (EINVAL), and the process is killed.
  EXPECT_EQ(part.p_offset % page, part.p_vaddr % page);
}

struct LoneShape {
  size_t page;
  size_t code_bytes;
  size_t data_bytes;
};

std::vector<LoneShape> LoneShapes() {
  std::vector<LoneShape> all;
  for (const size_t page : {size_t{4096}, size_t{16384}, size_t{65536}}) {
    for (const size_t code_bytes : {size_t{1}, page - 1, page, page + 1, 2 * page}) {
      for (const size_t data_bytes : {size_t{0}, size_t{1}, page, page + 1}) {
        all.push_back({page, code_bytes, data_bytes});
      }
    }
  }
  return all;
}

// Of each size, on machines with pages of each size: one page of header, whole pages of code, one
// page that both sides share, and whole pages of data, if there are any.
TEST(LoneProgramTest, EachByteIsWhereItBelongs) {
  for (const auto& [page, code_bytes, data_bytes] : LoneShapes()) {
    SCOPED_TRACE(std::to_string(page) + " " + std::to_string(code_bytes) + " " +
                 std::to_string(data_bytes));
    const std::string code(code_bytes, 'c');
    const std::string data(data_bytes, 'd');
    int error = -1;
    const UniqueFd file = MakeLoneProgram("lone", code, data, &error, page);
    ASSERT_TRUE(file.ok());
    EXPECT_EQ(error, 0);
    EXPECT_NE(::fcntl(file.get(), F_GETFD) & FD_CLOEXEC, 0);
    const std::string bytes = Contents(file);
    const size_t shared = page + Up(code_bytes, page);
    EXPECT_EQ(SharedPageOffset(code, page), shared);
    const size_t data_at = shared + page;
    ASSERT_EQ(bytes.size(), data_bytes == 0 ? shared : data_at + Up(data_bytes, page));
    std::string expected(bytes.size(), '\0');
    expected.replace(page, code_bytes, code);
    if (data_bytes > 0) expected.replace(data_at, data_bytes, data);
    EXPECT_TRUE(bytes.substr(page) == expected.substr(page));

    const auto header = At<Elf64_Ehdr>(bytes, 0);
    EXPECT_EQ(std::string(bytes, 0, 7),
              "\x7f"
              "ELF\x02\x01\x01");
    EXPECT_EQ(header.e_type, ET_EXEC);
#if defined(__x86_64__)
    EXPECT_EQ(header.e_machine, EM_X86_64);
#endif
    EXPECT_EQ(header.e_version, uint32_t{EV_CURRENT});
    EXPECT_EQ(header.e_entry, 0x400000 + page);
    EXPECT_EQ(header.e_phoff, sizeof(Elf64_Ehdr));
    EXPECT_EQ(header.e_ehsize, sizeof(Elf64_Ehdr));
    EXPECT_EQ(header.e_phentsize, sizeof(Elf64_Phdr));
    EXPECT_EQ(header.e_phnum, data_bytes > 0 ? 3 : 2);
    const size_t first = sizeof(Elf64_Ehdr);
    ExpectPart(At<Elf64_Phdr>(bytes, first), 0x400000 + page, page, code_bytes, PF_R | PF_X, page);
    // Without a part that says so, the stack would be executable.
    const auto stack = At<Elf64_Phdr>(bytes, first + sizeof(Elf64_Phdr));
    EXPECT_EQ(stack.p_type, uint32_t{PT_GNU_STACK});
    EXPECT_EQ(stack.p_flags, uint32_t{PF_R | PF_W});
    if (data_bytes > 0) {
      ExpectPart(At<Elf64_Phdr>(bytes, first + 2 * sizeof(Elf64_Phdr)), kLoneDataAddress, data_at,
                 Up(data_bytes, page), PF_R, page);
    }
  }
}

TEST(LoneProgramTest, ItsPagesAreThoseOfThisMachine) {
  EXPECT_EQ(LonePageBytes(), static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
  int error = -1;
  const UniqueFd file = MakeLoneProgram("lone", "c", "", &error);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(Contents(file).size(), 2 * LonePageBytes());
  EXPECT_EQ(SharedPageOffset("c"), 2 * LonePageBytes());
}

struct Refusal {
  testing::RefusedCall refused;
  bool ok;
  int error;
};

// What we lack is an error; that there may be no such file is none.
TEST(LoneProgramTest, WithoutAFileItIsKnownWhy) {
  const std::vector<Refusal> each = {
      {{.call = SYS_memfd_create, .error = EMFILE}, false, EMFILE},
      {{.call = SYS_memfd_create, .error = ENFILE}, false, ENFILE},
      {{.call = SYS_memfd_create, .error = ENOMEM}, false, ENOMEM},
      {{.call = SYS_memfd_create, .error = EPERM}, false, 0},
      {{.call = SYS_memfd_create, .error = EACCES}, false, 0},
      {{.call = SYS_memfd_create, .error = EINVAL}, false, 0},
      // Before Linux 6.3.
      {{.call = SYS_memfd_create, .error = EINVAL, .argument = 1, .mask = 0x10, .value = 0x10},
       true,
       0},
      {{.call = SYS_memfd_create, .error = EPERM, .argument = 1, .mask = 0x10, .value = 0x10},
       false,
       0},
      {{.call = SYS_pwrite64, .error = ENOSPC}, false, ENOSPC},
      {{.call = SYS_pwrite64, .error = EFBIG}, false, 0},
  };
  for (const Refusal& one : each) {
    const int code = InAProcessOfItsOwn([&one] {
      Refuse(one.refused);
      int error = -1;
      const UniqueFd file = MakeLoneProgram("lone", "c", "d", &error);
      if (file.ok() != one.ok) return 1;
      return error == one.error ? 0 : 2;
    });
    EXPECT_EQ(code, 0) << one.refused.call << " " << one.refused.error;
  }
}

TEST(LoneProgramTest, AFileThatMayNotBeThatLongIsNoneAndNoSignal) {
  for (const rlim_t limit_bytes : {rlim_t{0}, rlim_t{LonePageBytes() + 1000}}) {
    const int code = InAProcessOfItsOwn([limit_bytes] {
      const rlimit limit = {limit_bytes, limit_bytes};
      if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
      int error = -1;
      if (MakeLoneProgram("lone", "c", "", &error).ok()) return 2;
      return error == 0 ? 0 : 3;
    });
    EXPECT_EQ(code, 0) << limit_bytes;
  }
}

}  // namespace
}  // namespace parley::internal
