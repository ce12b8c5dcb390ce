// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_PATTERNS_LATEST_LATEST_H_
#define PARLEY_PATTERNS_LATEST_LATEST_H_

// The latest value of one writer, for any number of readers in other processes: a configuration, a
// position, a picture. A reader gets the newest value whole, and no history.
//
//   writer process                               reader processes, any number
//     LatestWriter --> broadcast (read-only there) --> LatestReader, each by its own session
//
// What it costs: the writer: a copy of the value and no system call, whatever its readers do and
// however many they are. A reader: a copy, or up to four where the writer overtakes it. Nobody is
// signalled: a signal to many is a call for each of them, or a walk along a queue whose length they
// choose, and either would be at the writer's cost. So a reader that waits looks again, by itself
// (LatestReaderOptions), and one in an event loop looks when a timer of its own says so.
//
// Trust: the writer trusts no reader: they can only read. A reader trusts no writer: each value is
// copied and its sequence checked afterwards, so it is whole or refused; its content is the
// writer's. A writer can keep a reader from getting anything, by never finishing; that is
// kOvertaken, after a bounded number of copies. Other lies end the session (violation()).
// Threads: a writer: one. A reader: one; another thread has another reader, on the same session.
// Fork: as a channel (channel/channel.h).
//
//   // The writer, which accepts:
//   const LatestGeometry geometry = *LatestGeometry::Make({.max_value_bytes = 4096});
//   auto broadcast = *Broadcast::Create({geometry.section()});
//   LatestWriter writer = *LatestWriter::Create(broadcast);
//   AcceptOptions options;
//   options.direction = Direction::kNone;     // or with something that comes back
//   options.broadcast = broadcast;
//   ChannelListener listener = *ChannelListener::Listen(name, options);
//   writer.Write(value);                      // now and then; and keep what listener.Accept gives
//
//   // A reader, which connects:
//   ConnectOptions options;
//   options.direction = Direction::kNone;
//   options.broadcast_kinds = {kSectionLatest};
//   Channel channel = *ConnectChannel(name, options, deadline);
//   LatestReader reader = *LatestReader::Create(channel.session);
//   std::vector<std::byte> into(reader.max_value_bytes());
//   absl::StatusOr<LatestValue> value = reader.Read(absl::MakeSpan(into), deadline);

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/boundary/wire_type.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"
#include "parley/patterns/latest/core.h"
#include "parley/patterns/latest/layout.h"
#include "parley/shm/broadcast.h"

namespace parley {

class LatestWriter {
 public:
  // The one writer of the broadcast's section of latest values, which it keeps alive. kNotFound:
  // there is none; kAlreadyExists: it has a writer; kInvalidArgument: not one of a LatestGeometry.
  static absl::StatusOr<LatestWriter> Create(std::shared_ptr<Broadcast> broadcast);

  // Copies `value` and makes it the newest version. Wait-free. value.size() <= max_value_bytes().
  void Write(absl::Span<const std::byte> value) { core_.Write(value); }
  // The same in place: fill Next(), of max_value_bytes(), which stays the same until Publish.
  absl::Span<std::byte> Next() { return core_.Next(); }
  void Publish(std::size_t size_bytes) { core_.Publish(size_bytes); }

  // How many values were written.
  uint64_t version() const { return core_.version(); }
  uint64_t max_value_bytes() const { return core_.geometry().max_value_bytes(); }

 private:
  LatestWriter(std::shared_ptr<Broadcast> broadcast, OwnMemory section,
               const LatestGeometry& geometry)
      : broadcast_(std::move(broadcast)), core_(section, geometry) {}
  std::shared_ptr<Broadcast> broadcast_;
  internal::BasicLatestWriter<OwnMemory> core_;
};

struct LatestReaderOptions {
  // What the users of both sides agree on: a value with another size is a violation. 0 for the
  // maximum: whatever fits the writer's slots.
  uint64_t min_value_bytes = 0;
  uint64_t max_value_bytes = 0;
  // How a wait looks for a newer value: at once and again for so long,
  absl::Duration spin = absl::Microseconds(20);
  // then after sleeps of an eighth of the time that it has waited, from 50 us to so long. So a
  // value is seen late by an eighth of the wait for it, or by this; 50 us to a second.
  absl::Duration max_sleep = absl::Milliseconds(1);
};

class LatestReader {
 public:
  // The writer's numbers, as of LatestGeometry::FromSection, or the options are impossible:
  // kInvalidArgument. kFailedPrecondition: the session has no broadcast with latest values.
  static absl::StatusOr<LatestReader> Create(std::shared_ptr<Session> session,
                                             const LatestReaderOptions& options = {});

