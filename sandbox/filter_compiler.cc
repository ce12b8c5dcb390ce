// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/filter_compiler.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <functional>
#include <tuple>
#include <utility>

#include "absl/types/span.h"

namespace parley::internal {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the lower word of an argument comes first");

constexpr uint32_t kNumberAt = offsetof(seccomp_data, nr);
constexpr uint32_t kArchAt = offsetof(seccomp_data, arch);
constexpr uint32_t LowAt(unsigned argument) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + argument * sizeof(uint64_t));
}
constexpr uint32_t HighAt(unsigned argument) { return LowAt(argument) + sizeof(uint32_t); }
constexpr uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

// x32 is x86-64's own architecture with this bit in the number. -1 is no call, to ptrace.
constexpr uint32_t kX32Bit = 0x4000'0000;
constexpr uint32_t kNoCall = 0xffff'ffff;

auto Key(const ArgumentFilter& filter) {
  return std::tuple(filter.index, filter.op, filter.mask, filter.value);
}

bool Before(const ArgumentFilter& a, const ArgumentFilter& b) { return Key(a) < Key(b); }

// Of calls in their order, then with rules that begin with the same filters side by side.
bool ComesBefore(const FilterRule& a, const FilterRule& b) {
  if (a.number != b.number) return a.number < b.number;
  return std::lexicographical_compare(a.filters.begin(), a.filters.end(), b.filters.begin(),
                                      b.filters.end(), Before);
}

// Writes a program from its end to its start, since each jump goes forward: where it goes is known
// when it is written.
class Writer {
 public:
  // An instruction that was written: its place, counted from the end.
  using Label = size_t;

  Label Return(uint32_t action) {
    for (const auto& [known, label] : returns_) {
      if (known == action) return label;
    }
    const Label label = Append(BPF_RET | BPF_K, action);
    returns_.emplace_back(action, label);
    return label;
  }

  // Compares the accumulator with `value`, by BPF_JEQ, BPF_JGT or BPF_JGE.
  Label Test(uint16_t condition, uint32_t value, Label yes, Label no) {
    const Label near_yes = Near(yes);
    const Label near_no = Near(no);
    return Append(static_cast<uint16_t>(BPF_JMP | condition | BPF_K), value,
                  static_cast<uint8_t>(Distance(near_yes)),
                  static_cast<uint8_t>(Distance(near_no)));
  }

  // Loads a word of the call into the accumulator and goes on at `next`.
  Label Load(uint32_t offset, Label next) {
    GoOnAt(next);
    return Append(BPF_LD | BPF_W | BPF_ABS, offset);
  }

  Label And(uint32_t mask, Label next) {
    GoOnAt(next);
    return Append(BPF_ALU | BPF_AND | BPF_K, mask);
  }

  std::vector<sock_filter> Program() && {
    std::reverse(reversed_.begin(), reversed_.end());
    return std::move(reversed_);
  }

 private:
  // Of a test, in instructions that lie between; one may be written for the other target before.
  static constexpr size_t kReach = 254;

  Label Append(uint16_t code, uint32_t value, uint8_t yes = 0, uint8_t no = 0) {
    reversed_.push_back({code, yes, no, value});
    return reversed_.size() - 1;
  }
  // From the next instruction that is written.
  size_t Distance(Label to) const { return reversed_.size() - to - 1; }
  Label Jump(Label to) { return Append(BPF_JMP | BPF_JA, static_cast<uint32_t>(Distance(to))); }
  // `to`, or an instruction that lies near and leads there: the last one that was written for it,
  // or a new one.
  Label Near(Label to) {
    if (Distance(to) < kReach) return to;
    for (auto& [target, relay] : relays_) {
      if (target != to) continue;
      if (Distance(relay) >= kReach) relay = Relay(to);
      return relay;
    }
    const Label relay = Relay(to);
    relays_.emplace_back(to, relay);
    return relay;
  }
  Label Relay(Label to) {
    const sock_filter& there = reversed_[to];
    return there.code == (BPF_RET | BPF_K) ? Append(there.code, there.k) : Jump(to);
  }
  void GoOnAt(Label next) {
    if (Distance(next) != 0) Jump(next);
  }

  std::vector<sock_filter> reversed_;
  std::vector<std::pair<uint32_t, Label>> returns_;
  std::vector<std::pair<Label, Label>> relays_;
};

using Label = Writer::Label;

// One value of a word, and where a call goes whose word has it.
struct Way {
  uint32_t value;
  Label label;
};

Label WordIsOneOf(Writer& writer, uint32_t offset, uint32_t mask, absl::Span<const Way> ways,
                  Label otherwise) {
  if (mask == 0) {
    for (const Way& way : ways) {
      if (way.value == 0) return way.label;
    }
    return otherwise;
  }
  Label test = otherwise;
  for (size_t i = ways.size(); i-- > 0;) {
    test = writer.Test(BPF_JEQ, ways[i].value, ways[i].label, test);
  }
  return writer.Load(offset, mask == ~uint32_t{0} ? test : writer.And(mask, test));
}

