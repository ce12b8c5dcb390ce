#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the hand-made seeds into fuzz/corpus/<target>/. Run it again after a script's format changed.

    make_seeds.py            writes those that are missing or differ
    make_seeds.py --check    names them, and fails if there is one (./dev lint)
"""

import pathlib
import struct
import sys

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
CHECK = sys.argv[1:] == ["--check"]
if sys.argv[1:] and not CHECK:
    sys.exit(__doc__)
differing = []


def seed(target, name, *parts):
    data = b"".join(bytes([p]) if isinstance(p, int) else p for p in parts)
    path = CORPUS / target / name
    if path.is_file() and path.read_bytes() == data:
        return
    differing.append(f"{target}/{name}")
    if not CHECK:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


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
producer("staged_is_not_yet_the_peers", *[send(199, i, STAGE) for i in range(19)], bytes([P_STRIKE, 4]), u64(208),
         send(199, 1, STAGE), bytes([PUBLISH, DRAINED]))
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

# --- handshake_message_fuzzer -----------------------------------------------------------------------


def header(kind, size, blob=0):
    return struct.pack("<IHHII", 0x594C5250, 1, kind, size + blob, blob)


def section(kind, count, size, reserved=0):
    return struct.pack("<HHIQ", kind, reserved, count, size)


def direction(capacity, longest, *more):
    """The longest message, and the list of sections: a ring, unless there is none, and then more."""
    return longest, ([section(2, 1, capacity)] if capacity else []) + list(more)


def hello(roles=3, doorbells=2, low=1, high=1, features=0, send=(0, 0), receive=(0, 0), blob=b"", reserved=0, broadcast=()):
    (longest, sections), (longest_back, sections_back) = direction(*send), direction(*receive)
    behind = b"".join(sections + sections_back + list(broadcast))
    return (header(1, 48 + len(behind), len(blob)) + struct.pack("<HHIII", low, high, features, roles, doorbells)
            + struct.pack("<IIHHHH", longest, longest_back, len(sections), len(sections_back), len(broadcast), reserved) + behind + blob)


def welcome(roles=3, doorbell=2, version=1, reserved=0, features=0, send=(65536, 1000), receive=(4096, 4088), blob=b"", reserved2=0, broadcast=()):
    (longest, sections), (longest_back, sections_back) = direction(*send), direction(*receive)
    behind = b"".join(sections + sections_back + list(broadcast))
    return (header(2, 64 + len(behind), len(blob)) + struct.pack("<HHIIIQQ", version, reserved, features, roles, doorbell, 7, 9)
            + struct.pack("<IIHHHH", longest, longest_back, len(sections), len(sections_back), len(broadcast), reserved2) + behind + blob)


def message(name, data, repair=0):
    seed("handshake_message_fuzzer", name, repair, data)


message("hello", hello())
message("hello_with_sizes_and_format", hello(send=(65536, 1000), receive=(1 << 30, 100), blob=b"raw;640x480"))
message("hello_longest_format", hello(blob=b"f" * 4096))
message("hello_format_too_long", hello(blob=b"f" * 4097))
message("hello_version_range_reversed", hello(low=2, high=1))
message("hello_version_zero", hello(low=0))
message("hello_roles_none", hello(roles=0))
message("hello_roles_unknown", hello(roles=4))
message("hello_no_doorbell", hello(doorbells=0))
message("hello_reserved_not_zero", hello(reserved=1))
message("hello_section_reserved_not_zero", hello(send=(0, 0, section(2, 1, 4096, 1))))
message("hello_with_an_arena", hello(send=(65536, 1000), receive=(0, 100, section(1, 4096, 1 << 34), section(2, 1, 4096))))
message("hello_arena_alone", hello(receive=(0, 0, section(1, 64, 8192))))
message("hello_arena_of_any_size", hello(receive=(0, 0, section(1, 256, 0))))
message("hello_arena_of_any_alignment", hello(receive=(0, 0, section(1, 0, 8192))))
message("hello_arena_of_nothing", hello(receive=(0, 0, section(1, 0, 0))))
message("hello_arena_too_long", hello(send=(0, 0, section(1, 64, (1 << 34) + 4096))))
message("hello_arena_odd", hello(send=(0, 0, section(1, 64, 8191))))
message("hello_arena_alignment_odd", hello(send=(0, 0, section(1, 96, 8192))))
message("hello_arena_alignment_too_small", hello(send=(0, 0, section(1, 32, 8192))))
message("hello_arena_alignment_too_large", hello(send=(0, 0, section(1, 8192, 8192))))
message("hello_two_rings", hello(send=(4096, 100, section(2, 1, 4096))))
message("hello_sections_out_of_order", hello(send=(4096, 100, section(1, 1, 4096))))
message("hello_unknown_sections", hello(send=(4096, 100, section(3, 9, 1), section(0xFFFF, 0, 1 << 63))))
message("hello_nine_sections", hello(send=(4096, 100, *[section(kind, 1, 1) for kind in range(3, 11)])))
message("hello_eight_sections", hello(send=(4096, 100, *[section(kind, 1, 1) for kind in range(3, 10)])))
message("hello_message_too_short", hello(send=(4096, 63)))
message("hello_message_shortest", hello(send=(4096, 64)))
message("welcome_unknown_section", welcome(send=(4096, 100, section(3, 1, 4096))))
message("welcome_arena_without_a_ring", welcome(send=(0, 0, section(1, 64, 4096))))
message("welcome_arena", welcome(send=(65536, 1000, section(1, 64, 8192), section(2, 1, 65536))))
message("welcome_arena_of_any_size", welcome(send=(0, 1000, section(1, 64, 0), section(2, 1, 65536))))
message("welcome_arena_of_any_alignment", welcome(send=(0, 1000, section(1, 0, 8192), section(2, 1, 65536))))
message("welcome_reserved2_not_zero", welcome(reserved2=1))
message("hello_capacity_no_power_of_two", hello(send=(4097, 1)))
message("hello_capacity_too_small", hello(send=(2048, 1)))
message("hello_capacity_beyond_a_gigabyte", hello(send=(1 << 31, 1)))
message("hello_message_as_long_as_the_ring", hello(send=(4096, 4089)))
message("hello_message_longest", hello(send=(4096, 4088)))
message("hello_sizes_for_no_direction", hello(roles=1, receive=(4096, 1)))
message("hello_cut", hello()[:47])
message("hello_glued", hello() + hello())
message("hello_length_wrong", struct.pack("<IHHII", 0x594C5250, 1, 1, 49, 0) + hello()[16:])
message("hello_format_length_wrong", struct.pack("<IHHII", 0x594C5250, 1, 1, 48, 1) + hello()[16:])
message("welcome", welcome())
message("welcome_one_direction", welcome(roles=1, receive=(0, 0)))
message("welcome_open_sizes", welcome(send=(0, 0)))
message("welcome_version_two", welcome(version=2))
message("welcome_reserved_not_zero", welcome(reserved=1))
message("welcome_features", welcome(features=1))
message("welcome_feature_unknown", welcome(features=4))
message("welcome_doorbell_unknown", welcome(doorbell=3))
message("welcome_by_futex", welcome(doorbell=4))
message("hello_each_doorbell", hello(doorbells=7))
message("welcome_with_format", welcome(blob=b"pcm"))
KINDS = [section(3, 0, 0), section(0x1234, 0, 0)]
message("hello_broadcast_kinds", hello(broadcast=KINDS))
message("hello_broadcast_alone", hello(roles=0, broadcast=KINDS))
message("hello_broadcast_behind_rings", hello(send=(4096, 100, section(9, 1, 1)), receive=(4096, 64), broadcast=KINDS, blob=b"raw"))
message("hello_broadcast_kind_with_sizes", hello(broadcast=[section(3, 1, 64)]))
message("hello_broadcast_kind_twice", hello(broadcast=[section(3, 0, 0), section(3, 0, 0)]))
message("hello_broadcast_nine_kinds", hello(broadcast=[section(kind, 0, 0) for kind in range(1, 10)]))
message("welcome_broadcast", welcome(broadcast=[section(3, 4, 4224), section(9, 1, 65536)]))
message("welcome_broadcast_alone", welcome(roles=0, send=(0, 0), receive=(0, 0), broadcast=[section(3, 4, 4224)]))
message("welcome_broadcast_huge", welcome(broadcast=[section(3, 0xFFFFFFFF, 1 << 63)]))
message("welcome_broadcast_empty_section", welcome(broadcast=[section(3, 0, 4224)]))
message("welcome_nothing", welcome(roles=0, send=(0, 0), receive=(0, 0)))
message("accepted", header(3, 32) + u64(1) + u64(2))
message("descriptors", header(4, 32) + u64(1) + u64(2))
message("mapped", header(5, 32) + u64(1) + u64(2))
message("ready", header(6, 32) + u64(1) + u64(2))
message("mapped_with_tail", header(5, 32, 1) + u64(1) + u64(2) + b"x")
message("refused", header(7, 24) + u32(5) + u32(0))
message("refused_reason_unknown", header(7, 24) + u32(999) + u32(0))
message("refused_reserved_not_zero", header(7, 24) + u32(5) + u32(1))
message("empty", b"")
message("magic_only", b"PRLY")
message("type_unknown", header(8, 16))
message("repaired_hello", b"\0" * 48, 0x0F)
message("repaired_welcome", b"\0" * 64, 0x1F)

# --- acceptor_fuzzer --------------------------------------------------------------------------------

A_HELLO, NEXT, ADVANCE, READ, TREAT, RAW, WITH_FD, LEAVE = range(8)
PLAIN = bytes([0, 0])  # no mutation, right length


def say_hello(bits=0, wish=0, longest=100, blob=None, mutate=PLAIN):
    return bytes([A_HELLO, bits, wish]) + u16(longest) + (bytes([blob]) if bits & 16 else b"") + mutate


def acceptor(name, *parts, options=0, blob=0):
    seed("acceptor_fuzzer", name, options, blob, *parts)


HANDED_OVER = bytes([ADVANCE, READ, NEXT, 0]) + PLAIN + bytes([ADVANCE, READ])
SEALED = HANDED_OVER + bytes([TREAT, 0])
DONE = bytes([NEXT, 0]) + PLAIN + bytes([ADVANCE])
for direction_bits, text in enumerate(("both", "send_only", "receive_only")):
    acceptor(f"complete_{text}_by_socket", say_hello(), SEALED, DONE, options=direction_bits, blob=5)
    acceptor(f"complete_{text}_by_eventfd", say_hello(1), SEALED, DONE, options=direction_bits | 4)
    acceptor(f"complete_{text}_by_futex", say_hello(32), SEALED, DONE, options=128 | (direction_bits + 1))
# A wish of 0x20 or 0x40 offers a kind of the broadcast, one of 0x10 another kind; a blob of 3 has a broadcast, one of 4 that alone.
acceptor("complete_with_broadcast", say_hello(wish=0x20), SEALED, DONE, blob=3)
acceptor("complete_with_broadcast_by_eventfd", say_hello(1, wish=0x70), SEALED, DONE, options=4, blob=3)
acceptor("complete_broadcast_alone", say_hello(wish=0x40), SEALED, DONE, blob=4)
acceptor("broadcast_of_another_kind", say_hello(wish=0x10), SEALED, DONE, blob=3)
acceptor("broadcast_alone_of_another_kind", say_hello(wish=0x10), SEALED, DONE, blob=4)
acceptor("broadcast_that_is_not_there", say_hello(wish=0x20), SEALED, DONE)
acceptor("futex_not_offered", say_hello(), bytes([ADVANCE, READ]), options=129)
acceptor("futex_not_asked_for", say_hello(32), SEALED, DONE)
acceptor("complete_with_wishes", say_hello(4 | 8 | 16, 1, 700, 9), SEALED, DONE)
acceptor("wish_beyond_the_limits", say_hello(4, 3, 700), bytes([ADVANCE, READ]))
acceptor("message_beyond_the_limits", say_hello(4, 1, 3000), bytes([ADVANCE, READ]))
acceptor("identity_refused", say_hello(), bytes([ADVANCE]), options=32)
acceptor("format_refused", say_hello(16, blob=9), bytes([ADVANCE]), options=64)
acceptor("eventfd_not_for_a_stranger", say_hello(2), bytes([ADVANCE]))
acceptor("version_two", say_hello(mutate=bytes([2, 16, 2, 18, 2, 0])), bytes([ADVANCE]))
acceptor("features", say_hello(mutate=bytes([1, 20, 4, 0])), bytes([ADVANCE]))
for choice, text in [(0, "automatic"), (64, "full"), (128, "asymmetric")]:
    for bits in [64, 128, 192]:
        acceptor(f"fences_{text}_offered_{bits // 64}", say_hello(bits), SEALED, DONE, blob=choice)
acceptor("shorter_messages_than_we_send", say_hello(8, 1, 100), bytes([ADVANCE, READ]))
acceptor("roles_wrong", say_hello(mutate=bytes([1, 24, 1, 0])), bytes([ADVANCE]))
acceptor("hello_cut", say_hello(mutate=bytes([0, 250])), bytes([ADVANCE]))
acceptor("hello_too_long", say_hello(mutate=bytes([0, 240])), bytes([ADVANCE]))
acceptor("hello_twice", say_hello(), say_hello(), bytes([ADVANCE, ADVANCE]))
acceptor("mapped_first", DONE)
acceptor("mapped_without_sealing", say_hello(), HANDED_OVER, DONE)
acceptor("accepted_with_another_id", say_hello(), bytes([ADVANCE, READ, NEXT, 0x81]), PLAIN, bytes([ADVANCE]))
acceptor("accepted_before_the_welcome_is_read", say_hello(), bytes([ADVANCE, NEXT, 0]), PLAIN, bytes([ADVANCE]))
acceptor("mapped_with_a_hole", say_hello(), HANDED_OVER, bytes([TREAT, 3, 1, TREAT, 0]), DONE)
acceptor("mapped_with_a_hidden_hole", say_hello(), HANDED_OVER, bytes([TREAT, 3, 1, TREAT, 4, TREAT, 0]), DONE)
acceptor("mapped_with_another_id", say_hello(), SEALED, bytes([NEXT, 0x81]), PLAIN, bytes([ADVANCE]))
acceptor("ready_instead_of_mapped", say_hello(), SEALED, bytes([NEXT, 0xC2]), PLAIN, bytes([ADVANCE]))
acceptor("region_half_sealed", say_hello(), HANDED_OVER, bytes([TREAT, 2, 0x10]), DONE)
acceptor("leaves_before_hello", bytes([LEAVE, ADVANCE]))
acceptor("leaves_after_hello", say_hello(), bytes([LEAVE, ADVANCE, ADVANCE]))
acceptor("leaves_after_mapped", say_hello(), SEALED, bytes([NEXT, 0]), PLAIN, bytes([LEAVE, ADVANCE]))
acceptor("empty_message", bytes([RAW, 255, ADVANCE]))
acceptor("very_long_message", bytes([RAW, 254, 9, ADVANCE]))
acceptor("with_an_eventfd", bytes([WITH_FD, 0, ADVANCE]))

# --- connector_fuzzer -------------------------------------------------------------------------------

WELCOME, READY, REFUSED, ANY, EMPTY, C_MAPPED = range(6)


def connector(name, *parts, options=0, rest=3):
    seed("connector_fuzzer", name, options, rest, *parts)


GOOD = bytes([WELCOME, 0, 0]) + PLAIN
ALL_READY = bytes([READY]) + PLAIN
for direction_bits, text in enumerate(("both", "send_only", "receive_only")):
    connector(f"complete_{text}_by_socket", GOOD, ALL_READY, options=direction_bits)
    connector(f"complete_{text}_by_eventfd", GOOD, ALL_READY, options=direction_bits | 4)
    connector(f"complete_{text}_by_futex", GOOD, ALL_READY, options=64 | (direction_bits + 2) % 3)
for features in (1, 2, 3):
    for rest, text in ((3, "automatic"), (35, "full"), (67, "asymmetric")):
        connector(f"features_{features}_{text}", bytes([WELCOME, 64 | features << 4, 0]), PLAIN, ALL_READY, options=4, rest=rest)
connector("complete_with_broadcast", GOOD, ALL_READY, rest=131)
connector("complete_broadcast_alone", GOOD, ALL_READY, rest=195)
connector("complete_with_broadcast_by_eventfd", GOOD, ALL_READY, options=4, rest=131)
connector("broadcast_not_asked_for", bytes([WELCOME, 16, 1, 3, 8, 0]), PLAIN, ALL_READY)
connector("broadcast_of_another_kind", bytes([WELCOME, 16, 1, 4, 8, 0]), PLAIN, ALL_READY, rest=131)
connector("broadcast_beyond_the_limits", bytes([WELCOME, 16, 1, 3 | 7 << 5, 255, 0]), PLAIN, ALL_READY, rest=131)
connector("broadcast_not_granted", bytes([WELCOME, 16, 0, 0]), PLAIN, ALL_READY, rest=131)
connector("broadcast_missing", bytes([WELCOME, 0, 4, 2]), PLAIN, ALL_READY, rest=131)
connector("sparse_broadcast", bytes([WELCOME, 0, 1, 2, 16, 0, 0, 5, 0]), PLAIN, ALL_READY, rest=131)
connector("pipe_as_broadcast", bytes([WELCOME, 0, 1, 2, 8]), PLAIN, ALL_READY, rest=131)
connector("complete_with_wishes", GOOD, ALL_READY, options=8 | 16)
connector("ready_with_another_id", GOOD, bytes([READY, 1, 20, 1, 0]))
connector("refused_at_once", bytes([REFUSED, 6]), PLAIN)
connector("refused_after_mapped", GOOD, bytes([REFUSED, 11]), PLAIN)
connector("gone_after_welcome", GOOD)
connector("another_ring_than_asked_for", bytes([WELCOME, 1, 3]), u16(100), bytes([0]), PLAIN, options=8)
connector("ring_beyond_the_limits", bytes([WELCOME, 1, 4]), u16(100), bytes([0]), PLAIN)
connector("message_beyond_the_limits", bytes([WELCOME, 2, 2]), u16(5000), bytes([0]), PLAIN, ALL_READY)
connector("eventfd_not_offered", bytes([WELCOME, 8, 0, 0]), PLAIN)
connector("futex_not_offered", bytes([WELCOME, 8, 2, 0]), PLAIN)
connector("socket_though_futex_was_asked_for", bytes([WELCOME, 8, 1, 0]), PLAIN, options=64)
connector("futex_with_descriptors", bytes([WELCOME, 0, 8, 0, 0, 0]), PLAIN, options=64)
connector("region_twice", bytes([WELCOME, 0, 16]), PLAIN)
connector("region_missing", bytes([WELCOME, 0, 4, 1]), PLAIN)
connector("descriptors_missing", bytes([WELCOME, 0, 4, 0]), PLAIN)
connector("too_many_descriptors", bytes([WELCOME, 0, 8, 4, 0, 0, 0, 0, 0]), PLAIN)
connector("one_descriptor_too_many", bytes([WELCOME, 0, 8, 0, 0]), PLAIN)
connector("semaphore_as_doorbell", bytes([WELCOME, 0, 1, 2, 1]), PLAIN, ALL_READY, options=4)
connector("pipe_as_doorbell", bytes([WELCOME, 0, 1, 2, 8]), PLAIN, ALL_READY)
connector("stream_socket_as_doorbell", bytes([WELCOME, 0, 1, 2, 3]), PLAIN, ALL_READY)
connector("listening_socket_as_doorbell", bytes([WELCOME, 0, 1, 2, 5]), PLAIN, ALL_READY)
connector("unconnected_socket_as_doorbell", bytes([WELCOME, 0, 1, 2, 6]), PLAIN, ALL_READY)
for kind, text in ((0, "eventfd"), (8, "pipe"), (10, "dev_zero"), (12, "o_path"), (15, "tmpfs_file")):
    connector(f"{text}_as_region", bytes([WELCOME, 0, 1, 0, kind]), PLAIN, ALL_READY)
connector("sparse_region", bytes([WELCOME, 0, 1, 0, 16, 0, 0, 5, 0]), PLAIN, ALL_READY)
connector("our_region_sealed_for_writing", bytes([WELCOME, 0, 1, 1, 16, 0, 0, 0, 4, 0x0F]), PLAIN, ALL_READY)
connector("descriptors_with_the_welcome", bytes([WELCOME, 0, 192]), PLAIN, ALL_READY)
connector("descriptors_mutated", bytes([WELCOME, 128, 0]), PLAIN, bytes([1, 20, 1, 0]), ALL_READY)
connector("welcome_mutated", bytes([WELCOME, 0, 0, 1, 17, 2, 0]))

# --- blob_adoption_fuzzer, region_adoption_fuzzer: kind, size, fill (and its hole), seals --------------


def memfd(kind=0, size=0, fill=0, hole=(), seals=(2,)):
    return bytes([kind, size, fill, *hole, *seals])


for name, data in {
    "good": memfd(), "noexec": memfd(kind=1), "sealed_against_seals": memfd(kind=2), "huge_pages": memfd(kind=3),
    "empty": memfd(size=7), "one_byte_more": memfd(size=4), "one_byte_less": memfd(size=3), "sparse": memfd(fill=5),
    "hole": memfd(fill=6, hole=[1]), "hidden_hole": memfd(fill=7, hole=[1]), "region_seals_only": memfd(seals=[0]),
    "shape_seals_only": memfd(seals=[3]), "no_seals": memfd(seals=[4, 0]), "no_seal_seal": memfd(seals=[4, 0x0E]),
    "no_shrink_seal": memfd(seals=[4, 0x0D]),
}.items():
    seed("blob_adoption_fuzzer", "memfd_" + name, 0, data)
    seed("blob_adoption_fuzzer", "small_limit_" + name, 0x80 | 1, u16(4096), 16, data)
    seed("blob_adoption_fuzzer", "copied_" + name, 2, data)
for kind in range(16):
    seed("blob_adoption_fuzzer", f"no_memfd_{kind}", 1, kind)
    seed("region_adoption_fuzzer", f"no_memfd_{kind}", 1, 1, 0, kind)

for name, data in {
    "good": memfd(seals=[0]), "noexec": memfd(kind=1, seals=[0]), "huge_pages": memfd(kind=3, seals=[0]),
    "page_more": memfd(size=6, seals=[0]), "page_less": memfd(size=5, seals=[0]), "sparse": memfd(fill=5, seals=[0]),
    "hole": memfd(fill=6, hole=[1], seals=[0]), "hidden_hole": memfd(fill=7, hole=[0], seals=[0]),
    "shape_only": memfd(seals=[3]), "blob_seals": memfd(seals=[2]), "no_seals": memfd(seals=[4, 0]),
    "no_future_write": memfd(seals=[4, 0x07]), "no_seal_seal": memfd(seals=[4, 0x16]), "no_grow": memfd(seals=[4, 0x13]),
}.items():
    seed("region_adoption_fuzzer", "incoming_" + name, 1, 1, 1, data)
    seed("region_adoption_fuzzer", "incoming_without_data_" + name, 1, 0, 1, data)
    seed("region_adoption_fuzzer", "outgoing_" + name, 0, 1, data)
seed("region_adoption_fuzzer", "announced_huge", 1, 200, u64(1 << 62), 1, memfd(seals=[0]))
seed("region_adoption_fuzzer", "announced_all_ones", 1, 200, u64(2**64 - 1), 1, memfd(seals=[0]))
seed("region_adoption_fuzzer", "announced_no_power_of_two", 1, 200, u64(4096 * 3), 1, memfd(seals=[0]))
seed("region_adoption_fuzzer", "draft_finished", 5, 1, 0, 7, 1)
seed("region_adoption_fuzzer", "draft_not_sealed", 5, 1, 0, 7)
seed("region_adoption_fuzzer", "draft_with_a_hole", 5, 1, 3, 1, 1)
seed("region_adoption_fuzzer", "draft_with_a_hidden_hole", 5, 1, 3, 1, 4, 1)
seed("region_adoption_fuzzer", "draft_cut", 5, 1, 5, 0, 0, 1)

# --- doorbell_drain_fuzzer --------------------------------------------------------------------------


def doorbell(name, *parts):
    seed("doorbell_drain_fuzzer", name, *parts)


ONE, BYTE, LONG, MANY, FD, PEER_READS, SHUT, GONE, RING, DRAIN = range(10)
doorbell("socket_rung", 0, ONE, DRAIN, DRAIN)
doorbell("socket_flood", 0, MANY, 255, DRAIN, DRAIN, RING, 255, DRAIN)
doorbell("socket_exactly_eight", 0, MANY, 8, DRAIN, DRAIN)
doorbell("socket_signal_of_the_other_ring", 0, ONE, BYTE, 2, ONE, DRAIN, DRAIN)
doorbell("socket_rubbish_byte", 0, ONE, BYTE, 7, ONE, DRAIN, DRAIN)
doorbell("socket_two_bytes", 0, LONG, 2, DRAIN)
doorbell("socket_empty_message", 0, LONG, 0, DRAIN, ONE, DRAIN)
doorbell("socket_long_message", 0, LONG, 255, DRAIN)
doorbell("socket_with_a_descriptor", 0, FD, 0, DRAIN, FD, 16, 0, 0, 0, 0, DRAIN)
doorbell("socket_never_read", 0, RING, 255, RING, 255, DRAIN)
doorbell("socket_gone", 0, ONE, GONE, DRAIN, DRAIN)
doorbell("socket_gone_with_ours_unread", 0, RING, 0, ONE, GONE, DRAIN, DRAIN, DRAIN)
doorbell("socket_shut", 0, ONE, SHUT, DRAIN, DRAIN, RING, 3, PEER_READS)
doorbell("refusing_socket_flood", 128, MANY, 255, DRAIN, DRAIN, RING, 255, DRAIN)
doorbell("refusing_socket_with_a_descriptor", 128, FD, 0, DRAIN, ONE, DRAIN)
doorbell("refusing_socket_gone_with_ours_unread", 128, RING, 0, ONE, GONE, DRAIN, DRAIN, DRAIN)
E_ONE, E_ANY, E_SATURATE, E_STEAL, E_FLAGS, E_RING, E_DRAIN = range(7)
doorbell("eventfd_rung", 1, E_ONE, E_DRAIN, E_DRAIN)
doorbell("eventfd_saturated", 1, E_SATURATE, E_ONE, E_DRAIN, E_DRAIN)
doorbell("eventfd_blocking_and_stolen", 1, E_ONE, E_STEAL, E_FLAGS, 0, E_DRAIN)
doorbell("eventfd_rings", 1, E_RING, 255, E_RING, 255, E_ANY, u64(77), E_DRAIN)
F_RINGS, F_SET, F_OTHER_WORD, F_OURS, F_RING, F_NOTE, F_SLEEP, F_DRAIN = range(8)
for end, text in enumerate(("sender", "receiver")):
    doorbell(f"futex_{text}_rung", 3, end, F_NOTE, F_SLEEP, F_RINGS, F_SLEEP, F_NOTE, F_SLEEP, F_DRAIN)
    doorbell(f"futex_{text}_flipped", 3, end, F_SET, u64(2**32), F_SLEEP, F_SET, u64(-1), F_SLEEP, F_NOTE, F_SLEEP)
    doorbell(f"futex_{text}_rings", 3, end, F_RING, 3, F_OURS, u64(4711), F_RING, 1, F_OTHER_WORD, 48, u64(9), F_SLEEP)
    doorbell(f"futex_{text}_word_of_ours_written", 3, end, F_RING, 1, F_OURS, u64(7), F_SLEEP)
for kind in range(17):
    doorbell(f"verified_{kind}", 2, kind)

# --- channel_close_fuzzer ---------------------------------------------------------------------------

(C_SEND, C_STAGE, C_SEND_UNTIL, C_PUBLISH, C_TRY_RECEIVE, _, C_RECEIVE, C_PEEK, C_RELEASE, C_CLOSE, C_CLOSE_RECEIVER,
 C_DRAINED, C_WAIT, C_WAIT_FOR_ROOM, C_DIE) = range(15)
B, LARGE = 16, 32


def channel(name, *parts):
    for kind, text in enumerate(("socket", "eventfd", "futex")):
        seed("channel_close_fuzzer", f"{name}_{text}", kind, *parts)


channel("both_ways", C_SEND, 5, B | C_SEND, 9, B | C_RECEIVE, C_RECEIVE, C_DRAINED, B | C_DRAINED)
channel("full", *[bytes([C_SEND | LARGE, 0])] * 5, C_SEND_UNTIL | LARGE, 0, C_WAIT_FOR_ROOM | LARGE, 0, B | C_RECEIVE,
        C_SEND_UNTIL | LARGE, 0, C_WAIT_FOR_ROOM, 1)
channel("staged_then_closed", C_STAGE, 3, C_STAGE, 4, B | C_TRY_RECEIVE, C_CLOSE, B | C_RECEIVE, B | C_RECEIVE, B | C_RECEIVE,
        B | C_TRY_RECEIVE)
channel("staged_then_dead", C_SEND, 3, C_STAGE, 4, C_DIE, 0, B | C_RECEIVE, B | C_RECEIVE, B | C_TRY_RECEIVE, B | C_WAIT)
channel("dead_with_messages_unread", B | C_SEND, 1, C_SEND, 3, C_DIE, 0, B | C_RECEIVE, B | C_RECEIVE, B | C_SEND_UNTIL, 9,
        B | C_DRAINED)
channel("dead_while_full", *[bytes([B | C_SEND | LARGE, 0])] * 4, C_DIE, 0, B | C_SEND_UNTIL | LARGE, 0, B | C_WAIT_FOR_ROOM | LARGE, 0,
        B | C_DRAINED)
channel("receiver_closed", C_SEND, 1, B | C_CLOSE_RECEIVER, 0, C_SEND | LARGE, 0, *[bytes([C_SEND_UNTIL | LARGE, 0])] * 5,
        B | C_TRY_RECEIVE, B | C_TRY_RECEIVE)
channel("never_to_be_drained", C_SEND, 1, B | C_CLOSE_RECEIVER, 0, C_DRAINED, C_DRAINED, B | C_TRY_RECEIVE, C_DRAINED)
channel("peeked_then_released", C_SEND, 8, C_SEND, 9, B | C_PEEK, B | C_PEEK, B | C_PEEK, C_DRAINED, B | C_RELEASE, C_DRAINED)
channel("event_loops", B | C_WAIT, C_SEND, 3, B | C_WAIT, B | C_RECEIVE, B | C_WAIT, C_CLOSE, B | C_WAIT, B | C_RECEIVE)
channel("everybody_closes", C_CLOSE, B | C_CLOSE, C_CLOSE_RECEIVER, 0, B | C_CLOSE_RECEIVER, 0, C_RECEIVE, B | C_RECEIVE)
channel("many_fruitless_looks", *[bytes([B | C_WAIT, C_SEND, 0, B | C_TRY_RECEIVE])] * 60)
channel("an_event_loop_that_only_looks", *[B | C_WAIT] * 200)
channel("a_sending_event_loop_that_only_looks", *[bytes([C_SEND | LARGE, 0])] * 4, *[bytes([C_WAIT_FOR_ROOM | LARGE, 0])] * 190)

# --- channel_peer_fuzzer (testing/hostile_peer.h), each with every doorbell -------------------------

(V_TRY, _, V_RECEIVE, V_PEEK, V_RELEASE, V_TRY_SEND, V_SEND, V_RESERVE, V_DRAINED, V_WAIT, V_WAIT_ROOM, V_CLOSE) = range(12)


def peer(name, *steps):
    """Steps: what the peer does, then what the victim calls."""
    for kind, text in enumerate(("socket", "eventfd", "futex")):
        seed("channel_peer_fuzzer", f"{name}_{text}", kind, *steps)


def say(tag, content):
    return bytes([0, tag, len(content)]) + content


def lie(header, content=b"12345678"):
    return bytes([8]) + u64(header) + bytes([len(content)]) + content


TAIL, STATE, HEAD, C_STATE, RX_EPOCH, TX_EPOCH, DATA_RINGS, ROOM_RINGS = range(8)


def word(which, value):
    return bytes([10, which]) + u64(value)


peer("messages", say(1, b"abc"), V_TRY, say(2, b""), V_RECEIVE, say(3, b"x" * 200), V_PEEK, say(4, b"y"), V_PEEK, say(5, b"z"), V_RELEASE)
peer("answered", say(1, b"abc"), V_RECEIVE, say(2, b"d"), V_TRY_SEND, u16(5), 9, bytes([12, 0]), V_DRAINED)
peer("never_read", *[say(1, b"") + bytes([V_TRY_SEND]) + u16(1024) + bytes([1])] * 8, say(1, b""), V_SEND, 200, say(1, b""), V_WAIT_ROOM, u16(9))
peer("record_too_long", lie(0xFFFFFFFF), V_RECEIVE, say(1, b"a"), V_TRY)
peer("record_beyond_tail", lie(64), V_TRY, say(1, b"a"), V_TRY_SEND, u16(1), 1)
peer("record_tag_reserved", lie(8 | 1 << 63), V_PEEK, say(1, b"a"), V_RELEASE)
peer("padding_not_zero", lie(5), V_TRY, say(1, b"a"), V_RECEIVE)
peer("tail_misaligned", 9, 1, 0, V_TRY, say(1, b"a"), V_RECEIVE)
peer("tail_ahead", 9, 100, 1, V_TRY, say(1, b"a"), V_RECEIVE)
peer("tail_backwards", say(1, b"abcdefgh"), V_TRY, 9, 254, 1, V_TRY, say(1, b"a"), V_RECEIVE)
for value in (0, 2**63, 2**64 - 8):
    peer(f"tail_is_{value:x}", say(1, b"abc"), V_TRY, word(TAIL, value), V_RECEIVE, say(1, b"a"), V_WAIT)
    peer(f"head_is_{value:x}", say(1, b"a"), V_TRY_SEND, u16(100), 1, word(HEAD, value), V_DRAINED, say(1, b"a"), V_TRY_SEND, u16(1), 1)
peer("states_unknown", word(STATE, 2), V_TRY, word(C_STATE, 7), V_SEND, 3)
peer("closed_by_its_word", say(1, b"a"), V_TRY, word(STATE, 1), V_RECEIVE, say(1, b"b"), V_RECEIVE)
peer("epochs", word(RX_EPOCH, 1), V_TRY_SEND, u16(8), 1, word(RX_EPOCH, 2**64 - 1), V_TRY_SEND, u16(8), 1, word(TX_EPOCH, 5), V_TRY)
# The futex's words, flipped under a victim that sleeps and that rings; to the others, words that nobody reads.
peer("doorbell_words", word(DATA_RINGS, 1), V_RECEIVE, word(DATA_RINGS, 2**32), V_RECEIVE, word(ROOM_RINGS, 2**64 - 1), V_DRAINED,
     *[say(1, b"a") + bytes([V_TRY_SEND]) + u16(1024) + bytes([1])] * 5, word(ROOM_RINGS, 0), V_SEND, 200)
peer("payload_rewritten", say(1, b"abcdefgh"), V_PEEK, 11, 1, 0, u64(7), V_PEEK, say(1, b"x"), V_RELEASE)
peer("flood", *[bytes([13, 255, V_WAIT])] * 40)
peer("ends_in_order", say(1, b"abc"), V_PEEK, 14, 0, V_RECEIVE, 14, 1, V_RECEIVE, say(1, b"a"), V_TRY_SEND, u16(1), 1)
peer("dies", say(1, b"abc"), V_WAIT, 15, V_RECEIVE, V_RECEIVE, V_SEND, 1, V_DRAINED, V_WAIT, V_WAIT_ROOM, u16(1024))
peer("victim_closes", say(1, b"abc"), V_CLOSE, 0, say(1, b"a"), V_DRAINED, bytes([12, 9]), V_RECEIVE)
peer("victim_reserves", say(1, b"a"), V_RESERVE, u16(1024), say(1, b"a"), V_RESERVE, u16(1), say(1, b"a"), V_DRAINED)

# --- sandbox_policy_fuzzer --------------------------------------------------------------------------

NAMED, ANY, REPORT, KILL = 0, 1, 0, 2
EVENTFD, WRITE_TO, READ_FROM, HEAP, THREADS, FILES_ABSENT, SANITIZER, ABORT_OF = range(8)


def policy(name, kind, *parts):
    seed("sandbox_policy_fuzzer", name, kind, *parts)


def about(rule, *changes):
    """A question about a rule's call, with the arguments that it asks for, changed."""
    return bytes([0]) + u16(rule) + bytes([len(changes) // 2]) + bytes(changes)


ASK_ALL = [bytes([0x40]) + u16(n) + bytes([0]) for n in range(0, 460, 8)]
policy("ring", NAMED | REPORT, 0, *ASK_ALL)
policy("everything", NAMED | REPORT, 8, *[EVENTFD | 5 << 3, WRITE_TO | 2 << 3, READ_FROM | 3 << 3, HEAP, THREADS, FILES_ABSENT, SANITIZER,
                                         ABORT_OF | 9 << 3], *ASK_ALL)
policy("sanitizer_then_files_absent", NAMED | REPORT, 2, SANITIZER, FILES_ABSENT, *[about(r, 1 * 6, 3) for r in range(60, 120)])
policy("for_others", NAMED | KILL, 2, HEAP, THREADS, *ASK_ALL)
policy("eventfd_minus_one", NAMED | REPORT, 1, EVENTFD | 0x80, u32(-1), *[about(r, 6, 12) for r in range(80, 124)])
policy("other_architectures", NAMED | REPORT, 1, HEAP, 0x1F, u16(90), 0, 0x0F, u32(0xC00000B7), u16(90), 0, 0xC0, u16(39), 0, 0x60,
       u32(2**32 - 1), 0, 0x60, u32(0x40000000), 0)
# Each rule of everything together, with one bit of one argument changed: PROT_EXEC, F_SETFL, an address ...
ALL_OF_THEM = bytes([8, EVENTFD | 5 << 3, WRITE_TO | 2 << 3, READ_FROM | 3 << 3, HEAP, THREADS, FILES_ABSENT, SANITIZER, ABORT_OF | 9 << 3])
for argument, bit in ((0, 0), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 5), (3, 6), (3, 14), (3, 18), (4, 0), (5, 3)):
    for first in range(0, 180, 60):
        policy(f"argument_{argument}_bit_{bit}_from_{first}", NAMED | REPORT, ALL_OF_THEM,
               *[about(rule, 18 + argument, bit) for rule in range(first, first + 60)])
# Rules of any kind: shape (answer + 3 * filters), call, [error,] filters (index, numbers), then questions.
READ, FUTEX = 0, 3
policy("a_wider_rule_comes_later", ANY | REPORT, 2, 1 + 3 * 1, READ, u16(13), 0x01, 7, 0, READ, about(0), about(1))
policy("a_kill_that_is_the_default_comes_first", ANY | KILL, 2, 2, FUTEX, 0 + 3, FUTEX, 0x43, 9, about(1), about(0))
policy("the_same_filters_twice", ANY | REPORT, 2, 1 + 3, READ, u16(13), 0x02, 7, 0 + 3, READ, 0x02, 7, about(0), about(1))
policy("answers_that_exclude_each_other", ANY | REPORT, 2, 1 + 3, READ, u16(13), 0x02, 7, 0 + 3, READ, 0x02, 8, about(0), about(1, 12, 0))
policy("ranges", ANY | REPORT, 1, 3, READ, 0x40, 129, *[about(0, change * 6, 0) for change in range(5)], about(0, 18, 32), about(0, 18, 63))
policy("masks", ANY | REPORT, 1, 3, READ, 0x80, 130, 131, *[about(0, 18, bit) for bit in range(0, 64, 5)])
policy("all_six_arguments", ANY | REPORT, 2, 9, READ, 0, 1, 1, 2, 2, 3, 9, READ, 3, 4, 4, 5, 5, 6, about(0), about(1), about(0, 18, 40))
policy("unknown_calls", ANY | REPORT, 2, 0, 10, 0, 11, about(0), about(1), *ASK_ALL[:9])

# --- media_stream_fuzzer, film_receiver_fuzzer, pcm_fuzzer ------------------------------------------

AUDIO, VIDEO, LAX, FEW_CHANGES = 0, 1, 2, 4
RIGHT = bytes([0, 0])  # nothing spoilt


def video_format(pixel=1, width=15, height=9, rate=(25, 0), spoil=RIGHT):
    return bytes([pixel, width, height, rate[0], rate[1], 0]) + spoil


def audio_format(sample=1, rate=1, channels=1, spoil=RIGHT):
    return bytes([sample, rate, channels]) + spoil


def picture(planes=3, gap=0, flags=1, spoil=RIGHT):
    return bytes([1, 1, flags]) + bytes([gap] * planes) + bytes([7]) + spoil


def sound(frames=16, spoil=RIGHT):
    return bytes([1, 1, 1, 0, frames, 7]) + spoil


def spoil(*changes, length=0):
    return bytes([len(changes) // 2]) + bytes(changes) + bytes([length])


def media(name, *parts):
    seed("media_stream_fuzzer", name, *parts)


FORMAT, RAW_FORMAT, FRAME, _, RAW_FRAME, NO_PAYLOAD = range(6)
for pixel in range(8):
    planes = 1 if pixel % 4 == 0 else 3
    media(f"pictures_{pixel}", VIDEO, FORMAT, video_format(pixel), FRAME, picture(planes), FRAME, picture(planes, gap=0x35))
for sample in range(4):
    media(f"sound_{sample}", AUDIO, FORMAT, audio_format(sample), FRAME, sound(), FRAME, sound(31))
media("formats_change", VIDEO | FEW_CHANGES, *[bytes([FORMAT]) + video_format(i) + bytes([FRAME]) + picture(1 if i % 4 == 0 else 3) for i in range(5)])
media("two_formats_without_a_frame", VIDEO, FORMAT, video_format(), FORMAT, video_format(2))
media("frame_before_format", VIDEO, RAW_FRAME, 64, bytes(64))
media("the_other_kind", VIDEO, 252, audio_format())
for at in (0, 4, 6, 8, 12, 16, 28, 36, 40, 44, 45, 46, 47, 48, 63, 84, 88, 127):
    media(f"format_spoilt_{at}", VIDEO, FORMAT, video_format(spoil=spoil(at, 255)), FRAME, picture())
for at in (0, 15, 23, 24, 28, 29, 30, 31, 32, 36, 40, 44, 56, 63):
    media(f"frame_spoilt_{at}", VIDEO, FORMAT, video_format(), FRAME, picture(spoil=spoil(at, 255)), FRAME, picture())
ACCEPTANCE = 6
for pixel, planes in ((8, 1), (9, 1), (14, 2), (23, 4), (50, 1), (90, 3), (120, 4), (160, 2), (164, 2)):
    media(f"pixels_{pixel}", VIDEO | LAX, FORMAT, video_format(pixel), FRAME, picture(planes), FRAME, picture(planes, gap=0x35))
media("turned_with_a_profile", VIDEO, FORMAT, bytes([1, 15, 9, 25, 0, 205]) + RIGHT, FRAME, picture())
for kind in (0, 9, 14, 24, 33, 51, 56, 64):
    media(f"sound_kind_{kind}", AUDIO | LAX, FORMAT, audio_format(kind, channels=3), FRAME, bytes([1, 1, 1, 0x21, 9, 7]) + RIGHT)
media("aligned", VIDEO | 16, FORMAT, video_format(1, 11, 7), FRAME, picture(gap=0x10), FRAME, picture(gap=0x11))
media("acceptance", VIDEO, FORMAT, video_format(), ACCEPTANCE, u64(2**64 - 1) * 4, 0xff, 200, 200, RIGHT)
for at in (0, 4, 6, 7, 44, 48, 84, 127):
    media(f"acceptance_spoilt_{at}", VIDEO, ACCEPTANCE, u64(6) * 4, 3, 64, 64, spoil(at, 3))
media("planes_overlap", VIDEO, FORMAT, video_format(), FRAME, picture(spoil=spoil(40, 159)), FRAME, picture())
media("planes_beyond_the_end", VIDEO, FORMAT, video_format(), FRAME, picture(spoil=spoil(48, 201)), FRAME, picture())
media("frame_cut", VIDEO, FORMAT, video_format(), FRAME, picture(spoil=spoil(length=250)))
media("frame_longer", VIDEO, FORMAT, video_format(), FRAME, picture(spoil=spoil(length=240)), FRAME, picture())
media("record_cut", AUDIO, FORMAT, audio_format(spoil=spoil(length=255)))
media("huge_pictures", VIDEO | LAX, FORMAT, video_format(3, 232, 233), FORMAT, video_format(), NO_PAYLOAD, 1, 1, 0, 0, 0, 0, 7, u64(0), u64(2**64 - 1), 0, RIGHT)
media("raw", VIDEO, RAW_FORMAT, 64, bytes(range(64)))
media("payload_of_any_length", VIDEO, FORMAT, video_format(), *[bytes([NO_PAYLOAD]) + u64(5) + picture()[:-2] + u64(2**64 - 1) + bytes([shift]) + RIGHT for shift in (0, 31, 55, 60)])


def stream(name, *parts):
    seed("stream_cli_fuzzer", name, *parts)


Y4M, WAV, LINES, RECEIVER, NUT = range(5)
for tags in ("W4 H2 F25:1 Ip A1:1 C420jpeg", "W3 H3 F30000:1001 It C422p10 XCOLORRANGE=FULL", "W2 H2 Cmono", "H2 W2 Q1", "W2 W2 H2", "W70000 H1", "W2 H2 F1:0"):
    stream(f"y4m_{tags.split()[-1].replace('=', '_').replace(':', '_')}", Y4M, 5, f"YUV4MPEG2 {tags}\n".encode() + (b"FRAME\n" + bytes(range(64))[:12]) * 3)
stream("y4m_dropped", Y4M, 200, b"YUV4MPEG2 W2 H2 Cmono\n" + b"FRAME\nabcd" * 9)
for bits, encoding in ((8, 1), (16, 1), (24, 1), (32, 1), (32, 3), (64, 3), (12, 1)):
    block = 2 * bits // 8
    fmt = struct.pack("<HHIIHH", encoding, 2, 8000, 8000 * block, block, bits)
    stream(f"wav_{bits}_{encoding}", WAV, 9, b"RIFF\xff\xff\xff\xffWAVELIST\3\0\0\0abc\0fmt \x10\0\0\0" + fmt + b"data\xff\xff\xff\xff" + bytes(range(48)))
stream("wav_extensible", WAV, 9, b"RIFF\0\0\0\0WAVEfmt \x28\0\0\0" + struct.pack("<HHIIHHHHII", 0xFFFE, 6, 48000, 0, 18, 24, 22, 24, 0x3F, 1) + bytes.fromhex("000010008000 00aa00389b71".replace(" ", "")) + b"data\x24\0\0\0" + bytes(range(36)))
stream("lines", LINES, 3, b"one\n\nthree\nno newline")
stream("lines_none", LINES, 3)
stream("lines_dropped", LINES, 200, b"1\n2\n3\n4\n5\n")
R_FORMAT, R_FRAME, R_BYTES, R_OPEN, R_END = range(1, 6)
stream("receive_raw", RECEIVER, 0, R_BYTES, 3, b"abc", RIGHT, R_BYTES, 2, b"de", RIGHT, R_END, 0, RIGHT)
stream("receive_lines", RECEIVER, 1, R_BYTES, 3, b"abc", RIGHT, R_OPEN, 2, b"de", RIGHT, R_END, 0, RIGHT)
stream("receive_y4m", RECEIVER, 3, R_FORMAT, video_format(), R_FRAME, picture(), R_FRAME, picture(gap=0x35), R_END, 7, RIGHT)
stream("receive_wav", RECEIVER, 4, R_FORMAT, audio_format(), R_FRAME, sound(), R_END, 0, RIGHT)
stream("receive_limit", RECEIVER, 130, R_BYTES, 200, bytes(200), RIGHT, R_BYTES, 200, bytes(200), RIGHT, R_BYTES, 200, bytes(200), RIGHT)
# Parts of a NUT: bytes, headers, a packet, a syncpoint, a frame, a frame's header, a spoilt main header, a long packet.
N_BYTES, N_HEADERS, N_PACKET, N_SYNC, N_FRAME, N_LEAD, N_MAIN, N_LONG = range(8)
N_INDEX, N_INFO, N_NEW = (8 * 3, 8 * 4, 8 * 5)


def nut_unit(key, size=9):
    return bytes([N_SYNC, 5, 200, 0, N_FRAME, key, size, N_FRAME, 3, 2, N_FRAME, 0, size])


stream("nut", NUT, 9, N_HEADERS, 1 | 8, *[nut_unit(i % 3 == 0) for i in range(7)], N_LONG | N_INDEX, 9)
stream("nut_dropped", NUT, 255, N_HEADERS, 1 | 8, *[nut_unit(i % 2, 10) for i in range(9)], N_PACKET | N_INDEX, 4, b"tail")
stream("nut_headers_again", NUT, 40, N_HEADERS, 0, nut_unit(1), N_PACKET | N_INFO, 3, b"abc", N_LONG | N_NEW, 200, N_HEADERS, 0)
stream("nut_sound_first", NUT, 63, N_HEADERS, 1 | 8, N_SYNC, 0, 0, 0, N_FRAME, 1, 125, N_FRAME, 3, 9, nut_unit(1))
stream("nut_frame_header", NUT, 1, N_HEADERS, 0, N_SYNC, 0, 0, 0, N_LEAD, 5, bytes([0x9F, 0x31, 0, 1]) + b"a", N_LEAD, 39, b"\xff" * 39)
for at in (0, 1, 2, 9, 18, 25):
    stream(f"nut_main_{at}", NUT, 7, N_MAIN, 0, at, 127, N_PACKET | 8, 12, bytes([0, 0, 4]) + b"abcd" + bytes(5), nut_unit(1))


def nut_checksum(data):
    rest = 0
    for byte in data:
        for bit in range(7, -1, -1):
            top = rest >> 31 ^ (byte >> bit & 1)
            rest = (rest << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if top else 0)
    return struct.pack(">I", rest)


def nut_packet(startcode, content):
    return struct.pack(">QB", startcode, len(content) + 4) + content + nut_checksum(content)


NUT_CODES = bytes([0xC0, 0, 6, 0, 1, 0, 0, 0, 1]) + bytes([0xA0, 0, 6, 0, 1, 0, 0, 0, 1]) + bytes([0xC0, 0, 6, 0, 1, 0, 0, 0, 0x81, 0x7D])
NUT_HEADERS = b"nut/multimedia container\0" + nut_packet(0x4E4D7A561F5F04AD, bytes([3, 1, 0x80 | 2, 0, 1, 1, 25]) + NUT_CODES + b"\0") + nut_packet(0x4E5311405BF2F9DB, bytes([0, 0, 4]) + b"abcd" + bytes(6))
NUT_UNIT = nut_packet(0x4E4BE4ADEECA4569, bytes([1, 0])) + bytes([1, 16 | 32 | 1, 0, 3]) + b"abc" + bytes([1, 16 | 32, 0, 2]) + b"de"
R_RESUME = 6
NUT_FORMAT = (R_FORMAT, u16(len(NUT_HEADERS)), NUT_HEADERS, RIGHT)
stream("receive_nut", RECEIVER, 2, *NUT_FORMAT, R_BYTES, u16(len(NUT_UNIT)), NUT_UNIT, RIGHT, R_RESUME, u16(len(NUT_HEADERS) + len(NUT_UNIT)), u16(len(NUT_UNIT)), NUT_UNIT, RIGHT, R_END, 0, RIGHT)
stream("receive_nut_late", RECEIVER, 2, *NUT_FORMAT, R_RESUME, u16(1000), u16(len(NUT_UNIT)), NUT_UNIT, RIGHT, R_BYTES | 128, u16(9), NUT_UNIT[:9], RIGHT, R_RESUME, u16(3000), u16(len(NUT_UNIT)), NUT_UNIT, RIGHT, R_END, 3, RIGHT)
stream("receive_nut_parts", RECEIVER, 2, R_FORMAT | 64, N_HEADERS, 9, RIGHT, *[bytes([R_RESUME | 64 | 24]) + u16(5000 * i) + nut_unit(1) + RIGHT for i in range(1, 4)], R_BYTES | 64, N_FRAME, 3, 9, RIGHT, R_END, 0, RIGHT)
stream("receive_nut_backwards", RECEIVER, 2, *NUT_FORMAT, R_RESUME, u16(50), u16(len(NUT_UNIT)), NUT_UNIT, RIGHT)
stream("receive_two_formats", RECEIVER, 3, R_FORMAT, video_format(), R_FRAME, picture(), R_FORMAT, video_format())


def film(name, *parts):
    seed("film_receiver_fuzzer", name, *parts)


INFO, F_FORMAT, F_PICTURE, F_AUDIO, F_PROGRESS, F_END, F_FAILED = range(1, 8)
INFO_OF_IT = bytes([INFO]) + u64(10**9) + bytes([4]) + b"mpeg" + bytes([2]) + b"vp" + bytes([3]) + b"\x1b[m" + RIGHT
V_FORMAT = bytes([F_FORMAT | 8]) + video_format()
A_FORMAT = bytes([F_FORMAT]) + audio_format()
A_PICTURE = bytes([F_PICTURE]) + picture()
A_SOUND = bytes([F_AUDIO]) + sound()
END = bytes([F_END, 0, 0]) + RIGHT
film("whole", 0, INFO_OF_IT, V_FORMAT, A_FORMAT, A_PICTURE, A_SOUND, A_PICTURE, A_SOUND, END)
film("floats", 0, V_FORMAT, F_FORMAT, audio_format(3), A_SOUND, A_SOUND, END)
for pixel in range(8):
    film(f"pictures_{pixel}", 0, F_FORMAT | 8, video_format(pixel, 40, 30, (3, 251)), *[bytes([F_PICTURE]) + picture(1 if pixel % 4 == 0 else 3, 0x11)] * 2)
film("resumed", 1 | 2, 8, 5, INFO_OF_IT, F_PROGRESS, 1, 0, RIGHT, F_PROGRESS, 2, 5, RIGHT, V_FORMAT, *[A_PICTURE] * 9, A_FORMAT, A_SOUND, END)
film("progress_backwards", 1, 8, 5, F_PROGRESS, 4, 2, RIGHT, F_PROGRESS, 4, 2, RIGHT)
film("progress_too_far", 1, 8, 5, F_PROGRESS, 9, 0, RIGHT)
film("progress_of_sound_too_far", 1, 8, 5, F_PROGRESS, 0, 6, RIGHT)
film("format_spoilt", 0, F_FORMAT | 8, video_format(spoil=spoil(40, 2)), A_PICTURE)
film("frame_spoilt", 0, V_FORMAT, A_PICTURE, F_PICTURE, picture(spoil=spoil(40, 159)), A_PICTURE)
film("two_infos", 0, INFO_OF_IT, INFO_OF_IT)
IN_PLACE = 128
film("in_place", 0, INFO_OF_IT, V_FORMAT, IN_PLACE | F_PICTURE, picture(), A_PICTURE, IN_PLACE | F_PICTURE, picture())
film("in_place_spoilt", 0, V_FORMAT, IN_PLACE | F_PICTURE, picture(spoil=spoil(40, 159)), A_PICTURE)
film("in_place_before_a_format", 0, IN_PLACE | F_PICTURE, b"abc", RIGHT)
film("sound_in_place", 0, V_FORMAT, A_FORMAT, IN_PLACE | F_AUDIO, sound(), IN_PLACE | F_PICTURE, picture(), A_SOUND, IN_PLACE | F_AUDIO, sound(31), END)
film("planar_sound_in_place", 0, F_FORMAT, audio_format(8 + 3, channels=5), *[bytes([IN_PLACE | F_AUDIO, 1, 1, 1, 0x25, 9, 7]) + RIGHT] * 3)
for at, value in ((30, 4), (32, 200), (36, 255), (36, 0), (39, 1), (40, 1), (44, 1), (44, 255), (47, 128), (48, 1)):
    film(f"sound_in_place_spoilt_{at}_{value}", 0, F_FORMAT, audio_format(8 + 3, channels=5), IN_PLACE | F_AUDIO, 1, 1, 1, 0x25, 9, 7, spoil(at, value))
film("sound_in_place_cut", 0, F_FORMAT, audio_format(8 + 3, channels=5), IN_PLACE | F_AUDIO, 1, 1, 1, 0x25, 9, 7, spoil(length=250))
film("sound_in_place_before_a_format", 0, IN_PLACE | F_AUDIO, b"abc", RIGHT)
film("failed", 0, F_FAILED, 5, b"\x1b]0;x", RIGHT, V_FORMAT)
film("end_too_early", 0, V_FORMAT, A_PICTURE, F_END, 0, 0, spoil(0, 9))
film("sink_full", 4, 1, V_FORMAT, A_PICTURE, A_PICTURE)
film("formats_flood", 8, *[V_FORMAT + A_PICTURE] * 4)
film("limit", 16, F_FORMAT | 8, video_format(1, 63, 63), A_PICTURE)
film("unknown_tag", 0, 8 | 0, u32(2**31), 3, b"abc", RIGHT)


def samples(name, kind, *words):
    seed("pcm_fuzzer", name, kind, *[u32(w) for w in words])


samples("special", 0, 0x7FC00000, 0x7F800000, 0xFF800000, 1, 0x80000001, 0x80000000, 0, 0x3F800000, 0xBF800000, 0x3F800001, 0x7F7FFFFF)
samples("halves", 4, 0x37800000, 0x38400000, 0xB7800000, 0x3F7FFF00, 0x3F7FFE80, 0xBF800000, 0x3F7FFFFF)
samples("unaligned", 3, 0x7FC00001, 0x40000000)
samples("any_limit", 8 | 1, 0x00800000, 0x3F800000, 0x7F800000)
seed("pcm_fuzzer", "a_part_of_one", 0, u32(0x7F800000), b"\xff\xff\xff")

# --- text_input_fuzzer, refusal_fuzzer --------------------------------------------------------------

SHOW, LINES, INHERIT, HIJACK = range(4)


def text(name, *parts):
    seed("text_input_fuzzer", name, *[p.encode() if isinstance(p, str) else p for p in parts])


text("plain", SHOW, "plain text, Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e, \U0001f3ac")
text("escape", SHOW, "\x1b[2J\x1b]0;title\x07\r\n\t\x7f\u0085\u009b1m")
text("bidirectional", SHOW, "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\u2029 and \u202f\u2065\u206a")
text("not_utf8", SHOW, b"\x80\xc0\xaf\xe0\x80\x80\xed\xa0\x80\xf0\x80\x80\x80\xf4\x90\x80\x80\xf5\xff\xfe\xe2\x82")
text("controls", SHOW, "".join(map(chr, [*range(0x00, 0x21), *range(0x7E, 0xA2)])))
text("marks", SHOW, "".join(map(chr, [0x61B, 0x61C, 0x61D, *range(0x200D, 0x2011), *range(0x2027, 0x2030), *range(0x2065, 0x206B)])))
text("edges", SHOW, "\u0080\u00a0\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff")
text("lines", LINES, 4, 20, "one\ntwo\n\nthree four\n", 0, 3, "end", 0)
text("a_line_of_exactly_the_limit", LINES, 2, 3, "abc", 0, 4, "\nd\n", 0)
text("no_lines", LINES, 0, 0, 0, 0, 1)
text("one_long_line", LINES, 5, 60, "x" * 60, 1, 3, "y\nz", 0)
for kind in (0, 8):
    text(f"inherited_{kind}", INHERIT, 2 | kind)
    text(f"inherited_no_socket_{kind}", INHERIT, 3 | kind)
    text(f"inherited_with_rubbish_{kind}", INHERIT, 6 | kind, " ")
    for i, number in enumerate(("", "-1", "5000", "99999999999999999999", "0x10", "+4", " 4", "4\0", "-0")):
        text(f"inherited_{kind}_{i}", INHERIT, kind, number)
text("hijack", HIJACK, "index-jump")
text("hijack_unknown", HIJACK, "none")
text("hijack_two", HIJACK, "rewind, silence")


def refusal(name, *parts):
    seed("refusal_fuzzer", name, *parts)


refusal("open", 0, 2, 0, 0, 0)
refusal("two_of_them", 0, 2, 0, 0, 0, 0, 3, 0, 0, 0)
refusal("number_out_of_range", 0, 0, 4, 0, 0)
refusal("reserved_not_zero", 0, 2, 0, 6, 1)
refusal("reserved_word_not_zero", 0, 2, 0, 12, 1)
refusal("to_be_fetched", 1, 16, bytes([2, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]))
refusal("whole", 1, 16, bytes([2, 0, 0, 0, 3, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]))
refusal("short", 1, 15, bytes(15))
refusal("long", 1, 17, bytes(17))
refusal("empty", 1, 0, 0, 2, 0, 0, 0)
refusal("with_a_descriptor", 2, u64(57), u64(0), 0)
refusal("silent", 3)
refusal("flood", *[bytes([0, 2, 0, 0, 0])] * 40)

# --- bulk_receiver_fuzzer, each with both doorbells --------------------------------------------------

B_ANY, B_FIRST, _, B_MORE, _, B_HONEST, B_TAKE, _, B_ALL, B_REWRITE, B_BACK, B_END = range(12)
TAKES = {0: 0, 1: 1, 100: 2, 1000: 3, 5000: 4, 20000: 5}
CLOSES, DIES = bytes([B_END, 0]), bytes([B_END, 1])


def bulk(name, takes, *steps):
    for kind, text in enumerate(("socket", "eventfd")):
        seed("bulk_receiver_fuzzer", f"{name}_{text}", kind, TAKES[takes], *steps)


def first(total, chunk, tag=1, kind=0, reserved=None):
    """Kind 0: this total; 1, 2: what the receiver takes, one more; 64: a chunk that may be too long."""
    known = kind % 8 in (1, 2)
    head = bytes([B_FIRST, tag, kind | (0x80 if reserved is not None else 0)]) + u16(0)
    return head + (b"" if known else u64(total)) + (u64(reserved) if reserved is not None else b"") + u16(chunk)


def more(size):
    return bytes([B_MORE]) + u16(size)


def any_record(tag, size):
    return bytes([B_ANY, tag]) + u16(size)


def honest(size, chunk, records, tag=1):
    """Chunks of 1, 100, 960 and as many as fit."""
    return bytes([B_HONEST, tag]) + u16(size) + bytes([chunk]) + bytes([B_HONEST]) * (records - 1)


def rewrite(which, where, value):
    return bytes([B_REWRITE, which]) + u16(where) + bytes([value])


bulk("two_chunks", 100, first(60, 40), B_TAKE, more(20), B_TAKE, B_TAKE)
bulk("all_at_once", 5000, first(2000, 900), more(1000), more(100), B_ALL, B_BACK)
bulk("header_alone", 100, first(60, 0), more(60), B_ALL)
bulk("longest", 1000, first(0, 700, kind=1), more(300), B_ALL, CLOSES, B_ALL)
bulk("one_more_than_it_takes", 1000, first(0, 700, kind=2), B_ALL, B_BACK, B_ALL)
bulk("nothing_but_a_tag", 0, first(0, 0), B_ALL, first(0, 0, tag=200), B_TAKE)
bulk("total_all_ones", 100, first(2**64 - 1, 10), B_ALL)
bulk("total_beyond_32_bits", 20000, first(2**32 + 10, 10), B_ALL)
bulk("reserved_not_zero", 100, first(10, 10, reserved=1), B_ALL)
bulk("reserved_top_bit", 100, first(10, 10, reserved=1 << 63), B_ALL)
bulk("no_header", 100, any_record(1, 0), B_ALL)
bulk("half_a_header", 100, any_record(1, 15), B_ALL)
bulk("first_chunk_too_long", 100, first(50, 51, kind=64), B_ALL)
bulk("first_chunk_beyond_the_buffer", 100, first(50, 900, kind=64), B_ALL)
bulk("empty_chunk", 100, first(50, 20), any_record(1, 0), B_TAKE, B_TAKE, B_TAKE)
bulk("chunk_one_too_long", 100, first(50, 20), any_record(1, 31), B_ALL)
bulk("chunk_beyond_the_buffer", 100, first(50, 20), any_record(1, 1024), B_ALL, B_BACK)
bulk("another_tag", 100, first(50, 20), any_record(2, 30), B_ALL)
bulk("another_message_in_the_middle", 100, first(50, 20), first(20, 20, tag=2), B_ALL)
bulk("closed_in_the_middle", 100, first(50, 20), CLOSES, B_ALL, B_ALL)
bulk("closed_between_messages", 100, first(20, 20), CLOSES, B_ALL, B_ALL, B_ALL)
bulk("dead_in_the_middle", 100, first(50, 20), DIES, B_TAKE, B_TAKE, B_TAKE)
bulk("dead_between_messages", 100, first(20, 20), DIES, B_ALL, B_ALL, B_ALL)
bulk("total_rewritten_after_it_was_taken", 100, first(50, 20), B_TAKE, rewrite(0, 0, 100), more(30), B_TAKE)
bulk("total_rewritten_before", 100, first(50, 20), rewrite(0, 0, 60), more(30), B_ALL, any_record(1, 10), B_ALL)
bulk("total_rewritten_to_be_huge", 100, first(50, 20), rewrite(0, 7, 255), B_ALL)
bulk("reserved_rewritten", 100, first(50, 20), rewrite(0, 8, 1), B_ALL)
bulk("honest_short_ones", 100, honest(0, 0, 1), B_ALL, honest(100, 1, 1), B_ALL, honest(100, 0, 100), *[B_TAKE] * 100)
bulk("honest_beyond_the_ring", 20000, honest(15000, 3, 1), *[bytes([B_HONEST, B_TAKE])] * 18)
bulk("honest_until_full", 20000, honest(20000, 2, 8), *[B_TAKE] * 3, *[B_HONEST] * 5, *[bytes([B_TAKE, B_HONEST])] * 20, B_ALL)
bulk("honest_with_a_stranger", 5000, honest(3000, 2, 2), any_record(1, 1024), *[B_HONEST] * 2, B_ALL)
bulk("honest_and_dead", 20000, honest(20000, 1, 9), B_TAKE, DIES, B_ALL)
bulk("a_byte_at_a_time", 100, first(100, 0), *[more(1) + bytes([B_TAKE])] * 60, more(100), B_ALL)

# --- fan_out_fuzzer ---------------------------------------------------------------------------------

O_SEND, O_RECEIVE, O_RETURN, O_SAY, O_COME, O_HANDLES, O_REST = 0, 2, 3, 4, 5, 6, 7


def send_all(size=4096, bits=0):
    return bytes([O_SEND, 0, bits]) + u16(size)


def each(step, *more):
    return b"".join(bytes([step, receiver, *more]) for receiver in range(3))


def come(receiver, policy, frames=4, bytes_limited=0, dies=1):
    return bytes([O_COME, receiver, dies | policy << 2 | (frames - 1) << 4 | bytes_limited << 7])


def fan_out(name, *parts, pages=2):
    seed("fan_out_fuzzer", name, pages, *parts)


fan_out("received_and_returned", *[send_all() + each(O_RECEIVE) + each(O_RETURN, 0)] * 8)
fan_out("one_stops", *[send_all() + bytes([O_RECEIVE, 0, O_RETURN, 0, 0])] * 20)
fan_out("all_stop", *[send_all(3000)] * 20, each(O_RECEIVE), *[send_all(16384)] * 2)
fan_out("each_policy", come(0, 0), come(1, 1), come(2, 2), *[send_all(2000) + bytes([O_RECEIVE, 0])] * 20, each(O_RECEIVE),
        each(O_RETURN, 0), *[send_all(1000)] * 5)
fan_out("forged", *[send_all() + each(O_RECEIVE) + bytes([O_SAY, 1, 1, 0, 0, O_SAY, 1, 2, 1, 9])] * 10)
fan_out("returned_another_use", *[send_all() + each(O_RECEIVE) + bytes([O_RETURN, 0, 0, O_RETURN, 2, 0, O_SAY, 1, 0, k, 9]) for k in range(10)])
fan_out("said_and_kept", send_all(), each(O_RECEIVE), bytes([O_SAY, 0, 1, 0, 0]), *[send_all() + bytes([O_RECEIVE, 1])] * 8)
fan_out("leaves_and_comes", *[send_all() + each(O_RECEIVE) + come(k % 3, k % 3, 1 + k, k % 2, k % 2) for k in range(5)])
fan_out("handles", *[bytes([O_HANDLES, 0, 1]) + u16(4000) + send_all(4000, 1)] * 3, send_all(), bytes([O_HANDLES, 0, 0]), send_all(16384))
fan_out("deltas", *[send_all(100, 2 if k % 5 else 0) + bytes([O_RECEIVE, k % 3]) for k in range(40)])
fan_out("lies_about_its_cursor", *[send_all(64)] * 5, bytes([O_REST, 1, 8]), u64(1 << 63), *[send_all(64) + bytes([O_RECEIVE, 0])] * 50,
        bytes([O_REST, 0, 3]))
fan_out("preamble", bytes([O_REST, 0, 1]), *[send_all() + each(O_RECEIVE)] * 3, bytes([O_REST, 0, 5]), *[send_all() + each(O_RECEIVE)] * 3)
fan_out("small_frames_until_ids_end", *[send_all(1)] * 150, each(O_RECEIVE), pages=3)

# --- frames_fuzzer ----------------------------------------------------------------------------------

F_ANY, F_SENT, F_RETURNED, F_ACQUIRE, F_SEND, F_RECEIVE, F_RETURN, F_REVOKE, F_SCRIBBLE, F_REST = 0, 1, 3, 5, 6, 7, 8, 9, 10, 11
F_CLOSE, F_GONE, F_WAIT, F_DISCARD, F_CLOSE_OURS, F_SHARE, F_LATEST = (bytes([F_REST, which]) for which in range(7))


def announce(number, at=0, size=100, metadata=8):
    return bytes([F_SENT, number, at]) + u16(size) + bytes([metadata])


def acquire(size=4096):
    return bytes([F_ACQUIRE]) + u16(size)


def lend(size=4096, used=64):
    return acquire(size) + bytes([F_SEND]) + u16(used)


def returned(number):
    return bytes([F_RETURNED, number])


def frame_record(number=0, generation=1, offset=0, size=1):
    return struct.pack("<IIQQQ", number, 0, generation, offset, size)


def frames(name, *parts, pages=2, alignment=0):
    for text, shape in (("socket", 0), ("eventfd", 128), ("opened", 64)):
        seed("frames_fuzzer", f"{name}_{text}", pages | alignment << 2 | shape, *parts)


frames("received_and_returned", announce(0), F_RECEIVE, F_RETURN, 0, announce(0, 3, 4000, 89), F_RECEIVE, F_RETURN, 0)
frames("returned_out_of_order", announce(0), announce(1), announce(2), F_RECEIVE, F_RECEIVE, F_RECEIVE, F_RETURN, 1, F_RETURN, 1,
       F_RETURN, 0)
frames("overlapping", announce(0, 0, 4096), announce(1, 1, 4096), announce(2, 0, 4096), F_RECEIVE, F_RECEIVE, F_RECEIVE, F_RETURN, 0)
frames("lent_and_returned", lend(), returned(0), acquire(), lend(), lend(), lend(), returned(1), acquire(), pages=1)
frames("lent_and_returned_out_of_order", lend(), lend(), returned(1), lend(), returned(2), acquire(), returned(0), lend(), lend(), pages=1)
frames("all_is_lent", lend(), lend(), lend(), lend(), acquire(), F_RECEIVE)
frames("all_sizes", *[lend(size) + returned(number % 7) for number, size in enumerate((1, 0, 64, 65, 4096, 12000, 16384, 16385, 300, 9000))])
frames("in_pieces", *[lend(2048)] * 8, returned(1), returned(3), returned(5), acquire(4096), acquire(2048), returned(2), acquire(4096))
frames("aligned_to_pages", *[lend(100)] * 4, acquire(1), returned(2), acquire(4097), acquire(4096), alignment=6)
frames("returned_twice", lend(), returned(0), returned(0), acquire(), acquire(), acquire(), acquire(), acquire())
frames("returned_and_never_sent", returned(0), lend(), lend(), F_RECEIVE)
frames("returned_in_advance", bytes([F_RETURNED, 0x90]), u64(1), lend(16384), acquire(16384), acquire(64))
frames("returned_acquired", acquire(), bytes([F_RETURNED, 0x90]), u64(1), acquire(16384))
frames("returned_unknown", lend(), bytes([F_RETURNED, 7]), u16(127), acquire(16384))
frames("returned_another_use", lend(16384), bytes([F_RETURNED, 0x90]), u64(7), acquire(16384), returned(0), acquire(16384))
frames("returned_without_a_word_of_it", lend(16384), bytes([F_RETURNED, 0x60]), acquire(16384), returned(3), acquire(16384))
frames("revoked_and_late", lend(), F_REVOKE, returned(0), acquire(), lend(), returned(0), acquire(16384))
# Each id is lent, and the first one anew; then its first use is returned. 300 steps at most.
frames("revoked_and_lent_anew", *[lend(64)] * 128, F_REVOKE, lend(64), bytes([F_RETURNED, 8, 1]), acquire(64), returned(0), acquire(64),
       pages=1)
frames("revoked_while_it_is_held", lend(), lend(), F_REVOKE, acquire(8192), acquire(4096), F_REVOKE, acquire(4096), pages=1)
frames("revoked_when_all_came_back", lend(), returned(0), F_REVOKE, F_REVOKE, acquire(16384))
frames("shared_and_sent", acquire(), F_SHARE, F_SEND, u16(9), returned(0), acquire(8192), F_DISCARD, F_DISCARD, acquire(8192), pages=1)
frames("sent_twice", acquire(), F_SHARE, F_SEND, u16(9), F_SEND, u16(8), returned(1), acquire(8192), returned(0), acquire(8192), pages=1)
frames("sent_anew_while_held", announce(0), F_RECEIVE, announce(0), F_RECEIVE, F_RETURN, 0, F_RETURN, 0)
frames("sent_anew_while_waiting", announce(0), announce(1), F_WAIT, announce(0), F_RECEIVE, F_RECEIVE, F_RECEIVE)
frames("taken_back_before_it_was_seen", bytes([F_SENT, 0x20, 0]), u16(9), 0, announce(1), F_RECEIVE, F_RETURN, 0)
frames("latest", announce(0), announce(1), announce(2), F_LATEST, F_LATEST, announce(2), announce(2), announce(3), F_LATEST, F_RETURN, 0)
frames("latest_and_a_lie", announce(0), announce(1), bytes([F_ANY]), u16(3), bytes(3), F_LATEST)
frames("latest_was_taken_back", announce(0), bytes([F_SENT, 0x21, 0]), u16(9), 0, F_LATEST, F_RETURN, 0)
frames("sent_stale", announce(0), F_RECEIVE, bytes([F_SENT, 0x90]), u64(1), 0, u16(1), 0, F_RECEIVE)
frames("sent_generation_all_ones", bytes([F_SENT, 0x90]), u64(2**64 - 1), 0, u16(1), 0, announce(0), F_RECEIVE, F_RECEIVE)
frames("sent_too_long", bytes([F_SENT, 0x60, 0]), u16(0), u64(16385), 0, F_RECEIVE)
frames("sent_beyond_the_end", bytes([F_SENT, 0x60, 1]), u16(0), u64(16384 - 63), 0, F_RECEIVE)
frames("sent_length_all_ones", bytes([F_SENT, 0x60, 0]), u16(0), u64(2**64 - 1), 0, F_RECEIVE)
frames("sent_offset_all_ones", bytes([F_SENT, 0x40, 0]), u16(64), u64(2**64 - 64), 0, F_RECEIVE)
frames("sent_offset_odd", bytes([F_SENT, 0x40, 0]), u16(8), u64(8), 0, F_RECEIVE)
frames("sent_nothing_at_the_end", bytes([F_SENT, 0x40, 0]), u16(0), u64(16384), 0, F_RECEIVE)
frames("sent_unknown", bytes([F_SENT, 7]), u16(128), 0, u16(1), 0, F_RECEIVE)
frames("any_record", bytes([F_ANY]), u16(32), bytes(32), F_RECEIVE)
frames("metadata_too_long", bytes([F_ANY]), u16(289), frame_record(), bytes(257), F_RECEIVE)
frames("metadata_longest", bytes([F_SCRIBBLE]), u16(0), u64(1), bytes([F_ANY]), u16(288), frame_record(), bytes(256), F_RECEIVE)
frames("generation_rewritten", announce(0), F_RECEIVE, bytes([F_SCRIBBLE]), u16(0), u64(9), F_RETURN, 0)
frames("words_rewritten", lend(16384), bytes([F_SCRIBBLE]), u16(1), u64(1), bytes([F_SCRIBBLE]), u16(1), u64(7), acquire(16384),
       bytes([F_SCRIBBLE]), u16(2), u64(99), acquire(16384))
frames("closed", announce(0), F_CLOSE, F_RECEIVE, F_RECEIVE, lend(), lend(), lend(), acquire(16384))
frames("closed_by_us", announce(0), announce(1), F_RECEIVE, lend(), F_CLOSE_OURS, F_RETURN, 0, F_RECEIVE, F_RETURN, 0, returned(0),
       acquire(16384))
frames("gone", announce(0), lend(), F_GONE, F_RECEIVE, F_RETURN, 0, acquire(), F_REVOKE, acquire(16384))
frames("discarded", acquire(), F_DISCARD, acquire(), F_SEND, u16(5), returned(0), acquire(16384))

# --- latest_reader_fuzzer ---------------------------------------------------------------------------

L_WRITE, L_READ, L_POLL, L_STRIKE, L_STRUCK = 0, 1, 2, 3, 128
L_VERSION, L_SEQUENCE, L_SIZE, L_VALUE, L_WORD = 0, 0x10, 0x20, 0x30, 0x40


def latest(name, *parts, size=15, slots=1, at_least=0, at_most=0):
    seed("latest_reader_fuzzer", name, size, slots, at_least, at_most, *parts)


def value(*content):
    return bytes([L_WRITE, len(content), *content])


latest("honest", *[value(i, i) + bytes([L_READ, L_POLL]) for i in range(1, 12)], L_READ)
latest("only_the_newest", *[value(i) for i in range(1, 9)], L_READ, L_READ)
latest("empty_value", value(), L_READ)
latest("version_backwards", value(1), value(2), L_READ, L_STRIKE, L_VERSION, 1, L_READ, L_READ, L_POLL)
latest("version_absurd", value(1), L_STRIKE, L_VERSION | L_WORD, 0, u64(2**62), L_READ, L_READ)
latest("size_too_long", value(1), L_STRIKE, L_SIZE | 1, 129, L_READ, L_READ)
latest("shorter_than_the_reader_takes", value(*range(8)), L_READ, value(*range(7)), L_READ, at_least=1)
latest("longer_than_the_reader_takes", value(*range(9)), L_READ, value(*range(10)), L_READ, at_most=7)
latest("size_all_ones", value(1), L_STRIKE, L_SIZE | L_WORD | 1, 0, u64(2**64 - 1), L_READ)
latest("being_written", value(1), L_STRIKE, L_SEQUENCE | 1, 5, L_READ, value(2), L_READ)
latest("overtaken_in_the_copy", value(1, 1), L_READ | L_STRUCK, 1, 1, 1, 0, L_SEQUENCE | 1, 9, 1, 1, L_READ)
latest("rewritten_in_the_copy", value(1, 1), L_READ | L_STRUCK, 1, 1, 1, 0, L_VALUE | 1, 9, 1, L_READ)

# --- audio_port_fuzzer ------------------------------------------------------------------------------

A_BLOCK, A_RAW, A_USE, A_DRAIN, A_CLOSE = range(5)


def audio(name, *parts, cycles=0, answers=0):
    seed("audio_port_fuzzer", name, cycles + 2 * answers, *parts)


def sound(frames, shift=0, back=0, events=(), bits=0x3F000000):
    shape = shift | back << 4 | len(events) << 5
    return (bytes([A_BLOCK, shape, frames]) + b"".join(bytes([frame, 7]) for frame in events) +
            u32(bits) * frames)


def use(frames, events=3):
    return bytes([A_USE, frames, events])


def cycle(frames):
    return bytes([A_USE, frames])


audio("stream", sound(8, events=(0, 7)), sound(5), use(8), use(4), sound(8), use(8))
audio("underrun_and_refill", sound(4), use(8), sound(2), use(2), sound(2), use(2))
audio("gap", sound(8), sound(8, shift=5), use(8), use(8))
audio("backwards", sound(8), sound(8, back=1), use(8), use(8), sound(4))
audio("too_much_delay", *[sound(8)] * 4, use(8), use(8), use(8))
audio("more_than_is_held", *[sound(8)] * 12, use(8), use(8), use(8), use(8), use(8))
audio("no_frames", sound(0), use(1))
audio("too_many_frames", sound(9), use(1))
audio("too_many_events", sound(8, events=(0, 1, 2)), use(8))
audio("event_behind_the_block", sound(4, events=(4,)), use(4))
audio("events_out_of_order", sound(4, events=(3, 2)), use(4))
audio("nan", sound(8, bits=0x7FC00000), use(8))
audio("infinity", sound(8, bits=0xFF800000), use(8))
audio("subnormal", sound(8, bits=1), use(8))
audio("too_loud", sound(8, bits=0x7F000000), use(8))
audio("raw_header", bytes([A_RAW, 1, 16]) + u64(0) + u32(4) + u32(0), use(4))
audio("raw_overflow", bytes([A_RAW, 1, 24]) + u64(0) + u32(0x80000000) + u32(0xFFFFFFFF) + bytes(8), use(4))
audio("position_all_ones", bytes([A_RAW, 1, 20]) + u64(2**64 - 1) + u32(1) + u32(0) + bytes(4), use(4))
audio("another_tag", bytes([A_RAW, 0, 9, 20]) + u64(0) + u32(1) + u32(0) + bytes(4), use(4))
audio("more_events_than_are_held", *[sound(1, events=(0, 0))] * 6, use(8, 1), use(8), use(8))
audio("closed_with_sound", sound(8), sound(2), A_CLOSE, use(8), use(8), use(8))
audio("closed_before_the_prefill", sound(2), A_CLOSE, use(8), use(8))
audio("cycle", sound(8), cycle(7), sound(8, shift=8), cycle(7), A_DRAIN, cycle(7), cycles=1)
audio("late_answer", cycle(7), sound(8), sound(4, shift=8), cycle(3), cycles=1)
audio("answer_from_the_future", sound(8, shift=9), cycle(7), cycle(7), cycles=1)
audio("answer_of_another_length", sound(4), cycle(7), cycle(7), cycles=1)
audio("cycle_closed", sound(8), A_CLOSE, cycle(7), cycle(7), cycles=1)
audio("answers", sound(8, events=(0, 7)), sound(3), A_USE, A_USE, A_USE, A_DRAIN, answers=1)
audio("answers_a_lie", sound(8), A_USE, sound(8, back=1), A_USE, A_USE, A_DRAIN, answers=1)
audio("answers_without_room", *[sound(8), A_USE] * 90, A_DRAIN, A_USE, answers=1)
audio("answers_the_end", sound(8), A_CLOSE, A_USE, A_USE, A_DRAIN, answers=1)

# --- request_fuzzer ---------------------------------------------------------------------------------

Q_START, Q_ANY, Q_TAKE, Q_RESPOND, Q_WANTED, Q_CANCEL = range(6)
P_START, P_ANY, P_RECEIVE, P_CANCEL, P_DRAIN, P_ANSWER = range(6)


def request_server(name, *parts, most=3):
    seed("request_fuzzer", name, 0, most, *parts)


def request_client(name, *parts, most=3):
    seed("request_fuzzer", name, 1, most, *parts)


def q_any(kind, number, code=0, payload=b"", budget=None):
    shape = kind | code << 6 | (0x10 if budget is not None else 0)
    return bytes([Q_ANY, shape, number]) + (u64(budget) if budget is not None else b"") + bytes([len(payload)]) + payload


Q_ASK = bytes([Q_START, 9, 2, 1, 2])
request_server("honest", *[Q_ASK, Q_TAKE, Q_WANTED, 0, Q_RESPOND, 0, 1, 7, 3] * 6)
request_server("out_of_order", Q_ASK * 3, bytes([Q_TAKE] * 3), bytes([Q_RESPOND, 1, 0, 0] * 3))
request_server("cancelled", Q_ASK * 2, bytes([Q_TAKE, Q_TAKE, Q_CANCEL, 1, Q_WANTED, 0, Q_WANTED, 1, Q_RESPOND, 0, 2, 5, 6, 0]))
request_server("cancelled_before_it_is_taken", Q_ASK, bytes([Q_CANCEL, 1, Q_TAKE, Q_TAKE, Q_WANTED, 0]))
request_server("cancelled_twice", Q_ASK, bytes([Q_TAKE, Q_CANCEL, 1, Q_CANCEL, 1, Q_TAKE]))
request_server("cancelled_after_its_answer", Q_ASK, bytes([Q_TAKE, Q_RESPOND, 0, 0, 0, Q_CANCEL, 1, Q_CANCEL, 1, Q_TAKE]))
request_server("cancelled_out_of_nothing", Q_ASK, bytes([Q_CANCEL, 2, Q_TAKE, Q_TAKE]))
request_server("too_many", Q_ASK * 3, bytes([Q_TAKE] * 3), most=1)
request_server("seen_while_full", Q_ASK * 2, bytes([Q_TAKE, Q_WANTED, 0, Q_RESPOND, 0, 0, 0, Q_TAKE]), most=0)
request_server("number_left_out", q_any(1, 2), bytes([Q_TAKE]))
request_server("budget_of_ages", q_any(1, 1, budget=2**64 - 1), bytes([Q_TAKE, Q_WANTED, 0]))
request_server("unknown_kind", q_any(4, 1), bytes([Q_TAKE]))
request_server("a_response", q_any(3, 1), bytes([Q_TAKE]))
request_server("with_a_code", q_any(1, 1, code=1), bytes([Q_TAKE]))
request_server("cancel_with_a_payload", Q_ASK, bytes([Q_TAKE]), q_any(2, 1, payload=b"x"), bytes([Q_TAKE]))
request_server("too_short", bytes([Q_ANY, 250, 5, 1, 2, 3, 4, 5, Q_TAKE]))
P_ASK = bytes([P_START, 1, 2, 1, 2])
request_client("client_honest", *[P_ASK + bytes([P_ANSWER, 0, i, 1, 9, P_RECEIVE, P_DRAIN]) for i in range(1, 6)])
request_client("client_full", P_ASK * 5, bytes([P_RECEIVE]))
request_client("client_expired", bytes([P_START, 0, 0, P_RECEIVE, P_RECEIVE, P_ANSWER, 0, 1, 0, P_RECEIVE]))
request_client("client_cancelled", P_ASK * 2, bytes([P_CANCEL, 1, P_CANCEL, 1, P_ANSWER, 0, 1, 0, P_ANSWER, 3, 2, 0, P_RECEIVE, P_RECEIVE]))
request_client("client_answered_twice", P_ASK, bytes([P_ANSWER, 0, 1, 0, P_ANSWER, 0, 1, 0, P_RECEIVE, P_RECEIVE, P_START, 1, 0]))
request_client("client_answered_out_of_nothing", P_ASK, bytes([P_ANSWER, 0, 2, 0, P_RECEIVE, P_RECEIVE]))
request_client("client_told_a_request", P_ASK, q_any(1, 1), bytes([P_RECEIVE]))
request_client("client_told_with_a_budget", P_ASK, q_any(3, 1, budget=1), bytes([P_RECEIVE]))
request_client("client_too_short", P_ASK, bytes([P_ANY, 250, 3, 1, 2, 3, P_RECEIVE]))

# --- thumb_result_fuzzer -----------------------------------------------------------------------------

T_PICTURE, T_PIXELS, T_FILE, T_STREAM = 1, 2, 3, 4


def thumb(name, facts, *messages):
    seed("thumb_result_fuzzer", name, facts, *[bytes([tag]) + u16(len(data)) + data for tag, data in messages])


def t_picture(width, height, channels, reserved=0):
    return T_PICTURE, u32(width) + u32(height) + u32(channels) + u32(reserved)


def t_file(streams, container=b"ogg", duration=5, left_out=0):
    return T_FILE, container.ljust(32, b"\0") + u64(duration) + u64(0) + u32(streams) + u32(left_out)


def t_stream(kind=0, flags=2, codec=b"h264", duration=1, number=3, rotation=90, reserved=0):
    texts = b"".join(t.ljust(32, b"\0") for t in (codec, b"High", b"yuv420p", b"deu", b"bt709", b"", b"bt709"))
    return (T_STREAM, u32(kind) + u32(flags) + texts + u64(duration) + u64(7) + u32(number) * 4 + u32(rotation)
            + u32(25) + u32(1) + u32(0) + u32(0) + u32(reserved))


thumb("rgb", 0, t_picture(3, 2, 3), (T_PIXELS, b"x" * 18))
thumb("rgba_in_parts", 0, t_picture(16, 8, 4), *[(T_PIXELS, bytes([i]) * 64) for i in range(8)])
thumb("one_pixel", 0, t_picture(1, 1, 4), (T_PIXELS, b"\0\0\0\0"))
thumb("too_wide", 0, t_picture(17, 1, 3))
thumb("too_high", 0, t_picture(1, 9, 3))
thumb("all_ones", 0, t_picture(~0, ~0, ~0, ~0))
thumb("two_channels", 0, t_picture(1, 1, 2))
thumb("a_byte_too_many", 0, t_picture(1, 1, 3), (T_PIXELS, b"abcd"))
thumb("a_byte_too_few", 0, t_picture(1, 1, 3), (T_PIXELS, b"ab"))
thumb("pixels_first", 0, (T_PIXELS, b"abc"), t_picture(1, 1, 3))
thumb("twice", 0, t_picture(1, 1, 3), (T_PIXELS, b"abc"), t_picture(1, 1, 3))
thumb("facts_instead", 0, t_file(0))
thumb("unknown", 0, (5, b""))
thumb("facts", 1, t_file(2), t_stream(), t_stream(kind=1, flags=0))
thumb("facts_without_streams", 1, t_file(0, container=b"x" * 32))
thumb("facts_too_few", 1, t_file(2), t_stream())
thumb("facts_too_many", 1, t_file(1), t_stream(), t_stream())
thumb("facts_escape", 1, t_file(0, container=b"\x1b[2J"))
thumb("facts_behind_the_end", 1, t_file(0, container=b"a\0b"))
thumb("facts_all_streams", 1, t_file(64), *[t_stream()] * 64)
thumb("facts_65_streams", 1, t_file(65))
thumb("facts_negative", 1, t_file(0, duration=~0))
thumb("stream_escape", 1, t_file(1), t_stream(codec=b"\x1b"))
thumb("stream_kind", 1, t_file(1), t_stream(kind=6))
thumb("stream_flags", 1, t_file(1), t_stream(flags=8))
thumb("stream_number", 1, t_file(1), t_stream(number=~0))
thumb("stream_rotation", 1, t_file(1), t_stream(rotation=360))
thumb("stream_reserved", 1, t_file(1), t_stream(reserved=1))
thumb("stream_first", 1, t_stream(), t_file(1))
thumb("picture_instead", 1, t_picture(1, 1, 3))

# --- wait_set_fuzzer --------------------------------------------------------------------------------

W_ALWAYS, W_ONCE, W_PAUSE, W_RESUME, W_RESET, W_SEND, W_CLOSE, W_DIE, W_FLOOD, W_END, W_DESTROYS, W_RUN = range(12)


def wait_set(name, *steps):
    seed("wait_set_fuzzer", name, *[bytes([what, which]) for what, which in steps])


wait_set("served", (W_ALWAYS, 0), (W_ALWAYS, 1), (W_SEND, 0), (W_SEND, 1), (W_SEND, 0), (W_RUN, 0), (W_SEND, 1))
wait_set("once", (W_ONCE, 0), (W_SEND, 0), (W_SEND, 0), (W_RESUME, 0), (W_RUN, 0), (W_RUN, 0), (W_RESUME, 0))
wait_set("paused_with_a_message_to_tell", (W_ONCE, 0), (W_SEND, 0), (W_RESUME, 0), (W_PAUSE, 0), (W_RUN, 0))
wait_set("paused_and_flooded", (W_ALWAYS, 0), (W_RUN, 0), (W_PAUSE, 0), *[(W_FLOOD, 0), (W_RUN, 0)] * 5, (W_DIE, 0),
         (W_RUN, 0), (W_RESUME, 0))
wait_set("flooded_to_the_end", (W_ALWAYS, 0), (W_ALWAYS, 1), *[(W_FLOOD, 0), (W_RUN, 0)] * 25, (W_SEND, 1))
wait_set("dies_with_data", (W_ALWAYS, 0), (W_SEND, 0), (W_SEND, 0), (W_DIE, 0), (W_RUN, 0), (W_RESUME, 0))
wait_set("closes", (W_ALWAYS, 0), (W_SEND, 0), (W_CLOSE, 0), (W_RUN, 0), (W_RUN, 0), (W_RESUME, 0))
wait_set("port_ends", (W_ALWAYS, 0), (W_SEND, 0), (W_END, 0), (W_PAUSE, 0), (W_RESUME, 0))
wait_set("destroys_itself", (W_ALWAYS, 0), (W_ALWAYS, 1), (W_DESTROYS, 0), (W_SEND, 0), (W_SEND, 1), (W_RUN, 0))
wait_set("registered_anew", (W_ALWAYS, 0), (W_SEND, 0), (W_RESET, 0), (W_ONCE, 0), (W_RESUME, 0), (W_RUN, 0))

# --- worker_message_fuzzer ---------------------------------------------------------------------------

READ, FAILED, JOB_DONE = range(3)


def worker(name, kind, message, number=5):
    seed("worker_message_fuzzer", name, kind, u64(number), message)


worker("read", READ, u64(77) + u32(1000) + u32(0))
worker("read_nothing", READ, u64(0) + u32(0) + u32(0))
worker("read_too_much", READ, u64(0) + u32(1001) + u32(0))
worker("read_all_ones", READ, u64(~0) + u32(~0) + u32(~0))
worker("read_reserved_not_zero", READ, u64(0) + u32(1) + u32(1))
worker("read_short", READ, u64(0) + u32(1))
worker("read_long", READ, u64(0) + u32(1) + u32(0) + b"x")
worker("failed", FAILED, u32(3) + u32(8) + b"a\x1b[2J\n\xff ")
worker("failed_ok", FAILED, u32(0) + u32(0))
worker("failed_unknown_code", FAILED, u32(17) + u32(0))
worker("failed_text_longer_than_said", FAILED, u32(3) + u32(1) + b"ab")
worker("failed_text_shorter_than_said", FAILED, u32(3) + u32(3) + b"ab")
worker("failed_text_too_long", FAILED, u32(3) + u32(401) + b"\x01" * 401)
worker("failed_text_grows", FAILED, u32(3) + u32(400) + b"\x01" * 400)
worker("done", JOB_DONE, u64(5) + u32(0) + u32(0))
worker("done_with_a_reason", JOB_DONE, u64(5) + u32(13) + u32(2) + b"no")
worker("done_another_number", JOB_DONE, u64(6) + u32(0) + u32(0))
worker("done_short", JOB_DONE, u64(5) + u32(0))

if CHECK and differing:
    sys.exit("\n".join(f"fuzz/corpus/{name} is not what fuzz/make_seeds.py makes: run it" for name in differing))
