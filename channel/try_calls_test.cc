// SPDX-License-Identifier: Apache-2.0

// Reads the Try calls as the compiler made them, by disassembling this program: they have no loop,
// no lock, and no call but the copy routine and the doorbell (or, where there was nothing to do,
// the question whether the peer is still there). So each takes a bounded number of
// instructions, and the bound is counted. All paths are walked, the slow ones and those of our
// caller's bugs too; functions of ours that are called are walked like the caller's own code.
// BUILD.bazel compiles the sources with each level of optimisation that is in use, and ./dev check
// with both compilers.

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/copy.h"
#include "parley/os/check.h"
#include "parley/os/relax.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/typed_ring.h"
#include "parley/testing/sanitizers.h"
#include "parley/wait/eventfd_doorbell.h"
#include "parley/wait/futex_doorbell.h"
#include "parley/wait/socket_doorbell.h"
#include "parley/wait/waiter.h"

namespace parley {

// So that they are in this program, with this file's level of optimisation.
template class TypedProducer<std::byte>;
template class TypedConsumer<std::byte>;
template class TypedProducer<uint64_t>;
template class TypedConsumer<uint64_t>;

// What must be found, and what must not.
namespace specimen {

#define PARLEY_SPECIMEN [[gnu::noinline, gnu::used]]

volatile uint64_t shared[16];
std::atomic<uint64_t> counter;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
uint64_t (*volatile chosen_by_data)(uint64_t);

PARLEY_SPECIMEN void WaitsForAWord() {
  while (shared[0] == 0) {
  }
}
PARLEY_SPECIMEN uint64_t SumsUp(std::size_t count) {
  uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += shared[i % 16];
  return sum;
}
PARLEY_SPECIMEN uint64_t LoopsInACallee(std::size_t count) {
  return shared[1] == 7 ? SumsUp(count) + 1 : 0;
}
PARLEY_SPECIMEN uint64_t CallsItself(uint64_t depth) {
  const uint64_t before = shared[depth % 16];
  if (depth == 0) return before;
  const uint64_t below = CallsItself(depth - 1);
  shared[depth % 16] = below;
  return before * below + CallsItself(depth / 2);
}
PARLEY_SPECIMEN void CopiesInOneInstruction([[maybe_unused]] void* to,
                                            [[maybe_unused]] const void* from,
                                            [[maybe_unused]] std::size_t size) {
#if defined(__x86_64__)
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
#endif
}
PARLEY_SPECIMEN void AddsWithALock() {
  counter.fetch_add(1, std::memory_order_relaxed);  // RELAXED: it is never run.
}
PARLEY_SPECIMEN uint64_t Exchanges() {
  return counter.exchange(1, std::memory_order_relaxed);  // RELAXED: it is never run.
}
PARLEY_SPECIMEN void TakesAMutex() {
  ::pthread_mutex_lock(&mutex);
  shared[0] = 1;
  ::pthread_mutex_unlock(&mutex);
}
PARLEY_SPECIMEN int CallsLibc() { return ::getppid() + 1; }
PARLEY_SPECIMEN void CallsTheKernel() {
#if defined(__x86_64__)
  asm volatile("syscall" : : : "rcx", "r11", "memory");
#endif
}
PARLEY_SPECIMEN uint64_t CallsWhatAWordSays() { return chosen_by_data(1) + 1; }
PARLEY_SPECIMEN uint64_t JumpsWhereAWordSays() { return chosen_by_data(1); }
PARLEY_SPECIMEN void RingsTwice(internal::Waiter& waiter) {
  waiter.SignalIfAwaited();
  if (shared[2] == 0) shared[3] = 4;
  waiter.SignalIfAwaited();
}
PARLEY_SPECIMEN void CopiesTwice(std::byte* to, const std::byte* from, std::size_t size) {
  internal::OpaqueCopy(to, from, size);
  internal::OpaqueFetch(to + size, from, size);
}
// As the Try calls may be: a look, a check, a copy, a fence, a ring.
PARLEY_SPECIMEN uint64_t Innocent(internal::Waiter& waiter, std::byte* to, const std::byte* from,
                                  std::size_t size) {
  PARLEY_CHECK(to != nullptr, "nowhere");
  const uint64_t word = shared[0];
  if (word > 15) return 0;
  if (word % 2 == 0) {
    internal::Copy(to, from, size);
  } else {
    shared[word] = size;
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // PAIRS WITH: nothing; it is never run.
  if (shared[1] != word) waiter.SignalIfAwaited();
  return word;
}

}  // namespace specimen

namespace {

#if defined(__x86_64__) && !PARLEY_HAS_SANITIZER
constexpr bool kCanRead = true;
#else
constexpr bool kCanRead = false;
#endif

constexpr std::array<std::string_view, 2> kCopies = {"parley::internal::OpaqueCopy(",
                                                     "parley::internal::OpaqueFetch("};
// Each comes to one system call on what the peer shares, which does not wait: the doorbell, and the
// question whether the peer is still there.
constexpr std::array<std::string_view, 2> kRings = {"parley::internal::Waiter::Signal(",
                                                    "parley::internal::Waiter::CheckForEnd("};
// Once in the life of a channel: a compare-and-swap, and what wakes the other end of this side.
constexpr std::string_view kPoison = "parley::internal::Termination::Poison(";
// These do not come back: our caller's bug, and what the compiler or a span says where they can't
// see that a number was validated.
constexpr std::array<std::string_view, 3> kEnds = {
    "parley::internal::CheckFailed(", "__stack_chk_fail", "base_internal::ThrowStdOutOfRange("};

struct Instruction {
  std::string text;      // "jne 1234 <name+0x12>"
  std::string function;  // whose it is; a part that was split off counts as the whole
  bool entry = false;    // the first of the whole
};
using Code = std::map<uint64_t, Instruction>;

uint64_t Hex(std::string_view digits) {
  uint64_t value = 0;
  std::istringstream(std::string(digits)) >> std::hex >> value;
  return value;
}

// What objdump says of this program.
Code Disassemble() {
  std::array<char, 4096> self;
  const ssize_t length = ::readlink("/proc/self/exe", self.data(), self.size());
  if (length <= 0) return {};
  const std::string command = "objdump -d -C -w --no-show-raw-insn '" +
                              std::string(self.data(), static_cast<std::size_t>(length)) +
                              "' 2>/dev/null";
  // NOLINTNEXTLINE(cert-env33-c): a test that runs objdump on itself
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  Code code;
  std::string function;
  bool entry = false;
  std::string line;
  std::array<char, 65536> buffer;
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    line = buffer.data();
    while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
    const std::size_t name = line.find(" <");
    if (line.ends_with(">:") && name != std::string::npos && line[0] != ' ') {
      function = line.substr(name + 2, line.size() - name - 4);
      const std::size_t cold = function.find(" [clone .cold");
      entry = cold == std::string::npos;
      if (!entry) function.resize(cold);
    } else if (const std::size_t colon = line.find(":\t"); colon != std::string::npos) {
      code[Hex(line.substr(0, colon))] = {line.substr(colon + 2), function, entry};
      entry = false;
    }
  }
  ::pclose(pipe);
  return code;
}

// The most that any path takes.
struct Cost {
  int instructions = 0;  // of ours, without those of the copy and the doorbell
  int copies = 0;
  int rings = 0;
  int pauses = 0;       // os/relax.h; not among the instructions
  bool returns = true;  // on some path
};
Cost Sum(const Cost& a, const Cost& b) {
  return {a.instructions + b.instructions, a.copies + b.copies, a.rings + b.rings,
          a.pauses + b.pauses, a.returns && b.returns};
}
Cost Most(const Cost& a, const Cost& b) {
  return {std::max(a.instructions, b.instructions), std::max(a.copies, b.copies),
          std::max(a.rings, b.rings), std::max(a.pauses, b.pauses), a.returns || b.returns};
}

// Every path from one function's start.
class Walk {
 public:
  explicit Walk(const Code& code) : code_(code) {}

