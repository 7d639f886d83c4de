# SPDX-License-Identifier: Apache-2.0
"""godwit dump, of what the monitor wrote and of what docs/migration-format.md describes."""
import json
import os
import signal
import struct
import subprocess
import time

from framing import crc32c, section
from rig import LIMIT, check

MEMORY, RAM, DEVICE, END = 1, 2, 3, 4
BOOL, U8, U16, U32, U64, STRUCT = 1, 2, 3, 4, 5, 6
EXTENT = 4096


def name(text):
    return struct.pack("<B", len(text)) + text.encode()


def field(title, kind, values):
    if kind == STRUCT:
        return name(title) + struct.pack("<BI", kind, len(values)) + b"".join(values)
    code = {BOOL: "B", U8: "B", U16: "H", U32: "I", U64: "Q"}[kind]
    return name(title) + struct.pack(f"<BI{len(values)}{code}", kind, len(values), *values)


def record(title, version, *fields):
    return name(title) + struct.pack("<HH", version, len(fields)) + b"".join(fields)


def stream(*sections):
    pages = sum(len(s) - 16 - 8 - 16 for s in sections if s[0] == RAM)  # of one run each
    end = section(END, struct.pack("<QQ", len(sections), pages))
    return b"godwitVM" + struct.pack("<II", 1, 0) + b"".join(sections) + end


def device(level=7, flags=(1, 2)):
    nested = [record("part", 1, field("flag", U8, [flag])) for flag in flags]
    state = record("toy", 3, field("level", U16, [level]), field("on", BOOL, [1]),
                   field("ram", U8, [0, 255]), field("parts", STRUCT, nested))
    return section(DEVICE, name("toy") + name("toy0") + state)


def pages(text):
    return section(RAM, struct.pack("<IIQQ", 1, 0, 0x2000, 4096) + text.ljust(4096, b"\0"))


LAYOUT = section(MEMORY, struct.pack("<QQ", 0, 1 << 20))


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def snapshot(folder, level=7, cpus=2):
    """Three extents, of which the one in the middle is a hole."""
    devices = stream(LAYOUT, device(level))
    memory = [b"first".ljust(EXTENT, b"\1"), None, b"last"]
    os.mkdir(folder)
    with open(f"{folder}/memory-ranges", "wb") as f:
        for at, extent in enumerate(memory):
            f.seek(at * EXTENT)
            f.write(extent or b"")
    write(f"{folder}/devices", devices)
    state = {"format": 1, "godwit": "0.1.0", "vm": "6cd5c8f4-35a1-4b2c-a0f5-0a4d9f3f2f10",
             "created": "2026-01-02T03:04:05Z",
             "files": {"devices": {"file": "devices", "bytes": len(devices),
                                   "crc32c": f"{crc32c(devices):08x}"},
                       "memory": {"file": "memory-ranges", "bytes": 2 * EXTENT + 4,
                                  "extent_bytes": EXTENT,
                                  "crc32c": [m and f"{crc32c(m):08x}" for m in memory]}},
             "regions": [{"base": 0, "bytes": 2 * EXTENT + 4, "offset": 0}], "disks": []}
    write(f"{folder}/state.json", json.dumps(state).encode())
    write(f"{folder}/config.json", json.dumps({"cpus": {"boot_vcpus": cpus}}).encode())
    return folder


def dump(rig, *words, status=0):
    done = subprocess.run([rig.godwit, "dump", *words], capture_output=True, text=True,
                          timeout=LIMIT, check=False)
    check(done.returncode == status, f"{words}: {done.returncode}: {done.stdout}{done.stderr}")
    return done.stderr if status == 2 else done.stdout


