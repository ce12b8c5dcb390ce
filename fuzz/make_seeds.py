#!/usr/bin/env python3
"""Writes the hand-made seeds into fuzz/corpus/<target>/. Run it again after a script's format changed."""

import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def seed(target, name, *parts):
    data = b"".join(bytes([p]) if isinstance(p, int) else p for p in parts)
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def u16(x):
    return struct.pack("<H", x)


def u32(x):
    return struct.pack("<I", x & 0xFFFFFFFF)


def u64(x):
    return struct.pack("<Q", x & (2**64 - 1))


# --- ring_consumer_fuzzer ---------------------------------------------------------------------------

RECEIVE, PEEK, RELEASE, HAS_NEWS, CLOSE, READ_VIEW, STRIKE, STRUCK = 0, 1, 2, 3, 4, 5, 6, 8


def record(size, tag=1):  # strike 1
    return bytes([STRIKE, 1, size, tag])


def consumer(name, *parts, capacity=0, max_message=512, mode=0):
    seed("ring_consumer_fuzzer", name, capacity, u16(max_message), mode, *parts)


consumer("honest_records", record(0), RECEIVE, record(5), RECEIVE, record(8), PEEK, READ_VIEW, 0, RELEASE,
         HAS_NEWS, RECEIVE)
consumer("around_the_ring", *[record(239, i % 200) + bytes([RECEIVE]) for i in range(40)])
consumer("many_peeks_one_release", *[record(9, i) for i in range(20)], *[PEEK] * 21, READ_VIEW, 3, READ_VIEW, 9,
         RELEASE, HAS_NEWS)
consumer("longest_record", record(255), RECEIVE, record(255), PEEK, READ_VIEW, 0, RELEASE)
consumer("longest_possible_message", record(255), RECEIVE, record(0), RECEIVE, record(255), RECEIVE, max_message=4088)
consumer("closed_with_data", record(3), bytes([STRIKE, 8, 1]), RECEIVE, RECEIVE, HAS_NEWS)
consumer("state_unknown", bytes([STRIKE, 8, 2]), RECEIVE, RECEIVE, HAS_NEWS)
consumer("tail_beyond_capacity", bytes([STRIKE, 7, 5]), RECEIVE, RECEIVE)
consumer("tail_exactly_capacity", bytes([STRIKE, 13]), RECEIVE, RECEIVE)
consumer("tail_misaligned", bytes([STRIKE, 5, 9]), RECEIVE)
consumer("tail_backwards", record(16), record(16), RECEIVE, PEEK, bytes([STRIKE, 4, 255]), RECEIVE)
consumer("tail_huge", bytes([STRIKE, 6]), u64(2**63), HAS_NEWS, RECEIVE)
consumer("tail_all_ones", bytes([STRIKE, 6]), u64(2**64 - 1), HAS_NEWS, RECEIVE)
consumer("record_too_long", record(8), bytes([STRIKE, 10, 254]), u64(513), bytes([STRIKE, 13]), RECEIVE, RECEIVE)
consumer("record_length_all_ones", record(8), bytes([STRIKE, 10, 254]), u64(0xFFFFFFFF), RECEIVE)
consumer("record_beyond_tail", record(8), bytes([STRIKE, 10, 254]), u64(16), RECEIVE)
consumer("record_tag_reserved", record(8), bytes([STRIKE, 10, 254]), u64((1 << 63) | 8), RECEIVE)
consumer("padding_not_zero", record(3), bytes([STRIKE, 10, 255]), u64(0xFF << 32), RECEIVE)
# A strike at each fetch: state, tail, header, last word, payload.
consumer("header_longer_after_the_check", record(5), bytes([STRIKE, 13, RECEIVE | STRUCK, 0, 0, 0, 12, 130, 0, 12, 130, 0]))
consumer("tail_moved_between_state_and_tail", record(8), bytes([RECEIVE | STRUCK, 0, 7, 5, 0, 0]))
consumer("closed_between_state_and_tail", record(8), bytes([RECEIVE | STRUCK, 0, 8, 1, 0, 0]), RECEIVE, RECEIVE)
consumer("payload_rewritten_while_copied", record(64), bytes([RECEIVE | STRUCK, 0, 0, 0, 10, 250]), u64(7), RECEIVE)
consumer("tail_moved_between_peek_and_release", record(8), PEEK, bytes([STRIKE, 6]), u64(0), RELEASE, RECEIVE)
consumer("fresh_words", *[bytes([RECEIVE, 0, 0, 0, 1, 8, 1])] * 10, mode=1)
consumer("fresh_headers", *[bytes([PEEK, 0, 2, 3, 0, 9, 1, READ_VIEW, 0])] * 12, mode=1)
consumer("close_then_receive", record(8), CLOSE, RECEIVE, RECEIVE, HAS_NEWS)
consumer("poisoned_from_above", record(8), RECEIVE, 0x74, RECEIVE, HAS_NEWS)

# --- ring_producer_fuzzer ---------------------------------------------------------------------------

SEND, STAGE, RESERVE, COMMIT, STAGE_RESERVED, PUBLISH, HAS_ROOM, DRAINED, P_CLOSE, P_STRIKE, P_STRUCK = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16)


