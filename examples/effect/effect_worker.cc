// SPDX-License-Identifier: Apache-2.0
// The effect, in a confined process: an echo. Whatever it becomes, the host hears sound or silence,
// in time.

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "parley/examples/effect/effect_options.h"
#include "parley/media/audio_port.h"
#include "parley/os/deadline.h"
#include "parley/supervise/worker_main.h"

namespace {

// A quarter of a second later, half as loud.
class Echo {
 public:
  void Process(const parley::AudioBlock& block) {
    for (std::size_t i = 0; i < block.out.size(); ++i) {
      float& late = line_[at_];
      block.out[i] = block.in[i] + 0.5f * late;
      late = block.out[i];
      at_ = (at_ + 1) % line_.size();
    }
  }

 private:
  std::vector<float> line_ = std::vector<float>(24'000);
  std::size_t at_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  // For the demonstration of a worker that stops in the middle.
  const bool stalls = argc > 1 && std::string_view(argv[1]) == "stall";
  return parley::WorkerMain({}, [stalls](parley::ConfinedWorker& worker) -> absl::Status {
    auto port = parley::AudioPort::Create(worker.channel(), parley::effect::Options());
    if (!port.ok()) return port.status();
    Echo echo;
    for (int cycles = 0; true; ++cycles) {
      const parley::AudioOutcome outcome =
          port->Respond([&](const parley::AudioBlock& block) { echo.Process(block); },
                        parley::Deadline::After(absl::Seconds(1)));
      if (outcome == parley::AudioOutcome::kEnded) return absl::OkStatus();
      if (stalls && cycles == 200) absl::SleepFor(absl::Seconds(3600));
    }
  });
}
