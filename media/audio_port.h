// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_AUDIO_PORT_H_
#define PARLEY_MEDIA_AUDIO_PORT_H_

// Sound for a real-time thread, to and from a process that is not trusted: a voice call, an
// instrument or an effect that runs in a process of its own.
//
// Three uses, each at both ends of one channel:
//   a stream      Write(block) ------------------------> Read(any number of frames), or Take(block)
//   a cycle       Process(in, out, deadline) <---------> Respond(effect, deadline)
//   events        MIDI, parameters: each belongs to a frame of a block, and travels with it
//
// No call takes a lock, allocates, or makes a system call (AudioPortTest.NoCallIsASystemCall): time
// comes from the vDSO, and nobody is signalled. A call that waits looks at the ring again and again
// until its deadline, which is why deadlines are parts of a block; `poll_sleep` is for threads that
// may sleep in between. What is not there in time is silence, and counted: a peer that is late,
// stopped, dead or hostile costs exactly that.
//
// A stream keeps its delay: after an underrun Read gives silence until `prefill_frames` are there
// again, and where more than `max_delay_frames` have gathered it goes on with the newest of them.
// A cycle keeps its place: an answer that comes too late is dropped.
//
// Trust: every sample is finite, at most `limit` and not subnormal once it is here; lengths, counts
// and places of events are checked on a private copy; a lie ends the port (violation()). A call
// looks at no more than kMaxBlocksPerCall blocks, however fast the peer writes them.
// Threads: one at a time for Write, Read, Process, Respond and Take: the real-time thread. stats()
// is for that thread as well. CheckPeer and Interrupt are for any other.
// SCHED_FIFO: a waiting call does not yield. Give the two ends different processors, or the
// responding one a lower priority and `poll_sleep`; a worker is never given real-time priority by
// Spawn, its parent can with sched_setscheduler(worker.pid(), ...), and RLIMIT_RTTIME bounds it.
//
//   AudioPortOptions options;                            // the same at both ends
//   options.send_channels = options.receive_channels = 2;
//   Channel channel = *ConnectChannel(name, AudioConnectOptions(options), deadline);
//   AudioPort port = *AudioPort::Create(channel, options);
//   // The host, each block:
//   port.Process(in, {}, out, {}, Deadline::After(absl::Milliseconds(2)));
//   // The other side, again and again:
//   port.Respond([&](const AudioBlock& block) { Reverb(block.in, block.out); }, deadline);

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_type.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"

namespace parley {

// Something that happens at a frame: a MIDI message, a parameter's new value.
struct AudioEvent {
  uint32_t frame;                // of the block, or of what a Read returns
  uint32_t kind;                 // the users' own
  std::array<uint8_t, 16> data;  // theirs as well; the peer's choice
};
static_assert(sizeof(AudioEvent) == 24);
static_assert(WireType<AudioEvent>);

struct AudioPortOptions {
  uint32_t rate_hz = 48'000;
  // Interleaved 32-bit floats, as this side sees it: what one sends, the other one receives.
  uint32_t send_channels = 1;     // 0 to 64; 0: there is no Write
  uint32_t receive_channels = 1;  // 0 to 64; 0: there is no Read
  uint32_t max_block_frames = 1024;
  uint32_t max_block_events = 64;
  // Blocks of the maximum that fit into the ring on their way.
  uint32_t ring_blocks = 8;
  // Of a stream's reader: what has to be there before it begins, and where it cuts the delay. 0:
  // one and a half blocks; all that the reader holds, which is as much as the ring.
  uint32_t prefill_frames = 0;
  uint32_t max_delay_frames = 0;
  // Samples of the peer's are cut to this: 1 is full scale, so the default leaves 12 dB.
  float limit = 4.0f;
  // Between two looks of a call that waits. Zero: none, and no system call.
  absl::Duration poll_sleep = absl::ZeroDuration();
};

// The channel's options for the two sides. The format blob says the rate, the channels and the
// limits, and the accepting side refuses another one than its own.
AcceptOptions AudioAcceptOptions(const AudioPortOptions& options);
ConnectOptions AudioConnectOptions(const AudioPortOptions& options);
// The rings alone, for a worker's link (supervise/worker_link.h): what this side sends through, and
// what it receives through.
RingRequest AudioSendRing(const AudioPortOptions& options);
RingRequest AudioReceiveRing(const AudioPortOptions& options);

// Counts since Create. Frames are of our side.
struct AudioPortStats {
  uint64_t blocks_sent = 0;
  uint64_t blocks_received = 0;
  uint64_t overruns = 0;  // blocks of ours that found no room
  // Calls that had to give silence: of Read after the first sound came, of Process all.
  uint64_t underruns = 0;
  uint64_t silent_frames = 0;     // of these calls
  uint64_t late_blocks = 0;       // answers to an earlier cycle: dropped
  uint64_t missed_frames = 0;     // that the peer's side dropped, by its own account
  uint64_t skipped_frames = 0;    // dropped here, since too much delay had gathered
  uint64_t repaired_samples = 0;  // NaN, infinite, above the limit, subnormal
  uint64_t events_sent = 0;
  uint64_t events_received = 0;
  uint64_t events_dropped = 0;   // found no room in a Read's or our own buffer
  uint32_t buffered_frames = 0;  // now
  // How much faster the peer's clock seems to run than ours, in parts per million, by what came and
  // what was read of a stream; worth something after a minute.
  double drift_ppm = 0;
};

enum class AudioOutcome {
  kOk,
  kLate,  // Write: no room; Read: silence, in whole or in part; Respond: no block came
  // The peer ended or broke the protocol, or we ended: silence for ever, after what Read holds. Who
  // was told so is told it by each later call of the same kind.
  kEnded,
};

struct AudioReadResult {
  AudioOutcome outcome = AudioOutcome::kOk;
  uint32_t frames = 0;  // at the front, that are the peer's; the rest is silence
  uint32_t events = 0;
};

// What Respond hands over. Spans are valid during the call.
struct AudioBlock {
  uint32_t frames = 0;
  absl::Span<const float> in;  // frames * receive_channels
  absl::Span<const AudioEvent> events;
  absl::Span<float> out;  // frames * send_channels, silent
  // Room for max_block_events, in the order of their frames, for an effect that has some.
  absl::Span<AudioEvent> out_events;
};

class AudioPort {
 public:
  static constexpr uint32_t kMaxBlocksPerCall = 256;

