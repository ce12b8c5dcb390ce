// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/seal_code.h"

#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace parley::internal {
namespace {

// Newer than the headers of Debian 12; the same number on every architecture.
constexpr long kSysMseal = 462;  // NOLINT: syscall's type

// How often something was loaded or unloaded, as dl_iterate_phdr counts it.
struct Loads {
  unsigned long long adds = 0;  // NOLINT: the loader's type
  unsigned long long subs = 0;  // NOLINT: the loader's type
  bool operator==(const Loads&) const = default;
};

Loads CountLoads() {
  Loads loads;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* into) {
        *static_cast<Loads*>(into) = {info->dlpi_adds, info->dlpi_subs};
        return 1;  // the first library knows
      },
      &loads);
  return loads;
}

// 0 of them: nothing was sealed yet. In a clone, what its template has sealed.
Loads sealed_at;

int SealLibrary(dl_phdr_info* info, size_t, void* all) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info->dlpi_phdr[i];
    const bool read_only = part.p_type == PT_LOAD && (part.p_flags & PF_W) == 0;
    if (!read_only && part.p_type != PT_GNU_RELRO) continue;
    const uintptr_t start = info->dlpi_addr + part.p_vaddr;
    const uintptr_t from = start & ~(page - 1);
    // The loader leaves the last page of RELRO writable if other data share it.
    const uintptr_t until = read_only ? (start + part.p_memsz + page - 1) & ~(page - 1)
                                      : (start + part.p_memsz) & ~(page - 1);
    if (until <= from) continue;
    if (::syscall(kSysMseal, from, until - from, 0) != 0) *static_cast<bool*>(all) = false;
  }
  return 0;
}

}  // namespace

bool SealCode() {
  const Loads loads = CountLoads();
  if (loads.adds != 0 && loads == sealed_at) return true;
  bool sealed = true;
  ::dl_iterate_phdr(SealLibrary, &sealed);
  if (sealed) sealed_at = loads;
  return sealed;
}

}  // namespace parley::internal