  // `prefix`: of the function's full name, as in "parley::Sender::TrySend(".
  Cost Function(std::string_view prefix) {
    for (auto at = code_.begin(); at != code_.end(); ++at) {
      if (at->second.entry && at->second.function.starts_with(prefix)) return From(at);
    }
    Find("there is no such function", std::string(prefix));
    return {};
  }

  // Rule and place of each offence.
  const std::set<std::string>& findings() const { return findings_; }

 private:
  using Place = Code::const_iterator;

  void Find(const std::string& rule, const std::string& where) {
    findings_.insert(rule + ": " + where);
  }

  Cost From(Place at) {
    if (at == code_.end()) {
      Find("code that is not there", "");
      return {};
    }
    if (const auto known = known_.find(at->first); known != known_.end()) return known->second;
    if (!under_way_.insert(at->first).second) {
      Find("a loop", at->second.function);
      return {};
    }
    const bool pauses = at->second.text.starts_with("pause");
    const Cost cost = Sum(pauses ? Cost{0, 0, 0, 1} : Cost{1, 0, 0, 0}, Behind(at));
    under_way_.erase(at->first);
    known_[at->first] = cost;
    return cost;
  }

  // The cost of what comes after the instruction at `at`.
  Cost Behind(Place at) {
    const Instruction& self = at->second;
    std::istringstream words(self.text);
    std::string mnemonic;
    std::string operands;
    words >> mnemonic;
    while (mnemonic == "notrack" || mnemonic == "bnd" || mnemonic == "data16" || mnemonic == "cs") {
      words >> mnemonic;
    }
    std::getline(words >> std::ws, operands);
    const std::string here = self.function + ": " + self.text;

    if (mnemonic.starts_with("ret") || (mnemonic == "repz" && operands.starts_with("ret")) ||
        mnemonic == "ud2" || mnemonic == "hlt") {
      Cost end;
      end.returns = mnemonic != "ud2" && mnemonic != "hlt";
      return end;
    }
    if (mnemonic.starts_with("rep")) Find("a loop", here);
    if (mnemonic == "lock") {
      // A full fence is an addition of nothing to our own stack.
      const bool fence = operands.starts_with("or") && operands.ends_with("(%rsp)") &&
                         operands.find("$0x0,") != std::string::npos;
      if (!fence) Find("a lock", here);
    }
    if (mnemonic.starts_with("xchg") && operands.find('(') != std::string::npos) {
      Find("a lock", here);
    }
    if (mnemonic == "syscall" || mnemonic == "sysenter" || mnemonic == "int") {
      Find("a call", here);
    }

    const bool calls = mnemonic.starts_with("call");
    const bool jumps = mnemonic.starts_with("j") || mnemonic.starts_with("loop");
    if (!calls && !jumps) return Next(at);
    if (operands.starts_with("*")) {
      Find("a call that data choose", here);
      return calls ? Next(at) : Cost{};
    }
    const Place target = code_.find(Hex(operands));
    const bool leaves = calls || target == code_.end() || target->second.function != self.function;
    Cost taken;
    if (!leaves) {
      taken = From(target);
    } else {
      taken = Call(target, operands, here);
    }
    // The compiler may have split off the part of a function that ends in an abort.
    if (calls) return taken.returns ? Sum(taken, Next(at)) : taken;
    return mnemonic.starts_with("jmp") ? taken : Most(taken, Next(at));
  }

