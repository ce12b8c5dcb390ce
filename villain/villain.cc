// villain: hostile peers that really run.
//
//   villain list
//   villain run [--json] [--naive] [--jobs=N] [CASE...]

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "parley/villain/case.h"
#include "parley/villain/supervisor.h"

namespace parley::villain {
namespace {

constexpr char kUsage[] =
    "usage: villain list\n"
    "       villain run [--json] [--naive] [--jobs=N] [CASE|ROW...]\n"
    "\n"
    "list  each attack: its name, its row of docs/ATTACKS.md, what it does and needs\n"
    "run   runs them against Parley's own ends (--naive: against careless ones, which must fail)\n"
    "\n"
    "Exit status: 0 all cases passed or were skipped with a reason; 1 at least one did not;\n"
    "2 wrong usage.\n";

int List() {
  for (const Case& c : AllCases()) {
    std::printf("%-4s %-24s %s%s%s\n", c.row, c.name, c.sentence, *c.needs != 0 ? "; needs " : "",
                c.needs);
  }
  std::printf("%zu cases\n", AllCases().size());
  return 0;
}

std::string Quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      result += ' ';
    } else {
      result += c;
    }
  }
  return result + '"';
}

void PrintLine(const Result& r) {
  std::printf("%-4s %-24s %-6s %-16s %6lld %6lld %3d %3d %8lld %6lld %6lld  %s\n", r.the_case->row,
              r.the_case->name, VerdictText(r.verdict), EndText(r.end),
              static_cast<long long>(r.elapsed_ms), static_cast<long long>(r.longest_call_ms),
              r.before.descriptors, r.after.descriptors,
              static_cast<long long>(r.after.peak_resident_kb - r.before.peak_resident_kb),
              static_cast<long long>(r.after.cpu_ms - r.before.cpu_ms),
              static_cast<long long>(r.after.wake_ups - r.before.wake_ups),
              (r.verdict == Verdict::kPass ? r.attacker : r.why).c_str());
  std::fflush(stdout);
}

void PrintJson(const std::vector<Result>& results) {
  std::printf("[\n");
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Result& r = results[i];
    const auto number = [](int64_t n) { return std::to_string(n); };
    const std::vector<std::pair<const char*, std::string>> fields = {
        {"case", Quoted(r.the_case->name)},
        {"row", Quoted(r.the_case->row)},
        {"verdict", Quoted(VerdictText(r.verdict))},
        {"why", Quoted(r.why)},
        {"end", Quoted(EndText(r.end))},
        {"attacker", Quoted(r.attacker)},
        {"victim", Quoted(r.victim)},
        {"exit", Quoted(r.exit)},
        {"elapsed_ms", number(r.elapsed_ms)},
        {"longest_call_ms", number(r.longest_call_ms)},
        {"longest_late_ms", number(r.longest_late_ms)},
        {"calls", std::to_string(r.calls)},
        {"messages", std::to_string(r.messages)},
        {"descriptors_before", number(r.before.descriptors)},
        {"descriptors_after", number(r.after.descriptors)},
        {"mapped_kb_before", number(r.before.mapped_kb)},
        {"mapped_kb_after", number(r.after.mapped_kb)},
        {"resident_kb_before", number(r.before.resident_kb)},
        {"resident_kb_after", number(r.after.resident_kb)},
        {"peak_resident_kb", number(r.after.peak_resident_kb)},
        {"cpu_ms", number(r.after.cpu_ms - r.before.cpu_ms)},
        {"wake_ups", number(r.after.wake_ups - r.before.wake_ups)},
    };
    std::printf("  {");
    for (std::size_t f = 0; f < fields.size(); ++f) {
      std::printf("%s\"%s\": %s", f == 0 ? "" : ", ", fields[f].first, fields[f].second.c_str());
    }
    std::printf("}%s\n", i + 1 < results.size() ? "," : "");
  }
  std::printf("]\n");
}

int Run(const std::vector<std::string>& arguments) {
  RunOptions options;
  bool json = false;
  std::vector<const Case*> cases;
  for (const std::string& argument : arguments) {
    if (argument == "--json") {
      json = true;
    } else if (argument == "--naive") {
      options.implementation = Implementation::kNaive;
      options.slack = absl::Seconds(2);
    } else if (argument.rfind("--jobs=", 0) == 0) {
      options.jobs = std::max(1, std::atoi(argument.c_str() + 7));
    } else {
      const std::size_t before = cases.size();
      for (const Case& c : AllCases()) {
        if (argument == c.name || argument == c.row) cases.push_back(&c);
      }
      if (cases.size() == before) {
        std::fprintf(stderr, "villain: no case or row \"%s\"; see villain list\n",
                     argument.c_str());
        return 2;
      }
    }
  }
  if (cases.empty()) {
    for (const Case& c : AllCases()) cases.push_back(&c);
  }
  if (!json) {
    std::printf("%-4s %-24s %-6s %-16s %6s %6s %3s %3s %8s %6s %6s\n", "row", "case", "result",
                "victim", "ms", "call", "fd<", "fd>", "peak kB", "cpu", "wakes");
  }
  int counts[4] = {};
  std::size_t done = 0;
  const std::vector<Result> results = RunCases(cases, options, [&](const Result& r) {
    ++counts[static_cast<int>(r.verdict)];
    ++done;
    if (!json) PrintLine(r);
    if (json && ::isatty(STDERR_FILENO) != 0) {
      std::fprintf(stderr, "\r%zu/%zu ", done, cases.size());
    }
  });
  if (json) PrintJson(results);
  std::fprintf(json ? stderr : stdout, "%d passed, %d failed, %d wedged, %d skipped\n", counts[0],
               counts[1], counts[2], counts[3]);
  return counts[1] + counts[2] == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "list") return List();
  if (!arguments.empty() && arguments[0] == "run") {
    return Run({arguments.begin() + 1, arguments.end()});
  }
  const bool asked = arguments.size() == 1 && arguments[0] == "--help";
  std::fputs(kUsage, asked ? stdout : stderr);
  return asked ? 0 : 2;
}

}  // namespace
}  // namespace parley::villain

int main(int argc, char** argv) { return parley::villain::Main(argc, argv); }
