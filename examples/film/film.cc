// SPDX-License-Identifier: Apache-2.0

// film FILE: shows or converts a film whose decoder is not trusted.
//
// A confined worker decodes and streams over one Parley channel; this program validates what comes
// and writes it down. When the worker misbehaves it is thrown away and another one resumes from the
// last key frame, so that every picture and sample arrives once.
//
// Exit codes: 0 the whole film was delivered (also, with a warning, of a truncated one everything
// that is there); 1 trouble: no film, a limit, no memory, an output that ended early, workers that
// keep failing, an unknown flag; 2 wrong usage, also outputs that are the input or each other; 3
// --verify found a difference; 4 the film is damaged: what could be decoded was delivered; 130
// interrupted: what was delivered until then is kept.

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "parley/cli/interrupt.h"
#include "parley/examples/film/check_receiver.h"
#include "parley/examples/film/digest.h"
#include "parley/examples/film/film_input.h"
#include "parley/examples/film/film_receiver.h"
#include "parley/examples/film/film_stream.h"
#include "parley/examples/film/hijack.h"
#include "parley/examples/film/outputs.h"
#include "parley/examples/film/player.h"
#include "parley/examples/film/progress.h"
#include "parley/examples/film/worker_session.h"
#include "parley/examples/film/y4m_writer.h"
#include "parley/media/acceptance.h"

ABSL_FLAG(std::string, y4m, "", "write the pictures to this YUV4MPEG2 file");
ABSL_FLAG(std::string, wav, "", "write the sound to this WAV file");
ABSL_FLAG(std::string, sheet, "", "draw a contact sheet into this PNG file");
ABSL_FLAG(std::string, list, "",
          "write a line for each picture and block of sound to this file: its time, how long it "
          "lasts, and what it is");
ABSL_FLAG(bool, verify, false,
          "have a second confined worker look at the film by another path, and compare everything");
ABSL_FLAG(bool, play, false, "show the film in a window, with sound");
ABSL_FLAG(std::string, hijack, "",
          "make the first worker turn hostile half-way: index-jump, length-lie, rewind, silence, "
          "flood, truncate, death, payload-rewrite, bad-frame, format-flood, early-end, open-file");
ABSL_FLAG(bool, in_place, false,
          "look at pictures and sound where the worker decoded them, without a copy: a hostile one "
          "can change them while they are looked at");
ABSL_FLAG(absl::Duration, patience, absl::Seconds(10),
          "throw a worker away that says nothing for so long");
ABSL_FLAG(uint32_t, max_frame_mib, 32, "refuse a larger picture; 1 to 512");
ABSL_FLAG(uint64_t, max_output_gib, 4096,
          "end after so much of pictures and sound; each counts as 64 KiB at least");
ABSL_FLAG(std::string, worker, "",
          "the decoder program; by default film_worker in this program's own folder");

namespace parley::film {
namespace {

enum ExitCode {
  kExitWhole = 0,
  kExitTrouble = 1,
  kExitUsage = 2,
  kExitDifferent = 3,
  kExitDamaged = 4,
  kExitInterrupted = 130,
};

// Where the summary goes.
std::FILE* report = stdout;

void Say(const std::string& sentence) { std::fprintf(stderr, "film: %s\n", sentence.c_str()); }

std::string Sentence(const absl::Status& status) { return std::string(status.message()); }

// Next to this program, however it was started.
std::string WorkerProgram() {
  const std::string given = absl::GetFlag(FLAGS_worker);
  if (!given.empty()) return given;
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
  if (length <= 0) return "film_worker";
  const std::string self(path, static_cast<size_t>(length));
  return self.substr(0, self.rfind('/') + 1) + "film_worker";
}

double OwnCpuSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What a unit of the film counts as, at least.
constexpr uint64_t kMinUnitBytes = uint64_t{64} << 10;

// Hands everything to the files and, if there is one, to the player, up to the budget.
class Fork final : public MediaSink {
 public:
  Fork(Outputs& outputs, Player* player, uint64_t max_gib)
      : outputs_(outputs), player_(player), max_gib_(max_gib) {}
  absl::Status OnPicture(const Picture& picture) override {
    if (absl::Status spent = Spend(ShapeOf(picture.format).size_bytes()); !spent.ok()) return spent;
    video_ = picture.format;
    const absl::Status kept = outputs_.OnPicture(picture);
    return !kept.ok() || player_ == nullptr ? kept : player_->OnPicture(picture);
  }
  absl::Status OnAudio(const AudioBlock& audio) override {
    if (absl::Status spent = Spend(audio.bytes()); !spent.ok()) return spent;
    audio_ = audio.format;
    const absl::Status kept = outputs_.OnAudio(audio);
    return !kept.ok() || player_ == nullptr ? kept : player_->OnAudio(audio);
  }
  // "1280x720 yuv420p 30 fps, 48000 Hz f32 2 channels"
  std::string Formats() const {
    std::string text = video_.has_value() ? ToString(*video_) : "";
    if (audio_.has_value()) absl::StrAppend(&text, text.empty() ? "" : ", ", ToString(*audio_));
    return text;
  }