  Cost Next(Place at) {
    const Place next = std::next(at);
    if (next != code_.end() && next->second.function == at->second.function) return From(next);
    Find("no end", at->second.function);
    return {};
  }

  Cost Call(Place target, const std::string& operands, const std::string& here) {
    const std::size_t open = operands.find('<');
    const std::string_view name =
        open == std::string::npos ? "" : std::string_view(operands).substr(open + 1);
    for (const std::string_view copy : kCopies) {
      if (name.starts_with(copy)) return {0, 1, 0, 0};
    }
    for (const std::string_view ring : kRings) {
      if (name.starts_with(ring)) return {0, 0, 1, 0};
    }
    if (name.starts_with(kPoison)) return {};
    for (const std::string_view end : kEnds) {
      if (name.find(end) != std::string_view::npos) return {0, 0, 0, 0, false};
    }
    if (target == code_.end() || name.find("parley::") == std::string_view::npos ||
        name.find("@plt") != std::string_view::npos) {
      Find("a call", here);
      return {};
    }
    return From(target);
  }

  const Code& code_;
  std::map<uint64_t, Cost> known_;
  std::set<uint64_t> under_way_;  // on the path from the start to here, through callers as well
  std::set<std::string> findings_;
};

class TryCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kCanRead) GTEST_SKIP() << "for x86-64 without sanitizers, which add calls";
    ASSERT_FALSE(code().empty()) << "needs objdump (binutils): without it nothing is proved";
    for (const auto& [address, instruction] : code()) {
      if (instruction.function.starts_with("__llvm_profile_")) {
        GTEST_SKIP() << "built with the counters of ./dev coverage";
      }
    }
  }
  static const Code& code() {
    static const Code all = Disassemble();
    return all;
  }

  // Nothing but what starts with one of `rules` is found, and each of them.
  static Cost Expect(const std::string& function, const std::vector<std::string>& rules) {
    Walk walk(code());
    const Cost cost = walk.Function(function);
    for (const std::string& rule : rules) {
      EXPECT_TRUE(std::any_of(walk.findings().begin(), walk.findings().end(),
                              [&](const std::string& f) { return f.starts_with(rule); }))
          << function << " has " << rule << ", which was not seen";
    }
    for (const std::string& finding : walk.findings()) {
      EXPECT_TRUE(std::any_of(rules.begin(), rules.end(),
                              [&](const std::string& rule) { return finding.starts_with(rule); }))
          << function << "\n  " << finding;
    }
    return cost;
  }
};

