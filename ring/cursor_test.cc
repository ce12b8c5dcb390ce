// SPDX-License-Identifier: Apache-2.0
#include "parley/ring/cursor.h"

#include <cstdint>
#include <set>

#include "gtest/gtest.h"

namespace parley {
namespace {

using C8 = Cursor<uint8_t>;
constexpr uint8_t kHeader = 8;
constexpr uint8_t kAlign = 8;

// The definition, in numbers that do not wrap: a tail is right if it is one of
// last_tail, last_tail + grain, ..., head + capacity, counted from head in whole grains.
bool TailIsRight(unsigned head, unsigned last_ahead, unsigned peer, unsigned capacity,
                 unsigned grain) {
  for (unsigned ahead = 0; ahead <= capacity; ahead += grain) {
    if (ahead < last_ahead) continue;
    if ((head + ahead) % 256 == peer) return true;
  }
  return false;
}

TEST(CursorProof, EveryTailAtEightBitsAgreesWithTheDefinition) {
  uint64_t combinations = 0;
  for (const unsigned grain : {1u, 2u, 3u, 5u, 8u, 16u}) {
    for (unsigned capacity = 1; capacity <= 128; capacity *= 2) {
      for (unsigned head = 0; head < 256; ++head) {
        for (unsigned last_ahead = 0; last_ahead <= capacity; last_ahead += grain) {
          const unsigned last_tail = (head + last_ahead) % 256;
          for (unsigned peer = 0; peer < 256; ++peer) {
            const Violation found =
                C8::CheckTail(static_cast<uint8_t>(head), static_cast<uint8_t>(last_tail),
                              static_cast<uint8_t>(peer), static_cast<uint8_t>(capacity),
                              static_cast<uint8_t>(grain));
            ASSERT_EQ(found == Violation::kNone,
                      TailIsRight(head, last_ahead, peer, capacity, grain))
                << "head " << head << " last " << last_tail << " peer " << peer << " capacity "
                << capacity << " grain " << grain;
            ++combinations;
          }
        }
      }
    }
  }
  RecordProperty("combinations", std::to_string(combinations));
}

TEST(CursorProof, EveryHeadAtEightBitsAgreesWithTheDefinition) {
  for (const unsigned grain : {1u, 2u, 3u, 5u, 8u, 16u}) {
    for (unsigned tail = 0; tail < 256; ++tail) {
      // What is under way is at most the capacity, so at most 128.
      for (unsigned in_flight = 0; in_flight <= 128; in_flight += grain) {
        const unsigned last_head = (tail + 256 - in_flight) % 256;
        std::set<unsigned> right;
        for (unsigned left = 0; left <= in_flight; left += grain) {
          right.insert((tail + 256 - left) % 256);
        }
        for (unsigned peer = 0; peer < 256; ++peer) {
          const Violation found =
              C8::CheckHead(static_cast<uint8_t>(tail), static_cast<uint8_t>(last_head),
                            static_cast<uint8_t>(peer), static_cast<uint8_t>(grain));
          ASSERT_EQ(found == Violation::kNone, right.contains(peer))
              << "tail " << tail << " last " << last_head << " peer " << peer << " grain " << grain;
        }
      }
    }
  }
}

TEST(CursorProof, EveryRecordAtEightBitsStaysInsideWhatIsAvailable) {
  for (unsigned capacity = 16; capacity <= 128; capacity *= 2) {
    const unsigned largest = C8::MaxPayload(static_cast<uint8_t>(capacity), kHeader);
    for (unsigned max_size = 0; max_size <= largest; ++max_size) {
      for (unsigned available = kHeader; available <= capacity; available += kAlign) {
        for (unsigned size = 0; size < 256; ++size) {
          const unsigned needed = kHeader + (size + kAlign - 1) / kAlign * kAlign;
          const bool right = size <= max_size && needed <= available;
          const Violation found =
              C8::CheckRecord(static_cast<uint8_t>(size), static_cast<uint8_t>(max_size),
                              static_cast<uint8_t>(available), kHeader);
          ASSERT_EQ(found == Violation::kNone, right)
              << "size " << size << " max " << max_size << " available " << available;
          if (right) {
            ASSERT_EQ(C8::RecordBytes(static_cast<uint8_t>(size), kHeader, kAlign), needed);
            for (unsigned begin = 0; begin < 256; begin += kAlign) {
              ASSERT_EQ(C8::RecordEnd(static_cast<uint8_t>(begin), static_cast<uint8_t>(size),
                                      kHeader, kAlign),
                        static_cast<uint8_t>(begin + needed));
            }
          }
        }
      }
    }
  }
}

// What is said of a position that is wrong, again by the definition: how far it lies from what
// would have been right.
TEST(CursorProof, EveryWrongTailAtEightBitsIsCalledByItsName) {
  for (const unsigned grain : {1u, 3u, 8u}) {
    for (unsigned capacity = 1; capacity <= 128; capacity *= 2) {
      for (const unsigned head : {0u, 1u, 100u, 255u}) {
        for (unsigned last_ahead = 0; last_ahead <= capacity; last_ahead += grain) {
          for (unsigned ahead = 0; ahead < 256; ++ahead) {
            Violation expected = Violation::kNone;
            if (ahead > capacity) {
              expected = Violation::kProducerPositionOutOfRange;
            } else if (ahead < last_ahead) {
              expected = Violation::kProducerPositionBackwards;
            } else if (ahead % grain != 0) {
              expected = Violation::kProducerPositionMisaligned;
            }
            ASSERT_EQ(
                C8::CheckTail(static_cast<uint8_t>(head), static_cast<uint8_t>(head + last_ahead),
                              static_cast<uint8_t>(head + ahead), static_cast<uint8_t>(capacity),
                              static_cast<uint8_t>(grain)),
                expected)
                << "head " << head << " last " << last_ahead << " ahead " << ahead << " capacity "
                << capacity << " grain " << grain;
          }
        }
      }
    }
  }
}

TEST(CursorProof, EveryWrongHeadAtEightBitsIsCalledByItsName) {
  for (const unsigned grain : {1u, 3u, 8u}) {
    for (const unsigned tail : {0u, 1u, 100u, 255u}) {
      for (unsigned in_flight = 0; in_flight <= 128; in_flight += grain) {
        for (unsigned behind = 0; behind < 256; ++behind) {  // of the tail
          Violation expected = Violation::kNone;
          if (behind <= in_flight) {
            if (behind % grain != 0) expected = Violation::kConsumerPositionMisaligned;
          } else {
            // Nearer to the tail, from above, or to the last head, from below.
            expected = 256 - behind <= behind - in_flight ? Violation::kConsumerPositionOutOfRange
                                                          : Violation::kConsumerPositionBackwards;
          }
          ASSERT_EQ(
              C8::CheckHead(static_cast<uint8_t>(tail), static_cast<uint8_t>(tail - in_flight),
                            static_cast<uint8_t>(tail - behind), static_cast<uint8_t>(grain)),
              expected)
              << "tail " << tail << " in flight " << in_flight << " behind " << behind << " grain "
              << grain;
        }
      }
    }
  }
}

TEST(CursorProof, EveryWrongRecordAtEightBitsIsCalledByItsName) {
  for (unsigned max_size = 0; max_size <= 120; ++max_size) {
    for (unsigned available = kHeader; available <= 128; available += kAlign) {
      for (unsigned size = 0; size < 256; ++size) {
        const Violation expected = size > max_size              ? Violation::kRecordTooLong
                                   : size > available - kHeader ? Violation::kRecordBeyondTail
                                                                : Violation::kNone;
        ASSERT_EQ(C8::CheckRecord(static_cast<uint8_t>(size), static_cast<uint8_t>(max_size),
                                  static_cast<uint8_t>(available), kHeader),
                  expected)
            << "size " << size << " max " << max_size << " available " << available;
      }
    }
  }
}

TEST(CursorTest, TheSameAtSixtyFourBitsAroundTheWrap) {
  const uint64_t top = ~uint64_t{0} - 7;  // 2^64 - 8
  EXPECT_EQ(Cursor64::RecordEnd(top, 9, 8, 8), 16u);
  EXPECT_EQ(Cursor64::RecordEnd(0xffff'fff8, 9, 8, 8), 0x1'0000'0010u);
  EXPECT_EQ(Cursor64::CheckTail(top, top, top + 16, 4096, 8), Violation::kNone);
  EXPECT_EQ(Cursor64::CheckTail(top, top, top + 4104, 4096, 8),
            Violation::kProducerPositionOutOfRange);
  EXPECT_EQ(Cursor64::CheckTail(top, top + 16, top + 8, 4096, 8),
            Violation::kProducerPositionBackwards);
  EXPECT_EQ(Cursor64::CheckTail(top, top, top + 4, 4096, 8),
            Violation::kProducerPositionMisaligned);
  EXPECT_EQ(Cursor64::CheckHead(8, top, 0, 8), Violation::kNone);
  EXPECT_EQ(Cursor64::CheckHead(8, top, 16, 8), Violation::kConsumerPositionOutOfRange);
  EXPECT_EQ(Cursor64::CheckHead(8, top, top - 8, 8), Violation::kConsumerPositionBackwards);
  EXPECT_EQ(Cursor64::CheckHead(8, top, 4, 8), Violation::kConsumerPositionMisaligned);
  for (const uint64_t hostile : {uint64_t{1} << 31, uint64_t{1} << 32, uint64_t{1} << 63}) {
    EXPECT_NE(Cursor64::CheckTail(64, 64, 64 + hostile, 4096, 8), Violation::kNone);
    EXPECT_NE(Cursor64::CheckHead(64, 0, 64 - hostile, 8), Violation::kNone);
  }
}

}  // namespace
}  // namespace parley
