// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/lone_program.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "parley/os/file_size_signal.h"

// In the kernel's headers, not in all C libraries.
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace parley::internal {
namespace {

constexpr uint64_t kFileAddress = 0x400000;  // of what begins with the header

#if defined(__x86_64__)
constexpr Elf64_Half kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half kMachine = EM_AARCH64;
#endif

struct Header {
  Elf64_Ehdr file;
  Elf64_Phdr code;
  Elf64_Phdr stack;
  Elf64_Phdr data;
};
static_assert(sizeof(Header) <= 4096);

size_t WholePages(size_t size_bytes, size_t page_bytes) {
  return (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
}

// The kernel wants address and offset to be alike within a page.
Elf64_Phdr Part(uint64_t address, size_t offset, size_t size_bytes, Elf64_Word flags,
                size_t page_bytes) {
  Elf64_Phdr part = {};
  part.p_type = PT_LOAD;
  part.p_flags = flags;
  part.p_offset = offset;
  part.p_vaddr = address;
  part.p_filesz = size_bytes;
  part.p_memsz = size_bytes;
  part.p_align = page_bytes;
  return part;
}

Header MakeHeader(size_t code_bytes, size_t data_offset, size_t data_bytes, size_t page_bytes) {
  Header header = {};
  std::memcpy(header.file.e_ident, ELFMAG, SELFMAG);
  header.file.e_ident[EI_CLASS] = ELFCLASS64;
  header.file.e_ident[EI_DATA] = ELFDATA2LSB;
  header.file.e_ident[EI_VERSION] = EV_CURRENT;
  header.file.e_type = ET_EXEC;
  header.file.e_machine = kMachine;
  header.file.e_version = EV_CURRENT;
  header.file.e_entry = kFileAddress + page_bytes;
  header.file.e_phoff = offsetof(Header, code);
  header.file.e_ehsize = sizeof(header.file);
  header.file.e_phentsize = sizeof(header.code);
  header.file.e_phnum = data_bytes > 0 ? 3 : 2;
  header.code = Part(kFileAddress + page_bytes, page_bytes, code_bytes, PF_R | PF_X, page_bytes);
  header.stack.p_type = PT_GNU_STACK;
  header.stack.p_flags = PF_R | PF_W;
  header.data = Part(kLoneDataAddress, data_offset, data_bytes, PF_R, page_bytes);
  return header;
}

}  // namespace

size_t LonePageBytes() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

UniqueFd MakeLoneProgram(const char* name, std::string_view code, std::string_view data, int* error,
                         size_t page_bytes) {
  *error = 0;
  UniqueFd file(::memfd_create(name, MFD_CLOEXEC | MFD_EXEC));
  if (!file.ok() && errno == EINVAL) {
    file.Reset(::memfd_create(name, MFD_CLOEXEC));  // before Linux 6.3
  }
  if (!file.ok()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) *error = errno;
    return UniqueFd();
  }
  const size_t shared_offset = SharedPageOffset(code, page_bytes);
  const size_t data_offset = shared_offset + page_bytes;
  const size_t data_bytes = WholePages(data.size(), page_bytes);
  std::string image(data.empty() ? shared_offset : data_offset + data_bytes, '\0');
  const Header header = MakeHeader(code.size(), data_offset, data_bytes, page_bytes);
  std::memcpy(image.data(), &header, sizeof(header));
  code.copy(image.data() + page_bytes, code.size());
  if (!data.empty()) data.copy(image.data() + data_offset, data.size());
  const NoFileSizeSignal no_signal;
  errno = EFBIG;  // of one that wrote only a part
  if (::pwrite(file.get(), image.data(), image.size(), 0) != static_cast<ssize_t>(image.size())) {
    if (errno != EFBIG) *error = errno;
    return UniqueFd();
  }
  return file;
}

size_t SharedPageOffset(std::string_view code, size_t page_bytes) {
  return page_bytes + WholePages(code.size(), page_bytes);
}

}  // namespace parley::internal
