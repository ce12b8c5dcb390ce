// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_CONTACT_SHEET_H_
#define PARLEY_EXAMPLES_FILM_CONTACT_SHEET_H_

// A contact sheet: a dozen pictures, evenly spread over the film, each with its time, in one PNG.
//
// Nobody knows beforehand how long the film is. So pictures are taken at an interval that doubles
// whenever there are four times as many as needed, and every other one is dropped.
//
// Trust: pictures are scaled and coloured by the few lines in thumbnail.cc; no codec sees them
// before they are ours.
// Threads: one at a time.
//
//   ContactSheet sheet;
//   sheet.Add(picture);                                  // each one, in order
//   if (auto s = sheet.Write("film.png"); !s.ok()) return s;

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/thumbnail.h"

namespace parley::film {

class ContactSheet {
 public:
  void Add(const Picture& picture);
  bool empty() const { return shots_.empty(); }
  absl::Status Write(const std::string& path) const;

 private:
  struct Shot {
    int64_t pts_ns;
    RgbImage image;
  };

  std::vector<Shot> shots_;
  int64_t interval_ns_ = 20000000;
  int64_t next_ns_ = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_CONTACT_SHEET_H_
