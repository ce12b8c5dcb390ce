#include "parley/examples/film/verify.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "parley/examples/film/decoder.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {
namespace {

class Comparer final : public MediaSink {
 public:
  Comparer(const std::vector<Digest>& pictures, const std::vector<Digest>& audio_blocks,
           const std::function<bool()>& stop)
      : pictures_(pictures), audio_blocks_(audio_blocks), stop_(stop) {}

  absl::Status OnPicture(const Picture& picture) override {
    Compare(digester_.Of(picture), pictures_, result.pictures++, result.differing_pictures);
    return Continue();
  }
  absl::Status OnAudio(const AudioBlock& audio) override {
    result.audio_frames += audio.frames;
    Compare(digester_.Of(audio), audio_blocks_, result.audio_blocks++,
            result.differing_audio_blocks);
    return Continue();
  }

  VerifyResult result;

 private:
  static void Compare(const Digest& digest, const std::vector<Digest>& delivered, uint64_t number,
                      std::vector<uint64_t>& differing) {
    if (number >= delivered.size() || delivered[number] != digest) differing.push_back(number);
  }
  absl::Status Continue() const {
    return stop_() ? absl::CancelledError("verification was interrupted") : absl::OkStatus();
  }

  const std::vector<Digest>& pictures_;
  const std::vector<Digest>& audio_blocks_;
  const std::function<bool()>& stop_;
  Digester digester_;
};

}  // namespace

absl::StatusOr<VerifyResult> Verify(absl::Span<const std::byte> film,
                                    const std::vector<Digest>& pictures,
                                    const std::vector<Digest>& audio_blocks,
                                    const std::function<bool()>& stop) {
  WarmUpDecoder();
  absl::StatusOr<std::unique_ptr<FilmDecoder>> decoder = FilmDecoder::Open(film);
  if (!decoder.ok()) return decoder.status();
  Comparer comparer(pictures, audio_blocks, stop);
  const absl::StatusOr<DecodeTotals> totals = (*decoder)->Run(comparer);
  if (!totals.ok()) return totals.status();
  for (uint64_t i = comparer.result.pictures; i < pictures.size(); ++i) {
    comparer.result.differing_pictures.push_back(i);
  }
  for (uint64_t i = comparer.result.audio_blocks; i < audio_blocks.size(); ++i) {
    comparer.result.differing_audio_blocks.push_back(i);
  }
  return std::move(comparer.result);
}

std::string NumberList(const std::vector<uint64_t>& ascending, size_t max_ranges) {
  std::string text;
  size_t ranges = 0;
  for (size_t i = 0; i < ascending.size();) {
    size_t last = i;
    while (last + 1 < ascending.size() && ascending[last + 1] == ascending[last] + 1) ++last;
    if (ranges++ == max_ranges) {
      absl::StrAppend(&text, " and ", ascending.size() - i, " more");
      return text;
    }
    absl::StrAppend(&text, i == 0 ? "" : ", ", ascending[i]);
    if (last > i) absl::StrAppend(&text, last == i + 1 ? ", " : " to ", ascending[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace parley::film