Label IsAtMost(Writer& writer, const ArgumentFilter& filter, Label yes, Label no) {
  const Label low =
      writer.Load(LowAt(filter.index), writer.Test(BPF_JGT, Low(filter.value), no, yes));
  const Label equal = writer.Test(BPF_JEQ, High(filter.value), low, yes);
  return writer.Load(HighAt(filter.index), writer.Test(BPF_JGT, High(filter.value), no, equal));
}

// Whether one pair of loads serves both: of the same bits, they differ in the lower word at most.
bool AreAskedTogether(const ArgumentFilter& a, const ArgumentFilter& b) {
  return a == b || (a.op == ArgumentFilter::Op::kEqual && b.op == a.op && a.index == b.index &&
                    a.mask == b.mask && High(a.value) == High(b.value));
}

// How many at the end of `rules` have a filter at `depth` for which that holds of the last one's.
template <typename Same>
size_t CountAtEnd(absl::Span<const FilterRule> rules, size_t depth, Same same) {
  size_t count = 1;
  while (count < rules.size() &&
         same(rules[rules.size() - 1 - count].filters[depth], rules.back().filters[depth])) {
    ++count;
  }
  return count;
}

// Of rules of one call whose first `depth` filters are the same and hold.
Label RulesHold(Writer& writer, absl::Span<const FilterRule> rules, size_t depth, Label otherwise) {
  for (const FilterRule& rule : rules) {
    // The others here ask for more, and say the same.
    if (rule.filters.size() == depth) return writer.Return(rule.action);
  }
  while (!rules.empty()) {
    absl::Span<const FilterRule> together = rules.last(CountAtEnd(rules, depth, AreAskedTogether));
    rules = rules.first(rules.size() - together.size());
    const ArgumentFilter first = together.front().filters[depth];
    std::vector<Way> ways;
    while (!together.empty()) {
      const auto same = together.last(CountAtEnd(together, depth, std::equal_to<ArgumentFilter>()));
      ways.push_back(
          {Low(same.front().filters[depth].value), RulesHold(writer, same, depth + 1, otherwise)});
      together = together.first(together.size() - same.size());
    }
    if (first.op == ArgumentFilter::Op::kAtMost) {
      otherwise = IsAtMost(writer, first, ways.front().label, otherwise);
      continue;
    }
    const Label low = WordIsOneOf(writer, LowAt(first.index), Low(first.mask), ways, otherwise);
    otherwise = WordIsOneOf(writer, HighAt(first.index), High(first.mask),
                            {{{High(first.value), low}}}, otherwise);
  }
  return otherwise;
}

struct CallStart {
  uint32_t number;
  Label label;
};

// With the call's number in the accumulator.
Label Search(Writer& writer, absl::Span<const CallStart> calls, Label otherwise) {
  constexpr size_t kFew = 4;
  if (calls.size() <= kFew) {
    for (size_t i = calls.size(); i-- > 0;) {
      otherwise = writer.Test(BPF_JEQ, calls[i].number, calls[i].label, otherwise);
    }
    return otherwise;
  }
  const size_t half = calls.size() / 2;
  const Label upper = Search(writer, calls.subspan(half), otherwise);
  const Label lower = Search(writer, calls.first(half), otherwise);
  return writer.Test(BPF_JGE, calls[half].number, upper, lower);
}

}  // namespace

std::vector<sock_filter> CompileFilter(std::vector<FilterRule> rules, uint32_t arch,
                                       uint32_t unlisted) {
  for (FilterRule& rule : rules) std::sort(rule.filters.begin(), rule.filters.end(), Before);
  std::sort(rules.begin(), rules.end(), ComesBefore);
  Writer writer;
  const Label kill = writer.Return(SECCOMP_RET_KILL_PROCESS);
  const Label otherwise = writer.Return(unlisted);
  std::vector<CallStart> calls;
  for (auto begin = rules.begin(); begin != rules.end();) {
    const auto end = std::find_if(begin, rules.end(), [&begin](const FilterRule& rule) {
      return rule.number != begin->number;
    });
    const absl::Span<const FilterRule> of_one_call(&*begin, static_cast<size_t>(end - begin));
    calls.push_back({begin->number, RulesHold(writer, of_one_call, 0, otherwise)});
    begin = end;
  }
  Label search = Search(writer, calls, otherwise);
  if (arch == AUDIT_ARCH_X86_64) {
    search = writer.Test(BPF_JGE, kX32Bit, writer.Test(BPF_JEQ, kNoCall, otherwise, kill), search);
  }
  const Label native = writer.Load(kNumberAt, search);
  writer.Load(kArchAt, writer.Test(BPF_JEQ, arch, native, kill));
  return std::move(writer).Program();
}

}  // namespace parley::internal
