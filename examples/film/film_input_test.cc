// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/film_input.h"

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/supervise/worker_link.h"

namespace parley::film {
namespace {

std::string FileWith(const std::string& content) {
  const std::string path = ::testing::TempDir() + "/film_input";
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string Read(const FilmInput& film, uint64_t offset, size_t size_bytes) {
  std::string into(size_bytes, '?');
  const auto got = film.Source().read(
      // SAFETY: char and std::byte are both bytes.
      offset, {reinterpret_cast<std::byte*>(into.data()), into.size()});
  return got.ok() ? into.substr(0, *got) : std::string(got.status().message());
}

TEST(FilmInputTest, GivesPiecesOfTheFile) {
  auto film = FilmInput::Open(FileWith("0123456789"));
  ASSERT_TRUE(film.ok()) << film.status();
  EXPECT_EQ(film->size_bytes(), 10u);
  EXPECT_EQ(film->Source().size_bytes, 10u);
  EXPECT_EQ(Read(*film, 0, 10), "0123456789");
  EXPECT_EQ(Read(*film, 7, 9), "789");
  EXPECT_EQ(Read(*film, ~uint64_t{0}, 1), "");
}

// What a worker may read is the link's to count (WorkerLinkTest).
TEST(FilmInputTest, AWorkerMayReadTheFilmSoOften) {
  auto film = FilmInput::Open(FileWith("0123456789"));
  ASSERT_TRUE(film.ok());
  EXPECT_EQ(film->Source().max_read_bytes, kReadAllowanceBytes);
  const std::string path = FileWith("");
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_EQ(std::fseek(file, (1l << 30) - 1, SEEK_SET), 0);
  std::fputs("x", file);
  std::fclose(file);
  film = FilmInput::Open(path);
  ASSERT_TRUE(film.ok());
  EXPECT_EQ(film->Source().max_read_bytes, kMaxReadings << 30);
}

TEST(FilmInputTest, AFileThatBecomesShorterEnds) {
  const std::string path = FileWith("0123456789");
  auto film = FilmInput::Open(path);
  ASSERT_TRUE(film.ok());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << "012";
  EXPECT_EQ(Read(*film, 0, 10), "012");
  EXPECT_EQ(Read(*film, 5, 5), "");
}

// Nothing of it is held in memory: a hole of 3 GiB is read at its end.
TEST(FilmInputTest, AFilmMayHaveMoreThanTwoGibibytes) {
  const std::string path = FileWith("");
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(std::fseek(file, 3l << 30, SEEK_SET), 0);
  std::fputs("the end", file);
  std::fclose(file);
  auto film = FilmInput::Open(path);
  ASSERT_TRUE(film.ok()) << film.status();
  EXPECT_EQ(Read(*film, 3ull << 30, 7), "the end");
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
