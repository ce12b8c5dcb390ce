// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_ICON_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_ICON_H_

// A decoder of little pictures, with the bugs that such decoders have. It is here to be fuzzed.
//
//   "ICON", then chunks: a letter, a length ('0' + 0 to 63), so many bytes.
//   P  palette: three bytes for each colour       D  pixels: '0' + number of a colour
//   R  rows of 8 pixels: pairs of '0' + step, '0' + colour
//   C  comment                                    F  palette from the file that is named
//
// BUG crash      a pixel of the first colour that the palette lacks
// BUG hang       a row filled in steps of 0 pixels
// BUG violation  the file that the picture names is opened
// BUG corruption a comment of more than 16 bytes runs into the pointer to a function behind it,
//                which is called in the next picture, an innocent one

#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace outfuzz {

// The sum of all pixels; nothing if this is no icon.
std::optional<uint64_t> DecodeIcon(absl::Span<const uint8_t> file);

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_ICON_H_