 private:
  // However long a worker goes on, it ends.
  absl::Status Spend(uint64_t bytes) {
    spent_bytes_ += std::max(bytes, kMinUnitBytes);
    if (spent_bytes_ >> 30 < max_gib_) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrFormat("the film has more than %d GiB of pictures and sound (see "
                        "--max_output_gib); what was delivered until now is kept",
                        max_gib_));
  }

  Outputs& outputs_;
  Player* player_;
  const uint64_t max_gib_;
  uint64_t spent_bytes_ = 0;
  std::optional<VideoFormat> video_;
  std::optional<AudioFormat> audio_;
};

struct Run : FilmRun {
  std::vector<uint64_t> changed_pictures;  // a later worker showed them otherwise
};

// Each change may begin a file, and costs a parse.
constexpr uint32_t kMaxFormatChanges = 100'000;

SessionOptions Options(FilmInput& film, const Acceptance& acceptance) {
  SessionOptions options;
  options.worker_program = WorkerProgram();
  options.film = &film;
  options.acceptance = acceptance;
  options.max_message_bytes = absl::GetFlag(FLAGS_max_frame_mib) << 20;
  options.in_place = absl::GetFlag(FLAGS_in_place);
  options.patience = absl::GetFlag(FLAGS_patience);
  options.stop = cli::Interrupted;
  return options;
}

Acceptance Wants() {
  Acceptance acceptance;
  if (!absl::GetFlag(FLAGS_y4m).empty()) acceptance.SetPixelFormats(Y4mPixelFormats());
  acceptance.limits.max_frame_bytes = uint64_t{absl::GetFlag(FLAGS_max_frame_mib)} << 20;
  acceptance.max_format_changes = kMaxFormatChanges;
  return acceptance;
}

Run Stream(FilmInput& film, const Acceptance& acceptance, Hijack hijack, Outputs& outputs,
           MediaSink& sink) {
  Progress progress;
  Run run;
  Digester digester;
  StreamOptions options;
  options.session = Options(film, acceptance);
  options.session.hijack = hijack;
  options.on_progress = [&](const Delivered& delivered, int64_t claimed_duration_ns) {
    progress.Show(delivered, claimed_duration_ns);
  };
  options.on_worker_ended = [&] { progress.Clear(); };
  options.say = Say;
  if (absl::GetFlag(FLAGS_verify)) {
    options.on_again = [&](uint64_t number, const Picture& picture) {
      const FactsOfPicture& before = outputs.picture_facts()[number];
      if (before.digest != digester.OfRows(picture) || before.pts_ns != picture.pts_ns) {
        run.changed_pictures.push_back(number);
      }
    };
  }
  static_cast<FilmRun&>(run) = StreamFilm(options, sink);
  return run;
}

void PrintSummary(const Run& run, const std::string& formats, double own_cpu_seconds) {
  const Delivered& got = run.delivered;
  const double film_seconds = static_cast<double>(got.reached_ns) / 1e9;
  std::fprintf(report, "film       %s\n           %s\n", run.description.c_str(), formats.c_str());
  std::fprintf(report,
               "delivered  %llu pictures, %llu samples of sound in %llu blocks: %.2f s of film\n",
               static_cast<unsigned long long>(got.pictures),
               static_cast<unsigned long long>(got.audio_frames),
               static_cast<unsigned long long>(got.audio_blocks), film_seconds);
  std::fprintf(report, "took       %.2f s: %.1f times as fast as the film, %.1f MB, %.1f MB/s\n",
               run.seconds, film_seconds / run.seconds, static_cast<double>(got.bytes) / 1e6,
               static_cast<double>(got.bytes) / 1e6 / run.seconds);
  std::fprintf(report, "channel    %llu messages, %llu wake-ups of the viewer\n",
               static_cast<unsigned long long>(run.messages),
               static_cast<unsigned long long>(run.wakeups));
  const auto copies = [](const char* title, uint64_t pictures, uint64_t blocks, const char* how) {
    if (pictures + blocks == 0) return;
    std::fprintf(report, "%-10s %llu pictures and %llu blocks of sound, %s\n", title,
                 static_cast<unsigned long long>(pictures), static_cast<unsigned long long>(blocks),
                 how);
  };
  copies("in place", run.pictures.in_place, run.sound.in_place,
         absl::GetFlag(FLAGS_in_place)
             ? "sent where they were decoded, and copied nowhere"
             : "sent where they were decoded, and copied once, by the viewer");
  copies("copied", run.pictures.copied, run.sound.copied,
         "once by the worker, and once by the viewer");
  std::fprintf(report, "CPU time   viewer %.2f s, %s %.2f s\n", own_cpu_seconds,
               run.workers == 1 ? "worker" : absl::StrCat(run.workers, " workers").c_str(),
               run.worker_cpu_seconds);
}

// What the end of the stream means, said once.
ExitCode Judge(const Run& run) {
  switch (run.last.end) {
    case SessionEnd::kWhole:
      break;
    case SessionEnd::kStopped:
      Say("interrupted; what was delivered until now is kept");
      return kExitInterrupted;
    case SessionEnd::kSinkFailed:
      if (run.sink_code == absl::StatusCode::kCancelled) {
        Say(absl::StrCat(run.last.what, "; what was delivered until now is kept"));
        return kExitInterrupted;
      }
      Say(run.last.what);
      return kExitTrouble;
    case SessionEnd::kThrownAway:
      Say(absl::StrFormat("gave up after %d workers; what was delivered until now is kept",
                          run.workers));
      return kExitTrouble;
    case SessionEnd::kNotDecodable:
    case SessionEnd::kNoWorker:
    case SessionEnd::kUnreadable:
      if (!run.last.what.empty()) Say(run.last.what);
      return kExitTrouble;
  }
  if (run.totals.bad_packets > 0) {
    Say(
        absl::StrFormat("the film is damaged: %d of its packets or pictures could not be decoded "
                        "well; everything else was delivered",
                        run.totals.bad_packets));
    return kExitDamaged;
  }
  if (run.totals.truncated != 0) {
    Say("warning: the film is truncated; everything that is there was delivered");
  }
  return kExitWhole;
}

ExitCode VerifyAndReport(FilmInput& film, const Acceptance& acceptance, const Outputs& outputs,
                         const Run& run) {
  if (!run.changed_pictures.empty()) {
    Say(absl::StrFormat("pictures %s looked different when another worker sent them again",
                        NumberList(run.changed_pictures, 10)));
  }
  SessionOptions options = Options(film, acceptance);
  options.second_look = true;
  CheckReceiver check(outputs.picture_facts(), outputs.recorder().formats(), outputs.audio_facts());
  const SessionResult looked = RunSession(options, {}, check);
  if (looked.end == SessionEnd::kStopped) {
    Say("verification was interrupted");
    return kExitInterrupted;
  }
  if (looked.end != SessionEnd::kWhole) {
    Say(absl::StrCat("no verification: ", looked.what));
    return kExitTrouble;
  }
  const VerifyResult& result = check.result();
  if (result.identical()) {
    std::fprintf(report, "verified   all %llu pictures and %llu samples of sound are identical\n",
                 static_cast<unsigned long long>(result.pictures),
                 static_cast<unsigned long long>(result.audio_frames));
    return kExitWhole;
  }
  if (!result.differing_pictures.empty()) {
    Say(absl::StrFormat("verification: %d pictures differ: %s", result.differing_pictures.size(),
                        NumberList(result.differing_pictures, 10)));
  }
  if (!result.differing_audio_blocks.empty()) {
    Say(absl::StrFormat("verification: %d blocks of audio differ: %s",
                        result.differing_audio_blocks.size(),
                        NumberList(result.differing_audio_blocks, 10)));
  }
  Say(absl::StrCat("verification: the first difference: ", result.first_reason));
  return kExitDifferent;
}

// Standard output, unless an output of the film goes there as well.
std::FILE* WhereToReport() {
  struct stat ours;
  if (::fstat(STDOUT_FILENO, &ours) != 0 || S_ISCHR(ours.st_mode)) return stdout;
  for (const std::string& path :
       {absl::GetFlag(FLAGS_y4m), absl::GetFlag(FLAGS_wav), absl::GetFlag(FLAGS_list)}) {
    struct stat info;
    if (!path.empty() && ::stat(path.c_str(), &info) == 0 && info.st_dev == ours.st_dev &&
        info.st_ino == ours.st_ino) {
      return stderr;
    }
  }
  return stdout;
}

ExitCode Main(const std::string& path, Hijack hijack) {
  absl::StatusOr<FilmInput> film = FilmInput::Open(path);
  if (!film.ok()) {
    Say(absl::StrCat(path, ": ", Sentence(film.status())));
    return kExitTrouble;
  }
  report = WhereToReport();
  Outputs outputs({.y4m = absl::GetFlag(FLAGS_y4m),
                   .wav = absl::GetFlag(FLAGS_wav),
                   .sheet = absl::GetFlag(FLAGS_sheet),
                   .list = absl::GetFlag(FLAGS_list),
                   .facts = absl::GetFlag(FLAGS_verify),
                   .keep_going = absl::GetFlag(FLAGS_play)});
  if (const absl::Status free = outputs.Claim(film->fd(), path); !free.ok()) {
    Say(Sentence(free));
    return absl::IsInvalidArgument(free) ? kExitUsage : kExitTrouble;
  }
  std::unique_ptr<Player> player;
  if (absl::GetFlag(FLAGS_play)) {
    absl::StatusOr<std::unique_ptr<Player>> created = Player::Create(path);
    if (!created.ok()) {
      Say(Sentence(created.status()));
      return kExitTrouble;
    }
    player = *std::move(created);
  }
  Fork fork(outputs, player.get(), absl::GetFlag(FLAGS_max_output_gib));
  const double cpu_before = OwnCpuSeconds();
  const Acceptance acceptance = Wants();
  const Run run = Stream(*film, acceptance, hijack, outputs, fork);
  player.reset();
  ExitCode code = Judge(run);
  // Whatever happened: nothing is lost that was delivered.
  const absl::Status finished = outputs.Finish();
  for (const std::string& sentence : outputs.ended_early()) Say(sentence);
  if (!finished.ok()) Say(Sentence(finished));
  if (!finished.ok() || !outputs.ended_early().empty()) code = kExitTrouble;
  const Delivered& got = run.delivered;
  if (got.pictures > 0 || got.audio_blocks > 0) {
    PrintSummary(run, fork.Formats(), OwnCpuSeconds() - cpu_before);
    for (const std::string& file : outputs.files()) {
      std::fprintf(report, "wrote      %s\n", file.c_str());
    }
    for (const std::string& note : outputs.Notes()) Say(absl::StrCat("note: ", note));
  }
  std::fflush(report);
  if (absl::GetFlag(FLAGS_verify) && run.last.end == SessionEnd::kWhole) {
    const ExitCode verified = VerifyAndReport(*film, acceptance, outputs, run);
    if (verified != kExitWhole) code = verified;
  }
  return code;
}

}  // namespace
}  // namespace parley::film

