// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_TESTING_MEDIA_H_
#define PARLEY_THUMB_TESTING_MEDIA_H_

// Films and pictures for tests, made with ffmpeg when they are asked for, and pictures to compare.
//
// Threads: one at a time.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "parley/thumb/picture.h"

namespace parley::thumb::testing {

// The path of a file that make_media.sh knows. Made once in each test program.
std::string Media(const std::string& name);
// All names without variables.
std::vector<std::string> MediaNames();

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& bytes);

// A PNG file, read with libpng. Empty where it is none.
Picture ReadPng(const std::string& path);

// What ffmpeg makes of the file: `before` come before its input, `filter` is its filter; RGB.
Picture FfmpegPicture(const std::string& path, const std::string& before, const std::string& filter,
                      uint32_t width, uint32_t height);

// How far the pictures are apart: the mean difference of a channel, of 255; 255 for other sizes.
// Alpha is not compared.
double Difference(const Picture& a, const Picture& b);

// 'x' for a shell.
std::string Quoted(const std::string& text);

}  // namespace parley::thumb::testing

#endif  // PARLEY_THUMB_TESTING_MEDIA_H_
