# SPDX-License-Identifier: Apache-2.0
"""Random requests from several clients at once, valid, half-valid and broken, beside one that asks.

FLOOD_SEED=N in the environment makes others; FLOOD_REQUESTS=N more.
"""
import contextlib
import json
import multiprocessing
import os
import random
import socket
import sys
import time

from rig import LIMIT, check
from test_api import Connection, config, monitor, wants

SEED = int(os.environ.get("FLOOD_SEED", "1"))
REQUESTS = int(os.environ.get("FLOOD_REQUESTS", "10000"))
CLIENTS = 5

GETS = ("vmm.ping", "vm.info", "vm.counters", "/metrics", "vm.migration-progress", "events",
        "events?since=1", "events?since=999999999&wait=1", "events?wait=x", "vm.nothing", "/", "/x",
        "vm.info?" + "q" * 3000, "vm.%69nfo", "../v1/vm.info")
LIFE = ("vm.boot", "vm.pause", "vm.resume", "vm.reboot", "vm.shutdown", "vm.power-button")
DEVICES = ("vm.add-disk", "vm.add-disk", "vm.add-disk", "vm.add-net", "vm.remove-device",
           "vm.remove-device")
OTHERS = ("vm.create", "vm.resize", "vm.resize-disk", "vm.resize-zone", "vm.snapshot", "vm.restore",
          "vm.coredump", "vm.send-migration", "vm.receive-migration", "vm.add-device", "vm.add-fs",
          "vm.add-vsock", "vm.add-pmem", "vm.add-vdpa", "vm.add-user-device",
          "vm.add-generic-vhost-user", "vm.set-rate-limit")
# Of the VM: only ever asked for with the wrong verb, which no broken byte makes the right one.
ENDS = ("vmm.shutdown", "vm.delete", "vm.nmi")

FIELDS = ("path", "id", "readonly", "direct", "num_queues", "queue_size", "serial", "iommu",
          "rate_limiter_config", "bandwidth", "ops", "size", "refill_time", "mac", "mtu", "payload",
          "kernel", "cpus", "boot_vcpus", "memory", "disks", "net", "desired_size", "desired_ram",
          "image_type", "pci_segment", "vhost_user", "name", "")
STATUS = {200, 204, 400, 404, 409, 413, 417, 429, 431, 500, 501}