  // Copies the newest value, if it is newer than the last one that this reader read.
  // into.size() >= max_value_bytes(); but for kOk it may then hold anything. No system call; the
  // writer's end is not an outcome: what it wrote last can be read for as long as the reader lives.
  // Once Read has said that the writer has ended: kNoNewer or kPoisoned, for good.
  LatestOutcome TryRead(absl::Span<std::byte> into, LatestValue* value);
  // True if TryRead would not answer kNoNewer.
  bool HasNewer();

  // Waits for a newer value and copies it. kDeadlineExceeded: there was none; kAborted: there was
  // one that the writer did not leave alone; kUnavailable: the writer has ended this session, and
  // there will be none for this reader, whatever the writer does with its broadcast; kDataLoss: the
  // writer broke the protocol.
  absl::StatusOr<LatestValue> Read(absl::Span<std::byte> into, Deadline deadline);

  // The first violation of this session; kNone while there is none.
  Violation violation() const;
  uint64_t max_value_bytes() const { return core_.max_value_bytes(); }
  const std::shared_ptr<Session>& session() const { return session_; }

 private:
  LatestReader(std::shared_ptr<Session> session, internal::BasicLatestReader<PeerMemory> core,
               const LatestReaderOptions& options)
      : session_(std::move(session)), core_(core), options_(options) {}
  bool Poisoned();
  bool Pause(int64_t began_ns, LatestOutcome last, Deadline deadline) const;

  std::shared_ptr<Session> session_;
  internal::BasicLatestReader<PeerMemory> core_;
  LatestReaderOptions options_;
  bool writer_gone_ = false;  // seen: what it had written may still be read
  bool told_end_ = false;     // by Read: nothing newer comes
};

// The same for values of one type, with exactly its size.
template <WireType T>
class TypedLatestWriter {
 public:
  // kInvalidArgument as well: values of T do not fit.
  static absl::StatusOr<TypedLatestWriter> Create(std::shared_ptr<Broadcast> broadcast) {
    auto writer = LatestWriter::Create(std::move(broadcast));
    if (!writer.ok()) return writer.status();
    if (writer->max_value_bytes() < sizeof(T)) {
      return absl::InvalidArgumentError("a section whose values are shorter than the type");
    }
    return TypedLatestWriter(*std::move(writer));
  }
  void Write(const T& value) { writer_.Write(BytesOfWire(absl::MakeConstSpan(&value, 1))); }
  uint64_t version() const { return writer_.version(); }

 private:
  explicit TypedLatestWriter(LatestWriter writer) : writer_(std::move(writer)) {}
  LatestWriter writer_;
};

template <WireType T>
class TypedLatestReader {
 public:
  // Sizes in `options` are not looked at. kInvalidArgument as well: values of T do not fit.
  static absl::StatusOr<TypedLatestReader> Create(std::shared_ptr<Session> session,
                                                  LatestReaderOptions options = {}) {
    options.min_value_bytes = options.max_value_bytes = sizeof(T);
    auto reader = LatestReader::Create(std::move(session), options);
    if (!reader.ok()) return reader.status();
    return TypedLatestReader(*std::move(reader));
  }
  // As of LatestReader. `*value` may hold anything but for kOk; what it may mean is for the caller
  // to validate.
  LatestOutcome TryRead(T* value, uint64_t* version = nullptr) {
    LatestValue read;
    const LatestOutcome outcome = reader_.TryRead(BytesOf(*value), &read);
    if (outcome == LatestOutcome::kOk && version != nullptr) *version = read.version;
    return outcome;
  }
  absl::StatusOr<T> Read(Deadline deadline) {
    T value{};
    const auto read = reader_.Read(BytesOf(value), deadline);
    if (!read.ok()) return read.status();
    return value;
  }
  bool HasNewer() { return reader_.HasNewer(); }
  Violation violation() const { return reader_.violation(); }

 private:
  explicit TypedLatestReader(LatestReader reader) : reader_(std::move(reader)) {}
  static absl::Span<std::byte> BytesOf(T& value) {
    return WritableBytesOfWire(absl::MakeSpan(&value, 1));
  }
  LatestReader reader_;
};

}  // namespace parley

#endif  // PARLEY_PATTERNS_LATEST_LATEST_H_
