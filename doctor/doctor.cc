// SPDX-License-Identifier: Apache-2.0
#include "parley/doctor/doctor.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace parley {
namespace {

constexpr int kWorks = 0;
constexpr int kNoChannel = 1;
constexpr int kUsage = 2;
constexpr int kNoWorker = 3;

constexpr char kHelp[] =
    R"(Says whether Parley works here: in this kernel, container or sandbox, as this user, within
these limits.

  --json                  for programs
  --in-sandbox PROFILE    what a confined worker can do under that profile: %s
  --features              the list of what is asked for, as a table in Markdown
  --help                  this text

Each line is "works", "limited" or "MISSING"; where something is missing, what that costs and how to
get it. All questions are asked by the code that Parley uses: memory is sealed, a message goes
through a channel, a worker is confined and then tries to open a file.

Exit code: 0 channels and confined workers work here; 1 channels do not; 2 wrong arguments; 3
channels work and a worker cannot be confined.
)";

std::string_view Word(State state) {
  switch (state) {
    case State::kWorks:
      return "works";
    case State::kLimited:
      return "limited";
    case State::kMissing:
      break;
  }
  return "missing";
}

std::string_view Word(Need need) {
  switch (need) {
    case Need::kChannel:
      return "channel";
    case Need::kWorker:
      return "worker";
    case Need::kOptional:
      break;
  }
  return "optional";
}

std::string Padded(std::string text, size_t columns) {
  if (text.size() < columns) text.append(columns - text.size(), ' ');
  return text;
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> escape = {};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(c));
      quoted += escape.data();
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string Field(std::string_view name, std::string_view value) {
  return Quoted(name) + ": " + Quoted(value);
}

std::string Field(std::string_view name, bool value) {
  return Quoted(name) + ": " + (value ? "true" : "false");
}

// The verdict in one sentence.
std::string Verdict(const Diagnosis& diagnosis) {
  const auto first_missing = [&diagnosis](Need need) -> std::string {
    for (const Finding& finding : diagnosis.findings) {
      if (finding.feature->need == need && finding.state == State::kMissing) {
        return std::string(finding.feature->title) + ": " + finding.found;
      }
    }
    return "";
  };
  if (!diagnosis.channels_work) {
    return "Parley does not work here. Missing: " + first_missing(Need::kChannel);
  }
  if (!diagnosis.workers_work) {
    return "Channels work here, confined workers do not. Missing: " + first_missing(Need::kWorker);
  }
  int less = 0;
  for (const Finding& finding : diagnosis.findings) less += finding.state != State::kWorks;
  if (less == 0) return "Parley works here, with everything that it can use.";
  return "Parley works here: channels and confined workers. " + std::to_string(less) + " of " +
         std::to_string(diagnosis.findings.size()) + " features are missing or limited.";
}

int ExitCode(const Diagnosis& diagnosis) {
  if (!diagnosis.channels_work) return kNoChannel;
  return diagnosis.workers_work ? kWorks : kNoWorker;
}

// ---- --in-sandbox.

struct Outcome {
  std::string word;  // "works", "fails", "ends it"
  std::string how;
};

Outcome OutcomeOf(const WorkerAnswer& answer) {
  if (answer.error == 0) return {"works", ""};
  if (answer.error.has_value()) {
    return {"fails", std::strerror(*answer.error)};  // NOLINT(concurrency-mt-unsafe): one thread
  }
  return {"ends it", answer.report.ToString()};
}

int RunInSandbox(const std::string& profile, bool json, const SelfProgram& self) {
  std::string text;
  std::string list;
  std::string head;
  for (const Probe& probe : Probes()) {
    const absl::StatusOr<WorkerAnswer> answer = TryInWorker(self, profile, probe.id);
    if (!answer.ok() || !answer->locked_down.has_value()) {
      const std::string why =
          answer.ok() ? answer->why_not : std::string(answer.status().message());
      if (json) {
        std::printf("{%s, %s, %s}\n", Field("profile", profile).c_str(),
                    Field("confined", false).c_str(), Field("why", why).c_str());
      } else {
        std::printf("A worker cannot be confined here: %s\n", why.c_str());
      }
      return kNoWorker;
    }
    const Outcome outcome = OutcomeOf(*answer);
    if (head.empty()) {
      head = "Under the profile " + profile + " a worker is " + answer->locked_down->text + "; " +
             answer->wall.ToString() + ".\n";
    }
    text += "  " + Padded(outcome.word, 9) + probe.title +
            (outcome.how.empty() ? "" : ": " + outcome.how) + "\n";
    list += std::string(list.empty() ? "" : ",\n") + "    {" + Field("id", probe.id) + ", " +
            Field("title", probe.title) + ", " + Field("outcome", outcome.word) + ", " +
            Field("how", outcome.how) + "}";
  }
  if (json) {
    std::printf("{\n  %s,\n  %s,\n  %s,\n  \"tried\": [\n%s\n  ]\n}\n",
                Field("profile", profile).c_str(), Field("confined", true).c_str(),
                Field("report", head).c_str(), list.c_str());
  } else {
    std::printf("%s%s", head.c_str(), text.c_str());
  }
  return kWorks;
}

