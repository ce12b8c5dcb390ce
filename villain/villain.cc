// SPDX-License-Identifier: Apache-2.0

// villain: hostile peers that really run.
//
//   villain list
//   villain run [--json] [--naive] [--old-kernel] [--jobs=N] [CASE...]
//   villain attack [CASE...] --connect PATH | --listen PATH | --exec COMMAND...

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "parley/villain/attack.h"
#include "parley/villain/case.h"
#include "parley/villain/supervisor.h"

namespace parley::villain {
namespace {

constexpr char kUsage[] =
    "usage: villain list\n"
    "       villain run [--json] [--naive] [--old-kernel] [--jobs=N] [CASE|ROW...]\n"
    "       villain attack [--json] [--format=TEXT] [--patience=SECONDS] [--good-exit=N[,N...]]\n"
    "               [CASE|ROW...] --connect PATH | --listen PATH | --exec COMMAND...\n"
    "\n"
    "list  each attack: its name, its row of docs/ATTACKS.md, what it does and needs\n"
    "run   runs them against Parley's own ends (--naive: against careless ones, which must fail;\n"
    "        --old-kernel: without what Linux 6.1 does not have)\n"
    "attack  runs them against your own peer, which speaks Parley's handshake: it listens at PATH\n"
    "        (--connect), connects to PATH again and again (--listen), or is started for each "
    "case\n"
    "        with its socket's number in PARLEY_SOCKET (--exec). PASS: it did not crash, let go "
    "of\n"
    "        its peer, and served an honest one afterwards. A program that is started has to end\n"
    "        with a good exit code (--good-exit, default 0), without a sanitizer's report.\n"
    "\n"
    "Exit status: 0 all cases passed or were skipped with a reason; 1 at least one did not, or\n"
    "(attack) no attack could be mounted, which shows nothing; 2 wrong usage.\n";

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
              r.the_case->name, ToString(r.verdict), EndText(r.end),
              static_cast<long long>(r.elapsed_ms), static_cast<long long>(r.max_call_ms),
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
        {"verdict", Quoted(ToString(r.verdict))},
        {"why", Quoted(r.why)},
        {"end", Quoted(EndText(r.end))},
        {"attacker", Quoted(r.attacker)},
        {"victim", Quoted(r.victim)},
        {"exit", Quoted(r.exit)},
        {"elapsed_ms", number(r.elapsed_ms)},
        {"max_call_ms", number(r.max_call_ms)},
        {"max_late_ms", number(r.max_late_ms)},
        {"control_late_ms", number(r.control_late_ms)},
        {"taken_us", number(r.taken_us)},
        {"max_call_cpu_us", number(r.max_call_cpu_us)},
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

// A number given on the command line; what is none counts as one.
int AtLeastOne(const std::string& text) {
  return static_cast<int>(std::clamp(std::strtol(text.c_str(), nullptr, 10), 1L, 1'000'000L));
}

// "0,3".
bool ParseExits(const std::string& text, std::vector<int>* exits) {
  exits->clear();
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    int code = -1;
    const auto [rest, error] = std::from_chars(text.data() + begin, text.data() + comma, code);
    if (error != std::errc() || rest != text.data() + comma || code < 0 || code > 255) return false;
    exits->push_back(code);
    begin = comma + 1;
  }
  return true;
}

// Adds what a case's name or a row says; false if there is none.
bool Select(const std::string& name, std::vector<const Case*>* cases) {
  const std::size_t before = cases->size();
  for (const Case& c : AllCases()) {
    if (name == c.name || name == c.row) cases->push_back(&c);
  }
  if (cases->size() != before) return true;
  std::fprintf(stderr, "villain: no case or row \"%s\"; see villain list\n", name.c_str());
  return false;
}

// Prints what comes, in either form.
class Printer {
 public:
  Printer(bool json, std::size_t expected) : json_(json), expected_(expected) {
    if (json_) return;
    std::printf("%-4s %-24s %-6s %-16s %6s %6s %3s %3s %8s %6s %6s\n", "row", "case", "result",
                "victim", "ms", "call", "fd<", "fd>", "peak kB", "cpu", "wakes");
  }

