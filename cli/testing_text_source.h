// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_TESTING_TEXT_SOURCE_H_
#define PARLEY_CLI_TESTING_TEXT_SOURCE_H_

// For tests: an input of `parley send` that is a text.
//
// Threads: one at a time.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/cli/input.h"

namespace parley::cli {

// Gives its text in pieces of one size.
class TextSource final : public ByteSource {
 public:
  TextSource(std::string text, size_t piece) : text_(std::move(text)), piece_(piece) {}
  absl::StatusOr<size_t> Read(absl::Span<std::byte> into) override {
    const size_t taken = std::min({into.size(), piece_, text_.size() - at_});
    std::memcpy(into.data(), text_.data() + at_, taken);
    at_ += taken;
    return taken;
  }

 private:
  std::string text_;
  size_t piece_;
  size_t at_ = 0;
};

}  // namespace parley::cli

#endif  // PARLEY_CLI_TESTING_TEXT_SOURCE_H_
