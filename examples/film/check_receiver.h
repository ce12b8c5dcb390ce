// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_CHECK_RECEIVER_H_
#define PARLEY_EXAMPLES_FILM_CHECK_RECEIVER_H_

// Compares what was delivered with what the second look says (second_look.h): times, sizes, range,
// colours, chroma place, aspect, turning, fields and every byte; where the picture had to be
// converted, the colours of a grid of cells.
//
// Trust: the second look runs in a confined worker that may have been hijacked as well. Two that
// lie alike agree; the worst that it can do else is to make pictures differ that don't, or a
// violation. Its work and memory are bounded by what was delivered.
// Threads: one at a time.
//
//   CheckReceiver check(pictures, formats, audio);
//   while (check.OnMessage(tag, bytes) == Verdict::kGoOn) ...
//   check.result().identical()

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/examples/film/facts.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/message_handler.h"

namespace parley::film {

struct VerifyResult {
  uint64_t pictures = 0;  // that were compared
  uint64_t audio_blocks = 0;
  uint64_t audio_frames = 0;
  std::vector<uint64_t> differing_pictures;
  std::vector<uint64_t> differing_audio_blocks;
  std::string first_reason;  // "the range is limited and not full"; empty: nothing differs

  bool identical() const { return differing_pictures.empty() && differing_audio_blocks.empty(); }
};

// Why the two differ; empty: they don't. Pure, for tests.
std::string WhyPictureDiffers(const FactsOfPicture& delivered, const VideoFormat& format,
                              const CheckPictureWire& check);
std::string WhyAudioDiffers(const FactsOfAudio& delivered, const CheckAudioWire& check);

class CheckReceiver final : public MessageHandler {
 public:
  // All of it outlives this.
  CheckReceiver(const std::vector<FactsOfPicture>& pictures,
                const std::vector<VideoFormat>& formats, const std::vector<FactsOfAudio>& audio)
      : pictures_(pictures), formats_(formats), audio_(audio) {}

  Verdict OnMessage(uint32_t tag, absl::Span<const std::byte> message) override;
  const absl::Status& status() const override { return status_; }
  const std::string& failure() const override { return failure_; }

  const VerifyResult& result() const { return result_; }

 private:
  absl::Status OnPicture(absl::Span<const std::byte> message);
  absl::Status OnAudio(absl::Span<const std::byte> message);
  absl::Status OnEnd(absl::Span<const std::byte> message);
  void Differs(const std::string& why, uint64_t number, std::vector<uint64_t>& list);

  const std::vector<FactsOfPicture>& pictures_;
  const std::vector<VideoFormat>& formats_;
  const std::vector<FactsOfAudio>& audio_;
  VerifyResult result_;
  Verdict verdict_ = Verdict::kGoOn;
  absl::Status status_;
  std::string failure_;
};

// "3, 7 to 12, 20"; beyond `max_ranges`, "and 5 more".
std::string NumberList(const std::vector<uint64_t>& ascending, size_t max_ranges);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_CHECK_RECEIVER_H_