TEST_F(TryCallsTest, EachRuleSeesWhatItForbids) {
  const std::string bad = "parley::specimen::";
  Expect(bad + "WaitsForAWord(", {"a loop: parley::specimen::WaitsForAWord("});
  Expect(bad + "SumsUp(", {"a loop: parley::specimen::SumsUp("});
  Expect(bad + "LoopsInACallee(", {"a loop: parley::specimen::SumsUp("});
  Expect(bad + "CallsItself(", {"a loop: parley::specimen::CallsItself("});
  Expect(bad + "CopiesInOneInstruction(", {"a loop: "});
  Expect(bad + "AddsWithALock(", {"a lock: "});
  Expect(bad + "Exchanges(", {"a lock: "});
  Expect(bad + "TakesAMutex(", {"a call: "});
  Expect(bad + "CallsLibc(", {"a call: "});
  Expect(bad + "CallsTheKernel(", {"a call: "});
  Expect(bad + "CallsWhatAWordSays(", {"a call that data choose: "});
  Expect(bad + "JumpsWhereAWordSays(", {"a call that data choose: "});
  Expect(bad + "WhatIsNotThere(", {"there is no such function: "});
  EXPECT_EQ(Expect(bad + "RingsTwice(", {}).rings, 2);
  EXPECT_EQ(Expect(bad + "CopiesTwice(", {}).copies, 2);
}

