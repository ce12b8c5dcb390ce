// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "parley/os/deadline.h"

namespace parley::film {
namespace {

constexpr int64_t kEveryNs = 100000000;
constexpr size_t kBarWidth = 24;

}  // namespace

Progress::Progress() : on_terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::Show(const Delivered& delivered, int64_t duration_ns) {
  if (!on_terminal_) return;
  const int64_t now_ns = MonotonicNowNs();
  if (visible_ && now_ns - last_ns_ < kEveryNs) return;
  last_ns_ = now_ns;
  visible_ = true;
  std::string bar;
  if (duration_ns > 0) {
    const double part = std::clamp(
        static_cast<double>(delivered.reached_ns) / static_cast<double>(duration_ns), 0.0, 1.0);
    const size_t filled = static_cast<size_t>(part * kBarWidth);
    bar = "[" + std::string(filled, '=') + std::string(kBarWidth - filled, ' ') + "] ";
  }
  std::fprintf(stderr, "\r\033[K%s%.1f s  %llu pictures  %llu blocks of audio", bar.c_str(),
               static_cast<double>(delivered.reached_ns) / 1e9,
               static_cast<unsigned long long>(delivered.pictures),
               static_cast<unsigned long long>(delivered.audio_blocks));
  std::fflush(stderr);
}

void Progress::Clear() {
  if (!visible_) return;
  std::fprintf(stderr, "\r\033[K");
  std::fflush(stderr);
  visible_ = false;
}

}  // namespace parley::film
