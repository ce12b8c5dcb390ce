// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/eventfd_doorbell.h"

#include <unistd.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "parley/wait/polled_doorbell.h"

namespace parley {
namespace {

class EventfdDoorbell final : public internal::PolledDoorbell {
 public:
  EventfdDoorbell(UniqueFd wait, UniqueFd signal)
      // What wakes this end from this process is the same eventfd.
      : PolledDoorbell(wait.get(), std::make_shared<internal::LocalWake>(wait.get())),
        wait_(std::move(wait)),
        signal_(std::move(signal)) {}

  void Signal() override {
    const uint64_t one = 1;
    static_cast<void>(!::write(signal_.get(), &one, sizeof(one)));
  }
  void Prepare() override {}
  Kind kind() const override { return Kind::kEventfd; }

  void AddDescriptors(std::vector<int>& all, std::vector<int>& eventfds) const override {
    PolledDoorbell::AddDescriptors(all, eventfds);
    for (const int fd : {wait_.get(), signal_.get()}) {
      all.push_back(fd);
      eventfds.push_back(fd);
    }
  }

 protected:
  Drained DrainSignals() override {
    return wake_->TakeForeignCount() != 0 ? Drained::kSignalled : Drained::kQuiet;
  }

 private:
  const UniqueFd wait_;
  const UniqueFd signal_;
};

}  // namespace

std::unique_ptr<Doorbell> MakeEventfdDoorbell(UniqueFd wait, UniqueFd signal) {
  return std::make_unique<EventfdDoorbell>(std::move(wait), std::move(signal));
}

}  // namespace parley
