// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/hello/printable.h"

#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(PrintableTest, KeepsText) {
  EXPECT_EQ(Printable(""), "");
  EXPECT_EQ(Printable("Hello, world! ~\\"), "Hello, world! ~\\");
  EXPECT_EQ(Printable("na\u00efve \u65e5\u672c \U0001f600 \u00a0"),
            "na\u00efve \u65e5\u672c \U0001f600 \u00a0");
}

TEST(PrintableTest, WritesControlCharactersOut) {
  EXPECT_EQ(Printable("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(Printable("a\nb\r\t\x7f"), "a\\x0ab\\x0d\\x09\\x7f");
  EXPECT_EQ(Printable(std::string("\0", 1)), "\\x00");
  // The one-character forms of ESC [ and ESC ], in UTF-8 and as bare bytes.
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");
  EXPECT_EQ(Printable("\x9b"
                      "31m"),
            "\\x9b31m");
}

TEST(PrintableTest, WritesDirectionMarksOut) {
  EXPECT_EQ(Printable("a\u202eb"), "a\\xe2\\x80\\xaeb");
  EXPECT_EQ(Printable("a\u2066b\u061c"), "a\\xe2\\x81\\xa6b\\xd8\\x9c");
  EXPECT_EQ(Printable("\u2028"), "\\xe2\\x80\\xa8");
}

TEST(PrintableTest, WritesWhatIsNoUtf8Out) {
  EXPECT_EQ(Printable("\xc3"), "\\xc3");                             // cut
  EXPECT_EQ(Printable("\xc3(x"), "\\xc3(x");                         // no continuation
  EXPECT_EQ(Printable("\xc0\x9b"), "\\xc0\\x9b");                    // ESC, made too long
  EXPECT_EQ(Printable("\xe0\x82\x9b"), "\\xe0\\x82\\x9b");           // as well
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // half a surrogate pair
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond the last character
  EXPECT_EQ(Printable("\xf5\xff"), "\\xf5\\xff");
}

// Every string of three bytes out of those at the edges: no control byte, valid UTF-8, one line.
TEST(PrintableTest, AnyBytesComeOutHarmless) {
  const std::string edges("\x00\x1b\x20\x7e\x7f\x80\x9b\xbf\xc1\xc2\xe0\xe2\xed\xf0\xf4\xff", 16);
  for (const char a : edges) {
    for (const char b : edges) {
      for (const char c : edges) {
        const std::string shown = Printable({&a, 1}) + Printable(std::string{a, b, c});
        // What is harmless stays as it is the second time.
        EXPECT_EQ(Printable(shown), shown);
      }
    }
  }
}

}  // namespace
}  // namespace parley
