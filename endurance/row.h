// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_ROW_H_
#define PARLEY_ENDURANCE_ROW_H_

// What one lane found, and how it is printed.
//
//   std::printf("%s", Table(rows).c_str());

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parley/villain/process.h"

namespace parley::endurance {

enum class Verdict : uint32_t { kPass, kFail, kSkip };
const char* ToString(Verdict verdict);

struct Row {
  std::string part;  // "kills"
  std::string lane;  // "connecting side dies, socket, abstract name"
  std::string unit;  // "kills"
  int64_t count = 0;
  Verdict verdict = Verdict::kFail;
  std::string why;  // of the verdict, where it is not PASS
  // Of the survivors together.
  int survivors = 0;
  int survivors_of = 0;
  villain::Footprint before;
  villain::Footprint after;
  int64_t max_call_ns = 0;
  int64_t max_late_ns = 0;  // after its deadline
  int64_t served = 0;       // peers, afterwards
  int64_t served_of = 0;
  int64_t elapsed_ms = 0;
  std::vector<std::pair<std::string, int64_t>> figures;
};

// Under what circumstances; for the record.
struct Setting {
  std::string command;
  std::string commit;
  std::string machine;
  std::string date;
};
// `commit` as given; the rest is looked up.
Setting SettingOfThisMachine(const std::string& command, const std::string& commit);

// 0: each row passed, or was skipped with a reason; 1: one did not.
int ExitStatus(const std::vector<Row>& rows);

std::string Table(const std::vector<Row>& rows);
std::string Json(const Setting& setting, const std::vector<Row>& rows);
std::string Markdown(const Setting& setting, const std::vector<Row>& rows);

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_ROW_H_
