// SPDX-License-Identifier: Apache-2.0

// endure: hours of bad luck in minutes.
//
//   endure [--kills N] [--seconds S] [--seed N] [--only PART,...] [--json | --markdown]

#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/endurance/lane.h"
#include "parley/endurance/machine_clock.h"
#include "parley/endurance/options.h"
#include "parley/endurance/parts.h"
#include "parley/endurance/row.h"
#include "parley/sandbox/memory_group.h"

namespace parley::endurance {
namespace {

constexpr char kUsage[] =
    "usage: endure [flags]\n"
    "\n"
    "Real processes that live through what happens to their peers, and are measured before and\n"
    "after: descriptors, memory, mappings, how late a wait ended, and whether the next peers are\n"
    "served. A wait may end as late as a control process beside it, which has no peer, and 20 ms.\n"
    "The parts:\n"
    "  kills        either end killed with SIGKILL at random points of a session\n"
    "  stops        SIGSTOP and SIGCONT on both ends, during waits and handshakes\n"
    "  descriptors  RLIMIT_NOFILE reached while peers come and go\n"
    "  memory       memory control groups at their limit (root)\n"
    "  clocks       clocks that jump by an hour, for the processes of the test alone\n"
    "\n"
    "  --kills N      kills in total (10000)\n"
    "  --seconds S    length of each lane of the other parts (30)\n"
    "  --seed N       of all random choices (1); their timing is the machine's\n"
    "  --only PARTS   some of the parts, separated by commas\n"
    "  --jobs N       lanes at a time (as many as processors)\n"
    "  --set-clock    clocks: also set the machine's own clock, forwards and backwards by an hour\n"
    "                 in steps of milliseconds, and set it back. Every process sees it: for a\n"
    "                 machine that has nothing else to do\n"
    "  --growth KB    what a survivor's memory may grow by from beginning to end (1024)\n"
    "  --json         the result as JSON; --markdown: as for docs/ENDURANCE.md\n"
    "  --commit TEXT  what is said of the program in these\n"
    "  --help\n"
    "\n"
    "Exit status: 0 everything passed, or was skipped with a reason; 1 something did not;\n"
    "2 wrong usage; 130 interrupted.\n";

volatile sig_atomic_t g_interrupted = 0;
void OnInterrupt(int) { g_interrupted = 1; }

enum class Form { kTable, kJson, kMarkdown };

struct CommandLine {
  Options options;
  std::vector<std::string> parts;
  Form form = Form::kTable;
  int jobs = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  std::string commit = "not said";
  bool help = false;
};

bool ParseNumber(const std::string& text, int64_t least, int64_t* number) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, *number);
  return error == std::errc() && rest == end && *number >= least && *number <= 1'000'000'000;
}

bool ParseParts(const std::string& text, std::vector<std::string>* parts) {
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, comma - begin);
    bool known = false;
    for (const char* part : kPartNames) known = known || name == part;
    if (!known) return false;
    parts->push_back(name);
    begin = comma + 1;
  }
  return true;
}

// What is wrong with the value; empty: nothing.
bool ParseFlag(const std::string& flag, const std::string& value, CommandLine* line) {
  int64_t number = 0;
  if (flag == "--kills" && ParseNumber(value, 0, &number)) {
    line->options.kills = number;
  } else if (flag == "--seconds" && ParseNumber(value, 1, &number)) {
    line->options.time = absl::Seconds(number);
  } else if (flag == "--growth" && ParseNumber(value, 0, &number)) {
    line->options.growth_kb = number;
  } else if (flag == "--seed" && ParseNumber(value, 0, &number)) {
    line->options.seed = static_cast<uint64_t>(number);
  } else if (flag == "--jobs" && ParseNumber(value, 1, &number)) {
    line->jobs = static_cast<int>(number);
  } else if (flag == "--commit") {
    line->commit = value;
  } else {
    return flag == "--only" && ParseParts(value, &line->parts);
  }
  return true;
}

bool Parse(const std::vector<std::string>& arguments, CommandLine* line) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help") {
      line->help = true;
    } else if (argument == "--json") {
      line->form = Form::kJson;
    } else if (argument == "--markdown") {
      line->form = Form::kMarkdown;
    } else if (argument == "--set-clock") {
      line->options.set_clock = true;
    } else {
      const std::size_t equals = argument.find('=');
      const bool glued = equals != std::string::npos;
      if (!glued && i + 1 == arguments.size()) return false;
      const std::string value = glued ? argument.substr(equals + 1) : arguments[++i];
      if (!ParseFlag(argument.substr(0, equals), value, line)) return false;
    }
  }
  return true;
}

