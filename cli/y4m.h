// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_Y4M_H_
#define PARLEY_CLI_Y4M_H_

// YUV4MPEG2, read strictly and written.
//
// Trust: the text is anybody's; a line has 1024 bytes at most, each parameter is checked, and
// pictures above the limits are refused before anything is allocated.
// Threads: one at a time.
//
//   absl::StatusOr<VideoFormat> format = ReadY4mHeader(input, limits);
//   while (ReadY4mFrameLine(input).ok()) ... the planes, one behind the other, without padding ...

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/cli/input.h"
#include "parley/media/format.h"

namespace parley::cli {

// The parameters of a stream, without "YUV4MPEG2 ". kDataLoss with the reason; kResourceExhausted:
// above a limit. Comments other than XCOLORRANGE and XYSCSS say nothing.
absl::StatusOr<VideoFormat> ParseY4mParameters(std::string_view parameters,
                                               const FormatLimits& limits);
absl::StatusOr<VideoFormat> ReadY4mHeader(BufferedInput& input, const FormatLimits& limits);
// "FRAME" and its parameters, which say nothing that is kept. kOutOfRange: the end of the stream.
absl::Status ReadY4mFrameLine(BufferedInput& input);

// With its newline. kUnimplemented: y4m has no such format.
absl::StatusOr<std::string> Y4mHeader(const VideoFormat& format);
inline constexpr std::string_view kY4mFrameLine = "FRAME\n";

}  // namespace parley::cli

#endif  // PARLEY_CLI_Y4M_H_