TEST_F(TryCallsTest, APollACheckACopyAFenceAndASignalAreNoOffence) {
  const Cost cost = Expect("parley::specimen::Innocent(", {});
  EXPECT_EQ(cost.copies, 1);
  EXPECT_EQ(cost.rings, 1);
  EXPECT_GT(cost.instructions, 15);
  EXPECT_LT(cost.instructions, 100);
}

TEST_F(TryCallsTest, PromiseP2TimeNoLoopNoLockNoCallButTheCopyAndTheDoorbell) {
  struct Row {
    std::string function;
    int copies;  // at most
    int rings;
    int pauses;  // at most
  };
  constexpr int kPauses = internal::kMaxRelaxTimes;
  const std::vector<Row> rows = {
      {"parley::Sender::TrySend(", 1, 1, 0},
      {"parley::Sender::TryReserve(", 0, 1, 0},
      {"parley::Sender::Commit(", 1, 1, 0},  // of the padding, where the compiler sees no limit
      {"parley::Sender::TryStage(", 1, 1, 0},
      {"parley::Sender::Stage(", 1, 0, 0},
      {"parley::Sender::Publish(", 0, 1, 0},
      {"parley::Sender::Close(", 0, 1, 0},
      {"parley::Receiver::TryReceive(", 1, 1, kPauses},
      {"parley::Receiver::TryPeek(", 0, 1, kPauses},
      {"parley::Receiver::Release(", 0, 1, 0},
      {"parley::Receiver::Close(", 0, 1, 0},
      {"parley::TypedProducer<std::byte, parley::OwnMemory, parley::PeerMemory>::TryPush(", 1, 0,
       0},
      {"parley::TypedConsumer<std::byte, parley::OwnMemory, parley::PeerMemory>::TryPop(", 1, 0,
       kPauses},
      {"parley::TypedProducer<unsigned long, parley::OwnMemory, parley::PeerMemory>::TryPush(", 1,
       0, 0},
      {"parley::TypedConsumer<unsigned long, parley::OwnMemory, parley::PeerMemory>::TryPop(", 1, 0,
       kPauses},
  };
  for (const Row& row : rows) {
    const Cost cost = Expect(row.function, {});
    EXPECT_LE(cost.copies, row.copies) << row.function;
    EXPECT_EQ(cost.rings, row.rings) << row.function;
    EXPECT_LE(cost.pauses, row.pauses) << row.function;
    // Far more than there are: a bound that somebody should look at when it is passed.
    EXPECT_LT(cost.instructions, 400) << row.function;
    std::printf("at most %3d instructions, %3d pauses, %d copies, %d rings: %s)\n",
                cost.instructions, cost.pauses, cost.copies, cost.rings, row.function.c_str());
  }
}

// What Waiter::Signal comes to, for each kind of doorbell: no loop, and one call of the system.
TEST_F(TryCallsTest, PromiseP2TimeASignalIsOneSystemCall) {
  // So that they are in this program.
  ASSERT_FALSE(MakeSocketDoorbells(-1, false, false)->send);
  ASSERT_TRUE(MakeEventfdDoorbell(UniqueFd(), UniqueFd()));
  ASSERT_TRUE(MakeSendersFutexDoorbell({}, {}));
  for (const auto& [function, call] :
       {std::pair("SocketDoorbell", "send"), std::pair("EventfdDoorbell", "write"),
        std::pair("FutexDoorbell", "syscall")}) {
    Walk walk(code());
    walk.Function(std::string("parley::(anonymous namespace)::") + function + "::Signal(");
    int calls = 0;
    for (const std::string& finding : walk.findings()) {
      // Without optimisation, an array's operator is a call as well.
      if (finding.find("<std::") != std::string::npos) continue;
      ++calls;
      EXPECT_TRUE(finding.starts_with("a call: ")) << finding;
      EXPECT_NE(finding.find(std::string("<") + call), std::string::npos) << finding;
    }
    EXPECT_EQ(calls, 1) << function;
  }
}

}  // namespace
}  // namespace parley
