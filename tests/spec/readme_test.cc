// SPDX-License-Identifier: Apache-2.0

// The example of README.md, compiled and run; and that it is the one in README.md.

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"

namespace {

constexpr uint32_t kTag = 7;
std::string received;

void Use(uint32_t tag, absl::Span<const std::byte> bytes) {
  if (tag != kTag) return;
  for (const std::byte b : bytes) received += static_cast<char>(b);
}

// README: from here
// Takes what one peer sends, until it closes.
absl::Status ReceiveAll(const std::string& path) {
  auto listener = parley::ChannelListener::Listen(path, {});
  if (!listener.ok()) return listener.status();
  auto channel = listener->Accept(parley::Deadline::After(absl::Minutes(1)));
  if (!channel.ok()) return channel.status();
  parley::Receiver& receiver = channel->receiver;
  std::vector<std::byte> buffer(receiver.max_message_bytes());
  while (true) {
    const auto deadline = parley::Deadline::After(absl::Seconds(5));
    auto message = receiver.Receive(absl::MakeSpan(buffer), deadline);
    if (absl::IsOutOfRange(message.status())) return absl::OkStatus();  // closed in order
    if (!message.ok()) return message.status();  // late, dead, or it broke the protocol
    Use(message->tag, absl::MakeConstSpan(buffer).first(message->size_bytes));
  }
}

// The other process.
absl::Status Send(const std::string& path, absl::Span<const std::byte> bytes) {
  const auto deadline = parley::Deadline::After(absl::Seconds(5));
  auto channel = parley::ConnectChannel(path, {}, deadline);
  if (!channel.ok()) return channel.status();
  if (auto sent = channel->sender.Send(kTag, bytes, deadline); !sent.ok()) return sent;
  channel->sender.Close();
  return channel->sender.AwaitDrained(deadline);  // all of it was received
}
// README: up to here

std::string FileText(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ReadmeTest, TheExampleSendsAndReceives) {
  // Abstract: a path below Bazel's temporary folder can be longer than a socket's name may be.
  const std::string path = "@parley_readme_" + std::to_string(::getpid());
  const pid_t sender = ::fork();
  if (sender == 0) {
    const std::byte bytes[] = {std::byte{'h'}, std::byte{'i'}};
    absl::Status sent;
    for (int tries = 0; tries < 1000; ++tries) {
      sent = Send(path, bytes);
      // Until the other process listens.
      if (!absl::IsNotFound(sent) && !absl::IsUnavailable(sent)) break;
      ::usleep(10'000);
    }
    ::_exit(sent.ok() ? 0 : 1);
  }
  const absl::Status status = ReceiveAll(path);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(received, "hi");
  int exit_status = -1;
  EXPECT_EQ(::waitpid(sender, &exit_status, 0), sender);
  EXPECT_EQ(exit_status, 0);
}

TEST(ReadmeTest, TheExampleIsTheOneOnThePage) {
  const std::string source = FileText("tests/spec/readme_test.cc");
  const std::string from = "// README: from here\n";
  const std::size_t begin = source.find(from) + from.size();
  const std::size_t end = source.find("// README: up to here\n");
  ASSERT_LT(begin, end);
  const std::string example = "```cpp\n" + source.substr(begin, end - begin) + "```\n";
  EXPECT_NE(FileText("README.md").find(example), std::string::npos) << example;
}

}  // namespace
