// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_LINK_H_
#define PARLEY_ENDURANCE_LINK_H_

// One end of a named connection, again and again: accepting or connecting.
//
//   Link link = *Link::Accepting(setup);
//   absl::StatusOr<Channel> channel = link.Next(deadline);

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/channel/channel.h"
#include "parley/endurance/survivor.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"

namespace parley::endurance {

struct LinkSetup {
  std::string name;
  bool eventfd = false;
  std::string format;
  RingRequest ring = {65536, 16384};  // each way
  // What the connecting side accepts at most; 0: the default.
  uint64_t max_capacity_bytes = 0;
  // What is given up is forgotten soon: thousands of kills come from one user.
  ServerLimits limits = {.given_up_time = absl::Milliseconds(20)};
};

AcceptOptions AcceptOptionsOf(const LinkSetup& setup);
ConnectOptions ConnectOptionsOf(const LinkSetup& setup);

class Link {
 public:
  static absl::StatusOr<Link> Accepting(const LinkSetup& setup);
  static absl::StatusOr<Link> Connecting(const LinkSetup& setup);

  // The next channel. The accepting side's other errors than kDeadlineExceeded are its own.
  // Connecting: kNotFound where nobody listens.
  absl::StatusOr<Channel> Next(Deadline deadline);
  // The same as a survivor, in its diary: a deadline that is reached is no error but nullopt, nor
  // is a peer that is not there or dies on the way.
  absl::StatusOr<std::optional<Channel>> Next(Diary& diary, absl::Duration within);
  // If the lane asks for rest: lets go of what is under way first. Whoever connects in that moment
  // is not served.
  void RestIfAsked(Diary& diary);

  ChannelListener* listener() { return listener_.get(); }

 private:
  explicit Link(LinkSetup setup) : setup_(std::move(setup)) {}
  LinkSetup setup_;
  std::unique_ptr<ChannelListener> listener_;  // of the accepting side
};

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_LINK_H_
