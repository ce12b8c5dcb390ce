// SPDX-License-Identifier: Apache-2.0

// icon_outfuzz as a user runs it: arguments, files, exit codes, Ctrl-C.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace {

namespace fs = std::filesystem;

const char kProgram[] = "outfuzz/icon_outfuzz";
const char kCorpus[] = "outfuzz/corpus/icon";

std::string Content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class OutfuzzTest : public ::testing::Test {
 protected:
  OutfuzzTest() {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }

  pid_t Start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kProgram);
    arguments.push_back("--artifacts=" + Found().string());
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const std::string out = folder_ / "out", err = folder_ / "err";
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(::open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), 1);
      ::dup2(::open(err.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), 2);
      ::execv(kProgram, pointers.data());
      ::_exit(99);
    }
    return pid;
  }
  static int Wait(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int Run(std::vector<std::string> arguments) { return Wait(Start(std::move(arguments))); }

  std::string Out() const { return Content(folder_ / "out"); }
  std::string Err() const { return Content(folder_ / "err"); }
  fs::path Found() const { return folder_ / "found"; }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    if (!fs::exists(Found())) return names;
    for (const auto& entry : fs::directory_iterator(Found())) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::string Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  const fs::path folder_ =
      fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(OutfuzzTest, TheSeedsDoNoHarm) {
  EXPECT_EQ(Run({"--runs=5", kCorpus}), 0) << Out() << Err();
  EXPECT_NE(Out().find("ran      5 inputs"), std::string::npos) << Out();
  EXPECT_FALSE(fs::exists(Found()));
}

TEST_F(OutfuzzTest, FindsTheBugsAndSavesInputsThatShowThemAgain) {
  EXPECT_EQ(Run({"--runs=2500", "--time=0", "--seed=4", "--timeout=2s", kCorpus}), 3)
      << Out() << Err();
  std::vector<std::string> kinds;
  for (const std::string& file : Files()) kinds.push_back(file.substr(0, file.find('-')));
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  EXPECT_EQ(kinds, (std::vector<std::string>{"crash", "hang", "violation"}));
  EXPECT_LE(Files().size(), 100u);
  const std::string lines = Out();
  EXPECT_NE(lines.find("ran      2500 inputs"), std::string::npos) << lines;

  // Each file alone gives the verdict that its name says, unless its line told otherwise.
  for (const std::string& file : Files()) {
    const bool alone = !std::regex_search(lines, std::regex(file + "\n  not by this input alone"));
    EXPECT_EQ(Run({"--runs=1", Found() / file}), alone ? 3 : 0) << file;
    const std::string verdict = file.substr(0, file.find('-')) + ", input 0: ";
    EXPECT_EQ(Out().find(verdict) == 0, alone) << file << "\n" << Out();
  }
}

TEST_F(OutfuzzTest, ACorruptedWorkersWholeLifeCanBeRunAgain) {
  const std::string good = Write("good", "ICONP3abcD40000");
  const std::string corrupting = Write("corrupting", "ICONCH" + std::string(24, 'x'));
  const std::string bad = Write("bad", "ICONP3abcD11");
  const std::vector<std::string> files = {bad, good, corrupting, good, good};
  std::vector<std::string> arguments = {"--runs=5", "--seed=9"};
  arguments.insert(arguments.end(), files.begin(), files.end());
  EXPECT_EQ(Run(arguments), 3);
  std::smatch found;
  const std::string lines = Out();
  ASSERT_TRUE(std::regex_search(
      lines, found,
      std::regex("\n(crash, input 3: .*)\n  not by this input alone: .* by --seed=9 (--first=1) "
                 "(--runs=3)\n")))
      << lines;
  arguments = {"--seed=9", found[2], found[3]};
  arguments.insert(arguments.end(), files.begin(), files.end());
  EXPECT_EQ(Run(arguments), 3);
  EXPECT_EQ(Out().find(found[1]), 0u) << found[1] << "\n" << Out();
}

TEST_F(OutfuzzTest, EachVerdictHasItsSentence) {
  const std::string crash = Write("crash", "ICONP3abcD11");
  const std::string hang = Write("hang", "ICONP3abcR200");
  const std::string violation = Write("violation", "ICONF:/etc/hosts");
  EXPECT_EQ(Run({"--runs=3", crash, hang, violation}), 3);
  EXPECT_TRUE(std::regex_search(
      Out(), std::regex("crash, input 0: was killed by signal 11 \\(Segmentation fault\\); .*\n"
                        "hang, input 1: no answer for 1s; .*\n"
                        "violation, input 2: openat; .*\n")))
      << Out();
  EXPECT_NE(Out().find("found    crash 1, hang 1, violation 1, hostile 0, 3 saved"),
            std::string::npos)
      << Out();
}

TEST_F(OutfuzzTest, FilesOfOneCauseHaveALimit) {
  std::vector<std::string> arguments = {"--runs=20"};
  for (char c = 'a'; c < 'a' + 20; ++c) {
    arguments.push_back(Write(std::string("seed_") + c, std::string("ICONP3abcD11") + c));
  }
  EXPECT_EQ(Run(arguments), 3);
  EXPECT_NE(Out().find("found    crash 20, hang 0, violation 0, hostile 0, 3 saved"),
            std::string::npos)
      << Out();
  EXPECT_EQ(Files().size(), 3u);
}

// The number of its child; empty: it ended without one.
std::string AwaitWorkerOf(pid_t pid) {
  const std::string task = "/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid);
  std::string worker;
  int status = 0;
  while (worker.empty() && ::waitpid(pid, &status, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::istringstream(Content(task + "/children")) >> worker;
  }
  return worker;
}

TEST_F(OutfuzzTest, AnInterruptEndsItWithASummaryAndNoWorkerLeft) {
  const std::string hang = Write("hang", "ICONP3abcR200");
  const pid_t pid = Start({"--timeout=1h", "--time=0", hang});
  const std::string worker = AwaitWorkerOf(pid);
  ASSERT_FALSE(worker.empty()) << Err();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ::kill(pid, SIGINT);
  EXPECT_EQ(Wait(pid), 130) << Err();
  EXPECT_NE(Out().find("ran      0 inputs"), std::string::npos) << Out();
  EXPECT_FALSE(fs::exists("/proc/" + worker));
}

TEST_F(OutfuzzTest, TheWorkerDiesWithASupervisorThatIsKilled) {
  const std::string hang = Write("hang", "ICONP3abcR200");
  const pid_t pid = Start({"--timeout=1h", "--time=0", hang});
  const std::string worker = AwaitWorkerOf(pid);
  ASSERT_FALSE(worker.empty()) << Err();
  ::kill(pid, SIGKILL);
  EXPECT_EQ(Wait(pid), -SIGKILL);
  // Gone, or dead and waiting for whoever inherited it.
  const auto alive = [&] {
    const std::string stat = Content("/proc/" + worker + "/stat");
    return !stat.empty() && stat.find(") Z ") == std::string::npos;
  };
  for (int i = 0; i < 1000 && alive(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_FALSE(alive());
}

TEST_F(OutfuzzTest, AnEndByTimeIsNoFault) {
  EXPECT_EQ(Run({"--time=200ms", "--inputs_per_worker=1", Write("seed", "ICON")}), 0)
      << Out() << Err();
}

TEST_F(OutfuzzTest, ComparesWithForkPerInput) {
  EXPECT_EQ(Run({"--compare", "--time=8s", kCorpus}), 0) << Out() << Err();
  const std::string out = Out();
  const auto ratio = [&](const std::string& way) {
    std::smatch found;
    if (!std::regex_search(
            out, found, std::regex("\n" + way + " +\\d+ +\\d+ +[0-9.]+ +[0-9.]+ +([0-9.]+)\n"))) {
      ADD_FAILURE() << way << " is not in\n" << out;
      return 0.0;
    }
    return std::stod(found[1]);
  };
  EXPECT_EQ(ratio("fork per input, not confined"), 1.0);
  // In processor time. What the design is about; by how much depends on the machine.
  EXPECT_GT(ratio("one confined worker, inputs over the channel"), 1.0) << out;
  EXPECT_LT(ratio("fork per input, confined alike"), 1.0) << out;
  EXPECT_GT(ratio("new confined worker per input"), 0.0) << out;
}

TEST_F(OutfuzzTest, WrongUseIsTold) {
  EXPECT_EQ(Run({}), 2);
  EXPECT_NE(Err().find("--help"), std::string::npos);
  EXPECT_EQ(Run({"--max_len=0", kCorpus}), 2);
  EXPECT_EQ(Run({"--compare", "--time=0", kCorpus}), 2);
  EXPECT_EQ(Run({"--no_such_flag", kCorpus}), 1);
  EXPECT_EQ(Run({folder_ / "missing"}), 1);
  EXPECT_NE(Err().find("missing"), std::string::npos);
  EXPECT_EQ(Run({"--max_len=3", Write("long", "four")}), 1);
  EXPECT_NE(Err().find("--max_len"), std::string::npos);
}

TEST_F(OutfuzzTest, HelpTellsOfEachFlagAndTheExitCodes) {
  Run({"--help"});
  const std::string help = Out() + Err();
  for (const char* word :
       {"--runs", "--time", "--seed", "--first", "--artifacts", "--timeout", "--max_len",
        "--memory_mib", "--inputs_per_worker", "--compare", "Exit codes"}) {
    EXPECT_NE(help.find(word), std::string::npos) << word << "\n" << help;
  }
}

TEST_F(OutfuzzTest, AFindingThatCannotBeSavedIsTrouble) {
  Write("found", "a file, where the folder should be");
  EXPECT_EQ(Run({"--runs=1", Write("crash", "ICONP3abcD11")}), 1);
  EXPECT_NE(Err().find("found"), std::string::npos) << Err();
}

TEST_F(OutfuzzTest, AWorkerIsNotForHands) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execl(kProgram, kProgram, "--outfuzz-worker", nullptr);
    ::_exit(99);
  }
  EXPECT_EQ(Wait(pid), 2);
}

}  // namespace
