// SPDX-License-Identifier: Apache-2.0

// A painter and a viewer, two processes: pictures of any size go through an arena, without a copy.
// The viewer keeps the last two, as one does that compares pictures, and returns the oldest.
//
//   pictures [COUNT]

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/shm/shape.h"

constexpr std::size_t kWidth = 1280;
constexpr std::size_t kHeight = 720;
constexpr std::size_t kPictureBytes = kWidth * kHeight * 4;
constexpr uint32_t kPictureTag = 1;

volatile std::sig_atomic_t interrupted = 0;

parley::Deadline Patience() { return parley::Deadline::After(absl::Seconds(5)); }

// The side that is not trusted, here the connecting one.
absl::Status Paint(parley::PeerSocket socket, uint64_t count) {
  auto channel = parley::ConnectChannel(std::move(socket), {}, Patience());
  if (!channel.ok()) return channel.status();
  auto sender = parley::FrameSender::Create(*channel);
  if (!sender.ok()) return sender.status();
  for (uint64_t number = 0; number < count && !interrupted; ++number) {
    // Every tenth one is half as high. Waits until the viewer has returned enough.
    const std::size_t size = number % 10 == 9 ? kPictureBytes / 2 : kPictureBytes;
    auto frame = sender->Acquire(size, Patience());
    if (!frame.ok()) return frame.status();
    const absl::Span<std::byte> bytes = frame->bytes();
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i / 4 + number);
    absl::Status sent = sender->Send(&*frame, size, kPictureTag, {}, Patience());
    if (!sent.ok()) return sent;
  }
  sender->Close();
  // Returns that are still to come are of no interest; the viewer may read on without us.
  return absl::OkStatus();
}

// Each byte is copied once, in pieces that stay in the first cache, and only looked at there.
uint64_t Brightness(const parley::PeerView& view) {
  std::array<std::byte, 4096> piece;
  uint64_t sum = 0;
  for (std::size_t at = 0; at < view.size_bytes(); at += piece.size()) {
    const auto part = absl::MakeSpan(piece).first(std::min(piece.size(), view.size_bytes() - at));
    view.CopyTo(at, part);
    for (const std::byte b : part) sum += std::to_integer<uint64_t>(b);
  }
  return view.size_bytes() == 0 ? 0 : sum / view.size_bytes();
}

absl::Status View(parley::PeerSocket socket) {
  parley::AcceptOptions options;
  options.receive.arena = parley::ArenaFor(4, kPictureBytes);  // ours to say: we pay
  auto channel = parley::AcceptChannel(std::move(socket), options, Patience());
  if (!channel.ok()) return channel.status();
  auto receiver = parley::FrameReceiver::Create(*channel);
  if (!receiver.ok()) return receiver.status();
  std::deque<parley::InFrame> kept;
  const absl::Time begin = absl::Now();
  uint64_t pictures = 0;
  uint64_t torn = 0;
  uint64_t brightness = 0;
  while (!interrupted) {
    auto frame = receiver->Receive(Patience());
    if (absl::IsOutOfRange(frame.status())) break;  // the painter closed
    if (!frame.ok()) return frame.status();
    brightness = Brightness(frame->view());
    if (!frame->StillValid()) ++torn;  // not from this painter, which waits
    ++pictures;
    kept.push_back(*std::move(frame));
    if (kept.size() == 3) kept.pop_front();  // which returns it
  }
  if (interrupted) return absl::CancelledError("interrupted");
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  std::cout << pictures << " pictures of " << kWidth << "x" << kHeight
            << ", the last of brightness " << brightness << ", " << torn << " torn";
  if (seconds > 0) std::cout << ", " << static_cast<double>(pictures) / seconds << " per second";
  std::cout << '\n';
  return absl::OkStatus();
}

int Finish(const char* who, const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << "pictures: " << who << ": " << (interrupted ? "interrupted" : status.message())
            << std::endl;
  return interrupted ? 130 : 1;
}

int main(int argc, char** argv) {
  uint64_t count = 300;
  if (argc > 2 || (argc == 2 && !absl::SimpleAtoi(argv[1], &count))) {
    std::cerr << "usage: pictures [COUNT]   sends COUNT (300) pictures to a second process\n";
    return 2;
  }
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { interrupted = 1; });
  auto sockets = parley::PeerSocket::Pair();
  if (!sockets.ok()) return Finish("viewer", sockets.status());
  const pid_t painter = ::fork();
  if (painter < 0) return Finish("viewer", absl::ResourceExhaustedError("no second process"));
  if (painter == 0) {
    {
      const parley::PeerSocket other = std::move(sockets->first);  // closed here
    }
    ::_exit(Finish("painter", Paint(std::move(sockets->second), count)));
  }
  {
    const parley::PeerSocket other = std::move(sockets->second);
  }
  const int code = Finish("viewer", View(std::move(sockets->first)));
  if (code != 0) ::kill(painter, SIGKILL);
  ::waitpid(painter, nullptr, 0);
  return code;
}
