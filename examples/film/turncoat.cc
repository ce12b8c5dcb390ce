// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/turncoat.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/hostile_access.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"

namespace parley::film {
namespace {

constexpr int kUnitsIfNoDuration = 20;
constexpr int kRewrittenPictures = 5;

[[noreturn]] void StayForEver() {
  while (true) absl::SleepFor(absl::Seconds(1));
}

}  // namespace

bool Turncoat::Turns(int64_t pts_ns) {
  if (hijack_ == Hijack::kNone || turned_) return false;
  ++units_;
  turned_ = turns_at_ns_ > 0 ? pts_ns >= turns_at_ns_ : units_ > kUnitsIfNoDuration;
  return turned_;
}

absl::Status Turncoat::OnPicture(const Picture& picture) {
  if (Turns(picture.pts_ns)) Attack();
  if (left()) return absl::AbortedError("enough");
  if (hijack_ == Hijack::kPayloadRewrite && turned_ && rewritten_ < kRewrittenPictures) {
    return SendRewritten(picture);
  }
  return honest_.OnPicture(picture);
}

absl::Status Turncoat::OnAudio(const AudioBlock& audio) {
  if (Turns(audio.pts_ns)) Attack();
  if (left()) return absl::AbortedError("enough");
  return honest_.OnAudio(audio);
}

void Turncoat::Attack() {
  // Not out of courtesy: a lie is the worse the more the viewer has come to rely on.
  static_cast<void>(sender_.AwaitDrained(Deadline::After(absl::Seconds(10))));
  OwnMemory control = HostileAccess::Control(sender_);
  OwnMemory data = HostileAccess::Data(sender_);
  const uint64_t tail = HostileAccess::Published(sender_);
  const uint64_t capacity = sender_.capacity_bytes();
  switch (hijack_) {
    case Hijack::kNone:
    case Hijack::kPayloadRewrite:
    case Hijack::kEarlyEnd:
      return;
    case Hijack::kIndexJump:
      control.StoreRelease64(kTailOffset, tail + 3 * capacity);
      break;
    case Hijack::kLengthLie:
      data.StoreRelaxed64(tail & (capacity - 1), uint64_t{kTagPicture} << 32 | 0xffff'fff0);
      control.StoreRelease64(kTailOffset, tail + 64);
      break;
    case Hijack::kRewind:
      control.StoreRelease64(kTailOffset, 8);
      break;
    case Hijack::kSilence:
      StayForEver();
    case Hijack::kFlood:
      while (true) HostileAccess::DoorbellOf(sender_).Signal();
    case Hijack::kTruncate:
      // Every descriptor that it still has; the filter ends the first try.
      for (int fd = 0; fd < 64; ++fd) static_cast<void>(::ftruncate(fd, 0) + 1);
      break;
    case Hijack::kDeath:
      __builtin_trap();
    case Hijack::kBadFrame:
      SendBadFrame();
      break;
    case Hijack::kFormatFlood:
      FloodWithFormats();
      break;
    case Hijack::kOpenFile:
      static_cast<void>(::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
      break;
  }
  HostileAccess::DoorbellOf(sender_).Signal();
  StayForEver();
}

void Turncoat::SendBadFrame() {
  FrameHeaderWire wire = {};
  wire.sequence = honest_.next_picture();
  wire.format_generation = honest_.video_generation();
  wire.plane_count = 3;
  for (size_t i = 0; i < 3; ++i) {
    wire.planes[i] = {.offset_bytes = std::numeric_limits<uint32_t>::max() - 64,
                      .stride_bytes = std::numeric_limits<uint32_t>::max()};
  }
  static_cast<void>(sender_.Send(kTagPicture, WireBytes(wire), Deadline::After(absl::Seconds(10))));
}

void Turncoat::FloodWithFormats() {
  AudioFormat format = {.sample_format = SampleFormat::kS16, .rate_hz = 8000, .channels = 1};
  for (uint32_t generation = honest_.audio_generation() + 1;; ++generation) {
    const absl::Status sent = sender_.Send(kTagFormat, EncodeFormat({format, generation}),
                                           Deadline::After(absl::Seconds(10)));
    if (!sent.ok()) return;
  }
}

absl::Status Turncoat::SendRewritten(const Picture& picture) {
  ++rewritten_;
  // Before it is published: surely seen.
  Picture changed = picture;
  const PlaneShape luma = ShapeOf(picture.format).planes[0];
  inverted_.resize(luma.size_bytes());
  for (uint32_t row = 0; row < luma.rows; ++row) {
    const auto from = picture.Row(0, row, luma.row_bytes);
    for (uint32_t i = 0; i < luma.row_bytes; ++i) {
      inverted_[size_t{row} * luma.row_bytes + i] = ~from[i];
    }
  }
  changed.planes[0] = inverted_.data();
  changed.strides_bytes[0] = luma.row_bytes;
  const absl::Status sent = honest_.OnPicture(changed);
  // And again while the viewer copies it: the header and all, over and over.
  OwnMemory data = HostileAccess::Data(sender_);
  const uint64_t mask = sender_.capacity_bytes() - 1;
  const uint64_t tail = HostileAccess::Published(sender_);
  const uint64_t reach = std::min(luma.size_bytes() & ~uint64_t{7}, tail);
  for (uint64_t i = 0; i < 200; ++i) {
    for (uint64_t back = 8; back < reach; back += 4096) {
      data.StoreRelaxed64((tail - back) & mask, 0x0101010101010101u * (i & 0xff));
    }
  }
  return sent;
}

}  // namespace parley::film
