// SPDX-License-Identifier: Apache-2.0

// A WaitSet inside somebody else's loop, through its one descriptor: GLib's, libuv's, and a bare
// epoll. The two libraries are looked for when the build is configured.

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/channel_pair.h"
#include "parley/tests/echo_server.h"
#include "parley/tests/peer.h"
#include "parley/wait_set/wait_set.h"

#if PARLEY_TESTS_HAVE_GLIB
#include <glib-unix.h>
#endif
#if PARLEY_TESTS_HAVE_LIBUV
#include <uv.h>
#endif

namespace parley {
namespace {

constexpr int kMessages = 300;
constexpr std::size_t kChannels = 3;

// What is in the loop: an echo server, a timer, and an interrupt when all is done.
struct Work {
  Work() {
    auto made = WaitSet::Create();
    EXPECT_TRUE(made.ok()) << made.status();
    set = *std::move(made);
    server = std::make_unique<EchoServer>(set.get());
    for (std::size_t i = 0; i < kChannels; ++i) {
      auto pair = testing::ChannelPair::Create({});
      EXPECT_TRUE(pair.ok()) << pair.status();
      clients.push_back(std::move((*pair)->connecting()));
      server->Add(std::move((*pair)->accepting()));
      pairs.push_back(*std::move(pair));
    }
    tick = set->AddTimer([this](const absl::Status&) {
      if (++ticks < 5) tick.Resume(In(2));
    });
    tick.Resume(In(2));
    peer = std::thread([this] {
      std::vector<std::byte> buffer(clients[0].receiver.max_message_bytes());
      bool good = true;
      for (int i = 0; i < kMessages; ++i) {
        Channel& channel = clients[static_cast<std::size_t>(i) % kChannels];
        good = good && channel.sender.Send(1, BytesOf("hello"), Generous()).ok() &&
               channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok();
      }
      all_came_back = good;
      set->Interrupt();
    });
  }
  // Called by the loop whenever the descriptor is readable. False: all is done.
  bool Turn() {
    ++turns;
    if (set->RunOnce(Deadline::AtMonotonicNs(0)) == WaitSet::Ran::kInterrupted) interrupted = true;
    return !interrupted || ticks < 5;
  }
  void Check() {
    peer.join();
    EXPECT_TRUE(interrupted);
    EXPECT_TRUE(all_came_back);
    EXPECT_EQ(server->echoed(), static_cast<uint64_t>(kMessages));
    EXPECT_EQ(ticks, 5);
    // The loop was not called for nothing, again and again.
    EXPECT_LE(turns, 4 * kMessages + 100);
  }

  std::vector<std::unique_ptr<testing::ChannelPair>> pairs;
  std::unique_ptr<WaitSet> set;
  std::unique_ptr<EchoServer> server;
  std::vector<Channel> clients;
  Registration tick;
  std::thread peer;
  int ticks = 0;
  int turns = 0;
  bool interrupted = false;
  bool all_came_back = false;
};

TEST(ForeignLoopsTest, BareEpoll) {
  Work work;
  const auto fd = work.set->descriptor();
  ASSERT_TRUE(fd.ok()) << fd.status();
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event = {};
  event.events = EPOLLIN;
  ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, *fd, &event), 0);
  bool going = true;
  while (going) {
    ASSERT_EQ(::epoll_wait(epoll.get(), &event, 1, 20'000), 1);
    going = work.Turn();
  }
  work.Check();
}

#if PARLEY_TESTS_HAVE_GLIB
TEST(ForeignLoopsTest, GLib) {
  Work work;
  const auto fd = work.set->descriptor();
  ASSERT_TRUE(fd.ok()) << fd.status();
  GMainLoop* const loop = g_main_loop_new(nullptr, 0);
  struct Both {
    Work* work;
    GMainLoop* loop;
  } both = {&work, loop};
  const auto turn = [](gint, GIOCondition, gpointer data) -> gboolean {
    const auto* self = static_cast<Both*>(data);
    if (self->work->Turn()) return G_SOURCE_CONTINUE;
    g_main_loop_quit(self->loop);
    return G_SOURCE_REMOVE;
  };
  g_unix_fd_add(*fd, G_IO_IN, turn, &both);
  g_main_loop_run(loop);
  g_main_loop_unref(loop);
  work.Check();
}
#else
TEST(ForeignLoopsTest, GLib) { GTEST_SKIP() << "GLib is not here (libglib2.0-dev)"; }
#endif

#if PARLEY_TESTS_HAVE_LIBUV
TEST(ForeignLoopsTest, Libuv) {
  Work work;
  const auto fd = work.set->descriptor();
  ASSERT_TRUE(fd.ok()) << fd.status();
  uv_loop_t loop;
  ASSERT_EQ(uv_loop_init(&loop), 0);
  uv_poll_t poll;
  ASSERT_EQ(uv_poll_init(&loop, &poll, *fd), 0);
  poll.data = &work;
  ASSERT_EQ(uv_poll_start(&poll, UV_READABLE,
                          [](uv_poll_t* self, int, int) {
                            if (static_cast<Work*>(self->data)->Turn()) return;
                            uv_poll_stop(self);
                            // SAFETY: libuv's own "inheritance", as its manual has it.
                            uv_close(reinterpret_cast<uv_handle_t*>(self), nullptr);
                          }),
            0);
  EXPECT_EQ(uv_run(&loop, UV_RUN_DEFAULT), 0);
  EXPECT_EQ(uv_loop_close(&loop), 0);
  work.Check();
}
#else
TEST(ForeignLoopsTest, Libuv) { GTEST_SKIP() << "libuv is not here (libuv1-dev)"; }
#endif

}  // namespace
}  // namespace parley
