// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/json.h"

#include <limits>

#include "gtest/gtest.h"

namespace parley::bench {
namespace {

std::string Flat(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c != '\n') result += c;
  }
  return result;
}

TEST(JsonTest, CommasStandBetweenValuesAndNowhereElse) {
  JsonWriter json;
  json.BeginObject().Key("a").Number(1).Key("b").BeginArray();
  json.Number(2.5).String("x").BeginObject().EndObject().BeginArray().EndArray().Bool(true);
  json.EndArray().Key("c").BeginObject().Key("d").Bool(false).EndObject().EndObject();
  EXPECT_EQ(Flat(json.text()), R"({"a": 1,"b": [2.5,"x",{},[],true],"c": {"d": false}})");
}

TEST(JsonTest, QuotesWhatWouldEndAString) {
  JsonWriter json;
  json.BeginArray().String("a\"b\\c\nd\x01 \u00e9").EndArray();
  EXPECT_EQ(Flat(json.text()), "[\"a\\\"b\\\\c\\u000ad\\u0001 \u00e9\"]");
}

TEST(JsonTest, NumbersKeepTheirDigitsAndInfinityIsNull) {
  JsonWriter json;
  json.BeginArray().Number(3.875).Number(1e9 + 1).Number(-0.001);
  json.Number(std::numeric_limits<double>::infinity()).EndArray();
  EXPECT_EQ(Flat(json.text()), "[3.875,1000000001,-0.001,null]");
}

}  // namespace
}  // namespace parley::bench
