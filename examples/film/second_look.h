// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_SECOND_LOOK_H_
#define PARLEY_EXAMPLES_FILM_SECOND_LOOK_H_

// The worker's side of --verify: decodes the film once more and says what libav itself says about
// each picture and block, in libav's own names and numbers. It shares no line with decoder.cc,
// picture_converter.cc and media/, so that a mistake there is not made twice.
//
// Trust: as decoder.h: runs confined, after av::WarmUpDecoder().
// Threads: one at a time.
//
//   absl::Status looked = SecondLook(source, accepted, out);   // ends with End or Failed

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "parley/examples/film/film_sender.h"
#include "parley/examples/film/film_source.h"

namespace parley::film {

// `accepted`: whether pictures of the format with that name of libav's were delivered as they are;
// of others it sends the grid. An error: the viewer is gone, or there is no memory.
absl::Status SecondLook(FilmSource& film, const std::function<bool(std::string_view)>& accepted,
                        MessageOut& out);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_SECOND_LOOK_H_
