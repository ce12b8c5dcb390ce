// SPDX-License-Identifier: Apache-2.0

// Rows S15 and S16: a worker of a pool that was taken over, and what it tells its host. Row R15:
// both ends of requests.

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/handshake/peer_trust.h"
#include "parley/os/deadline.h"
#include "parley/patterns/request/wire.h"
#include "parley/supervise/link_wire.h"
#include "parley/villain/case.h"
#include "parley/villain/hijacked.h"
#include "parley/villain/speaker.h"
#include "parley/villain/victims.h"

namespace parley::villain {
namespace {

constexpr uint32_t kCaught = static_cast<uint32_t>(End::kPoisoned);
constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint32_t kTimedOut = static_cast<uint32_t>(End::kTimedOut);
constexpr uint32_t kEnded = End::kPeerGone | End::kStreamEnded;
constexpr uint64_t kMost = ~uint64_t{0};

// A worker that has passed its host's look at it, and has a job.
class HijackedWorker : public Speaker {
 public:
  explicit HijackedWorker(Attacker& a) : Speaker(Confined(a)) {
    if (Receive() != internal::kBeginTag) a.CannotMount("the host did not begin");
    NextJob();
  }

  void NextJob() {
    while (Receive() != internal::kJobTag) {
    }
    number_ = Received<internal::JobWire>().number;
  }
  uint64_t number() const { return number_; }

  void Done(uint64_t number, uint32_t code = 0, std::string_view text = "") {
    const internal::JobDoneWire done = {number, code, static_cast<uint32_t>(text.size())};
    Send(internal::kJobDoneTag, done, text);
  }
  void Read(uint64_t offset, uint32_t size_bytes) {
    Send(internal::kReadTag, internal::ReadRequestWire{offset, size_bytes, 0});
  }

