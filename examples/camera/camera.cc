// SPDX-License-Identifier: Apache-2.0
// camera [--pictures N] [--device PATH]: a camera and three viewers, four processes. Each picture
// is written once, and lent to whoever wants it:
//
//   screen     wants the newest one, and skips what is older
//   recorder   wants each one, and is waited for
//   slow       takes a tenth of a second for each, and misses what it has no room for
//
// Without the device the pictures are a pattern, whose every byte the viewers check.
//
// Exit codes: 0; 1: trouble with the device or a viewer; 2: wrong usage; 130: interrupted.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/cli/interrupt.h"
#include "parley/examples/camera/picture_source.h"
#include "parley/frames/frame_fan_out.h"
#include "parley/frames/frame_receiver.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/shape.h"

ABSL_FLAG(uint64_t, pictures, 300, "how many; 1 to 10000000");
ABSL_FLAG(std::string, device, "/dev/video0", "where the pictures come from");
ABSL_FLAG(double, rate, 30,
          "of the pattern, where there is no device: pictures a second, 1 to 1000");

namespace parley::camera {
namespace {

constexpr uint32_t kPictureTag = 1;
constexpr uint64_t kArenaPictures = 12;

struct ViewerKind {
  const char* name;
  FanOutReceiverOptions options;
  bool newest_only;
  absl::Duration takes;
};

const std::array<ViewerKind, 3>& Viewers() {
  static const std::array<ViewerKind, 3> viewers = {{
      {"screen", {.when_full = WhenFull::kDropOldest, .max_frames = 2}, true, {}},
      {"recorder",
       {.when_full = WhenFull::kWait, .max_frames = 4, .max_wait = absl::Seconds(10)},
       false,
       {}},
      {"slow",
       {.when_full = WhenFull::kDropNewest, .max_frames = 2},
       false,
       absl::Milliseconds(100)},
  }};
  return viewers;
}

Deadline Patience() { return Deadline::After(absl::Seconds(10)); }

// What goes with a picture.
struct Caption {
  uint64_t number;
  uint64_t is_pattern;
};

struct Seen {
  uint64_t whole = 0;
  uint64_t lost = 0;   // taken back before they were copied
  uint64_t wrong = 0;  // of a pattern, other bytes than it has
};

void Look(const InFrame& frame, std::vector<std::byte>& copy, Seen& seen) {
  Caption caption = {};
  if (frame.metadata().size() != sizeof(caption)) {
    ++seen.wrong;
    return;
  }
  std::memcpy(&caption, frame.metadata().data(), sizeof(caption));
  copy.resize(frame.size_bytes());
  if (!frame.CopyOut(absl::MakeSpan(copy))) {
    ++seen.lost;
    return;
  }
  ++seen.whole;
  if (caption.is_pattern == 0) return;
  for (std::size_t at = 0; at < copy.size(); ++at) {
    if (copy[at] != PatternByte(caption.number, at)) {
      ++seen.wrong;
      return;
    }
  }
}

// A viewer's process.
absl::Status View(const ViewerKind& kind, PeerSocket socket) {
  ConnectOptions options;
  options.direction = Direction::kReceiveOnly;
  options.broadcast_kinds = {kSectionFrames};
  absl::StatusOr<Channel> channel = ConnectChannel(std::move(socket), options, Patience());
  if (!channel.ok()) return channel.status();
  absl::StatusOr<FrameReceiver> receiver = FrameReceiver::Create(*channel);
  if (!receiver.ok()) return receiver.status();
  Seen seen;
  std::vector<std::byte> copy;
  while (true) {
    absl::StatusOr<InFrame> frame = receiver->Receive(Deadline::After(absl::Minutes(1)));
    if (absl::IsOutOfRange(frame.status())) break;  // the camera closed
    if (!frame.ok()) return frame.status();
    if (kind.newest_only) {
      InFrame newer;
      if (receiver->TryReceiveLatest(&newer) == Outcome::kOk) *frame = std::move(newer);
    }
    Look(*frame, copy, seen);
    absl::SleepFor(kind.takes);
  }
  std::printf("%s: %llu pictures, %llu wrong, %llu taken back while they were looked at\n",
              kind.name, static_cast<unsigned long long>(seen.whole),
              static_cast<unsigned long long>(seen.wrong),
              static_cast<unsigned long long>(seen.lost));
  std::fflush(stdout);
  return seen.wrong == 0 ? absl::OkStatus() : absl::DataLossError("a picture was wrong");
}

int Finish(const std::string& who, const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "camera: %s: %s\n", who.c_str(), std::string(status.message()).c_str());
  return 1;
}

// The camera's process, once its viewers run.
absl::Status Film(PictureSource& source, bool is_pattern, std::vector<PeerSocket> sockets) {
  absl::StatusOr<std::shared_ptr<Broadcast>> broadcast =
      Broadcast::Create({FramesSection(ArenaFor(kArenaPictures, source.picture_bytes()))});
  if (!broadcast.ok()) return broadcast.status();
  absl::StatusOr<FrameFanOut> fan_out = FrameFanOut::Create(*broadcast);
  if (!fan_out.ok()) return fan_out.status();
  AcceptOptions options;
  options.direction = Direction::kSendOnly;
  options.send = {.capacity_bytes = 16384, .max_message_bytes = 1024};
  options.broadcast = *broadcast;
  std::vector<FanOutId> ids;
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    absl::StatusOr<Channel> channel = AcceptChannel(std::move(sockets[i]), options, Patience());
    if (!channel.ok()) return channel.status();
    absl::StatusOr<FanOutId> id = fan_out->Attach(*std::move(channel), Viewers()[i].options);
    if (!id.ok()) return id.status();
    ids.push_back(*id);
  }
  const uint64_t count = absl::GetFlag(FLAGS_pictures);
  for (uint64_t number = 0; number < count && !cli::Interrupted(); ++number) {
    absl::StatusOr<OutFrame> frame = fan_out->Acquire(source.picture_bytes(), Patience());
    if (!frame.ok()) return frame.status();
    const absl::Status taken = source.Next(number, frame->bytes());
    if (absl::IsCancelled(taken)) break;
    if (!taken.ok()) return taken;
    const Caption caption = {number, is_pattern ? uint64_t{1} : uint64_t{0}};
    std::array<std::byte, sizeof(caption)> metadata;
    std::memcpy(metadata.data(), &caption, sizeof(caption));
    fan_out->Send(&*frame, source.picture_bytes(), kPictureTag, metadata);
    for (const FanOutEnd& end : fan_out->TakeEnded()) Finish("a viewer", end.why);
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const absl::StatusOr<FanOutStats> stats = fan_out->stats(ids[i]);
    if (!stats.ok()) continue;  // it left, as was said
    std::printf("to %s: %llu offered, %llu sent, %llu dropped, %llu taken back\n",
                Viewers()[i].name, static_cast<unsigned long long>(stats->offered),
                static_cast<unsigned long long>(stats->sent),
                static_cast<unsigned long long>(stats->offered - stats->sent),
                static_cast<unsigned long long>(stats->revoked));
  }
  std::fflush(stdout);
  // What was sent before arrives.
  fan_out->Close();
  const Deadline deadline = Patience();
  while (fan_out->lent_frames() > 0 && !deadline.Expired() && fan_out->TakeEnded().empty()) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  return absl::OkStatus();
}