def poke(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def test_dump_saved(rig):
    """What two guests left behind, which did not run equally long."""
    saves = []
    for number, memory in enumerate((64, 80)):
        config = {"name": f"dump{number}", "memory": {"size": memory << 20},
                  "payload": {"kernel": rig.elf("hello"), "cmdline": "stay"},
                  "serial": {"mode": "File", "file": rig.path("serial")}}
        write(rig.path("config.json"), json.dumps(config).encode())
        write(rig.path("serial"), b"")
        saves.append(rig.path(f"save{number}"))
        with subprocess.Popen([rig.stage_host, rig.path("config.json"), "-", saves[-1]]) as host:
            deadline = time.monotonic() + LIMIT
            while not os.path.getsize(rig.path("serial")):
                check(time.monotonic() < deadline, "no first byte")
                time.sleep(0.01)
            host.send_signal(signal.SIGUSR2)
            check(host.wait(LIMIT) == 0, "not saved")
    lines = dump(rig, saves[0]).splitlines()
    check(lines[0] == f"memory 0 bytes {64 << 20}" and lines[-1] == "end", "its ends")
    for start in ("pages 0x", "device vcpu0 kind vcpu", "device serial kind uart"):
        check(any(line.startswith(start) for line in lines), f"no {start}")
    check(dump(rig, saves[0], saves[0]) == "", "it differs from itself")
    said = dump(rig, *saves, status=1).splitlines()
    check(f"memory 0: bytes {64 << 20} | bytes {80 << 20}" in said, "not the memory")
    check(any(line.startswith("device clock clock now_ns: 0x") for line in said), "not the clock")
    check(not any(line.startswith("device i8042 ") for line in said), "the keyboards differ")


def test_dump_written(rig):
    """A stream by the words of the document alone."""
    write(rig.path("a"), stream(LAYOUT, pages(b"x"), device()))
    write(rig.path("b"), stream(LAYOUT, pages(b"y"), device(8, (1, 3, 5))))
    write(rig.path("c"), stream(LAYOUT, pages(b"x")))
    crc = [f"{crc32c(text.ljust(4096, bytes(1))):08x}" for text in (b"x", b"y")]
    check(dump(rig, rig.path("a")) == f"""memory 0 bytes 1048576
pages 0x2000 bytes 4096 crc32c {crc[0]}
device toy0 kind toy
  toy version 3
    level 0x7
    on true
    ram[2]
      00 ff
    parts[2]
      part version 1
        flag 0x1
      part version 1
        flag 0x2
end
""", "another text")
    said = dump(rig, rig.path("a"), rig.path("b"), status=1)
    check(said == f"""pages 0x2000: bytes 4096 crc32c {crc[0]} | bytes 4096 crc32c {crc[1]}
device toy0 toy level: 0x7 | 0x8
device toy0 toy parts: [2] | [3]
device toy0 toy parts 1 flag: 0x2 | 0x3
only in {rig.path("b")}: device toy0 toy parts 2 part version 1
""", said)
    check(dump(rig, rig.path("a"), rig.path("c"), status=1) ==
          f"only in {rig.path('a')}: device toy0 kind toy\n", "not the device")


def test_dump_trouble(rig):
    whole = stream(LAYOUT, device())
    write(rig.path("a"), whole)
    for at in (0, 8, 20, 40, len(whole) - 1):
        write(rig.path("b"), whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        for words in ([rig.path("b")], [rig.path("a"), rig.path("b")]):
            said = dump(rig, *words, status=2)
            check(said.startswith(f"godwit: {rig.path('b')}: ") and said.count("\n") == 1, said)
    write(rig.path("b"), whole[:-1])
    check("cut short" in dump(rig, rig.path("b"), status=2), "a cut")
    check("cannot open" in dump(rig, rig.path("none"), status=2), "no file")
    dump(rig, status=2)


def test_dump_snapshot(rig):
    a, b = snapshot(rig.path("a")), snapshot(rig.path("b"), 9, 4)
    said = dump(rig, a)
    for line in ("config.json", "    boot_vcpus 2", "device toy0 kind toy", "    level 0x7",
                 "memory-ranges bytes 8196 extents 3 of them holes 1", "checksums right"):
        check(line + "\n" in said, f"no {line}: {said}")
    check(dump(rig, a, a) == "", "it differs from itself")
    said = dump(rig, a, b, status=1)
    check("config.json cpus boot_vcpus: 2 | 4\n" in said, said)
    check("device toy0 toy level: 0x7 | 0x9\n" in said, said)


def test_dump_damaged_snapshot(rig):
    folder = snapshot(rig.path("a"))
    poke(f"{folder}/memory-ranges", EXTENT, bytes(EXTENT))  # a copy without holes
    check("checksums right" in dump(rig, folder), "zeros are no hole")
    for number, (name_, at, sentence) in enumerate((
            ("memory-ranges", 5, "memory-ranges: it is damaged: the 4096 bytes at 0 have"),
            ("memory-ranges", EXTENT + 9, f"the 4096 bytes at {EXTENT} have"),
            ("memory-ranges", 2 * EXTENT + 3, f"the 4 bytes at {2 * EXTENT} have"),
            ("memory-ranges", 2 * EXTENT + 4, "memory-ranges: it has 8197 bytes"),
            ("devices", 60, "devices: it is damaged"),
            ("config.json", 0, "config.json: line 1: "),
            ("state.json", 0, "state.json: line 1: "))):
        folder = snapshot(rig.path(f"b{number}"))
        poke(f"{folder}/{name_}", at, b"\x55")
        said = dump(rig, folder, status=2)
        check(sentence in said and said.count("\n") == 1, said)
    folder = snapshot(rig.path("c"))
    os.unlink(f"{folder}/devices")
    check("cannot open devices" in dump(rig, folder, status=2), "no file")
    with open(f"{folder}/state.json", encoding="ascii") as f:
        text = f.read()
    for old, new, sentence in (('"file": "devices"', '"file": "../a/devices"', "cannot open"),
                               ('"format": 1', '"format": 2', "format that this godwit"),
                               (f'"extent_bytes": {EXTENT}', '"extent_bytes": 0', "devices")):
        write(f"{folder}/state.json", text.replace(old, new).encode())
        check(sentence in dump(rig, folder, status=2), sentence)
