// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_LIBAV_H_
#define PARLEY_EXAMPLES_FILM_LIBAV_H_

// libav and the owners of its objects, by the example's names.
// Threads: any.

#include "parley/av/libav.h"

namespace parley::film {

using av::AvCodecContext;
using av::AvDeleter;
using av::AvFormatContext;
using av::AvFrame;
using av::AvIo;
using av::AvPacket;
using av::AvSwsContext;

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_LIBAV_H_
