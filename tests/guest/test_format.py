# SPDX-License-Identifier: Apache-2.0
"""A destination made from docs/migration-format.md alone: it receives a VM and gives it back."""
import contextlib
import json
import socket
import struct
import threading

from api_client import wants
from framing import crc32c
from rig import LIMIT, Failed, check
from test_dump import BOOL, DEVICE, MEMORY, END, STRUCT, U8, U16, U32, U64
from test_migrate import source

MAGIC = b"godwitVM" + struct.pack("<II", 1, 0)
PAGES, ZEROS, ACK, DONE = range(16, 20)
OFFER, SEEN, SEAL, READY, TOKEN, ACCEPTED, REFUSED, CANCEL, ASK = range(32, 41)
HELLO, TRIAL = 48, 49
CLOCKS = {"vcpu msr 0x10 value 0", "vcpu read_ns 0", "clock now_ns 0"}
ACK_EVERY, PIECE, STREAMS = 16, 2 << 20, 2


class Cut(Failed):
    """The connection is gone."""


class Wire:
    """Sections of one connection that a source has made."""

    def __init__(self, listener):
        self.socket = listener.accept()[0]
        self.socket.settimeout(LIMIT)
        check(self.read(16) == MAGIC, "no magic")
        self.hello = json.loads(self.section([HELLO])[1])

    def read(self, n):
        data = bytearray()
        while len(data) < n:
            with contextlib.suppress(ConnectionError):
                piece = self.socket.recv(n - len(data))
                if piece:
                    data += piece
                    continue
            raise Cut("the source is gone")
        return bytes(data)

    def section(self, kinds):
        """(type, payload, pages): the checksum does not cover those."""
        kind, crc, length = struct.unpack("<IIQ", self.read(16))
        check(kind in kinds, f"section {kind} instead of {kinds}")
        covered = length
        payload = b""
        if kind == PAGES:
            payload = self.read(8)
            runs = struct.unpack("<II", payload)[0]
            covered = 8 + 16 * runs
        payload += self.read(covered - len(payload))
        check(crc == crc32c(struct.pack("<IIQ", kind, 0, length) + payload), "a checksum")
        return kind, payload, self.read(length - covered)

    def send(self, kind, payload):
        crc = crc32c(struct.pack("<IIQ", kind, 0, len(payload)) + payload)
        try:
            self.socket.sendall(struct.pack("<IIQ", kind, crc, len(payload)) + payload)
        except ConnectionError as e:
            raise Cut("the source is gone") from e

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Memory:
    """What came, and in how many sections, on each data connection."""

    def __init__(self, size):
        self.bytes = bytearray(size)
        self.applied = [0] * STREAMS
        self.resumed = []  # positions other than 0 at which a connection began
        self.sent = set()

    def apply(self, index, kind, payload, pages):
        runs, flags = struct.unpack("<II", payload[:8])
        check(1 <= runs <= 256 and len(payload) == 8 + 16 * runs, "a table of runs")
        check(flags in ((0, 1) if kind == PAGES else (0,)), f"flags {flags}")
        check(len(pages) <= PIECE, "too many pages")
        for gpa, size in struct.iter_unpack("<QQ", payload[8:]):
            check(not (gpa | size) & 4095 and size, "a run")
            its = range(gpa // 4096, (gpa + size) // 4096)
            check({page // 512 % STREAMS for page in its} == {index}, "on another connection")
            check(kind == PAGES or self.sent.issuperset(its), "zeros where nothing was sent")
            self.sent.update(its)
            self.bytes[gpa:gpa + size] = pages[:size] if kind == PAGES else bytes(size)
            pages = pages[size:]
        check(not pages, "more pages than runs")

    def receive(self, index, wire, last):
        """Until DONE; or so many sections, and no word of the last ones."""
        self.resumed += [self.applied[index]] if self.applied[index] else []
        wire.send(ACK, struct.pack("<Q", self.applied[index]))
        while last is None or self.applied[index] < last:
            kind, payload, pages = wire.section([PAGES, ZEROS, DONE])
            if kind == DONE:
                check(payload == struct.pack("<Q", self.applied[index]), "sections before DONE")
            else:
                self.apply(index, kind, payload, pages)
            self.applied[index] += 1
            if kind == DONE or not self.applied[index] % ACK_EVERY:
                wire.send(ACK, struct.pack("<Q", self.applied[index]))
            if kind == DONE:
                break


class Destination:
    """The talk and the data connections of one attempt after the other."""

    def __init__(self, memory, versions):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT)
        self.url = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        self.memory, self.versions = memory, versions
        self.first = self.talk = None
        self.wires, self.readers, self.failed = [], [], []

    def greet(self, role):
        """The talk, from its first words to the answer."""
        self.talk = Wire(self.listener)
        hello = self.talk.hello
        check(hello["role"] == role and hello["streams"] == STREAMS, hello)
        if role == "begin":
            self.first = hello
        check(("config" in hello) == (role == "begin"), hello)
        for key in ("session", "vm", "generation", "paused"):
            check(hello[key] == self.first[key], f"{key}: {hello}")
        versions = {"versions": self.versions} if role == "begin" else {}
        self.talk.send(HELLO, json.dumps({"host": "python", "godwit": "of the page",
                                          **versions}).encode())

    def connect(self, role, last=None):
        self.greet(role)
        self.wires, self.readers = [self.talk], []
        for _ in range(STREAMS):
            wire = Wire(self.listener)
            check(wire.hello["role"] == "data", wire.hello)
            check(wire.hello["session"] == self.first["session"], wire.hello)
            reader = threading.Thread(target=self.read, args=(wire, last))
            reader.start()
            self.wires.append(wire)
            self.readers.append(reader)

    def read(self, wire, last):
        try:
            self.memory.receive(wire.hello["index"], wire, last)
        except Cut:
            pass
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.failed.append(e)

    def join(self):
        for reader in self.readers:
            reader.join()
        check(not self.failed, self.failed)

    def cut(self):
        for wire in self.wires:
            wire.close()
        self.join()

    def hear(self, kind):
        payload = self.talk.section([kind])[1]
        session, arbiter, generation = struct.unpack("<36sIQ", payload[:48])
        check(session.decode() == self.first["session"] and arbiter == 0, payload)
        check(generation == self.first["generation"], payload)
        return payload[48:].decode()

    def say(self, kind, sentence=""):
        self.talk.send(kind, struct.pack("<36sIQ", self.first["session"].encode(), 0,
                                         self.first["generation"]) + sentence.encode())


class Parser:
    """The payload of a DEVICE section."""

    def __init__(self, payload, versions):
        self.payload, self.at, self.versions = payload, 0, versions
        self.kind, self.id = self.name(), self.name()
        self.state = self.record(0) if self.at < len(payload) else None
        check(self.at == len(payload), f"{self.id}: more than its record")

    def take(self, form):
        values = struct.unpack_from("<" + form, self.payload, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def name(self):
        length, = self.take("B")
        check(1 <= length <= 63, "a name")
        return self.take(f"{length}s")[0].decode("ascii")

    def record(self, depth):
        check(depth < 8, "too deep")
        title = self.name()
        version, n = self.take("HH")
        self.versions[title] = version
        fields = [self.field(depth) for _ in range(n)]
        check(len(dict(fields)) == n, f"{title}: a field comes twice")
        return dict(fields)

    def field(self, depth):
        title = self.name()
        kind, n = self.take("BI")
        if kind == STRUCT:
            return title, [self.record(depth + 1) for _ in range(n)]
        return title, list(self.take(f"{n}" + {BOOL: "B", U8: "B", U16: "H", U32: "I",
                                               U64: "Q"}[kind]))


def devices_of(folder, versions):
    """What a snapshot says of its devices, by id."""
    with open(f"{folder}/devices", "rb") as f:
        check(f.read(16) == MAGIC, "no magic")
        devices = {}
        while True:
            kind, _, length = struct.unpack("<IIQ", f.read(16))
            payload = f.read(length)
            check(kind in (MEMORY, DEVICE, END), f"section {kind}")
            if kind == END:
                return devices
            if kind == DEVICE:
                device = Parser(payload, versions)
                devices[device.id] = device


def receive_devices(destination):
    devices = {}
    while True:
        kind, payload, _ = destination.talk.section([DEVICE, SEAL])
        if kind == SEAL:
            return devices
        device = Parser(payload, {})
        check(device.id not in devices, f"{device.id} comes twice")
        devices[device.id] = device


def leaves(value, path):
    """(path, value) of all numbers; a record with an index is named by it."""
    if not isinstance(value, (dict, list)):
        yield path, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, dict) and "index" in inner:
            key = hex(inner["index"][0])
        yield from leaves(inner, f"{path} {key}")


def same(saved, moved):
    """But for what goes on while a guest stands still."""
    check(saved.keys() == moved.keys(), f"{sorted(saved)} and {sorted(moved)}")
    for name, device in saved.items():
        before, after = (dict(leaves(d.state, d.kind)) for d in (device, moved[name]))
        check(before.keys() == after.keys(), name)
        differ = {key for key, value in before.items() if value != after[key]}
        check(differ <= CLOCKS, f"{name}: {differ - CLOCKS}")


def over(side, client):
    return side.until(lambda: (p := wants(client, 200, "GET", "vm.migration-progress"))
                      ["phase"] == "over" and p, "not over")


def test_format_live(rig):
    """Cut among the pages and at OFFER, it comes again; refused after its token, it goes on."""
    with source(rig, "--disk", "path=" + rig.disk(), words="mib=64") as a:
        client, versions, folder = a.client(), {}, rig.path("snapshot")
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.snapshot", {"destination_url": "file://" + folder})
        saved = devices_of(folder, versions)
        memory = Memory(128 << 20)
        destination = Destination(memory, versions)
        wants(client, 204, "PUT", "vm.send-migration",
              {"destination_url": destination.url, "connections": STREAMS, "compress": "lz4"})
        destination.connect("begin", 5)
        check(destination.first["paused"] is True, destination.first)
        check(destination.first["config"]["memory"]["size"] == 128 << 20, destination.first)
        destination.join()
        destination.cut()
        destination.connect("again")
        destination.hear(OFFER)
        destination.cut()
        destination.connect("again")
        check(len(memory.resumed) == 2 * STREAMS, memory.resumed)
        destination.hear(OFFER)
        destination.say(SEEN)
        moved = receive_devices(destination)
        destination.join()
        with open(f"{folder}/memory-ranges", "rb") as f:
            check(f.read() == memory.bytes, "not the snapshot's memory")
        same(saved, moved)
        destination.say(READY)
        destination.hear(TOKEN)
        destination.say(REFUSED, "it was only read")
        progress = over(a, client)
        check("goes on here" in progress["state"]["Failed"]["error_msg"], progress)
        check(progress["reconnects"] == 2 and progress["peer"] == "python", progress)
        check(progress["compression"]["why"] == "not-read", progress)
        wants(client, 204, "PUT", "vm.resume")
        a.beats()
        wants(client, 204, "PUT", "vm.delete")


def test_format_no_object(rig):
    """What is JSON and no object ends the migration, and nothing else."""
    with source(rig) as a:
        client = a.client()
        destination = Destination(None, {})
        wants(client, 204, "PUT", "vm.send-migration", {"destination_url": destination.url})
        Wire(destination.listener).send(HELLO, b"[]")
        progress = over(a, client)
        check("no JSON object" in progress["state"]["Failed"]["error_msg"], progress)
        a.beats()
        wants(client, 204, "PUT", "vm.delete")


def test_format_check(rig):
    """Asked whether it could, it says what is in the way and throws away what comes then."""
    with source(rig) as a:
        destination = Destination(None, {})
        answer = {}
        asking = threading.Thread(target=lambda: answer.update(wants(
            a.client(), 200, "PUT", "vm.check-migration", {"destination_url": destination.url})))
        asking.start()
        wire = Wire(destination.listener)
        hello = wire.hello
        check(hello["role"] == "check" and "session" not in hello, hello)
        check(hello["config"]["platform"]["uuid"] == hello["vm"] and not hello["disks"], hello)
        versions = {name: newest for name, (_, newest) in hello["records"].items()}
        wire.send(HELLO, json.dumps({"host": "python", "godwit": "of the page",
                                     "blockers": ["no\33[2J room"],
                                     "versions": versions | {"uart": 0}}).encode())
        sizes = []
        while not sizes or sizes[-1]:
            kind, _, length = struct.unpack("<IIQ", wire.read(16))
            check(kind == TRIAL, kind)
            sizes.append(len(wire.read(length)))
        check(1 < len(sizes) <= 129 and max(sizes) <= 256 << 10, sizes)
        wire.send(TRIAL, b"")
        asking.join()
        check(answer["host"] == "python" and not answer["migratable"], answer)
        check(answer["blockers"] == ["no?[2J room", 'destination does not know "uart" of the VM\'s '
                                     "devices; update godwit there"], answer)
        a.beats()
        wants(a.client(), 204, "PUT", "vm.delete")


def test_format_settle(rig):
    """Called off behind the token, which is too late, it still comes back to ask."""
    with source(rig, words="mib=1") as a:
        client, versions, folder = a.client(), {}, rig.path("snapshot")
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.snapshot", {"destination_url": "file://" + folder})
        devices_of(folder, versions)
        destination = Destination(Memory(128 << 20), versions)
        wants(client, 204, "PUT", "vm.send-migration",
              {"destination_url": destination.url, "connections": STREAMS})
        destination.connect("begin")
        destination.hear(OFFER)
        destination.say(SEEN)
        receive_devices(destination)
        destination.say(READY)
        destination.hear(TOKEN)
        wants(client, 204, "PUT", "vm.cancel-migration")
        destination.cut()
        destination.greet("settle")
        destination.hear(ASK)
        destination.say(REFUSED, "it never came to that")
        check("Failed" in over(a, client)["state"], "not refused")
        wants(client, 204, "PUT", "vm.resume")
        a.beats()
        wants(client, 204, "PUT", "vm.delete")


def test_format_no_journal(rig):
    """Where this host cannot remember what it promised, nothing moves and nothing ends."""
    with source(rig, "--disk", "path=" + rig.disk()) as a:
        client = a.client()
        with open(rig.path("disk.img.owner"), encoding="ascii") as f:
            record = f.read()
        with open(rig.path("state"), "w", encoding="ascii"):
            pass
        wants(client, 204, "PUT", "vm.send-migration", {"destination_url": "tcp:127.0.0.1:1"})
        check("Failed" in over(a, client)["state"], "not refused")
        with open(rig.path("disk.img.owner"), encoding="ascii") as f:
            check(f.read() == record, "another owner record")
        a.beats()
        wants(client, 204, "PUT", "vm.delete")


def test_format_refused(rig):
    """A destination's reason is cut where it is too long, and never more than a sentence."""
    with source(rig) as a:
        client = a.client()
        destination = Destination(None, {})
        wants(client, 204, "PUT", "vm.send-migration", {"destination_url": destination.url})
        reason = json.dumps({"refused": "no\33[2J " + "\xe9" * 600}).encode()
        Wire(destination.listener).send(HELLO, reason)
        said = over(a, client)["state"]["Failed"]["error_msg"]
        check(said.startswith("the destination refuses: no?[2J ?"), said)
        a.beats()
        wants(client, 204, "PUT", "vm.delete")
