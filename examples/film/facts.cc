// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/facts.h"

#include <algorithm>

#include "parley/media/colour.h"

namespace parley::film {
namespace {

// The first pixel x of a cell: the least with x * kGridSide / size == cell.
uint32_t Edge(uint32_t cell, uint32_t size) {
  return static_cast<uint32_t>((uint64_t{cell} * size + kGridSide - 1) / kGridSide);
}

uint8_t Byte(double unit) { return static_cast<uint8_t>(std::clamp(unit, 0.0, 1.0) * 255 + 0.5); }

void FillGrids(const Picture& picture, FactsOfPicture& facts) {
  const PixelReader reader(picture.format);
  const PixelFormatInfo& info = InfoOf(picture.format.pixel_format);
  const size_t stored = info.model == ColourModel::kGray ? 1 : 3;
  facts.stored_grid.assign(kGridBytes, 0);
  facts.rgb_grid.assign(kGridBytes, 0);
  for (uint32_t row = 0; row < kGridSide; ++row) {
    for (uint32_t column = 0; column < kGridSide; ++column) {
      const uint32_t x0 = Edge(column, picture.format.width);
      const uint32_t y0 = Edge(row, picture.format.height);
      const uint32_t x1 = Edge(column + 1, picture.format.width);
      const uint32_t y1 = Edge(row + 1, picture.format.height);
      if (x1 <= x0 || y1 <= y0) continue;  // fewer pixels than cells
      std::array<double, 3> sum = {};
      std::array<double, 3> rgb = {};
      for (uint32_t y = y0; y < y1; ++y) {
        for (uint32_t x = x0; x < x1; ++x) {
          for (size_t i = 0; i < stored; ++i) {
            const PixelComponent& component = info.components[i];
            const uint32_t depth = info.is_float ? 16 : component.depth_bits;
            sum[i] += reader.Raw(i, picture.planes[component.plane],
                                 picture.strides_bytes[component.plane], x, y) /
                      static_cast<double>((uint64_t{1} << depth) - 1);
          }
          const Rgba pixel = reader.At(picture.planes, picture.strides_bytes, x, y);
          rgb[0] += pixel.red;
          rgb[1] += pixel.green;
          rgb[2] += pixel.blue;
        }
      }
      const double count = static_cast<double>(uint64_t{x1 - x0} * (y1 - y0));
      for (size_t i = 0; i < 3; ++i) {
        const size_t at = (size_t{row} * kGridSide + column) * 3 + i;
        facts.stored_grid[at] = Byte(sum[i] / count);
        facts.rgb_grid[at] = Byte(rgb[i] / count);
      }
    }
  }
}

}  // namespace

FactsOfPicture FactsRecorder::Of(const Picture& picture) {
  if (formats_.empty() || !(formats_.back() == picture.format)) formats_.push_back(picture.format);
  FactsOfPicture facts;
  facts.digest = digester_.OfRows(picture);
  facts.pts_ns = picture.pts_ns;
  facts.format = static_cast<uint32_t>(formats_.size() - 1);
  facts.key = picture.key;
  facts.interlaced = picture.interlaced;
  facts.top_first = picture.top_first;
  if (picture.converted) FillGrids(picture, facts);
  return facts;
}

FactsOfAudio FactsRecorder::Of(const AudioBlock& audio) {
  return {.digest = digester_.OfSamples(audio),
          .pts_ns = audio.pts_ns,
          .frames = audio.frames,
          .format = audio.format};
}

}  // namespace parley::film