def odd_value(rng, depth=0):
    simple = (None, True, False, 0, -1, 1, 2**31, 2**63 - 1, -2**63, 1e308, 0.5, "", "x", "x" * 5000,
              "é\u0001\U0001f40e", "on", "1G", "../..", "/dev/null", "disk0", "\x7f", "%s%n")
    if depth > 3 or rng.random() < 0.7:
        return rng.choice(simple)
    if rng.random() < 0.5:
        return [odd_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(FIELDS): odd_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def odd_text(rng):
    """What is no JSON, or no object, or one that strains its reader."""
    deep = rng.choice((10, 2000, 100000))
    return rng.choice((b"", b"{", b"null", b"[]", b'"x"', b"{}" + b" " * 70000, b"\xff\xfe{}",
                       b'{"path": "\xc3"}', b'{"id": 1' + b"0" * 400 + b"}", b'{"a":' * deep,
                       b"[" * deep + b"]" * deep, b'{"size": 9223372036854775808}',
                       b'{"id": "\\ud800"}', b'{"a": [' + b"[]," * 10**6 + b"1]}", b'{"id": "a\\u0000b"}', b"\0" * 9))


class Flood:
    """One client: what it asks for depends on its seed alone."""

    def __init__(self, path, disks, files, seed):
        self.path, self.disks, self.files = path, disks, files
        self.rng = random.Random(seed)
        self.kept = Connection(path)

    def body(self, name):
        rng = self.rng
        if rng.random() < 0.2:
            return odd_text(rng)
        fields = {rng.choice(FIELDS): odd_value(rng) for _ in range(rng.randrange(4))}
        if name == "vm.add-disk" and rng.random() < 0.8:
            fields["path"] = rng.choice(self.disks)
            fields["readonly"] = rng.random() < 0.5
        if rng.random() < 0.5 and name in DEVICES:
            fields["id"] = rng.choice(("disk0", "disk1", "disk2", "rng", "serial"))
        if rng.random() < 0.5 and name == "vm.add-disk":
            return json.dumps({"path": fields.get("path")}).encode()
        return json.dumps(fields).encode()

    def request(self):
        """(method, name, body or None, the statuses that are right)"""
        rng = self.rng
        kind = rng.random()
        if kind < 0.3:
            return "GET", rng.choice(GETS), None, {200, 400, 404, 501}
        if kind < 0.4:
            return "PUT", rng.choice(LIFE), None, {204, 429, 500}
        if kind < 0.5:
            return "PUT", rng.choice(LIFE), b"{}", {400}
        if kind < 0.6:
            return "GET", rng.choice(LIFE + DEVICES + ENDS), None, {400}
        if kind < 0.85:
            name = rng.choice(DEVICES)
            return "PUT", name, self.body(name), STATUS
        name = rng.choice(OTHERS)
        return "PUT", name, self.body(name), STATUS

    def head(self, method, name):
        path = name if name.startswith("/") else "/api/v1/" + name
        more = self.rng.choice(("", "", "Accept: */*\r\n", "X: " + "y" * 5000 + "\r\n"))
        return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}".encode()

    def chunked(self, body):
        """In pieces of any size, the lengths written in any way."""
        rng, text = self.rng, b""
        while body:
            n = rng.randrange(1, min(len(body), 3000) + 1)
            text += rng.choice(("%x", "%X", "%08x")).encode() % n + b"\r\n" + body[:n] + b"\r\n"
            body = body[n:]
        return b"Transfer-Encoding: chunked\r\n\r\n" + text + b"0\r\n\r\n"

    def bytes_of(self, method, name, body):
        head = self.head(method, name)
        if body is None:
            return head + b"\r\n"
        if self.rng.random() < 0.3:
            return head + self.chunked(body)
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def pieces(self, text):
        at = 0
        while at < len(text):
            n = self.rng.choice((1, 2, 7, 100, len(text)))
            yield text[at:at + n]
            at += n

    def spoil(self, text):
        """A few bytes are others, missing, or too many."""
        rng, text = self.rng, bytearray(text)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text) + 1)
            n = rng.randrange(4)
            text[at:at + n] = rng.randbytes(rng.randrange(6))
        return bytes(text)

    def ask(self):
        method, name, body, right = self.request()
        text = self.bytes_of(method, name, body)
        self.kept.send(*(self.pieces(text) if len(text) < 300 else [text]))
        status, answer = self.kept.answer()
        check(status in right, f"{method} {name} {body}: {status} {answer}")
        check(status < 400 or isinstance(answer, list), f"{method} {name}: {answer}")

    def ask_with_files(self):
        method, name, body, right = self.request()
        text = self.bytes_of(method, name, body)
        cut = self.rng.randrange(1, len(text) + 1)
        sent = socket.send_fds(self.kept.socket, [text[:cut]], [0] * self.rng.randrange(1, self.files))
        self.kept.send(text[sent:])
        status, answer = self.kept.answer()
        check(status in right | {400}, f"{method} {name} with files: {status} {answer}")

    def pipeline(self):
        texts = [self.bytes_of(*self.request()[:3]) for _ in range(self.rng.randrange(2, 6))]
        texts = [t for t in texts if len(t) < 8000]
        self.kept.send(b"".join(texts))
        for _ in texts:
            check(self.kept.answer()[0] in STATUS, "pipelined")

    def break_off(self):
        """Rubbish, or a request that ends anywhere; its client leaves at once or listens."""
        rng = self.rng
        text = self.bytes_of(*self.request()[:3])
        text = self.spoil(text) if rng.random() < 0.6 else text[:rng.randrange(len(text))]
        with contextlib.closing(Connection(self.path)) as other, \
                contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if rng.random() < 0.3:
                socket.send_fds(other.socket, [b"P"], [0] * rng.randrange(1, 20))
            other.send(text)
            if rng.random() < 0.7:
                other.socket.shutdown(socket.SHUT_WR)
                while other.socket.recv(1 << 16):
                    pass

    def renew(self):
        """A VM that others have left in a state that does not boot runs again."""
        remove_devices(self.kept)
        self.kept.ask("PUT", "vm.boot")

    def run(self, requests):
        ways = (self.ask, self.ask_with_files, self.pipeline, self.break_off, self.renew)
        for _ in range(requests):
            self.rng.choices(ways, (60, 10, 10, 20, 2))[0]()


def remove_devices(client):
    """Of a VM that is shut down for it."""
    client.ask("PUT", "vm.shutdown")
    vm = wants(client, 200, "GET", "vm.info")["config"]
    for device in vm.get("disks", []) + vm.get("net", []):
        client.ask("PUT", "vm.remove-device", {"id": device["id"]})


def flood(path, disks, files, seed, requests):
    Flood(path, disks, files, seed).run(requests)


class Asker:
    """Asks for the same thing again and again, and keeps how long each answer took."""

    def __init__(self, path, name, key):
        self.connection = Connection(path)
        self.path, self.name, self.key = path, name, key
        self.times = []

    def ask(self):
        begin = time.monotonic()
        status, answer = self.connection.ask("GET", self.name)
        self.times.append(time.monotonic() - begin)
        check(status == 200 and self.key in answer, f"{self.name}: {status} {answer}")

    def said(self):
        ms = sorted(t * 1000 for t in self.times)
        return f"{self.name} {len(ms)} times, p50 {ms[len(ms) // 2]:.1f} ms, " \
               f"p99 {ms[len(ms) * 99 // 100]:.1f} ms, max {ms[-1]:.1f} ms"


def ask_while(askers, processes, client):
    """A guest that is paused, or that knows no hotplug, gives up devices when it is reset."""
    while any(p.is_alive() for p in processes):
        if len(askers[0].times) % 100 == 0:
            client.ask("PUT", "vm.resume")
            client.ask("PUT", "vm.reboot")
        for asker in askers:
            asker.ask()
        time.sleep(0.001)
    for p in processes:
        p.join()
        check(p.exitcode == 0, "a client failed; why is above")


