// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_TURN_H_
#define PARLEY_MEDIA_TURN_H_

// How a stored picture is turned and mirrored to be shown, to the nearest quarter of a turn.
//
// Trust: any matrix is expected. Threads: values; any.
//
//   const Turn turn = TurnOf(picture_format.display_matrix);
//   if (turn.swaps_sides()) std::swap(shown_width, shown_height);

#include <cstdlib>

#include "parley/media/format.h"

namespace parley {

// The point (u, v) of what is shown, from -1/2 to 1/2 each, lies at (xx u + xy v, yx u + yy v) of
// what is stored.
struct Turn {
  int xx = 1;
  int xy = 0;
  int yx = 0;
  int yy = 1;
  bool swaps_sides() const { return xx == 0; }
  bool operator==(const Turn&) const = default;
};

// The nearest one to a display matrix. All zero: none.
inline Turn TurnOf(const DisplayMatrix& matrix) {
  if (matrix == DisplayMatrix{}) return {};
  // A point (x, y) is shown at (a x + c y, b x + d y), where a, b, c, d are 0, 1, 3, 4.
  const auto size = [&](std::size_t i) { return std::abs(double{1} * matrix[i]); };
  const auto sign = [&](std::size_t i) { return matrix[i] < 0 ? -1 : 1; };
  if (size(0) + size(4) >= size(1) + size(3)) {
    return {.xx = sign(0), .xy = 0, .yx = 0, .yy = sign(4)};
  }
  // Shown u = c y, v = b x; so x = v / b and y = u / c.
  return {.xx = 0, .xy = sign(1), .yx = sign(3), .yy = 0};
}

}  // namespace parley

#endif  // PARLEY_MEDIA_TURN_H_