  // The channel's ends are the port's from here on, wherever the channel goes: nobody else uses
  // them. kInvalidArgument: an option, or one that does not fit what the channel has.
  static absl::StatusOr<AudioPort> Create(const Channel& channel, const AudioPortOptions& options);
  AudioPort(AudioPort&&) noexcept;
  AudioPort& operator=(AudioPort&&) noexcept;
  ~AudioPort();

  // One block: frames * send_channels samples, 1 to max_block_frames, with up to max_block_events
  // events in the order of their frames. Anything else is the caller's bug and aborts. Where there
  // is no room by the deadline the block is dropped and counted; the peer's reader sees the gap.
  AudioOutcome Write(absl::Span<const float> samples, absl::Span<const AudioEvent> events,
                     Deadline deadline);

  // Fills `samples`, a multiple of receive_channels and up to max_block_frames, with what comes
  // next, and `events` with what belongs to it. Events that find no room are dropped and counted: a
  // reader holds ring_blocks * max_block_events of them.
  AudioReadResult Read(absl::Span<float> samples, absl::Span<AudioEvent> events, Deadline deadline);

  // A host's cycle: sends `in` and waits for the answer to it, as many frames of out as of in.
  AudioReadResult Process(absl::Span<const float> in, absl::Span<const AudioEvent> in_events,
                          absl::Span<float> out, absl::Span<AudioEvent> out_events,
                          Deadline deadline);

  // The other side's: waits for a block and answers it with what `effect` makes of it. It returns
  // nothing, or how many of `out_events` it wrote. It may close this port, and must not use, move
  // or end it otherwise.
  template <typename Effect>
  AudioOutcome Respond(const Effect& effect, Deadline deadline) {
    if (!TakesAnswers()) return AudioOutcome::kEnded;
    AudioBlock block;
    const AudioOutcome taken = TakeBlock(&block, deadline);
    if (taken != AudioOutcome::kOk) return taken;
    if constexpr (std::is_void_v<decltype(effect(std::as_const(block)))>) {
      effect(std::as_const(block));
      return Answer(block, 0);
    } else {
      return Answer(block, effect(std::as_const(block)));
    }
  }

  // The same without an answer, for a process that passes blocks on: `use` gets the block with `in`
  // and `events` alone. It takes what Read would: a port is used with the one or the other.
  template <typename Use>
  AudioOutcome Take(const Use& use, Deadline deadline) {
    AudioBlock block;
    const AudioOutcome taken = TakeBlock(&block, deadline);
    if (taken != AudioOutcome::kOk) return taken;
    block.out = {};
    block.out_events = {};
    use(std::as_const(block));
    return taken;
  }

  // Ends the stream in order: the peer reads what is there, then kEnded. The real-time thread's;
  // nothing is written afterwards, which would be the caller's bug.
  void Close();

  // False once the peer's process or its end of the channel is gone. Makes a system call, so it is
  // for another thread, now and then. Afterwards Write, Process and Respond say kEnded, and Read
  // and Take do after what the peer had sent; what it writes later is not looked at.
  bool CheckPeer() const;
  // Ends the real-time thread's calls, also one that waits: kEnded, of Read after what it holds.
  void Interrupt() const;

  Violation violation() const;
  AudioPortStats stats() const;

 private:
  struct State;
  explicit AudioPort(std::unique_ptr<State> state);
  bool TakesAnswers();
  AudioOutcome TakeBlock(AudioBlock* block, Deadline deadline);
  AudioOutcome Answer(const AudioBlock& block, std::size_t events);
  std::unique_ptr<State> state_;
};

}  // namespace parley

#endif  // PARLEY_MEDIA_AUDIO_PORT_H_
