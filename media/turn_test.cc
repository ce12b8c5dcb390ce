// SPDX-License-Identifier: Apache-2.0
#include "parley/media/turn.h"

#include <cmath>
#include <cstdint>

#include "gtest/gtest.h"

namespace parley {
namespace {

// Counter-clockwise by `degrees` in libav's words, then mirrored left to right.
DisplayMatrix Matrix(double degrees, bool mirrored) {
  const double radians = degrees * std::acos(-1.0) / 180;
  const double one = 65536;
  const auto fixed = [](double value) { return static_cast<int32_t>(std::lround(value)); };
  DisplayMatrix matrix = {fixed(one * std::cos(radians)),
                          fixed(-one * std::sin(radians)),
                          0,
                          fixed(one * std::sin(radians)),
                          fixed(one * std::cos(radians)),
                          0,
                          0,
                          0,
                          1 << 30};
  if (mirrored) {
    for (const size_t i : {size_t{0}, size_t{3}}) matrix[i] = -matrix[i];
  }
  return matrix;
}

// Where the stored point (x, y) is shown, by the matrix itself.
struct Point {
  double x;
  double y;
};
Point Shown(const DisplayMatrix& m, Point at) {
  return {(double{1} * m[0] * at.x + double{1} * m[3] * at.y) / 65536,
          (double{1} * m[1] * at.x + double{1} * m[4] * at.y) / 65536};
}

TEST(TurnTest, EachQuarterAndMirrorBringsEachPointBackToWhereItIsStored) {
  for (const int degrees : {0, 90, 180, 270}) {
    for (const bool mirrored : {false, true}) {
      const DisplayMatrix matrix = Matrix(degrees, mirrored);
      const Turn turn = TurnOf(matrix);
      for (const Point stored : {Point{0.25, 0.5}, Point{-0.5, 0.125}}) {
        const Point shown = Shown(matrix, stored);
        EXPECT_NEAR(turn.xx * shown.x + turn.xy * shown.y, stored.x, 1e-4) << degrees << mirrored;
        EXPECT_NEAR(turn.yx * shown.x + turn.yy * shown.y, stored.y, 1e-4) << degrees << mirrored;
      }
      EXPECT_EQ(turn.swaps_sides(), degrees % 180 == 90);
    }
  }
}

TEST(TurnTest, OtherAnglesAreTheNearestQuarterAndAnyNumbersAreATurn) {
  for (const int near : {-44, 44}) {
    for (const int quarter : {0, 90, 180, 270}) {
      EXPECT_EQ(TurnOf(Matrix(quarter + near, false)), TurnOf(Matrix(quarter, false)));
    }
  }
  EXPECT_EQ(TurnOf(DisplayMatrix{}), Turn{});
  DisplayMatrix least;
  least.fill(INT32_MIN);
  const Turn turn = TurnOf(least);
  EXPECT_EQ(turn.xx * turn.yy - turn.xy * turn.yx, 1);
}

}  // namespace
}  // namespace parley