// A folder for socket files, gone with this object.
class Folder {
 public:
  Folder() {
    const char* base = std::getenv("TMPDIR");  // NOLINT(concurrency-mt-unsafe): one thread
    std::string path = std::string(base == nullptr ? "/tmp" : base) + "/endure-XXXXXX";
    if (::mkdtemp(path.data()) != nullptr) path_ = path;
  }
  Folder(const Folder&) = delete;
  ~Folder() {
    if (path_.empty()) return;
    ::nftw(
        path_.c_str(),
        [](const char* name, const struct stat*, int, FTW*) { return ::remove(name); }, 8,
        FTW_DEPTH | FTW_PHYS);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void ShowProgress(const std::vector<LaneProgress>& running, std::size_t finished,
                  std::size_t lanes) {
  std::string line = std::to_string(finished) + "/" + std::to_string(lanes) + " lanes";
  for (const LaneProgress& p : running) {
    const int64_t percent = p.total > 0 ? p.done * 100 / p.total : 0;
    line += "; " + p.lane->part + ", " + p.lane->name + " " + std::to_string(percent) + "%";
  }
  line.resize(std::min<std::size_t>(line.size(), 150));
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
}

void ShowRow(const Row& row, bool terminal) {
  std::fprintf(stderr, "%s%s %s, %s: %lld %s%s%s\n", terminal ? "\r\033[K" : "",
               ToString(row.verdict), row.part.c_str(), row.lane.c_str(),
               static_cast<long long>(row.count),  // NOLINT: for printf
               row.unit.c_str(), row.why.empty() ? "" : ": ", row.why.c_str());
}

int Run(CommandLine line, const std::string& command) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action = {};
    action.sa_handler = OnInterrupt;
    ::sigaction(number, &action, nullptr);
  }
  const Folder folder;
  if (folder.path().empty()) {
    std::fprintf(stderr, "endure: cannot make a folder: %s\n", std::strerror(errno));
    return 1;
  }
  line.options.folder = folder.path();
  line.options.tag = std::to_string(::getpid());
  const std::vector<LaneSpec> lanes = LanesOf(line.parts, line.options);
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  RunCallbacks callbacks;
  callbacks.interrupted = [] { return g_interrupted != 0; };
  callbacks.on_row = [&](const Row& row) { ShowRow(row, terminal); };
  if (terminal) {
    callbacks.on_progress = [&](const std::vector<LaneProgress>& running, std::size_t finished) {
      ShowProgress(running, finished, lanes.size());
    };
  }
  const MachineClock clock;
  const std::vector<Row> rows = RunLanes(lanes, line.options, line.jobs, callbacks);
  // The lane has set it back, unless it was killed.
  if (line.options.set_clock && absl::AbsDuration(clock.Offset()) > absl::Milliseconds(5)) {
    const absl::Status status = clock.Set(absl::ZeroDuration());
    if (!status.ok()) std::fprintf(stderr, "endure: %s\n", status.ToString().c_str());
  }
  RemoveMemoryGroups(line.options.tag);
  if (terminal) std::fputs("\r\033[K", stderr);
  const Setting setting = SettingOfThisMachine(command, line.commit);
  switch (line.form) {
    case Form::kTable:
      std::fputs(Table(rows).c_str(), stdout);
      break;
    case Form::kJson:
      std::fputs(Json(setting, rows).c_str(), stdout);
      break;
    case Form::kMarkdown:
      std::fputs(Markdown(setting, rows).c_str(), stdout);
      break;
  }
  if (g_interrupted != 0) {
    std::fprintf(stderr, "endure: interrupted; %zu of %zu lanes were finished\n", rows.size(),
                 lanes.size());
    return 130;
  }
  return ExitStatus(rows);
}

int Main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  CommandLine line;
  if (!Parse(arguments, &line)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  if (line.help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  std::string command = "endure";
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    // The commit has a line of its own.
    if (arguments[i] == "--commit") {
      ++i;
    } else if (arguments[i].rfind("--commit=", 0) != 0) {
      command += " " + arguments[i];
    }
  }
  return Run(std::move(line), command);
}

}  // namespace
}  // namespace parley::endurance

int main(int argc, char** argv) { return parley::endurance::Main(argc, argv); }
