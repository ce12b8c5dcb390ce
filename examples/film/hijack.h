// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_HIJACK_H_
#define PARLEY_EXAMPLES_FILM_HIJACK_H_

// The names of what a hijacked decoder can be told to do, for both programs.
//
// Threads: values.

#include <optional>
#include <string>
#include <string_view>

namespace parley::film {

enum class Hijack {
  kNone,
  kIndexJump,       // says that it has published far more than the ring holds
  kLengthLie,       // a record that claims four gigabytes
  kRewind,          // takes back what it has published
  kSilence,         // stops, alive and mute
  kFlood,           // rings the doorbell without end and without data
  kTruncate,        // tries to cut off the memory under the reader's feet
  kDeath,           // crashes
  kPayloadRewrite,  // changes pixels before and after it has published them
  kBadFrame,        // a picture whose planes lie outside of the message
  kFormatFlood,     // a new format in each message
  kEarlyEnd,        // ends the stream in order, with half of the film
  kOpenFile,        // tries to read a file
};

// "index-jump", ...
std::optional<Hijack> HijackFromName(std::string_view name);
std::string HijackName(Hijack hijack);
// "index-jump, length-lie, ...", without kNone.
std::string HijackNames();

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_HIJACK_H_
