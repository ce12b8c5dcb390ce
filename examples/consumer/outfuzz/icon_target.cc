// SPDX-License-Identifier: Apache-2.0

// The target, in libFuzzer's form: linked with :outfuzz_main it is fuzzed out of process.

#include <cstddef>
#include <cstdint>

#include "outfuzz/icon.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  outfuzz::DecodeIcon({data, size});
  return 0;
}
