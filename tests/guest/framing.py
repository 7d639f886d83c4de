# SPDX-License-Identifier: Apache-2.0
"""Sections as docs/migration-format.md has them, written without the program."""
import struct


def table():
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        yield crc


TABLE = tuple(table())


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


def section(kind, payload):
    head = struct.pack("<IIQ", kind, 0, len(payload))
    return struct.pack("<IIQ", kind, crc32c(head + payload), len(payload)) + payload
