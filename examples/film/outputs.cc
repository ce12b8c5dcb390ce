#include "parley/examples/film/outputs.h"

namespace parley::film {

Outputs::Outputs(const OutputOptions& options) : options_(options) {
  if (!options.y4m.empty()) y4m_.emplace(options.y4m);
  if (!options.wav.empty()) wav_.emplace(options.wav);
}

absl::Status Outputs::OnPicture(const Picture& picture) {
  if (options_.digests) picture_digests_.push_back(digester_.Of(picture));
  if (!options_.sheet.empty()) sheet_.Add(picture);
  return y4m_.has_value() ? y4m_->Write(picture) : absl::OkStatus();
}

absl::Status Outputs::OnAudio(const AudioBlock& audio) {
  if (options_.digests) audio_digests_.push_back(digester_.Of(audio));
  return wav_.has_value() ? wav_->Write(audio) : absl::OkStatus();
}

absl::Status Outputs::Finish() {
  absl::Status status;
  if (y4m_.has_value()) {
    status.Update(y4m_->Finish());
    files_.insert(files_.end(), y4m_->files().begin(), y4m_->files().end());
  }
  if (wav_.has_value()) {
    status.Update(wav_->Finish());
    files_.insert(files_.end(), wav_->files().begin(), wav_->files().end());
  }
  if (!options_.sheet.empty() && !sheet_.empty()) {
    const absl::Status written = sheet_.Write(options_.sheet);
    if (written.ok()) files_.push_back(options_.sheet);
    status.Update(written);
  }
  return status;
}

}  // namespace parley::film
