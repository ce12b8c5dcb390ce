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


def direction(capacity, longest, reserved=0):
    return struct.pack("<QII", capacity, longest, reserved)


def hello(roles=3, doorbells=2, low=1, high=1, features=0, send=(0, 0), receive=(0, 0), blob=b""):
    return (header(1, 64, len(blob)) + struct.pack("<HHIII", low, high, features, roles, doorbells)
            + direction(*send) + direction(*receive) + blob)


def welcome(roles=3, doorbell=2, version=1, reserved=0, features=0, send=(65536, 1000), receive=(4096, 4088), blob=b""):
    return (header(2, 80, len(blob)) + struct.pack("<HHIIIQQ", version, reserved, features, roles, doorbell, 7, 9)
            + direction(*send) + direction(*receive) + blob)


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
message("hello_reserved_not_zero", hello(send=(4096, 1, 1)))
message("hello_capacity_no_power_of_two", hello(send=(4097, 1)))
message("hello_capacity_too_small", hello(send=(2048, 1)))
message("hello_capacity_beyond_a_gigabyte", hello(send=(1 << 31, 1)))
message("hello_message_as_long_as_the_ring", hello(send=(4096, 4089)))
message("hello_message_longest", hello(send=(4096, 4088)))
message("hello_sizes_for_no_direction", hello(roles=1, receive=(4096, 1)))
message("hello_cut", hello()[:63])
message("hello_glued", hello() + hello())
message("hello_length_wrong", struct.pack("<IHHII", 0x594C5250, 1, 1, 65, 0) + hello()[16:])
message("hello_format_length_wrong", struct.pack("<IHHII", 0x594C5250, 1, 1, 64, 1) + hello()[16:])
message("welcome", welcome())
message("welcome_one_direction", welcome(roles=1, receive=(0, 0)))
message("welcome_open_sizes", welcome(send=(0, 0)))
message("welcome_version_two", welcome(version=2))
message("welcome_reserved_not_zero", welcome(reserved=1))
message("welcome_features", welcome(features=1))
message("welcome_feature_unknown", welcome(features=4))
message("welcome_doorbell_unknown", welcome(doorbell=3))
message("welcome_with_format", welcome(blob=b"pcm"))
message("mapped", header(3, 32) + u64(1) + u64(2))
message("ready", header(4, 32) + u64(1) + u64(2))
message("mapped_with_tail", header(3, 32, 1) + u64(1) + u64(2) + b"x")
message("refused", header(5, 24) + u32(5) + u32(0))
message("refused_reason_unknown", header(5, 24) + u32(999) + u32(0))
message("refused_reserved_not_zero", header(5, 24) + u32(5) + u32(1))
message("empty", b"")
message("magic_only", b"PRLY")
message("type_unknown", header(6, 16))
message("repaired_hello", b"\0" * 64, 0x0F)
message("repaired_welcome", b"\0" * 80, 0x1F)

# --- acceptor_fuzzer --------------------------------------------------------------------------------

A_HELLO, MAPPED, ADVANCE, READ, TREAT, RAW, WITH_FD, LEAVE = range(8)
PLAIN = bytes([0, 0])  # no mutation, right length


def say_hello(bits=0, wish=0, longest=100, blob=None, mutate=PLAIN):
    return bytes([A_HELLO, bits, wish]) + u16(longest) + (bytes([blob]) if bits & 16 else b"") + mutate


def acceptor(name, *parts, options=0, blob=0):
    seed("acceptor_fuzzer", name, options, blob, *parts)


