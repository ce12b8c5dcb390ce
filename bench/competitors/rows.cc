// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/competitors/rows.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#if PARLEY_BENCH_HAVE_BOOST
#include "parley/bench/competitors/boost_spsc.h"
#endif
#if PARLEY_BENCH_HAVE_ICEORYX
#include "parley/bench/competitors/iceoryx.h"
#include "parley/bench/competitors/roudi.h"
#endif
#if PARLEY_BENCH_HAVE_NNG
#include "parley/bench/competitors/nng.h"
#endif
#if PARLEY_BENCH_HAVE_ZEROMQ
#include "parley/bench/competitors/zeromq.h"
#endif

namespace parley::bench {
namespace {

[[maybe_unused]] std::string NotBuilt(const char* package) {
  return std::string("not there when this was built: apt-get install ") + package;
}

std::string Suffix(Waiting waiting) { return waiting == Waiting::kSpin ? ", non-blocking" : ""; }

Row ZeroMqRow(Waiting waiting) {
  const std::string name = "ZeroMQ" + Suffix(waiting);
#if PARLEY_BENCH_HAVE_ZEROMQ
  Row row = MakeRow(name, "peer", waiting,
                    [waiting](const Cell& cell) { return ZeroMq::Create(cell, waiting); });
  row.note = "PAIR over ipc, messages in place";
  return row;
#else
  return MissingRow(name, "peer", waiting, NotBuilt("libzmq3-dev"));
#endif
}

Row NngRow(Waiting waiting) {
  const std::string name = "nng" + Suffix(waiting);
#if PARLEY_BENCH_HAVE_NNG
  Row row = MakeRow(name, "peer", waiting,
                    [waiting](const Cell& cell) { return Nng::Create(cell, waiting); });
  row.note = "pair0 over ipc, messages in place";
  return row;
#else
  return MissingRow(name, "peer", waiting, NotBuilt("libnng-dev"));
#endif
}

#if PARLEY_BENCH_HAVE_ICEORYX
Row IceoryxRow(Waiting waiting, std::shared_ptr<Roudi> roudi) {
  const std::string name = "iceoryx" + Suffix(waiting);
  if (::access(Roudi::kPath, X_OK) != 0) {
    return MissingRow(name, "peer", waiting, "no daemon: apt-get install iceoryx");
  }
  Row row = MakeRow(name, "peer", waiting,
                    [waiting](const Cell& cell) { return Iceoryx::Create(cell, waiting); });
  row.note = waiting == Waiting::kSpin ? "in place; the subscriber asks again and again"
                                       : "in place; a wait set";
  row.prepare = [roudi = std::move(roudi), prepare = row.prepare](
                    const Cell& cell, const Plan& plan, Arena& arena) -> absl::StatusOr<Body> {
    if (absl::Status status = roudi->EnsureRunning(); !status.ok()) return status;
    return prepare(cell, plan, arena);
  };
  return row;
}
#endif

#if PARLEY_BENCH_HAVE_BOOST
template <std::size_t... kSizes>
absl::StatusOr<Body> PrepareBoost(const Cell& cell, const Plan& plan, Arena& arena) {
  absl::StatusOr<Body> body = absl::InvalidArgumentError("no element of this size");
  const auto prepare = [&]<std::size_t kSize>() {
    if (cell.size_bytes != kSize) return;
    body = MakeRow("", "", Waiting::kSpin, BoostSpsc<kSize>::Create).prepare(cell, plan, arena);
  };
  (prepare.template operator()<kSizes>(), ...);
  return body;
}
#endif

Row BoostRow() {
  const std::string name = "boost spsc_queue";
#if PARLEY_BENCH_HAVE_BOOST
  Row row;
  row.name = name;
  row.family = "peer";
  row.note = "in shared memory; copied in, read in place; unable to sleep";
  row.prepare = PrepareBoost<8, 64, 256, 1024, 4096>;
  row.refuses = [](const Cell& cell) -> std::string {
    if (cell.queue_bytes != 0) return "its length is known to the compiler";
    return cell.size_bytes <= 4096 ? "" : "elements end at 4 KiB here";
  };
  return row;
#else
  return MissingRow(name, "peer", Waiting::kSpin, NotBuilt("libboost-dev"));
#endif
}

}  // namespace

std::vector<Row> PeerRows() {
  std::vector<Row> rows;
  rows.push_back(BoostRow());
#if PARLEY_BENCH_HAVE_ICEORYX
  const auto roudi = std::make_shared<Roudi>();
#endif
  for (const Waiting waiting : {Waiting::kSpin, Waiting::kSleep}) {
#if PARLEY_BENCH_HAVE_ICEORYX
    rows.push_back(IceoryxRow(waiting, roudi));
#else
    rows.push_back(MissingRow("iceoryx" + Suffix(waiting), "peer", waiting,
                              NotBuilt("iceoryx libiceoryx-posh-dev libiceoryx-hoofs-dev")));
#endif
    rows.push_back(ZeroMqRow(waiting));
    rows.push_back(NngRow(waiting));
  }
  return rows;
}

}  // namespace parley::bench
