#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds into corpus/telemetry_fuzzer/: what a sensor process may do (testing/hostile_peer.h
has the steps). Run it again after ReadingWire or the steps changed."""

import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus" / "telemetry_fuzzer"
SOCKET, EVENTFD = b"\0", b"\1"
TAKE, RING, CLOSE, DIE = b"\x0c\3", b"\x0d\2", b"\x0e\0", b"\x0f"
NAN, INFINITY = float("nan"), float("inf")


def message(content, tag=1):
    return bytes([0, tag, len(content)]) + content


def reading(time_ns, value=20.5, sensor=1, reserved=0):
    return message(struct.pack("<QdII", time_ns, value, sensor, reserved))


def tail_moved(words):
    return bytes([9]) + struct.pack("bB", words, 1)


def rewritten(word, value):  # eight bytes of the ring, after they were sent
    return bytes([11]) + struct.pack("<HQ", word, value)


def lying_header(header, content):
    return bytes([8]) + struct.pack("<QB", header, len(content)) + content


SEEDS = {
    "in_order": SOCKET + reading(1) + reading(1, -3.0, 2) + reading(5) + CLOSE + RING,
    "in_order_eventfd": EVENTFD + reading(1) + RING + reading(2**63, 1e300, 2) + TAKE + DIE,
    "time_backwards": SOCKET + reading(7) + reading(6) + reading(8),
    "time_wraps": SOCKET + reading(2**64 - 1) + reading(0),
    "not_a_number": SOCKET + reading(1, NAN) + reading(2),
    "infinity": EVENTFD + reading(1) + reading(2, INFINITY),
    "sensor_unknown": SOCKET + reading(1, sensor=3),
    "sensor_zero": SOCKET + reading(1, sensor=0),
    "reserved_set": SOCKET + reading(1, reserved=1),
    "empty": SOCKET + message(b"") + reading(1),
    "one_byte_short": SOCKET + message(struct.pack("<QdII", 1, 2.0, 1, 0)[:-1]),
    "one_byte_long": SOCKET + message(struct.pack("<QdIIB", 1, 2.0, 1, 0, 0)),
    "another_tag": SOCKET + message(struct.pack("<QdII", 1, 2.0, 1, 0), tag=2),
    "tail_ahead": SOCKET + reading(1) + tail_moved(100) + reading(2),
    "tail_back": SOCKET + reading(1) + reading(2) + tail_moved(-8) + reading(3),
    "length_lie": SOCKET + reading(1) + lying_header(1 << 32 | 1025, b"x" * 24) + reading(2),
    "rewritten": SOCKET + reading(1) + reading(2) + rewritten(5, 2**64 - 1) + reading(3),
    "dead_at_once": SOCKET + DIE,
}

CORPUS.mkdir(parents=True, exist_ok=True)
for name, data in SEEDS.items():
    (CORPUS / name).write_bytes(data)
