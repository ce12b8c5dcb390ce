// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_VICTIMS_H_
#define PARLEY_VILLAIN_VICTIMS_H_

// The programs that are attacked: honest ones, made from Parley as a user would, and naive ones,
// which make the mistakes that Parley is there to prevent (naive.cc). Both do the same work and
// keep the same notes.
//
// Trust: the honest victims trust nobody; the naive ones trust everybody, on purpose, and must
// never be copied from.
// Threads: one.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/os/unique_fd.h"
#include "parley/villain/case.h"
#include "parley/villain/notes.h"

namespace parley::villain {

struct Victim {
  Notes& notes;
  VictimSetup setup;
  UniqueFd socket;   // connected to the attacker; not for kListener
  std::string name;  // what to listen at, for kListener
  int peer_pidfd;    // of the attacker, from its "spawn"; not owned
  int gate;          // what it reads at its end; not owned
};

enum class Implementation { kHonest, kNaive };

void RunHonestVictim(Victim& victim);
void RunNaiveVictim(Victim& victim);
// Of those, the ones on top of a channel (service_victims.cc, naive_services.cc).
void RunJobs(Victim& victim);
void RunRequests(Victim& victim);
void RunStream(Victim& victim);
void RunServicesTrusting(Victim& victim);
// A job's input and its time.
inline constexpr std::size_t kVictimInputBytes = 16;
inline constexpr int64_t kVictimJobMs = 400;
// Requests that may be out at once.
inline constexpr uint32_t kVictimRequests = 4;

// The largest blob that either reads.
inline constexpr uint64_t kMaxBlobBytes = uint64_t{1} << 20;
// Of the victim with frames, each way.
inline constexpr uint64_t kVictimArenaBytes = 16384;
inline constexpr uint64_t kVictimFrameBytes = 4096;
// What a media victim's records are.
inline constexpr uint32_t kFormatTag = 1;
inline constexpr uint32_t kVideoTag = 2;
inline constexpr uint32_t kAudioFormatTag = 3;
inline constexpr uint32_t kAudioTag = 4;

// What a confinement is that somebody put together in a hurry: one system call ends the process,
// whatever the others are, and only on this thread. -1: none at all.
void LoadNaiveFilter(int refused_call);

// An honest client of a kListener victim: 0 if it was served in time.
int RunHonestClient(const std::string& name, absl::Duration within);

// What both judge received records by; empty or what is wrong. `payload` is the victim's own copy,
// `behind` what it had filled with kCanary behind it.
inline constexpr std::byte kCanary{0xc5};
std::string WrongRecord(uint32_t tag, absl::Span<const std::byte> payload,
                        absl::Span<const std::byte> behind);
// Of a file that was made of a stream: empty or what no reader of that kind would take, or what
// nobody sent. `lines`: messages that were one, or part of one.
std::string WrongFile(const std::string& kind, const std::string& file, uint64_t lines);
// Looks at bytes twice: empty or that they changed in between.
std::string ChangingBytes(absl::Span<const std::byte> bytes);

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_VICTIMS_H_