int Main() {
  absl::StatusOr<std::unique_ptr<PictureSource>> source =
      OpenVideoDevice(absl::GetFlag(FLAGS_device));
  const bool is_pattern = absl::IsNotFound(source.status());
  if (is_pattern) source = MakePattern(640, 480, absl::GetFlag(FLAGS_rate));
  if (!source.ok()) return Finish(absl::GetFlag(FLAGS_device), source.status());
  // The viewers first: a process that has made the broadcast cannot be one of its readers.
  std::vector<PeerSocket> ours;
  std::vector<pid_t> viewers;
  int code = 0;
  for (const ViewerKind& kind : Viewers()) {
    absl::StatusOr<std::pair<PeerSocket, PeerSocket>> pair = PeerSocket::Pair();
    if (!pair.ok()) return Finish("camera", pair.status());
    const pid_t pid = ::fork();
    if (pid == 0) {
      // Ctrl-C ends the camera, and so, in order, its viewers.
      std::signal(SIGINT, SIG_IGN);
      ours.clear();
      source->reset();
      {
        const PeerSocket other = std::move(pair->first);  // closed here
      }
      ::_exit(Finish(kind.name, View(kind, std::move(pair->second))));
    }
    if (pid < 0) return Finish("camera", absl::ResourceExhaustedError("no further process"));
    viewers.push_back(pid);
    ours.push_back(std::move(pair->first));
  }
  code = Finish("camera", Film(**source, is_pattern, std::move(ours)));
  for (const pid_t viewer : viewers) {
    int status = 0;
    if (::waitpid(viewer, &status, 0) != viewer || status != 0) code = 1;
  }
  if (!cli::Interrupted()) return code;
  Finish("interrupted", absl::CancelledError("its viewers have what was sent before"));
  return 130;
}

}  // namespace
}  // namespace parley::camera

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "a camera, or a pattern, with three viewers in processes of their own\n\n"
      "  camera [--pictures=N] [--device=PATH] [--rate=HZ]\n\n"
      "Exit codes: 0; 1 trouble with the device or a viewer; 2 wrong usage; 130 interrupted.");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  const uint64_t pictures = absl::GetFlag(FLAGS_pictures);
  const double rate = absl::GetFlag(FLAGS_rate);
  if (rest.size() > 1 || pictures < 1 || pictures > 10'000'000 || !(rate >= 1 && rate <= 1000)) {
    std::fprintf(stderr,
                 "camera: --pictures is 1 to 10000000, --rate 1 to 1000, and there is nothing else "
                 "to give\n");
    return 2;
  }
  parley::cli::CatchInterrupts();
  return parley::camera::Main();
}
