#ifndef PARLEY_EXAMPLES_FILM_OUTPUTS_H_
#define PARLEY_EXAMPLES_FILM_OUTPUTS_H_

// Where the viewer's pictures and samples go: files, the contact sheet, the list of digests.
//
// Threads: one at a time.
//
//   Outputs outputs({.y4m = "film.y4m"});
//   ... outputs.OnPicture(picture) ...
//   absl::Status kept = outputs.Finish();     // also after trouble: what was delivered is kept

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "parley/examples/film/contact_sheet.h"
#include "parley/examples/film/digest.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/wav_writer.h"
#include "parley/examples/film/y4m_writer.h"

namespace parley::film {

struct OutputOptions {
  std::string y4m;  // empty: not written; so with the others
  std::string wav;
  std::string sheet;
  bool digests = false;
};

class Outputs final : public MediaSink {
 public:
  explicit Outputs(const OutputOptions& options);

  absl::Status OnPicture(const Picture& picture) override;
  absl::Status OnAudio(const AudioBlock& audio) override;

  // Publishes every file that got anything. The first error, but all are tried.
  absl::Status Finish();
  // Published by Finish.
  const std::vector<std::string>& files() const { return files_; }

  // One per picture and block, in order; empty unless asked for.
  const std::vector<Digest>& picture_digests() const { return picture_digests_; }
  const std::vector<Digest>& audio_digests() const { return audio_digests_; }

 private:
  OutputOptions options_;
  std::optional<Y4mWriter> y4m_;
  std::optional<WavWriter> wav_;
  ContactSheet sheet_;
  Digester digester_;
  std::vector<Digest> picture_digests_;
  std::vector<Digest> audio_digests_;
  std::vector<std::string> files_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_OUTPUTS_H_
