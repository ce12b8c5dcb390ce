// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_JSON_H_
#define PARLEY_THUMB_JSON_H_

// One line of JSON for one file.
//
// Trust: the name is any bytes, as file names are; the output is ASCII, so that it can be shown on
// a terminal.
// Threads: pure functions; any.

#include <string>
#include <string_view>

#include "parley/thumb/facts.h"

namespace parley::thumb {

// In quotes. Bytes that are no UTF-8 become U+FFFD; all beyond ASCII is escaped.
std::string JsonString(std::string_view text);

// {"file":...,"bytes":...,"container":...,"streams":[...]}
std::string FactsToJson(std::string_view file, uint64_t size_bytes, const MediaFacts& facts);

// {"file":...,"error":...}
std::string ErrorToJson(std::string_view file, std::string_view error);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_JSON_H_
