// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_PCM_H_
#define PARLEY_MEDIA_PCM_H_

// Makes float samples of a peer safe to convert and to play (ATTACKS.md P1): converting a NaN, an
// infinity or 1e9 to an integer is undefined behaviour, and playing one hurts.
//
// Trust: every bit pattern is expected. Integer samples need none of this.
// Threads: pure functions; any.
//
//   const size_t repaired = SanitizeF32(samples, 1.0f);

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace parley {

// NaN becomes 0, everything else is clamped to [-limit, limit]; a subnormal becomes 0, because it
// can make arithmetic a hundred times slower. `samples` holds 32-bit floats in any alignment; a
// trailing part of one is left alone. The number of samples that were changed. `limit` > 0.
size_t SanitizeF32(absl::Span<std::byte> samples, float limit);

// For any float; NaN is 0, what is out of range saturates, halves round away from zero.
int16_t S16FromF32(float sample);

}  // namespace parley

#endif  // PARLEY_MEDIA_PCM_H_
