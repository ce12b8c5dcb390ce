// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/result_reader.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/thumb/request.h"
#include "parley/thumb/thumb_wire.h"

namespace parley::thumb {
namespace {

constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();

ThumbRequest PictureRequest() {
  ThumbRequest request;
  request.max_width = 4;
  request.max_height = 3;
  return request;
}

ThumbRequest FactsRequest() {
  ThumbRequest request;
  request.facts = true;
  return request;
}

PictureWire Header(uint32_t width, uint32_t height, uint32_t channels, uint32_t reserved = 0) {
  return {.width = width, .height = height, .channels = channels, .reserved = reserved};
}

absl::Status AddBytes(ResultReader& reader, std::size_t size_bytes) {
  return reader.Add(kPixelsTag, std::vector<std::byte>(size_bytes, std::byte{7}));
}

TEST(ResultReaderTest, TakesAPictureThatIsWhole) {
  ResultReader reader(PictureRequest());
  ASSERT_TRUE(reader.Add(kPictureTag, WireBytes(Header(4, 2, 3))).ok());
  EXPECT_TRUE(absl::IsDataLoss(reader.Finish()));
  ASSERT_TRUE(AddBytes(reader, 20).ok());
  EXPECT_TRUE(absl::IsDataLoss(reader.Finish()));
  ASSERT_TRUE(AddBytes(reader, 4).ok());
  ASSERT_TRUE(reader.Finish().ok());
  EXPECT_EQ(reader.picture()->width, 4u);
  EXPECT_EQ(reader.picture()->bytes, std::vector<uint8_t>(24, 7));
  EXPECT_TRUE(absl::IsDataLoss(AddBytes(reader, 1)));
}

TEST(ResultReaderTest, PromiseP7ResourcesAPictureBeyondTheRequestIsRefused) {
  for (const PictureWire& wire :
       {Header(5, 1, 3), Header(1, 4, 3), Header(0, 1, 3), Header(1, 0, 3), Header(kMax, kMax, 4),
        Header(1, 1, 0), Header(1, 1, 2), Header(1, 1, 5), Header(1, 1, kMax),
        Header(1, 1, 3, 1)}) {
    ResultReader reader(PictureRequest());
    EXPECT_TRUE(absl::IsDataLoss(reader.Add(kPictureTag, WireBytes(wire))));
    EXPECT_FALSE(reader.picture().has_value());
  }
  // A header costs nothing but itself: memory is taken as pixels come.
  ResultReader reader(PictureRequest());
  ASSERT_TRUE(reader.Add(kPictureTag, WireBytes(Header(4, 3, 4))).ok());
  EXPECT_EQ(reader.picture()->bytes.capacity(), 0u);
  EXPECT_TRUE(absl::IsDataLoss(AddBytes(reader, 49)));
  EXPECT_TRUE(absl::IsDataLoss(AddBytes(reader, 0)));
  EXPECT_TRUE(absl::IsDataLoss(reader.Add(kPictureTag, WireBytes(Header(4, 3, 4)))));
}

TEST(ResultReaderTest, WhatWasNotAskedForIsRefused) {
  ResultReader picture(PictureRequest());
  EXPECT_TRUE(absl::IsDataLoss(picture.Add(kFileTag, WireBytes(FileWire{}))));
  EXPECT_TRUE(absl::IsDataLoss(picture.Add(kStreamTag, WireBytes(StreamWire{}))));
  EXPECT_TRUE(absl::IsDataLoss(AddBytes(picture, 1)));
  EXPECT_TRUE(absl::IsDataLoss(picture.Add(99, {})));
  EXPECT_TRUE(absl::IsDataLoss(picture.Finish()));
  ResultReader facts(FactsRequest());
  EXPECT_TRUE(absl::IsDataLoss(facts.Add(kPictureTag, WireBytes(Header(1, 1, 3)))));
  EXPECT_TRUE(absl::IsDataLoss(facts.Finish()));
}

Text Said(const std::string& text) {
  Text out = {};
  for (std::size_t i = 0; i < text.size() && i < out.size(); ++i) out[i] = text[i];
  return out;
}

TEST(ResultReaderTest, TakesFactsWithAllTheirStreams) {
  ResultReader reader(FactsRequest());
  FileWire file = {};
  file.container = Said("matroska");
  file.streams = 2;
  ASSERT_TRUE(reader.Add(kFileTag, WireBytes(file)).ok());
  StreamWire stream = {};
  stream.codec = Said(std::string(40, 'x'));  // all of its 32 characters
  stream.flags = kCanBeDecoded;
  ASSERT_TRUE(reader.Add(kStreamTag, WireBytes(stream)).ok());
  EXPECT_TRUE(absl::IsDataLoss(reader.Finish()));
  ASSERT_TRUE(reader.Add(kStreamTag, WireBytes(stream)).ok());
  EXPECT_TRUE(absl::IsDataLoss(reader.Add(kStreamTag, WireBytes(stream))));
  ASSERT_TRUE(reader.Finish().ok());
  EXPECT_EQ(reader.facts()->streams[1].codec, std::string(32, 'x'));
  EXPECT_TRUE(reader.facts()->streams[1].can_be_decoded);
}

TEST(ResultReaderTest, TextsThatCannotBePrintedAreRefused) {
  for (const char bad : {'\x1b', '\n', '\x7f', '\x80', '\xff', '\x01'}) {
    ResultReader reader(FactsRequest());
    FileWire file = {};
    file.container = Said(std::string("ok") + bad);
    EXPECT_TRUE(absl::IsDataLoss(reader.Add(kFileTag, WireBytes(file))));
  }
  // Nothing hides behind the end of a text.
  ResultReader reader(FactsRequest());
  FileWire file = {};
  file.container[5] = 'x';
  EXPECT_TRUE(absl::IsDataLoss(reader.Add(kFileTag, WireBytes(file))));
  file = {};
  file.streams = 1;
  ASSERT_TRUE(reader.Add(kFileTag, WireBytes(file)).ok());
  for (Text StreamWire::* const text :
       {&StreamWire::codec, &StreamWire::profile, &StreamWire::format, &StreamWire::language,
        &StreamWire::primaries, &StreamWire::transfer, &StreamWire::matrix}) {
    StreamWire stream = {};
    (stream.*text)[31] = '\x1b';
    EXPECT_TRUE(absl::IsDataLoss(reader.Add(kStreamTag, WireBytes(stream))));
  }
}

TEST(ResultReaderTest, NumbersOutOfRangeAreRefused) {
  FileWire file = {};
  file.streams = kMaxStreams + 1;
  EXPECT_TRUE(absl::IsDataLoss(ResultReader(FactsRequest()).Add(kFileTag, WireBytes(file))));
  file = {};
  file.duration_ns = -1;
  EXPECT_TRUE(absl::IsDataLoss(ResultReader(FactsRequest()).Add(kFileTag, WireBytes(file))));
  ResultReader reader(FactsRequest());
  file = {};
  file.streams = 1;
  ASSERT_TRUE(reader.Add(kFileTag, WireBytes(file)).ok());
  for (uint32_t StreamWire::* const number :
       {&StreamWire::kind, &StreamWire::flags, &StreamWire::width, &StreamWire::height,
        &StreamWire::pixel_aspect_numerator, &StreamWire::pixel_aspect_denominator,
        &StreamWire::rotation_degrees, &StreamWire::rate_numerator, &StreamWire::rate_denominator,
        &StreamWire::sample_rate_hz, &StreamWire::channels, &StreamWire::reserved}) {
    StreamWire stream = {};
    stream.*number = kMax;
    EXPECT_TRUE(absl::IsDataLoss(reader.Add(kStreamTag, WireBytes(stream))));
  }
  for (int64_t StreamWire::* const number :
       {&StreamWire::duration_ns, &StreamWire::bits_per_second}) {
    StreamWire stream = {};
    stream.*number = -1;
    EXPECT_TRUE(absl::IsDataLoss(reader.Add(kStreamTag, WireBytes(stream))));
  }
}

}  // namespace
}  // namespace parley::thumb
