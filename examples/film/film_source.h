// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_FILM_SOURCE_H_
#define PARLEY_EXAMPLES_FILM_FILM_SOURCE_H_

// Where a decoder gets the bytes of a film from, by the example's names: memory, or whatever
// answers a request for them (remote_source.h).
//
// Trust: the bytes are the attacker's. Threads: one at a time.
//
//   MemorySource source(bytes);
//   auto decoder = av::FilmDecoder::Open(source, acceptance);

#include "parley/av/byte_source.h"

namespace parley::film {

using FilmSource = av::ByteSource;
using MemorySource = av::SpanSource;

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_SOURCE_H_
