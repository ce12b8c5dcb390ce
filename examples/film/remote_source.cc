#include "parley/examples/film/remote_source.h"

#include <algorithm>
#include <cstring>

#include "absl/time/time.h"
#include "parley/boundary/wire_copy.h"
#include "parley/examples/film/film_protocol.h"

namespace parley::film {
namespace {

// A viewer that pauses is no reason to give up; one that is gone is noticed at once.
constexpr absl::Duration kPatience = absl::Hours(24);

}  // namespace

RemoteSource::RemoteSource(Channel& channel, uint64_t size_bytes)
    : channel_(channel), size_bytes_(size_bytes), piece_(channel.receiver.max_message_bytes()) {}

absl::StatusOr<Acceptance> RemoteSource::ReceiveAcceptance(Deadline deadline) {
  const absl::StatusOr<Record> message =
      channel_.receiver.Receive(absl::MakeSpan(piece_), deadline);
  if (!message.ok()) return message.status();
  if (message->tag != kTagAccepts) return absl::DataLossError("the viewer says something else");
  return ParseAcceptance(absl::MakeConstSpan(piece_).first(message->size_bytes));
}

size_t RemoteSource::ReadAt(uint64_t offset, absl::Span<std::byte> into) {
  if (offset >= size_bytes_ || into.empty()) return 0;
  if (offset < piece_offset_ || offset >= piece_offset_ + piece_bytes_) {
    piece_bytes_ = 0;
    const ReadRequestWire request = {
        .offset = offset,
        .bytes = static_cast<uint32_t>(std::min<uint64_t>(
            {kMaxReadBytes, size_bytes_ - offset, channel_.receiver.max_message_bytes()})),
        .reserved = 0};
    const Deadline deadline = Deadline::After(kPatience);
    if (!channel_.sender.Send(kTagRead, WireBytes(request), deadline).ok()) return 0;
    const absl::StatusOr<Record> answer =
        channel_.receiver.Receive(absl::MakeSpan(piece_), deadline);
    if (!answer.ok() || answer->tag != kTagData) return 0;
    piece_offset_ = offset;
    piece_bytes_ = answer->size_bytes;
    if (piece_bytes_ == 0) return 0;
  }
  const size_t from = static_cast<size_t>(offset - piece_offset_);
  const size_t taken = std::min(into.size(), piece_bytes_ - from);
  std::memcpy(into.data(), piece_.data() + from, taken);
  return taken;
}

}  // namespace parley::film
