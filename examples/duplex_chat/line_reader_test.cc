// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/duplex_chat/line_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"

namespace parley {
namespace {

struct LineReaderTest : ::testing::Test {
  LineReaderTest() {
    std::array<int, 2> ends;
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    in.Reset(ends[0]);
    out.Reset(ends[1]);
  }
  void Type(const std::string& text) {
    ASSERT_EQ(::write(out.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  UniqueFd in;
  UniqueFd out;
};

TEST_F(LineReaderTest, OneLineAtATime) {
  LineReader reader(in.get(), 100);
  EXPECT_EQ(reader.TakeLine(), std::nullopt);
  Type("one\n\ntw");
  reader.Read();
  EXPECT_EQ(reader.TakeLine(), "one");
  EXPECT_EQ(reader.TakeLine(), "");
  EXPECT_EQ(reader.TakeLine(), std::nullopt);
  Type("o\n");
  reader.Read();
  EXPECT_EQ(reader.TakeLine(), "two");
  EXPECT_EQ(reader.TakeLine(), std::nullopt);
  EXPECT_FALSE(reader.at_end());
}

TEST_F(LineReaderTest, TheLastLineMayLackItsEnd) {
  LineReader reader(in.get(), 100);
  Type("one\nlast");
  reader.Read();
  out.Reset();
  reader.Read();
  EXPECT_TRUE(reader.at_end());
  EXPECT_EQ(reader.TakeLine(), "one");
  EXPECT_EQ(reader.TakeLine(), "last");
  EXPECT_EQ(reader.TakeLine(), std::nullopt);
}

TEST_F(LineReaderTest, LongLinesComeInPieces) {
  LineReader reader(in.get(), 4);
  Type("12345678\n1234\n123");
  reader.Read();
  EXPECT_EQ(reader.TakeLine(), "1234");
  EXPECT_EQ(reader.TakeLine(), "5678");
  EXPECT_EQ(reader.TakeLine(), "1234");
  EXPECT_EQ(reader.TakeLine(), std::nullopt);
}

TEST_F(LineReaderTest, TheEndOfAFullLineThatComesLaterIsNoLine) {
  LineReader reader(in.get(), 4);
  Type("1234");
  reader.Read();
  EXPECT_EQ(reader.TakeLine(), "1234");
  EXPECT_EQ(reader.TakeLine(), std::nullopt);
  Type("\n\n5\n");
  reader.Read();
  EXPECT_EQ(reader.TakeLine(), "");
  EXPECT_EQ(reader.TakeLine(), "5");
  EXPECT_EQ(reader.TakeLine(), std::nullopt);
}

TEST_F(LineReaderTest, NothingYetIsNotTheEndAndABadDescriptorIs) {
  LineReader reader(in.get(), 4);
  reader.Read();
  EXPECT_FALSE(reader.at_end());
  LineReader bad(-1, 4);
  bad.Read();
  EXPECT_TRUE(bad.at_end());
  EXPECT_EQ(bad.TakeLine(), std::nullopt);
}

}  // namespace
}  // namespace parley
