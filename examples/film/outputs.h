// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_OUTPUTS_H_
#define PARLEY_EXAMPLES_FILM_OUTPUTS_H_

// Where the viewer's pictures and samples go: files, the contact sheet, what --verify compares.
//
// An output that cannot go on (a full disk, a reader that has left, a format that a pipe cannot
// change to) ends alone: the others go on. The film ends when none is left.
//
// Threads: one at a time.
//
//   Outputs outputs({.y4m = "film.y4m"});
//   if (auto free = outputs.Claim(input_fd, "film.mp4"); !free.ok()) ...   // before anything
//   ... outputs.OnPicture(picture) ...
//   absl::Status kept = outputs.Finish();     // also after trouble: what was delivered is kept

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "parley/examples/film/contact_sheet.h"
#include "parley/examples/film/facts.h"
#include "parley/examples/film/list_writer.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/output_names.h"
#include "parley/examples/film/wav_writer.h"
#include "parley/examples/film/y4m_writer.h"

namespace parley::film {

struct OutputOptions {
  std::string y4m;  // empty: not written; so with the others
  std::string wav;
  std::string sheet;
  std::string list;
  bool facts = false;       // for --verify
  bool keep_going = false;  // somebody else takes the film as well
};

class Outputs final : public MediaSink {
 public:
  explicit Outputs(const OutputOptions& options);

  // kInvalidArgument: an output is the input, or two are the same; anything else: one cannot be
  // made.
  absl::Status Claim(int input_fd, const std::string& input);

  absl::Status OnPicture(const Picture& picture) override;
  absl::Status OnAudio(const AudioBlock& audio) override;

  // Publishes every file that got anything. The first error, but all are tried.
  absl::Status Finish();
  // Published by Finish.
  const std::vector<std::string>& files() const { return files_; }
  // Sentences about outputs that ended before the film did.
  const std::vector<std::string>& ended_early() const { return ended_early_; }
  // "12 pictures repeated ..."; empty: there is nothing to say.
  std::vector<std::string> Notes() const;

  // One per picture and block, in order; empty unless asked for.
  const std::vector<FactsOfPicture>& picture_facts() const { return picture_facts_; }
  const std::vector<FactsOfAudio>& audio_facts() const { return audio_facts_; }
  const FactsRecorder& recorder() const { return recorder_; }

 private:
  // Of the output behind `alive`: remembers the sentence, and OK while something else goes on.
  absl::Status Ended(absl::Status status, bool& alive);

  OutputOptions options_;
  OutputNames names_;
  std::optional<Y4mWriter> y4m_;
  std::optional<WavWriter> wav_;
  bool y4m_alive_ = false;
  bool wav_alive_ = false;
  std::optional<ListWriter> list_;
  bool list_alive_ = false;
  ContactSheet sheet_;
  FactsRecorder recorder_;
  std::vector<FactsOfPicture> picture_facts_;
  std::vector<FactsOfAudio> audio_facts_;
  std::vector<std::string> files_;
  std::vector<std::string> ended_early_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_OUTPUTS_H_
