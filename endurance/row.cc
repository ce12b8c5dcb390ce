// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/row.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

namespace parley::endurance {
namespace {

double Ms(int64_t ns) { return static_cast<double>(ns) / 1e6; }

// "12 -> 12".
std::string FromTo(int64_t from, int64_t to) {
  return std::to_string(from) + " -> " + std::to_string(to);
}

std::string OutOf(int64_t got, int64_t of) { return absl::StrFormat("%d/%d", got, of); }

// The columns that all three forms have.
std::vector<std::pair<const char*, std::string>> Columns(const Row& r) {
  if (r.verdict == Verdict::kSkip) return {};
  return {
      {"survivors", OutOf(r.survivors, r.survivors_of)},
      {"descriptors", FromTo(r.before.descriptors, r.after.descriptors)},
      {"resident kB", FromTo(r.before.resident_kb, r.after.resident_kb)},
      {"mapped kB", FromTo(r.before.mapped_kb, r.after.mapped_kb)},
      {"regions", FromTo(r.before.memfd_mappings, r.after.memfd_mappings)},
      {"longest call ms", absl::StrFormat("%.1f", Ms(r.max_call_ns))},
      {"late by at most ms", absl::StrFormat("%.1f", Ms(r.max_late_ns))},
      {"served after", OutOf(r.served, r.served_of)},
      {"seconds", absl::StrFormat("%.1f", static_cast<double>(r.elapsed_ms) / 1e3)},
  };
}

Row Sum(Row sum, const Row& r) {
  sum.count += r.count;
  sum.survivors += r.survivors;
  sum.survivors_of += r.survivors_of;
  for (const auto& [to, from] :
       {std::pair(&sum.before, &r.before), std::pair(&sum.after, &r.after)}) {
    to->descriptors += from->descriptors;
    to->memfd_mappings += from->memfd_mappings;
    to->mapped_kb += from->mapped_kb;
    to->resident_kb += from->resident_kb;
  }
  sum.max_call_ns = std::max(sum.max_call_ns, r.max_call_ns);
  sum.max_late_ns = std::max(sum.max_late_ns, r.max_late_ns);
  sum.served += r.served;
  sum.served_of += r.served_of;
  sum.elapsed_ms += r.elapsed_ms;
  if (r.verdict == Verdict::kFail) sum.verdict = Verdict::kFail;
  return sum;
}

// With a row for the whole of each part whose lanes did the same thing.
std::vector<Row> WithSums(const std::vector<Row>& rows) {
  std::vector<Row> result;
  for (std::size_t i = 0; i < rows.size();) {
    std::size_t end = i;
    bool same = true;
    Row sum;
    sum.part = rows[i].part;
    sum.lane = "all of these";
    sum.unit = rows[i].unit;
    sum.verdict = Verdict::kPass;
    for (; end < rows.size() && rows[end].part == sum.part; ++end) {
      same = same && rows[end].unit == sum.unit && rows[end].verdict != Verdict::kSkip;
      sum = Sum(std::move(sum), rows[end]);
      result.push_back(rows[end]);
    }
    if (same && end - i > 1) result.push_back(std::move(sum));
    i = end;
  }
  return result;
}

std::string Quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return result + '"';
}

std::string Figures(const Row& r, const char* between) {
  std::string text;
  for (const auto& [name, value] : r.figures) {
    if (!text.empty()) text += between;
    text += name + " " + std::to_string(value);
  }
  return text;
}

// The value after the colon of the first line that begins with `name`.
std::string FieldOf(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(name, 0) != 0) continue;
    const std::size_t colon = line.find(':');
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return colon == std::string::npos || begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

}  // namespace

const char* ToString(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "PASS";
    case Verdict::kFail:
      return "FAIL";
    case Verdict::kSkip:
      return "SKIP";
  }
  return "?";
}

Setting SettingOfThisMachine(const std::string& command, const std::string& commit) {
  Setting setting{command, commit, "", ""};
  utsname kernel = {};
  ::uname(&kernel);
  // Without what whoever built it called it.
  std::string release = kernel.release;
  release.resize(std::min(release.find_first_not_of("0123456789."), release.size()));
  const std::string processor = FieldOf("/proc/cpuinfo", "model name");
  setting.machine = absl::StrFormat("%s %s, %ld processors%s, memory %s, compiler " __VERSION__,
                                    kernel.sysname, release, ::sysconf(_SC_NPROCESSORS_ONLN),
                                    processor.empty() ? "" : (" (" + processor + ")"),
                                    FieldOf("/proc/meminfo", "MemTotal"));
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  std::array<char, 32> date = {};
  if (::gmtime_r(&now, &utc) != nullptr &&
      std::strftime(date.data(), date.size(), "%Y-%m-%d %H:%M UTC", &utc) != 0) {
    setting.date = date.data();
  }
  return setting;
}

int ExitStatus(const std::vector<Row>& rows) {
  for (const Row& r : rows) {
    if (r.verdict == Verdict::kFail) return 1;
    if (r.verdict == Verdict::kSkip && r.why.empty()) return 1;
  }
  return rows.empty() ? 1 : 0;
}

