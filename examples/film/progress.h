// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_PROGRESS_H_
#define PARLEY_EXAMPLES_FILM_PROGRESS_H_

// One line on standard error that is drawn over and over on a terminal; elsewhere nothing.
//
// Threads: one at a time.
//
//   Progress progress;
//   progress.Show(delivered, duration_ns);   // as often as one likes
//   progress.Clear();                        // before anything else is printed

#include <cstdint>

#include "parley/examples/film/film_receiver.h"

namespace parley::film {

class Progress {
 public:
  Progress();
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `duration_ns`: 0 where nobody knows; a worker's claim, so only for the eye.
  void Show(const Delivered& delivered, int64_t duration_ns);
  void Clear();

 private:
  const bool on_terminal_;
  bool visible_ = false;
  int64_t last_ns_ = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_PROGRESS_H_