int Usage(const std::string& why) {
  std::fprintf(stderr, "doctor: %s; --help says more\n", why.c_str());
  return kUsage;
}

}  // namespace

std::string ToText(const Diagnosis& diagnosis) {
  std::string text = "Parley on " + diagnosis.system + "\n\n";
  for (const Finding& finding : diagnosis.findings) {
    const bool missing = finding.state == State::kMissing;
    text += Padded(missing ? "MISSING" : std::string(Word(finding.state)), 9);
    text += Padded(std::string(finding.feature->title) + ":", 66) + finding.found + "\n";
    if (finding.state == State::kWorks) continue;
    text += "         costs:   " + std::string(finding.feature->cost) + "\n";
    text += "         get it:  " + std::string(finding.feature->remedy);
    if (missing && !finding.feature->since.empty()) {
      text += " (" + std::string(finding.feature->since) + ")";
    }
    text += "\n";
  }
  return text + "\n" + Verdict(diagnosis) + "\n";
}

std::string ToJson(const Diagnosis& diagnosis) {
  std::string text = "{\n  " + Field("system", diagnosis.system) + ",\n  " +
                     Field("channels_work", diagnosis.channels_work) + ",\n  " +
                     Field("workers_work", diagnosis.workers_work) + ",\n  " +
                     Field("verdict", Verdict(diagnosis)) + ",\n  \"features\": [";
  bool first = true;
  for (const Finding& finding : diagnosis.findings) {
    text += first ? "\n" : ",\n";
    first = false;
    const Feature& feature = *finding.feature;
    text += "    {" + Field("id", feature.id) + ", " + Field("state", Word(finding.state)) + ", " +
            Field("needed_for", Word(feature.need)) + ", " + Field("title", feature.title) + ", " +
            Field("found", finding.found) + ", " + Field("since", feature.since) + ", " +
            Field("cost", feature.cost) + ", " + Field("remedy", feature.remedy) + "}";
  }
  return text + "\n  ]\n}\n";
}

std::string ThisProgram(const std::string& otherwise) {
  std::string path(4096, '\0');
  const ssize_t size_bytes = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size_bytes <= 0) return otherwise;
  path.resize(static_cast<size_t>(size_bytes));
  return path;
}

int RunDoctor(const std::vector<std::string>& arguments, const SelfProgram& self) {
  if (arguments.size() == 3 && arguments[0] == kWorkerFlag) {
    return WorkerMain(arguments[1], arguments[2]);
  }
  bool json = false;
  std::string profile;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      std::printf(kHelp, ProfileWords().c_str());  // NOLINT: a constant of ours
      return kWorks;
    }
    if (argument == "--features") {
      std::printf("%s", FeatureTable().c_str());
      return kWorks;
    }
    if (argument == "--json") {
      json = true;
    } else if (argument == "--in-sandbox") {
      if (++i == arguments.size()) return Usage("--in-sandbox wants a profile: " + ProfileWords());
      profile = arguments[i];
      if (!IsProfile(profile)) {
        return Usage("no profile '" + profile + "'; there are: " + ProfileWords());
      }
    } else {
      return Usage("no argument '" + argument + "'");
    }
  }
  if (!profile.empty()) return RunInSandbox(profile, json, self);
  const Diagnosis diagnosis = Examine(self);
  std::printf("%s", json ? ToJson(diagnosis).c_str() : ToText(diagnosis).c_str());
  return ExitCode(diagnosis);
}

}  // namespace parley
