// film FILE: shows or converts a film whose decoder is not trusted.
//
// A confined worker decodes and streams over one Parley channel; this program validates what comes
// and writes it down. When the worker misbehaves it is thrown away and another one resumes from the
// last key frame, so that every picture and sample arrives once.
//
// Exit codes: 0 the whole film was delivered (also, with a warning, of a truncated one everything
// that is there); 1 trouble: no film, a limit, no memory, an output that cannot be written, workers
// that keep failing, an unknown flag; 2 wrong usage; 3 --verify found a difference; 4 the film is
// damaged: what could be decoded was delivered; 130 interrupted: what was delivered until then is
// kept.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
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
#include "parley/examples/film/film_receiver.h"
#include "parley/examples/film/hijack.h"
#include "parley/examples/film/interrupt.h"
#include "parley/examples/film/outputs.h"
#include "parley/examples/film/player.h"
#include "parley/examples/film/progress.h"
#include "parley/examples/film/verify.h"
#include "parley/examples/film/worker_session.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/sealed_blob.h"

ABSL_FLAG(std::string, y4m, "", "write the pictures to this YUV4MPEG2 file");
ABSL_FLAG(std::string, wav, "", "write the sound to this WAV file");
ABSL_FLAG(std::string, sheet, "", "draw a contact sheet into this PNG file");
ABSL_FLAG(bool, verify, false,
          "decode once more, in this process and without a sandbox, and compare everything");
ABSL_FLAG(bool, play, false, "show the film in a window, with sound");
ABSL_FLAG(std::string, hijack, "",
          "make the first worker turn hostile half-way: index-jump, length-lie, rewind, silence, "
          "flood, truncate, death, payload-rewrite, bad-frame, format-flood, early-end, open-file");
ABSL_FLAG(absl::Duration, patience, absl::Seconds(10),
          "throw a worker away that says nothing for so long");
ABSL_FLAG(uint32_t, max_file_mib, 2048, "refuse a larger film; it is held in memory");
ABSL_FLAG(uint32_t, max_frame_mib, 32, "refuse a larger picture; 1 to 512");
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

// Workers in a row that deliver nothing new before we give up.
constexpr int kMaxUselessWorkers = 3;
// Workers at all: a film that kills each of them a little later is not worth it.
constexpr int kMaxWorkers = 50;

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

absl::StatusOr<SealedBlob> LoadFilm(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.ok()) return ErrnoStatus(errno, "open it");
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, "look at it");
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError("this is a directory, not a film");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("this is no regular file");
  const uint64_t max_bytes = uint64_t{absl::GetFlag(FLAGS_max_file_mib)} << 20;
  if (static_cast<uint64_t>(info.st_size) > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the file has %d bytes, more than the limit of %d (see --max_file_mib)",
                        info.st_size, max_bytes));
  }
  if (info.st_size == 0) return absl::InvalidArgumentError("the file is empty");
  return SealedBlob::CreateFromFile(fd.get(), max_bytes);
}

double OwnCpuSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Hands everything to the files and, if there is one, to the player.
class Fork final : public MediaSink {
 public:
  Fork(Outputs& outputs, Player* player) : outputs_(outputs), player_(player) {}
  absl::Status OnPicture(const Picture& picture) override {
    video_ = picture.format;
    const absl::Status kept = outputs_.OnPicture(picture);
    return !kept.ok() || player_ == nullptr ? kept : player_->OnPicture(picture);
  }
  absl::Status OnAudio(const AudioBlock& audio) override {
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
  Outputs& outputs_;
  Player* player_;
  std::optional<VideoFormat> video_;
  std::optional<AudioFormat> audio_;
};

// The film with as many workers as it takes.
struct Run {
  SessionResult last;  // with everything that was delivered
  int workers = 0;
  uint64_t messages = 0;
  uint64_t wakeups = 0;
  uint64_t bytes = 0;
  double worker_cpu_seconds = 0;
  double seconds = 0;
  std::vector<uint64_t> changed_pictures;  // a later worker showed them otherwise
};

Run Stream(const SealedBlob& film, Hijack hijack, Outputs& outputs, MediaSink& sink) {
  Progress progress;
  Run run;
  const int64_t began_ns = MonotonicNowNs();
  Digester digester;
  SessionOptions options;
  options.worker_program = WorkerProgram();
  options.film = &film;
  options.max_message_bytes = absl::GetFlag(FLAGS_max_frame_mib) << 20;
  options.patience = absl::GetFlag(FLAGS_patience);
  options.hijack = hijack;
  options.stop = Interrupted;
  options.on_progress = [&](const Delivered& delivered, int64_t duration_ns) {
    progress.Show(delivered, duration_ns);
  };
  if (absl::GetFlag(FLAGS_verify)) {
    options.on_again = [&](uint64_t number, const Picture& picture) {
      if (outputs.picture_digests()[number] != digester.Of(picture)) {
        run.changed_pictures.push_back(number);
      }
    };
  }
  for (int fruitless = 0; fruitless < kMaxUselessWorkers && run.workers < kMaxWorkers;) {
    const Delivered before = run.last.delivered;
    try {
      run.last = RunSession(options, before, sink);
    } catch (const std::bad_alloc&) {
      // The session's destructors have ended the worker; what was written is kept.
      run.last = SessionResult();
      run.last.what = "there is not enough memory";
      run.last.delivered = before;
    }
    options.hijack = Hijack::kNone;
    progress.Clear();
    ++run.workers;
    run.messages += run.last.messages;
    run.wakeups += run.last.wakeups;
    run.worker_cpu_seconds += absl::ToDoubleSeconds(run.last.worker_cpu);
    if (run.last.end != SessionEnd::kThrownAway) break;
    const Delivered& now = run.last.delivered;
    fruitless = now.pictures > before.pictures || now.audio_blocks > before.audio_blocks
                    ? 0
                    : fruitless + 1;
    Say(absl::StrFormat("threw the worker away after %d pictures and %d blocks of audio: %s",
                        now.pictures, now.audio_blocks, run.last.what));
    if (fruitless < kMaxUselessWorkers && run.workers < kMaxWorkers && !Interrupted()) {
      Say(absl::StrFormat("another worker resumes at key picture %d", now.key_picture));
    }
  }
  run.seconds = static_cast<double>(MonotonicNowNs() - began_ns) / 1e9;
  return run;
}

void PrintSummary(const Run& run, const std::string& formats, double own_cpu_seconds) {
  const Delivered& got = run.last.delivered;
  const double film_seconds = static_cast<double>(got.reached_ns) / 1e9;
  std::printf("film       %s\n           %s\n", run.last.description.c_str(), formats.c_str());
  std::printf("delivered  %llu pictures, %llu samples of sound in %llu blocks: %.2f s of film\n",
              static_cast<unsigned long long>(got.pictures),
              static_cast<unsigned long long>(got.audio_frames),
              static_cast<unsigned long long>(got.audio_blocks), film_seconds);
  std::printf("took       %.2f s: %.1f times as fast as the film, %.1f MB, %.1f MB/s\n",
              run.seconds, film_seconds / run.seconds, static_cast<double>(got.bytes) / 1e6,
              static_cast<double>(got.bytes) / 1e6 / run.seconds);
  std::printf("channel    %llu messages, %llu wake-ups of the viewer\n",
              static_cast<unsigned long long>(run.messages),
              static_cast<unsigned long long>(run.wakeups));
  std::printf("CPU time   viewer %.2f s, %s %.2f s\n", own_cpu_seconds,
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
      if (run.last.sink_code == absl::StatusCode::kCancelled) {
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
      if (!run.last.what.empty()) Say(run.last.what);
      return kExitTrouble;
  }
  if (run.last.totals.bad_packets > 0) {
    Say(
        absl::StrFormat("the film is damaged: %d of its packets or pictures could not be decoded "
                        "well; everything else was delivered",
                        run.last.totals.bad_packets));
    return kExitDamaged;
  }
  if (run.last.totals.truncated != 0) {
    Say("warning: the film is truncated; everything that is there was delivered");
  }
  return kExitWhole;
}

ExitCode VerifyAndReport(const SealedBlob& film, const Outputs& outputs, const Run& run) {
  if (!run.changed_pictures.empty()) {
    Say(absl::StrFormat("pictures %s looked different when another worker sent them again",
                        NumberList(run.changed_pictures, 10)));
  }
  const absl::StatusOr<VerifyResult> result =
      Verify(film.bytes(), outputs.picture_digests(), outputs.audio_digests(), Interrupted);
  if (!result.ok()) {
    Say(Sentence(result.status()));
    return absl::IsCancelled(result.status()) ? kExitInterrupted : kExitTrouble;
  }
  if (result->identical()) {
    std::printf("verified   all %llu pictures and %llu samples of sound are identical\n",
                static_cast<unsigned long long>(result->pictures),
                static_cast<unsigned long long>(result->audio_frames));
    return kExitWhole;
  }
  if (!result->differing_pictures.empty()) {
    Say(absl::StrFormat("verification: %d pictures differ: %s", result->differing_pictures.size(),
                        NumberList(result->differing_pictures, 10)));
  }
  if (!result->differing_audio_blocks.empty()) {
    Say(absl::StrFormat("verification: %d blocks of audio differ: %s",
                        result->differing_audio_blocks.size(),
                        NumberList(result->differing_audio_blocks, 10)));
  }
  return kExitDifferent;
}

ExitCode Main(const std::string& path, Hijack hijack) {
  absl::StatusOr<SealedBlob> film = LoadFilm(path);
  if (!film.ok()) {
    Say(absl::StrCat(path, ": ", Sentence(film.status())));
    return kExitTrouble;
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
  Outputs outputs({.y4m = absl::GetFlag(FLAGS_y4m),
                   .wav = absl::GetFlag(FLAGS_wav),
                   .sheet = absl::GetFlag(FLAGS_sheet),
                   .digests = absl::GetFlag(FLAGS_verify)});
  Fork fork(outputs, player.get());
  const double cpu_before = OwnCpuSeconds();
  const Run run = Stream(*film, hijack, outputs, fork);
  player.reset();
  ExitCode code = Judge(run);
  // Whatever happened: nothing is lost that was delivered.
  const absl::Status finished = outputs.Finish();
  if (!finished.ok()) {
    Say(Sentence(finished));
    code = kExitTrouble;
  }
  const Delivered& got = run.last.delivered;
  if (got.pictures > 0 || got.audio_blocks > 0) {
    PrintSummary(run, fork.Formats(), OwnCpuSeconds() - cpu_before);
    for (const std::string& file : outputs.files()) std::printf("wrote      %s\n", file.c_str());
  }
  std::fflush(stdout);
  if (absl::GetFlag(FLAGS_verify) && run.last.end == SessionEnd::kWhole) {
    const ExitCode verified = VerifyAndReport(*film, outputs, run);
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
      "  film [--y4m=OUT.y4m] [--wav=OUT.wav] [--sheet=OUT.png] [--verify] [--play]\n"
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
  if (frame_mib < 1 || frame_mib > 512 || absl::GetFlag(FLAGS_max_file_mib) < 1 ||
      absl::GetFlag(FLAGS_patience) <= absl::ZeroDuration()) {
    parley::film::Say("--max_frame_mib is from 1 to 512, --max_file_mib and --patience above 0");
    return parley::film::kExitUsage;
  }
  parley::film::CatchInterrupts();
  try {
    return parley::film::Main(arguments[1], hijack);
  } catch (const std::bad_alloc&) {
    parley::film::Say("there is not enough memory");
    return parley::film::kExitTrouble;
  }
}