  void Add(const Result& r) {
    ++counts_[static_cast<std::size_t>(r.verdict)];
    results_.push_back(r);
    if (!json_) {
      PrintLine(r);
    } else if (::isatty(STDERR_FILENO) != 0) {
      std::fprintf(stderr, "\r%zu/%zu ", results_.size(), expected_);
    }
  }

  // The exit status.
  int Finish() const {
    if (json_) PrintJson(results_);
    std::fprintf(json_ ? stderr : stdout, "%d passed, %d failed, %d wedged, %d skipped\n",
                 counts_[0], counts_[1], counts_[2], counts_[3]);
    return counts_[1] + counts_[2] == 0 ? 0 : 1;
  }
  const std::vector<Result>& results() const { return results_; }

 private:
  const bool json_;
  const std::size_t expected_;
  std::array<int, 4> counts_ = {};
  std::vector<Result> results_;
};

int Run(const std::vector<std::string>& arguments) {
  RunOptions options;
  bool json = false;
  std::vector<const Case*> cases;
  for (const std::string& argument : arguments) {
    if (argument == "--json") {
      json = true;
    } else if (argument == "--naive") {
      options.implementation = Implementation::kNaive;
    } else if (argument == "--old-kernel") {
      options.old_kernel = true;
    } else if (argument.rfind("--jobs=", 0) == 0) {
      options.jobs = AtLeastOne(argument.substr(7));
    } else if (!Select(argument, &cases)) {
      return 2;
    }
  }
  if (cases.empty()) {
    for (const Case& c : AllCases()) cases.push_back(&c);
  }
  Printer printer(json, cases.size());
  RunCases(cases, options, [&](const Result& r) { printer.Add(r); });
  return printer.Finish();
}

int Attack(const std::vector<std::string>& arguments) {
  Target target;
  bool json = false;
  std::vector<const Case*> chosen;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool has_value = i + 1 < arguments.size();
    if (argument == "--json") {
      json = true;
    } else if (argument.rfind("--format=", 0) == 0) {
      target.format = argument.substr(9);
    } else if (argument.rfind("--patience=", 0) == 0) {
      target.patience = absl::Seconds(AtLeastOne(argument.substr(11)));
    } else if (argument.rfind("--good-exit=", 0) == 0) {
      if (!ParseExits(argument.substr(12), &target.good_exits)) {
        std::fputs("villain: --good-exit takes codes from 0 to 255, separated by commas\n", stderr);
        return 2;
      }
    } else if (argument == "--connect" && has_value) {
      target.connect = arguments[++i];
    } else if (argument == "--listen" && has_value) {
      target.listen = arguments[++i];
    } else if (argument == "--exec" && has_value) {
      target.exec.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    } else if (!Select(argument, &chosen)) {
      return 2;
    }
  }
  const int targets = (target.connect.empty() ? 0 : 1) + (target.listen.empty() ? 0 : 1) +
                      (target.exec.empty() ? 0 : 1);
  if (targets != 1) {
    std::fputs("villain: one of --connect, --listen and --exec says whom to attack\n", stderr);
    return 2;
  }
  if (chosen.empty()) {
    for (const Case& c : AllCases()) chosen.push_back(&c);
  }
  std::vector<const Case*> cases;
  for (const Case* c : chosen) {
    if (Applies(*c, target)) cases.push_back(c);
  }
  Printer printer(json, cases.size());
  AttackAll(target, cases, [&](const Result& r) { printer.Add(r); });
  static_cast<void>(printer.Finish());
  std::string why;
  const int status = AttackExitStatus(printer.results(), &why);
  if (status != 0) std::fprintf(stderr, "villain: FAIL: %s\n", why.c_str());
  return status;
}

int Main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "list") return List();
  if (!arguments.empty() && arguments[0] == "run") {
    return Run({arguments.begin() + 1, arguments.end()});
  }
  if (!arguments.empty() && arguments[0] == "attack") {
    return Attack({arguments.begin() + 1, arguments.end()});
  }
  const bool asked = arguments.size() == 1 && arguments[0] == "--help";
  std::fputs(kUsage, asked ? stdout : stderr);
  return asked ? 0 : 2;
}

}  // namespace
}  // namespace parley::villain

int main(int argc, char** argv) { return parley::villain::Main(argc, argv); }
