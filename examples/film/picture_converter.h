#ifndef PARLEY_EXAMPLES_FILM_PICTURE_CONVERTER_H_
#define PARLEY_EXAMPLES_FILM_PICTURE_CONVERTER_H_

// Brings a decoded AVFrame into one of Parley's pixel formats: as it is where it is one already,
// through swscale's bit-exact path where not.
//
// Threads: one at a time.
//
//   PictureConverter converter;
//   Picture picture;
//   absl::Status converted = converter.Convert(*frame, picture);   // points into *frame or in here

#include "absl/status/status.h"
#include "parley/examples/film/libav.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {

class PictureConverter {
 public:
  // Fills format (but for the frame rate), planes and strides. They are valid until the next call
  // and as long as `frame`.
  absl::Status Convert(const AVFrame& frame, Picture& picture);

 private:
  AvSwsContext sws_;
  AvFrame converted_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_PICTURE_CONVERTER_H_
