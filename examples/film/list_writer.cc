// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/list_writer.h"

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "parley/media/format.h"

namespace parley::film {
namespace {

// "-1.040000000", exactly.
std::string Seconds(int64_t ns) {
  const uint64_t size =
      ns < 0 ? uint64_t{0} - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  return absl::StrFormat("%s%d.%09d", ns < 0 ? "-" : "", size / 1000000000, size % 1000000000);
}

}  // namespace

absl::Status ListWriter::WriteLine(const std::string& line) {
  if (!file_.has_value()) {
    absl::StatusOr<cli::OutputFile> file = cli::OutputFile::Create(path_);
    if (!file.ok()) return file.status();
    file_.emplace(*std::move(file));
  }
  // SAFETY: characters seen as bytes.
  absl::Status written =
      file_->Write({reinterpret_cast<const std::byte*>(line.data()), line.size()});
  if (written.ok()) file_->Mark();
  return written;
}

absl::Status ListWriter::Write(const Picture& picture) {
  return WriteLine(absl::StrFormat(
      "picture %d %s %s %dx%d %s%s%s%s%s\n", pictures_++, Seconds(picture.pts_ns),
      Seconds(picture.duration_ns), picture.format.width, picture.format.height,
      std::string(InfoOf(picture.format.pixel_format).libav), picture.key ? " key" : "",
      picture.corrupt ? " corrupt" : "", picture.interlaced ? " interlaced" : "",
      picture.converted ? " converted" : ""));
}

absl::Status ListWriter::Write(const AudioBlock& audio) {
  const AudioFormat& format = audio.format;
  std::string name(LibavName(format.sample_format, format.planar));
  if (name.empty()) name = format.planar ? "s24in32p" : "s24in32";
  return WriteLine(absl::StrFormat("sound %d %s %s %d %d %d %s%s\n", audio_blocks_++,
                                   Seconds(audio.pts_ns), Seconds(audio.duration_ns), audio.frames,
                                   format.rate_hz, format.channels, name,
                                   audio.corrupt ? " corrupt" : ""));
}

absl::Status ListWriter::Finish() {
  if (!file_.has_value()) return absl::OkStatus();
  absl::Status done = file_->Publish();
  file_.reset();
  return done;
}

}  // namespace parley::film
