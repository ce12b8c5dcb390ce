#include "parley/examples/film/film_input.h"

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"

namespace parley::film {
namespace {

std::string FileWith(const std::string& content) {
  const std::string path = ::testing::TempDir() + "/film_input";
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::vector<std::byte> Request(uint64_t offset, uint32_t bytes, uint32_t reserved = 0) {
  const auto wire =
      WireBytes(ReadRequestWire{.offset = offset, .bytes = bytes, .reserved = reserved});
  return {wire.begin(), wire.end()};
}

std::string Text(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(FilmInputTest, GivesPiecesOfTheFile) {
  auto input = FilmInput::Open(FileWith("0123456789"));
  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_EQ(input->size_bytes(), 10u);
  EXPECT_EQ(Text(*input->Answer(Request(0, 10))), "0123456789");
  EXPECT_EQ(Text(*input->Answer(Request(7, 3))), "789");
}

TEST(FilmInputTest, EachLieIsAViolation) {
  auto input = FilmInput::Open(FileWith("0123456789"));
  ASSERT_TRUE(input.ok());
  for (const auto& lie :
       {Request(0, 11), Request(10, 1), Request(11, 1), Request(~uint64_t{0}, 1),
        Request(~uint64_t{0} - 5, 10), Request(0, 0), Request(0, kMaxReadBytes + 1),
        Request(0, 0xffff'ffff), Request(0, 1, 1), std::vector<std::byte>(15),
        std::vector<std::byte>(17), std::vector<std::byte>()}) {
    EXPECT_EQ(input->Answer(lie).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(FilmInputTest, AWorkerThatReadsForEverIsStopped) {
  auto input = FilmInput::Open(FileWith(std::string(kMaxReadBytes, 'x')));
  ASSERT_TRUE(input.ok());
  absl::Status status;
  uint64_t reads = 0;
  while (status.ok() && reads < 10'000) {
    status = input->Answer(Request(0, kMaxReadBytes)).status();
    ++reads;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NEAR(static_cast<double>(reads), static_cast<double>(kReadAllowanceBytes / kMaxReadBytes),
              2);
  // The next worker has a budget of its own.
  input->BeginWorker();
  EXPECT_TRUE(input->Answer(Request(0, 1)).ok());
}

TEST(FilmInputTest, AFileThatBecomesShorterEnds) {
  const std::string path = FileWith("0123456789");
  auto input = FilmInput::Open(path);
  ASSERT_TRUE(input.ok());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << "012";
  EXPECT_EQ(Text(*input->Answer(Request(0, 10))), "012");
  EXPECT_EQ(input->Answer(Request(5, 5))->size(), 0u);
}

// Nothing of it is held in memory: a hole of 3 GiB is read at its end.
TEST(FilmInputTest, AFilmMayHaveMoreThanTwoGibibytes) {
  const std::string path = FileWith("");
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(std::fseek(file, 3l << 30, SEEK_SET), 0);
  std::fputs("the end", file);
  std::fclose(file);
  auto input = FilmInput::Open(path);
  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_EQ(Text(*input->Answer(Request(3ull << 30, 7))), "the end");
  std::remove(path.c_str());
}

TEST(FilmInputTest, WhatIsNoFileGetsASentence) {
  EXPECT_EQ(FilmInput::Open("/").status().message(), "this is a directory, not a film");
  EXPECT_EQ(FilmInput::Open("/dev/zero").status().message(), "this is no regular file");
  EXPECT_EQ(FilmInput::Open(FileWith("")).status().message(), "the file is empty");
  EXPECT_EQ(FilmInput::Open("/no/such/file").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace parley::film
