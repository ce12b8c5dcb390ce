// SPDX-License-Identifier: Apache-2.0
#include "parley/boundary/violation.h"

namespace parley {

const char* ToString(Violation violation) {
  switch (violation) {
    case Violation::kNone:
      return "none";
    case Violation::kProducerPositionOutOfRange:
      return "producer position out of range";
    case Violation::kProducerPositionBackwards:
      return "producer position moved backwards";
    case Violation::kProducerPositionMisaligned:
      return "producer position misaligned";
    case Violation::kProducerStateInvalid:
      return "producer state is no known value";
    case Violation::kConsumerPositionOutOfRange:
      return "consumer position out of range";
    case Violation::kConsumerPositionBackwards:
      return "consumer position moved backwards";
    case Violation::kConsumerPositionMisaligned:
      return "consumer position misaligned";
    case Violation::kConsumerStateInvalid:
      return "consumer state is no known value";
    case Violation::kRecordTooLong:
      return "record longer than the agreed maximum";
    case Violation::kRecordBeyondTail:
      return "record longer than what was published";
    case Violation::kRecordPaddingNotZero:
      return "record padding not zero";
    case Violation::kRecordTagReserved:
      return "record tag uses reserved bits";
    case Violation::kDoorbellFlood:
      return "doorbell signalled again and again without progress";
    case Violation::kSignalsTooExpensive:
      return "signalling it costs too much processor time";
    case Violation::kUnexpectedMessage:
      return "unexpected message on the socket";
    case Violation::kMetadataInvalid:
      return "message metadata invalid";
  }
  return "unknown violation";
}

}  // namespace parley