SEALED = bytes([ADVANCE, READ, TREAT, 0])
DONE = bytes([MAPPED, 0]) + PLAIN + bytes([ADVANCE])
for direction_bits, text in enumerate(("both", "send_only", "receive_only")):
    acceptor(f"complete_{text}_by_socket", say_hello(), SEALED, DONE, options=direction_bits, blob=5)
    acceptor(f"complete_{text}_by_eventfd", say_hello(1), SEALED, DONE, options=direction_bits | 4)
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
acceptor("mapped_without_sealing", say_hello(), bytes([ADVANCE, READ]), DONE)
acceptor("mapped_with_a_hole", say_hello(), bytes([ADVANCE, READ, TREAT, 3, 1, TREAT, 0]), DONE)
acceptor("mapped_with_a_hidden_hole", say_hello(), bytes([ADVANCE, READ, TREAT, 3, 1, TREAT, 4, TREAT, 0]), DONE)
acceptor("mapped_with_another_id", say_hello(), SEALED, bytes([MAPPED, 0x81]), PLAIN, bytes([ADVANCE]))
acceptor("ready_instead_of_mapped", say_hello(), SEALED, bytes([MAPPED, 0xC2]), PLAIN, bytes([ADVANCE]))
acceptor("region_half_sealed", say_hello(), bytes([ADVANCE, READ, TREAT, 2, 0x10]), DONE)
acceptor("leaves_before_hello", bytes([LEAVE, ADVANCE]))
acceptor("leaves_after_hello", say_hello(), bytes([LEAVE, ADVANCE, ADVANCE]))
acceptor("leaves_after_mapped", say_hello(), SEALED, bytes([MAPPED, 0]), PLAIN, bytes([LEAVE, ADVANCE]))
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
for features in (1, 2, 3):
    for rest, text in ((3, "automatic"), (35, "full"), (67, "asymmetric")):
        connector(f"features_{features}_{text}", bytes([WELCOME, 64 | features << 4, 0]), PLAIN, ALL_READY, options=4, rest=rest)
connector("complete_with_wishes", GOOD, ALL_READY, options=8 | 16)
connector("ready_with_another_id", GOOD, bytes([READY, 1, 20, 1, 0]))
connector("refused_at_once", bytes([REFUSED, 6]), PLAIN)
connector("refused_after_mapped", GOOD, bytes([REFUSED, 11]), PLAIN)
connector("gone_after_welcome", GOOD)
connector("another_ring_than_asked_for", bytes([WELCOME, 1, 3]), u16(100), bytes([0]), PLAIN, options=8)
connector("ring_beyond_the_limits", bytes([WELCOME, 1, 4]), u16(100), bytes([0]), PLAIN)
connector("message_beyond_the_limits", bytes([WELCOME, 2, 2]), u16(5000), bytes([0]), PLAIN, ALL_READY)
connector("eventfd_not_offered", bytes([WELCOME, 8, 0, 0]), PLAIN)
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
doorbell("socket_rubbish_byte", 0, ONE, BYTE, 2, ONE, DRAIN, DRAIN)
doorbell("socket_two_bytes", 0, LONG, 2, DRAIN)
doorbell("socket_empty_message", 0, LONG, 0, DRAIN, ONE, DRAIN)
doorbell("socket_long_message", 0, LONG, 255, DRAIN)
doorbell("socket_with_a_descriptor", 0, FD, 0, DRAIN, FD, 16, 0, 0, 0, 0, DRAIN)
doorbell("socket_never_read", 0, RING, 255, RING, 255, DRAIN)
doorbell("socket_gone", 0, ONE, GONE, DRAIN, DRAIN)
doorbell("socket_gone_with_ours_unread", 0, RING, 0, ONE, GONE, DRAIN, DRAIN, DRAIN)
doorbell("socket_shut", 0, ONE, SHUT, DRAIN, DRAIN, RING, 3, PEER_READS)
E_ONE, E_ANY, E_SATURATE, E_STEAL, E_FLAGS, E_RING, E_DRAIN = range(7)
doorbell("eventfd_rung", 1, E_ONE, E_DRAIN, E_DRAIN)
doorbell("eventfd_saturated", 1, E_SATURATE, E_ONE, E_DRAIN, E_DRAIN)
doorbell("eventfd_blocking_and_stolen", 1, E_ONE, E_STEAL, E_FLAGS, 0, E_DRAIN)
doorbell("eventfd_rings", 1, E_RING, 255, E_RING, 255, E_ANY, u64(77), E_DRAIN)
for kind in range(17):
    doorbell(f"verified_{kind}", 2, kind)

# --- channel_close_fuzzer ---------------------------------------------------------------------------

(C_SEND, C_STAGE, C_SEND_UNTIL, C_PUBLISH, C_TRY_RECEIVE, _, C_RECEIVE, C_PEEK, C_RELEASE, C_CLOSE, C_CLOSE_RECEIVER,
 C_DRAINED, C_WAIT, C_WAIT_FOR_ROOM, C_DIE) = range(15)
B, LARGE = 16, 32


def channel(name, *parts):
    for kind, text in enumerate(("socket", "eventfd")):
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
