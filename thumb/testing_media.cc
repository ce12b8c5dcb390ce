// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/testing_media.h"

#include <png.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "gtest/gtest.h"

namespace parley::thumb::testing {
namespace {

std::string Output(const std::string& command) {
  std::string output;
  // NOLINTNEXTLINE(cert-env33-c): commands of the tests themselves.
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[65536];
  std::size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0) output.append(buffer, got);
  if (const int status = ::pclose(pipe); status != 0) {
    ADD_FAILURE() << command << ": " << status;
  }
  return output;
}

}  // namespace

std::string Media(const std::string& name) {
  std::string path = ::testing::TempDir() + "/" + name;
  struct stat info;
  if (::stat(path.c_str(), &info) == 0) return path;
  Output("thumb/make_media.sh " + Quoted(name) + " " + Quoted(path) + " 2>&1");
  return path;
}

std::vector<std::string> MediaNames() {
  std::istringstream lines(Output("thumb/make_media.sh --names"));
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) names.push_back(line);
  return names;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
}

Picture ReadPng(const std::string& path) {
  Picture picture;
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_file(&image, path.c_str()) == 0) return picture;
  const bool alpha = (image.format & PNG_FORMAT_FLAG_ALPHA) != 0;
  image.format = alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
  picture.width = image.width;
  picture.height = image.height;
  picture.channels = alpha ? 4 : 3;
  picture.bytes.resize(PNG_IMAGE_SIZE(image));
  if (png_image_finish_read(&image, nullptr, picture.bytes.data(), 0, nullptr) == 0) return {};
  return picture;
}

Picture FfmpegPicture(const std::string& path, const std::string& before, const std::string& filter,
                      uint32_t width, uint32_t height) {
  const std::string bytes =
      Output("ffmpeg -hide_banner -loglevel error -nostdin " + before + " -i " + Quoted(path) +
             " -map 0:v:0 -frames:v 1 -vf " + Quoted(filter) + " -pix_fmt rgb24 -f rawvideo -");
  Picture picture;
  EXPECT_EQ(bytes.size(), std::size_t{width} * height * 3) << path;
  if (bytes.size() != std::size_t{width} * height * 3) return picture;
  picture.width = width;
  picture.height = height;
  picture.bytes.assign(bytes.begin(), bytes.end());
  return picture;
}

double Difference(const Picture& a, const Picture& b) {
  if (a.width != b.width || a.height != b.height || a.bytes.empty() || b.bytes.empty()) return 255;
  uint64_t sum = 0;
  const std::size_t pixels = std::size_t{a.width} * a.height;
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      const int one = a.bytes[i * a.channels + c];
      const int two = b.bytes[i * b.channels + c];
      sum += static_cast<uint64_t>(one > two ? one - two : two - one);
    }
  }
  return static_cast<double>(sum) / static_cast<double>(3 * pixels);
}

std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace parley::thumb::testing