 private:
  // As far as the kernel shows it. The filter lets everything pass, for this is the attacker.
  static Attacker& Confined(Attacker& a) {
    GiveUpCapabilities();
    LoadNaiveFilter(-1);
    return a;
  }
  uint64_t number_ = 0;
};

AttackFunction ByWorker(void (*attack)(Attacker&, HijackedWorker&)) {
  return [attack](Attacker& a) {
    HijackedWorker worker(a);
    attack(a, worker);
    Attacker::Stay();
  };
}

void AnswerForAnother(Attacker& a, HijackedWorker& worker) {
  a.Mounted("reports the outcome of the next job");
  worker.Done(worker.number() + 1);
  worker.Done(worker.number());
}

void AnswerForNone(Attacker& a, HijackedWorker& worker) {
  a.Mounted("reports the outcome of job 2^64 - 1");
  worker.Done(kMost);
}

void AnswerTwice(Attacker& a, HijackedWorker& worker) {
  a.Mounted("reports each outcome twice");
  worker.Done(worker.number());
  worker.Done(worker.number());
}

void AnswerBeforeTheJob(Attacker& a, HijackedWorker& worker) {
  a.Mounted("reports outcomes of jobs that it was not given");
  for (uint64_t i = 1; i <= 100; ++i) worker.Done(worker.number() + i);
}

void ClaimText(Attacker& a, HijackedWorker& worker) {
  a.Mounted("says that two gigabytes of text follow");
  const internal::JobDoneWire done = {worker.number(), 3, 0x7fff'ffff};
  worker.Send(internal::kJobDoneTag, done, "no");
}

void OddCode(Attacker& a, HijackedWorker& worker) {
  a.Mounted("gives a code that there is not");
  worker.Done(worker.number(), 0xffff'fff0);
}

void Escapes(Attacker& a, HijackedWorker& worker) {
  while (true) {
    worker.Done(worker.number(), 13,
                "\x1b]0;owned\x07\x1b[2J\x1b[8m \xc2\x9b"
                "2J");
    a.Mounted("has escape sequences in its reasons");
    worker.NextJob();
  }
}

void UnknownTag(Attacker& a, HijackedWorker& worker) {
  a.Mounted("sends a record of the protocol's own that there is not");
  worker.SendBytes(kMaxWorkerTag + 17, {});
}

void Acknowledge(Attacker& a, HijackedWorker& worker) {
  a.Mounted("acknowledges messages of another protocol than its host's");
  worker.Send(internal::kAcknowledgedTag, internal::AcknowledgedWire{kMost, 1, 0});
}

void Flood(Attacker& a, HijackedWorker& worker) {
  const std::vector<std::byte> bytes(4000, std::byte{'x'});
  a.Mounted("sends results without end");
  while (true) worker.SendBytes(1, bytes);
}

void FloodOfNothing(Attacker& a, HijackedWorker& worker) {
  a.Mounted("sends empty results without end");
  while (true) worker.SendBytes(1, {});
}

void Drip(Attacker& a, HijackedWorker& worker) {
  a.Mounted("always has one byte more, and is never done");
  while (true) {
    worker.SendBytes(1, absl::MakeConstSpan(std::vector<std::byte>(1)));
    ::usleep(5000);
  }
}

void NeverEnd(Attacker& a, HijackedWorker&) { a.Mounted("never answers"); }

void CloseAndStay(Attacker& a, HijackedWorker& worker) {
  a.Mounted("closes its channel in the middle of the job, and lives on");
  worker.channel() = Channel();
}

void ReadWithoutEnd(Attacker& a, HijackedWorker& worker) {
  a.Mounted("reads its input again and again");
  while (true) {
    worker.Read(0, 8000);
    while (worker.Receive() != internal::kReadAnswerTag) {
    }
  }
}

void ReadTooMuch(Attacker& a, HijackedWorker& worker) {
  a.Mounted("asks for 4 GiB in one answer");
  worker.Read(0, 0xffff'ffff);
}

void ReadFarAway(Attacker& a, HijackedWorker& worker) {
  while (true) {
    for (const uint64_t offset : {uint64_t{1} << 40, uint64_t{1} << 63, kMost - 7999, kMost}) {
      worker.Read(offset, 8000);
      std::size_t size_bytes = 0;
      while (worker.Receive(&size_bytes) != internal::kReadAnswerTag) {
      }
      if (size_bytes != sizeof(internal::ReadAnswerWire)) a.Leaked("bytes beyond the input");
    }
    a.Mounted("reads far behind the end of its input");
    worker.Done(worker.number());
    worker.NextJob();
  }
}

// ---- R15.

constexpr uint64_t kAges = kMost;

AttackFunction BySpeaker(void (*attack)(Attacker&, Speaker&)) {
  return [attack](Attacker& a) {
    Speaker speaker(a);
    attack(a, speaker);
    Attacker::Stay();
  };
}

void Start(Speaker& speaker, uint64_t id, uint64_t budget_us = 30'000) {
  speaker.Send(3, RequestHeaderWire{kRequestStart, 0, id, budget_us}, "question");
}

void NumberFromNowhere(Attacker& a, Speaker& client) {
  a.Mounted("its first request has a monstrous number");
  Start(client, uint64_t{1} << 63);
}

void CancelNothing(Attacker& a, Speaker& client) {
  a.Mounted("cancels what never was");
  client.Send(3, RequestHeaderWire{kRequestCancel, 0, uint64_t{1} << 63, 0});
}

void TimeForAges(Attacker& a, Speaker& client) {
  for (uint64_t id = 1;; ++id) {
    Start(client, id, kAges);
    static_cast<void>(client.Receive());
    const auto header = client.Received<RequestHeaderWire>();
    if (header.code != kRequestDone) a.Leaked("a request with time for ages came to nothing");
    a.Mounted("gives each request more microseconds than there are");
    ::usleep(1000);
  }
}

void CancelEach(Attacker& a, Speaker& client) {
  std::vector<std::byte> into(client.channel().receiver.max_message_bytes());
  for (uint64_t id = 1;; ++id) {
    Start(client, id);
    client.Send(3, RequestHeaderWire{kRequestCancel, 0, id, 0});
    if (!client.channel().receiver.Receive(absl::MakeSpan(into), Deadline::Never()).ok()) return;
    if (id == 20) a.Mounted("cancels each request at once, on and on");
  }
}

void TakeNoAnswer(Attacker& a, Speaker& client) {
  const std::string question(1500, 'q');
  for (uint64_t id = 1;; ++id) {
    if (id == 4) a.Mounted("asks, and takes no answer");
    client.Send(3, RequestHeaderWire{kRequestStart, 0, id, 30'000'000}, question);
  }
}

// The victim's next request.
uint64_t NextRequest(Speaker& server) {
  while (true) {
    static_cast<void>(server.Receive());
    const auto header = server.Received<RequestHeaderWire>();
    if (header.kind == kRequestStart) return header.id;
  }
}

void AnswerToNothing(Attacker& a, Speaker& server) {
  static_cast<void>(NextRequest(server));
  a.Mounted("answers what nobody asked");
  server.Send(3, RequestHeaderWire{kRequestResponse, 0, uint64_t{1} << 63, 0});
}

void AnswerEachTwice(Attacker& a, Speaker& server) {
  const RequestHeaderWire first = {kRequestResponse, 0, NextRequest(server), 0};
  a.Mounted("answers twice");
  server.Send(3, first);
  server.Send(3, first);
  while (true) {
    const RequestHeaderWire next = {kRequestResponse, 0, NextRequest(server), 0};
    server.Send(3, next);
    server.Send(3, next);
  }
}

void AnswerNever(Attacker& a, Speaker& server) {
  static_cast<void>(NextRequest(server));
  a.Mounted("takes requests and never answers");
  while (true) static_cast<void>(server.Receive());
}

void AnswerWithoutHeader(Attacker& a, Speaker& server) {
  static_cast<void>(NextRequest(server));
  a.Mounted("its answer is shorter than a header");
  server.SendBytes(3, absl::MakeConstSpan(std::vector<std::byte>(8)));
}

}  // namespace

std::vector<Case> JobCases() {
  VictimSetup host;
  host.kind = VictimKind::kJobs;
  host.confined = true;
  host.cpu_percent = 60;
  VictimSetup waits = host;
  waits.cpu_percent = 20;
  const auto by = [](void (*attack)(Attacker&, HijackedWorker&)) { return ByWorker(attack); };
  std::vector<Case> cases = {
      {"job-of-another", "S15", "a worker reports the outcome of the next job", host,
       by(AnswerForAnother), kCaught},
      {"job-of-none", "S15", "a worker reports the outcome of a job that never was", host,
       by(AnswerForNone), kCaught},
      {"job-done-twice", "S15", "a worker reports an outcome twice", host, by(AnswerTwice),
       kCaught},
      {"job-done-ahead", "S15", "a worker reports the outcomes of a hundred jobs to come", host,
       by(AnswerBeforeTheJob), kCaught},
      {"job-text-claimed", "S15", "a worker's outcome claims more text than it has", host,
       by(ClaimText), kCaught},
      {"job-odd-code", "S15", "a worker's outcome has a code that there is not", host, by(OddCode),
       kCaught},
      {"job-escapes", "S15", "a worker's reasons are escape sequences", host, by(Escapes), kServed},
      {"job-unknown-tag", "S15", "a worker sends a record of the protocol that there is not", host,
       by(UnknownTag), kCaught},
      {"job-acknowledges", "S15", "a worker acknowledges messages that it was not sent", host,
       by(Acknowledge), kCaught},
      {"job-floods", "S15", "a worker sends results without end", host, by(Flood), kCaught},
      {"job-empty-flood", "S15", "a worker sends empty results without end", host,
       by(FloodOfNothing), kCaught},
      {"job-drips", "S15", "a worker sends a byte now and then, and is never done", waits, by(Drip),
       kTimedOut},
      {"job-never-ends", "S15", "a worker never answers", waits, by(NeverEnd), kTimedOut},
      {"job-closes", "S15", "a worker closes its channel in the middle, and lives on", waits,
       by(CloseAndStay), kEnded},
      {"job-reads-on", "S16", "a worker reads its input again and again", host, by(ReadWithoutEnd),
       kCaught},
      {"job-reads-too-much", "S16", "a worker asks for 4 GiB in one answer", host, by(ReadTooMuch),
       kCaught},
      {"job-reads-far", "S16", "a worker reads far behind the end of its input", host,
       by(ReadFarAway), kServed},
  };
  // The host looks at each thread before it believes that this is a worker.
  for (Case& one : cases) one.need = CanBeConfined;
  return cases;
}

std::vector<Case> RequestCases() {
  VictimSetup server;
  server.kind = VictimKind::kRequestServer;
  VictimSetup client;
  client.kind = VictimKind::kRequestClient;
  const auto by = [](void (*attack)(Attacker&, Speaker&)) { return BySpeaker(attack); };
  return {
      {"request-of-nowhere", "R15", "a client's first request has a monstrous number", server,
       by(NumberFromNowhere), kCaught},
      {"request-cancels-nothing", "R15", "a client cancels what never was", server,
       by(CancelNothing), kCaught},
      {"request-for-ages", "R15", "a client gives its requests more time than there is", server,
       by(TimeForAges), kServed},
      {"request-cancels-each", "R15", "a client cancels each request at once", server,
       by(CancelEach), kServed},
      {"request-takes-nothing", "R15", "a client asks and takes no answer", server,
       by(TakeNoAnswer), kServed},
      {"answer-to-nothing", "R15", "a server answers what nobody asked", client,
       by(AnswerToNothing), kCaught},
      {"answer-twice", "R15", "a server answers twice", client, by(AnswerEachTwice), kCaught},
      {"answer-never", "R15", "a server takes requests and never answers", client, by(AnswerNever),
       kServed},
      {"answer-without-header", "R15", "a server's answer is shorter than a header", client,
       by(AnswerWithoutHeader), kCaught},
  };
}

}  // namespace parley::villain
