// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/outputs.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace parley::film {

Outputs::Outputs(const OutputOptions& options) : options_(options) {
  if (!options.y4m.empty()) y4m_.emplace(options.y4m, &names_);
  if (!options.wav.empty()) wav_.emplace(options.wav, &names_);
  if (!options.list.empty()) list_.emplace(options.list);
  y4m_alive_ = y4m_.has_value();
  wav_alive_ = wav_.has_value();
  list_alive_ = list_.has_value();
}

absl::Status Outputs::Claim(int input_fd, const std::string& input) {
  absl::Status status = names_.ProtectInput(input_fd, input);
  if (status.ok() && !options_.y4m.empty()) status = names_.Claim(options_.y4m, "--y4m");
  if (status.ok() && !options_.wav.empty()) status = names_.Claim(options_.wav, "--wav");
  if (status.ok() && !options_.sheet.empty()) status = names_.Claim(options_.sheet, "--sheet");
  if (status.ok() && !options_.list.empty()) status = names_.Claim(options_.list, "--list");
  return status;
}

absl::Status Outputs::Ended(absl::Status status, bool& alive) {
  alive = false;
  const bool others = y4m_alive_ || wav_alive_ || list_alive_ || !options_.sheet.empty() ||
                      options_.facts || options_.keep_going;
  if (!others) return status;
  ended_early_.emplace_back(status.message());
  return absl::OkStatus();
}

absl::Status Outputs::OnPicture(const Picture& picture) {
  if (options_.facts) picture_facts_.push_back(recorder_.Of(picture));
  if (!options_.sheet.empty()) sheet_.Add(picture);
  if (list_alive_) {
    absl::Status listed = list_->Write(picture);
    if (!listed.ok()) listed = Ended(std::move(listed), list_alive_);
    if (!listed.ok()) return listed;
  }
  if (!y4m_alive_) return absl::OkStatus();
  absl::Status written = y4m_->Write(picture);
  return written.ok() ? written : Ended(std::move(written), y4m_alive_);
}

absl::Status Outputs::OnAudio(const AudioBlock& audio) {
  if (options_.facts) audio_facts_.push_back(recorder_.Of(audio));
  if (list_alive_) {
    absl::Status listed = list_->Write(audio);
    if (!listed.ok()) listed = Ended(std::move(listed), list_alive_);
    if (!listed.ok()) return listed;
  }
  if (!wav_alive_) return absl::OkStatus();
  absl::Status written = wav_->Write(audio);
  return written.ok() ? written : Ended(std::move(written), wav_alive_);
}

absl::Status Outputs::Finish() {
  absl::Status status;
  if (y4m_.has_value()) {
    const absl::Status done = y4m_->Finish();
    if (y4m_alive_) status.Update(done);
    files_.insert(files_.end(), y4m_->files().begin(), y4m_->files().end());
  }
  if (wav_.has_value()) {
    const absl::Status done = wav_->Finish();
    if (wav_alive_) status.Update(done);
    files_.insert(files_.end(), wav_->files().begin(), wav_->files().end());
  }
  if (list_.has_value() && !list_->empty()) {
    const absl::Status done = list_->Finish();
    if (done.ok()) files_.push_back(list_->path());
    if (list_alive_) status.Update(done);
  }
  if (!options_.sheet.empty() && !sheet_.empty()) {
    const absl::Status written = sheet_.Write(options_.sheet);
    if (written.ok()) files_.push_back(options_.sheet);
    status.Update(written);
  }
  return status;
}

std::vector<std::string> Outputs::Notes() const {
  std::vector<std::string> notes;
  if (!y4m_.has_value()) return notes;
  if (y4m_->repeated() > 0 || y4m_->left_out() > 0) {
    notes.push_back(absl::StrCat("y4m has one rate: ", y4m_->repeated(),
                                 " pictures were repeated and ", y4m_->left_out(),
                                 " left out to keep the film's time"));
  }
  if (!y4m_->not_said().empty()) {
    notes.push_back(absl::StrCat("y4m cannot say ", y4m_->not_said()));
  }
  return notes;
}

}  // namespace parley::film