def producer(name, *parts, capacity=0, max_message=512, mode=0):
    seed("ring_producer_fuzzer", name, capacity, u16(max_message), mode, *parts)


def send(size, tag=1, op=SEND):
    return bytes([op, size]) + u32(tag)


TAKE_ALL = bytes([P_STRIKE, 1])

producer("honest_sends", send(0), send(5), send(8), TAKE_ALL, bytes([DRAINED]), send(13))
producer("around_the_ring", *[send(199, i) + TAKE_ALL for i in range(60)])
producer("full", *[send(199, i) for i in range(25)], bytes([HAS_ROOM, 0]), TAKE_ALL, bytes([HAS_ROOM, 200]), send(1))
producer("longest_message_when_empty", send(200), TAKE_ALL, send(200), TAKE_ALL, send(200), max_message=4088)
producer("reserve_and_commit_less", bytes([RESERVE, 100, COMMIT]), u16(13), u32(7), bytes([DRAINED]))
producer("reserve_twice", bytes([RESERVE, 100, RESERVE, 50, STAGE_RESERVED]), u16(50), u32(7), bytes([PUBLISH]))
producer("batch", *[send(20, i, STAGE) for i in range(20)], bytes([PUBLISH, DRAINED]), TAKE_ALL, bytes([DRAINED]))
producer("staged_then_closed", send(20, 3, STAGE), bytes([P_CLOSE, DRAINED, PUBLISH]))
producer("consumer_closed", bytes([P_STRIKE, 6, 1]), *[send(199)] * 25)
producer("state_unknown", bytes([P_STRIKE, 6, 2]), *[send(199)] * 25)
producer("head_ahead", *[send(199)] * 10, bytes([P_STRIKE, 5, 2]), *[send(199)] * 15)
producer("head_one_ahead", send(8), bytes([P_STRIKE, 4]), u64(24), bytes([DRAINED]), send(8))
producer("head_backwards", send(64), TAKE_ALL, bytes([DRAINED]), send(64), bytes([P_STRIKE, 4]), u64(8), bytes([DRAINED]))
producer("head_misaligned", send(64), bytes([P_STRIKE, 3, 5, DRAINED]), send(1))
producer("head_all_ones", send(64), bytes([P_STRIKE, 4]), u64(2**64 - 1), bytes([DRAINED]), send(1))
producer("head_half_way", send(64), bytes([P_STRIKE, 4]), u64(2**63), bytes([DRAINED]), send(1))
producer("head_moved_between_state_and_head", *[send(199)] * 19, bytes([SEND | P_STRUCK, 199]), u32(1), bytes([1, 5, 2]))
producer("closed_between_state_and_head", *[send(199)] * 19, bytes([SEND | P_STRUCK, 199]), u32(1), bytes([0, 6, 1]), send(1))
producer("staged_is_not_yet_the_peers", send(40, 1, STAGE), bytes([P_STRIKE, 4]), u64(48), bytes([DRAINED, HAS_ROOM, 240]),
         *[send(199)] * 20)
producer("fresh_heads", *[send(199) + bytes([0, 1, 3])] * 30, mode=1)
producer("poisoned_from_above", send(8), 0xE8, send(8), DRAINED)

# --- typed_ring_fuzzer ------------------------------------------------------------------------------


def typed(name, *parts, element=1, capacity=0, mode=0):
    seed("typed_ring_fuzzer", name, element, capacity, mode, *parts)


PUSH, POP, T_NEWS, T_ROOM, T_CLOSE, T_STRIKE, T_STRUCK = 0, 1, 2, 3, 4, 5, 8
for element, size in enumerate((1, 4, 8, 24)):
    typed(f"honest_{size}", *[bytes([PUSH, 100, 7, T_STRIKE, 0, 13, POP, 100, POP, 255, T_STRIKE, 1, 1])] * 12, element=element)
    typed(f"more_than_fits_{size}", bytes([PUSH, 255, 1, PUSH, 3, 1, T_ROOM, 192, T_STRIKE, 1, 1, T_ROOM, 192, T_ROOM, 193]),
          element=element)
    typed(f"head_and_tail_off_by_one_{size}", bytes([PUSH, 100, 7, T_STRIKE, 1, 3, 1, T_STRIKE, 0, 5, 1, POP, 9, PUSH, 255, 1]),
          element=element)
    typed(f"tail_beyond_capacity_{size}", bytes([T_STRIKE, 0, 7, 5, POP, 200, POP, 1]), element=element)
    typed(f"tail_is_the_capacity_{size}", bytes([T_STRIKE, 0, 7, 3, POP, 255, POP, 1]), element=element)
    typed(f"struck_between_{size}", bytes([T_STRIKE, 0, 13, POP | T_STRUCK, 50, 0, 0, 0, 7, 5, 0, 0, POP | T_STRUCK, 255, 0, 8, 1]),
          element=element)
    typed(f"fresh_{size}", *[bytes([POP, 20, 0, 1, 3, 0, PUSH, 255, 1, 0, 1, 9])] * 10, element=element, mode=1)
    typed(f"closed_{size}", bytes([PUSH, 10, 1, 0xD4, T_STRIKE, 0, 13, T_STRIKE, 0, 8, 1, POP, 100, POP, 100, POP, 255, POP, 1, 0xC4,
          POP, 1]), element=element)
