// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_JSON_H_
#define PARLEY_BENCH_JSON_H_

// Writes JSON, one value after the other; commas and quotes are put where they belong.
//
// Threads: one at a time.
//
//   JsonWriter json;
//   json.BeginObject().Key("ns").Number(3.9).Key("rows").BeginArray().EndArray().EndObject();

#include <string>
#include <string_view>
#include <vector>

namespace parley::bench {

class JsonWriter {
 public:
  JsonWriter& BeginObject();
  JsonWriter& EndObject();
  JsonWriter& BeginArray();
  JsonWriter& EndArray();
  JsonWriter& Key(std::string_view name);
  JsonWriter& String(std::string_view text);
  // What is not finite becomes null, for JSON has no word for it.
  JsonWriter& Number(double value);
  JsonWriter& Bool(bool value);

  // Complete once every Begin has its End.
  const std::string& text() const { return text_; }

 private:
  void BeforeValue();
  void Quote(std::string_view text);
  void NewLine();

  std::string text_;
  std::vector<bool> has_items_;  // by level
  bool after_key_ = false;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_JSON_H_