std::string Table(const std::vector<Row>& rows) {
  std::string text = absl::StrFormat("%-8s %-46s %-4s %18s %4s %10s %16s %16s %8s %8s %7s %6s\n",
                                     "part", "lane", "", "done", "live", "fds", "resident kB",
                                     "mapped kB", "call ms", "late ms", "served", "s");
  std::string details;
  for (const Row& r : WithSums(rows)) {
    const std::string name = r.part + ", " + r.lane;
    if (r.verdict == Verdict::kSkip) {
      text += absl::StrFormat("%-8s %-46s SKIP %s\n", r.part, r.lane, r.why);
      continue;
    }
    text += absl::StrFormat(
        "%-8s %-46s %-4s %18s %4s %10s %16s %16s %8.1f %8.1f %7s %6.1f\n", r.part, r.lane,
        ToString(r.verdict), (std::to_string(r.count) + " " + r.unit),
        OutOf(r.survivors, r.survivors_of), FromTo(r.before.descriptors, r.after.descriptors),
        FromTo(r.before.resident_kb, r.after.resident_kb),
        FromTo(r.before.mapped_kb, r.after.mapped_kb), Ms(r.max_call_ns), Ms(r.max_late_ns),
        OutOf(r.served, r.served_of), static_cast<double>(r.elapsed_ms) / 1e3);
    if (!r.why.empty()) text += "         " + r.why + "\n";
    if (!r.figures.empty()) details += name + ": " + Figures(r, ", ") + "\n";
  }
  return text + "\n" + details;
}

std::string Json(const Setting& setting, const std::vector<Row>& rows) {
  std::string text = "{\"command\": " + Quoted(setting.command) +
                     ", \"commit\": " + Quoted(setting.commit) +
                     ", \"machine\": " + Quoted(setting.machine) +
                     ", \"date\": " + Quoted(setting.date) + ", \"lanes\": [";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    const std::vector<std::pair<const char*, std::string>> fields = {
        {"part", Quoted(r.part)},
        {"lane", Quoted(r.lane)},
        {"verdict", Quoted(ToString(r.verdict))},
        {"why", Quoted(r.why)},
        {"unit", Quoted(r.unit)},
        {"count", std::to_string(r.count)},
        {"survivors", std::to_string(r.survivors)},
        {"survivors_of", std::to_string(r.survivors_of)},
        {"descriptors_before", std::to_string(r.before.descriptors)},
        {"descriptors_after", std::to_string(r.after.descriptors)},
        {"resident_kb_before", std::to_string(r.before.resident_kb)},
        {"resident_kb_after", std::to_string(r.after.resident_kb)},
        {"mapped_kb_before", std::to_string(r.before.mapped_kb)},
        {"mapped_kb_after", std::to_string(r.after.mapped_kb)},
        {"regions_before", std::to_string(r.before.memfd_mappings)},
        {"regions_after", std::to_string(r.after.memfd_mappings)},
        {"max_call_ns", std::to_string(r.max_call_ns)},
        {"max_late_ns", std::to_string(r.max_late_ns)},
        {"served", std::to_string(r.served)},
        {"served_of", std::to_string(r.served_of)},
        {"elapsed_ms", std::to_string(r.elapsed_ms)},
    };
    text += i == 0 ? "\n  {" : ",\n  {";
    for (const auto& [name, value] : fields) text += Quoted(name) + ": " + value + ", ";
    text += "\"figures\": {";
    for (std::size_t f = 0; f < r.figures.size(); ++f) {
      text += (f == 0 ? "" : ", ") + Quoted(r.figures[f].first) + ": " +
              std::to_string(r.figures[f].second);
    }
    text += "}}";
  }
  return text + "\n]}\n";
}

std::string Markdown(const Setting& setting, const std::vector<Row>& rows) {
  std::string text = "Command: `" + setting.command + "`  \nCommit: " + setting.commit +
                     "  \nMachine: " + setting.machine + "  \nDate: " + setting.date + "\n\n";
  Row any;
  any.verdict = Verdict::kPass;
  const auto names = Columns(any);
  text += "| part | lane | done |";
  std::string rule = "|---|---|---|";
  for (const auto& [name, value] : names) {
    text += std::string(" ") + name + " |";
    rule += "---|";
  }
  text += " verdict |\n" + rule + "---|\n";
  for (const Row& r : WithSums(rows)) {
    text += "| " + r.part + " | " + r.lane + " |";
    if (r.verdict == Verdict::kSkip) {
      for (std::size_t i = 0; i <= names.size(); ++i) text += " |";
      text += " SKIP: " + r.why + " |\n";
      continue;
    }
    text += " " + std::to_string(r.count) + " " + r.unit + " |";
    for (const auto& [name, value] : Columns(r)) text += " " + value + " |";
    text += std::string(" ") + ToString(r.verdict) + (r.why.empty() ? "" : ": " + r.why) + " |\n";
  }
  text += "\n";
  for (const Row& r : rows) {
    if (!r.figures.empty()) {
      text += "* " + r.part + ", " + r.lane + ": " + Figures(r, "; ") + ".\n";
    }
  }
  return text;
}

}  // namespace parley::endurance
