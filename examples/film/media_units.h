// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_MEDIA_UNITS_H_
#define PARLEY_EXAMPLES_FILM_MEDIA_UNITS_H_

// Pictures, blocks of sound and who takes them, by the example's names.
//
// Threads: values and views; one at a time.

#include "parley/av/media_units.h"

namespace parley::film {

using av::AudioBlock;
using av::MediaSink;
using av::Picture;

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_MEDIA_UNITS_H_