int main(int argc, char** argv) {
  using parley::film::Hijack;
  absl::SetProgramUsageMessage(
      "streams a film from a confined decoder\n\n"
      "  film [--y4m=OUT.y4m] [--wav=OUT.wav] [--sheet=OUT.png] [--list=OUT] [--verify] [--play]\n"
      "       [--hijack=KIND] FILE\n\n"
      "Exit codes: 0 whole film, 1 trouble, 2 wrong usage, 3 --verify found a difference,\n"
      "4 damaged film of which the decodable part was delivered, 130 interrupted.");
  const std::vector<char*> arguments = absl::ParseCommandLine(argc, argv);
  if (arguments.size() != 2) {
    parley::film::Say("give me one file, or --help");
    return parley::film::kExitUsage;
  }
  Hijack hijack = Hijack::kNone;
  if (const std::string name = absl::GetFlag(FLAGS_hijack); !name.empty()) {
    const std::optional<Hijack> found = parley::film::HijackFromName(name);
    if (!found.has_value()) {
      parley::film::Say("--hijack is one of " + parley::film::HijackNames());
      return parley::film::kExitUsage;
    }
    hijack = *found;
  }
  const uint32_t frame_mib = absl::GetFlag(FLAGS_max_frame_mib);
  if (frame_mib < 1 || frame_mib > 512 || absl::GetFlag(FLAGS_max_output_gib) < 1 ||
      absl::GetFlag(FLAGS_patience) <= absl::ZeroDuration()) {
    parley::film::Say("--max_frame_mib is from 1 to 512, --max_output_gib and --patience above 0");
    return parley::film::kExitUsage;
  }
  parley::cli::CatchInterrupts();
  // A reader that leaves, and a limit on the size of files, are errors of one output.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return parley::film::Main(arguments[1], hijack);
  } catch (const std::bad_alloc&) {
    parley::film::Say("there is not enough memory");
    return parley::film::kExitTrouble;
  }
}
