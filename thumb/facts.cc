// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/facts.h"

namespace parley::thumb {

const char* ToString(StreamKind kind) {
  switch (kind) {
    case StreamKind::kVideo:
      return "video";
    case StreamKind::kAudio:
      return "audio";
    case StreamKind::kSubtitle:
      return "subtitle";
    case StreamKind::kData:
      return "data";
    case StreamKind::kAttachment:
      return "attachment";
    case StreamKind::kOther:
      break;
  }
  return "other";
}

}  // namespace parley::thumb