def start(target, *args):
    p = multiprocessing.get_context("fork").Process(target=target, args=args, daemon=True)
    p.start()
    return p


def odd_disks(rig):
    """Four good ones, and what else a path can lead to."""
    good = [rig.disk(1, f"disk{i}.img") for i in range(4)]
    os.mkfifo(rig.path("fifo"))
    with open(rig.path("empty"), "wb"):
        pass
    return good + [rig.path("fifo"), rig.path("empty"), rig.folder, "/dev/zero", "/dev/kvm",
                   rig.path("api.sock"), rig.path("nothing"), "", "x" * 5000, "/proc/self/mem"]


def tidy(client):
    """As it was at first, and running; returns how much memory is in use."""
    remove_devices(client)
    wants(client, 204, "PUT", "vm.boot")
    pid = wants(client, 200, "GET", "vmm.ping")["pid"]
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Private_Dirty:")) >> 10


def exits(client):
    counters = wants(client, 200, "GET", "vm.counters")
    return sum(sum(c.values()) for name, c in counters.items() if "vcpu" in name)


def eventually(true, why):
    deadline = time.monotonic() + LIMIT
    while not true():
        check(time.monotonic() < deadline, why)
        time.sleep(0.05)


def open_files(process):
    return sorted(os.readlink(f"/proc/{process.pid}/fd/{fd}").split(":")[0]
                  for fd in os.listdir(f"/proc/{process.pid}/fd"))


@contextlib.contextmanager
def shown_if_failed(path):
    """A file for what is said all the time; its end matters when all ends."""
    with open(path, "w+", encoding="utf-8", errors="replace") as said:
        try:
            yield said
        except BaseException:
            said.seek(0)
            print("".join(said.readlines()[-30:]), file=sys.stderr, flush=True)
            raise


def test_flood(rig):
    """Whatever others ask, ping and info are answered; nothing is left of it, and the guest lives."""
    path, disks, used = rig.path("api.sock"), odd_disks(rig), []
    # Of more the thread sanitizer does not know that they are new, and takes them for those of their
    # numbers that liburing closed without its knowing.
    files = 64 if rig.watches_threads() else 200
    with open(rig.godwit, "rb") as f:
        keeps_freed = b"__asan_init" in f.read()
    with shown_if_failed(rig.path("said")) as said, monitor(rig, stderr=said) as (process, client):
        wants(client, 200, "GET", "vmm.ping")
        before = open_files(process)
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 204, "PUT", "vm.boot")
        askers = Asker(path, "vmm.ping", "pid"), Asker(path, "vm.info", "config")
        for seed in (SEED, SEED + CLIENTS):
            ask_while(askers, [start(flood, path, disks, files, seed + i, REQUESTS // 2 // CLIENTS)
                               for i in range(CLIENTS)], client)
            used.append(tidy(client))
        print(f"# seed {SEED}, {REQUESTS} requests; {'; '.join(a.said() for a in askers)}; "
              f"{used} MiB in use", flush=True)
        check(keeps_freed or used[1] <= used[0] + 8, f"{used} MiB are in use")
        for asker in askers:
            asker.connection.close()
        check(wants(client, 200, "GET", "vm.info")["state"] == "Running", "not running")
        first = exits(client)
        eventually(lambda: exits(client) > first, "the vCPU stands still")
        wants(client, 204, "PUT", "vm.delete")
        # What watches threads has pipes to what names functions.
        eventually(lambda: open_files(process) == before or rig.watches_threads(),
                   "files are left open")
        wants(client, 204, "PUT", "vmm.shutdown")


def watch(path, wait, number, ready):
    watchers = [Connection(path) for _ in range(number)]
    for watcher in watchers:
        watcher.send(wait)
    Asker(path, "vmm.ping", "pid").ask()
    ready.send("ready")
    for watcher in watchers:
        check(watcher.answer()[1]["events"], "no news")


def test_many_watchers(rig):
    """The first of too many gets an answer without news; the others their events."""
    wait = b"GET /api/v1/events?since=1&wait=60 HTTP/1.1\r\n\r\n"
    with monitor(rig) as (_, client):
        first = Connection(rig.path("api.sock"))
        first.send(wait)
        wants(client, 200, "GET", "vmm.ping")
        others = []
        for _ in range(2):
            ready, more = multiprocessing.Pipe()
            others.append(start(watch, rig.path("api.sock"), wait, 16, more))
            check(ready.recv() == "ready", "no watchers")
        check(first.answer()[1]["events"] == [], "the first has news")
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 413, "PUT", "vm.create", b'{"a": [' + b"[]," * 100000 + b"[]]}")
        many = b'{"a": [' + b"1," * 60000 + b'1], "payload": null}' + b" " * (3 << 20)
        wants(client, 500, "PUT", "vm.create", many)
        wants(client, 204, "PUT", "vm.delete")
        for p in others:
            p.join()
            check(p.exitcode == 0, "a watcher failed; why is above")
        wants(client, 204, "PUT", "vmm.shutdown")
