// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/json.h"

#include <string>

#include "gtest/gtest.h"
#include "parley/thumb/facts.h"

namespace parley::thumb {
namespace {

TEST(ThumbJsonTest, AnyNameIsAStringOfAscii) {
  EXPECT_EQ(JsonString("a b"), "\"a b\"");
  EXPECT_EQ(JsonString("\"\\"), "\"\\\"\\\\\"");
  EXPECT_EQ(JsonString("\x1b[2J\n\x7f"), "\"\\u001b[2J\\u000a\\u007f\"");
  EXPECT_EQ(JsonString("\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\x9e"), "\"\\u00e9\\u20ac\\ud83c\\udf9e\"");
  // Overlong forms, halves of pairs, what ends too early, and C1 controls.
  EXPECT_EQ(JsonString("\xc0\xaf"), "\"\\ufffd\\ufffd\"");
  EXPECT_EQ(JsonString("\xe0\x80\xaf"), "\"\\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(JsonString("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(JsonString("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
  EXPECT_EQ(JsonString("\xe2\x82"), "\"\\ufffd\\ufffd\"");
  EXPECT_EQ(JsonString("\xc2\x9b"), "\"\\u009b\"");
}

TEST(ThumbJsonTest, WhatIsNotKnownIsLeftOut) {
  MediaFacts facts;
  facts.container = "ogg";
  facts.duration_ns = 1'500'000'000;
  facts.streams.resize(1);
  facts.streams[0].kind = StreamKind::kAudio;
  facts.streams[0].channels = 2;
  EXPECT_EQ(FactsToJson("a", 3, facts),
            "{\"file\":\"a\",\"bytes\":3,\"container\":\"ogg\",\"duration_seconds\":1.500000000,"
            "\"streams\":[{\"index\":0,\"kind\":\"audio\",\"decodable\":false,\"channels\":2}]}");
  EXPECT_EQ(ErrorToJson("a", "it is \"empty\""),
            "{\"file\":\"a\",\"error\":\"it is \\\"empty\\\"\"}");
}

}  // namespace
}  // namespace parley::thumb
