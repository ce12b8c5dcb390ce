// SPDX-License-Identifier: Apache-2.0
// player FILE: shows a film in a window, while its decoder is hijacked where --hijack says so.
//
// The film is decoded in a confined process (examples/film). When that misbehaves the window keeps
// the last good picture, one line here and the window's title say what happened, and another
// decoder goes on; the viewer sees at most a pause.
//
// Exit codes: 0 the whole film was shown; 1 trouble: no film, no display, decoders that keep
// failing; 2 wrong usage; 130 the window was closed, or Ctrl-C.

#include "parley/examples/film/player.h"

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "parley/cli/interrupt.h"
#include "parley/examples/film/film_input.h"
#include "parley/examples/film/film_stream.h"
#include "parley/examples/film/hijack.h"
#include "parley/examples/film/worker_session.h"

ABSL_FLAG(std::string, hijack, "",
          "make the first decoder turn hostile half-way: index-jump, length-lie, rewind, silence, "
          "flood, truncate, death, payload-rewrite, bad-frame, format-flood, early-end, open-file");
ABSL_FLAG(int32_t, workers, 50, "how many decoders may be used up, 1 to 50");
ABSL_FLAG(bool, hold, false, "leave the window open at the end, with the last picture");
ABSL_FLAG(absl::Duration, patience, absl::Seconds(10),
          "throw a decoder away that says nothing for so long");
ABSL_FLAG(std::string, worker, "", "the decoder; by default ../film/film_worker from here");

namespace parley::film {
namespace {

constexpr uint32_t kMaxPictureBytes = 32u << 20;
constexpr uint32_t kMaxFormatChanges = 100'000;

void Say(const std::string& sentence) { std::fprintf(stderr, "player: %s\n", sentence.c_str()); }

std::string Sentence(const absl::Status& status) { return std::string(status.message()); }

std::string WorkerProgram() {
  const std::string given = absl::GetFlag(FLAGS_worker);
  if (!given.empty()) return given;
  std::array<char, 4096> path;
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  const std::string self(path.data(), length > 0 ? static_cast<size_t>(length) : 0);
  return self.substr(0, self.rfind('/') + 1) + "../film/film_worker";
}

FilmRun Show(FilmInput& film, Hijack hijack, Player& player) {
  StreamOptions options;
  options.session.worker_program = WorkerProgram();
  options.session.film = &film;
  options.session.acceptance.limits.max_frame_bytes = kMaxPictureBytes;
  options.session.acceptance.max_format_changes = kMaxFormatChanges;
  options.session.max_message_bytes = kMaxPictureBytes;
  options.session.patience = absl::GetFlag(FLAGS_patience);
  options.session.hijack = hijack;
  // Also while the decoder says nothing, the window does.
  options.session.stop = [&player] {
    return cli::Interrupted() || !player.Hold(absl::ZeroDuration()).ok();
  };
  options.max_workers = absl::GetFlag(FLAGS_workers);
  options.say = [&player](const std::string& sentence) {
    Say(sentence);
    player.SetNote(sentence);
  };
  return StreamFilm(options, player);
}

int Judge(const FilmRun& run) {
  const uint64_t pictures = run.delivered.pictures;
  switch (run.last.end) {
    case SessionEnd::kWhole:
      std::printf("the whole film: %llu pictures, %d decoder%s\n",
                  static_cast<unsigned long long>(pictures), run.workers,
                  run.workers == 1 ? "" : "s");
      return 0;
    case SessionEnd::kStopped:
      Say("interrupted");
      return 130;
    case SessionEnd::kSinkFailed:
      Say(run.last.what);
      return run.sink_code == absl::StatusCode::kCancelled ? 130 : 1;
    case SessionEnd::kThrownAway:
      Say(absl::StrFormat("gave up; the window has picture %d, the last good one", pictures));
      return 1;
    case SessionEnd::kNotDecodable:
    case SessionEnd::kNoWorker:
    case SessionEnd::kUnreadable:
      Say(run.last.what);
      return 1;
  }
  return 1;
}

int Main(const std::string& path, Hijack hijack) {
  absl::StatusOr<FilmInput> film = FilmInput::Open(path);
  if (!film.ok()) {
    Say(absl::StrCat(path, ": ", Sentence(film.status())));
    return 1;
  }
  absl::StatusOr<std::unique_ptr<Player>> player = Player::Create(path);
  if (!player.ok()) {
    Say(Sentence(player.status()));
    return 1;
  }
  const FilmRun run = Show(*film, hijack, **player);
  const int code = Judge(run);
  if (absl::GetFlag(FLAGS_hold) && code != 130) {
    std::printf("the window stays: Escape or Ctrl-C\n");
    std::fflush(stdout);
    while (!cli::Interrupted() && (*player)->Hold(absl::Milliseconds(50)).ok()) {
    }
  }
  return code;
}

}  // namespace
}  // namespace parley::film

int main(int argc, char** argv) {
  using parley::film::Hijack;
  absl::SetProgramUsageMessage(
      "shows a film from a confined decoder in a window\n\n"
      "  player [--hijack=KIND] [--workers=N] [--hold] FILE\n\n"
      "Exit codes: 0 whole film, 1 trouble, 2 wrong usage, 130 window closed or interrupted.");
  const std::vector<char*> arguments = absl::ParseCommandLine(argc, argv);
  const std::string name = absl::GetFlag(FLAGS_hijack);
  const std::optional<Hijack> hijack =
      name.empty() ? Hijack::kNone : parley::film::HijackFromName(name);
  const int workers = absl::GetFlag(FLAGS_workers);
  if (arguments.size() != 2 || !hijack.has_value() || workers < 1 || workers > 50 ||
      absl::GetFlag(FLAGS_patience) <= absl::ZeroDuration()) {
    parley::film::Say(
        "give me one file; --workers is 1 to 50, --patience above 0, --hijack one of " +
        parley::film::HijackNames());
    return 2;
  }
  parley::cli::CatchInterrupts();
  return parley::film::Main(arguments[1], *hijack);
}
