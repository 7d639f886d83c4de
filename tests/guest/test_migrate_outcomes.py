# SPDX-License-Identifier: Apache-2.0
"""What becomes of a VM when something happens while it moves: the table of docs/migration.md."""
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import threading
import uuid

from api_client import Connection, wants
from framing import section
from rig import LIMIT, Failed, Skipped, check
from test_migrate import Side, destination, finish

SLOW = {"bandwidth_limit": 1 << 20, "compress": "none"}
PAGES, SEEN, READY, TOKEN, ACCEPTED, HELLO = 16, 33, 35, 36, 37, 48
UNDECIDED = "may run there"


def exactly(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


class Proxy:
    """Between two sides: a section of one type is not let through, and may be changed."""

    def __init__(self, url, hold=None, change=None):
        self.to, self.hold, self.change = int(url.rpartition(":")[2]), hold, change
        self.held, self.kept = threading.Event(), None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets, self.mute = [], ()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                near = self.listener.accept()[0]
                self.sockets.append(near)
                try:
                    far = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    near.close()
                    continue
                self.sockets.append(far)
                for args in ((near, far, 16), (far, near, 0)):
                    threading.Thread(target=self.pump, args=args, daemon=True).start()

    def pump(self, source, sink, magic):
        with contextlib.suppress(OSError):
            sink.sendall(exactly(source, magic))
            while True:
                head = exactly(source, 16)
                kind, _, length = struct.unpack("<IIQ", head)
                payload = exactly(source, length)
                if source in self.mute:
                    continue
                if kind == self.hold:
                    self.kept = (sink, head + payload)
                    self.held.set()
                    continue
                if self.change and kind == HELLO and not magic:
                    sink.sendall(section(HELLO, self.change(payload)))
                else:
                    sink.sendall(head + payload)
        for s in (source, sink) if source not in self.mute else ():
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def wait(self):
        check(self.held.wait(LIMIT), f"no section {self.hold}")

    def silence(self):
        """What is there now stays, and nothing comes through."""
        self.mute = tuple(self.sockets)

    def cut(self):
        """All that is there now, once; what was held is lost."""
        self.hold = None
        for s in self.sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def let_go(self):
        self.hold = None
        self.kept[0].sendall(self.kept[1])

    def __enter__(self):
        return self

    def __exit__(self, *args):
        for s in (self.listener, *self.sockets):
            s.close()


class Move:
    """A VM, where it is to go, and what is between them; the two sides are two hosts."""

    def __init__(self, rig, *options, hold=None, change=None, disk=False, there=(), words="mib=8",
                 memory="128M", **popen):
        self.rig, self.uuid, self.stack = rig, str(uuid.uuid4()), contextlib.ExitStack()
        self.config = rig.path("vm.json")
        with open(self.config, "w", encoding="ascii") as f:
            json.dump({"platform": {"uuid": self.uuid}}, f)
        self.disk = disk if isinstance(disk, str) else rig.disk() if disk else None
        self.vm = ["--config", self.config, "--kernel", rig.elf("dirty"), "--memory", memory,
                   "--append", words, *options]
        if disk:
            self.vm += ["--disk", "path=" + self.disk]
        self.a = self.stack.enter_context(Side(rig, "source", "--serial", "tty", *self.vm))
        self.b = self.stack.enter_context(destination(rig, *there, state="there", **popen))
        try:
            self.a.until(lambda: "running" in self.a.said, "the guest does not run")
            self.proxy = self.stack.enter_context(Proxy(self.b.url(), hold, change))
            self.client = self.a.client()
        except BaseException:
            self.stack.close()
            raise

    def send(self, **more):
        wants(self.client, 204, "PUT", "vm.send-migration",
              {"destination_url": self.proxy.url, **more})

    def held(self):
        """Under way, up to the message that is held back."""
        self.send()
        self.proxy.wait()

    def copies(self):
        self.send(**SLOW)
        self.a.until(lambda: self.progress()["phase"] == "copy", "does not copy")

    def progress(self):
        return wants(self.client, 200, "GET", "vm.migration-progress")

    def info(self):
        return wants(self.client, 200, "GET", "vm.info")

    def state(self, state, text=""):
        """It came to this end; why, if there is a reason."""
        self.a.until(lambda: state in self.progress()["state"], f"not {state}")
        why = self.progress()["state"][state].get("error_msg", "")
        check(text in why, why)
        return why

    def types(self, side, byte):
        side.process.stdin.write(byte)
        side.process.stdin.flush()

    def goes_on(self):
        self.a.beats()
        finish(self.a)

    def godwit(self, state, *words, status=0):
        done = subprocess.run([self.rig.godwit, *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT, check=False,
                              env=os.environ | {"GODWIT_STATE_DIR": self.rig.path(state)})
        check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout + done.stderr

    def boots(self, state):
        """A cold start on that host works."""
        with Side(self.rig, "again", "--serial", "tty", *self.vm, state=state) as side:
            side.until(lambda: "running" in side.said, "the guest does not run")

    def refused(self, state):
        """What a cold start on that host says instead."""
        return self.godwit(state, "run", "--name", f"again-{os.getpid()}", "--serial", "null",
                           *self.vm, status=1)

    def resolves(self):
        """Refused until a person decides, with the words that were said."""
        said = self.refused("state")
        advice = f"godwit resolve {self.uuid} --run"
        check(advice in said, said)
        self.godwit("state", *advice.split()[1:], *([self.disk] if self.disk else []))
        self.boots("state")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stack.close()


def kill(side):
    side.process.kill()
    side.ended()


# The source dies

def test_outcome_source_killed_copy(rig):
    """Nothing was offered: the other side gives up, and the VM may be started anew."""
    for disk in (True, False):
        with Move(rig, disk=disk) as m:
            m.copies()
            kill(m.a)
            m.boots("state")
            wants(m.b.client(), 204, "PUT", "vm.cancel-migration")
            check(m.b.ended() == 1 and "called off" in m.b.logged, m.b.logged)


def test_outcome_source_killed_offered(rig):
    for disk in (True, False):
        with Move(rig, disk=disk, hold=SEEN) as m:
            m.held()
            kill(m.a)
            wants(m.b.client(), 204, "PUT", "vm.cancel-migration")
            check(m.b.ended() == 1, m.b.logged)
            m.resolves()


def test_outcome_source_killed_whole(rig):
    """With a disk whose lock was proven the other side has it all, and takes it."""
    for hold in (READY, TOKEN):
        with Move(rig, disk=True, hold=hold) as m:
            m.held()
            kill(m.a)
            m.b.beats()
            said = m.refused("state")
            check(m.b.name in said, said)
            finish(m.b)


def test_outcome_source_killed_whole_no_disk(rig):
    """Nobody knows whether a token was on its way: the other side waits until it is told."""
    for hold in (READY, TOKEN):
        with Move(rig, hold=hold) as m:
            m.held()
            kill(m.a)
            check("running" not in m.b.said and not m.b.said, m.b.said)
            wants(m.b.client(), 204, "PUT", "vm.cancel-migration")
            check(m.b.ended() == 1, m.b.logged)
            m.resolves()


# The destination dies

def test_outcome_destination_killed_early(rig):
    """Until the token the guest is the source's."""
    for disk in (True, False):
        for hold in (None, SEEN, READY):
            with Move(rig, disk=disk, hold=hold) as m:
                if hold:
                    m.held()
                else:
                    m.copies()
                kill(m.b)
                if hold == READY:
                    m.state("Failed")
                else:
                    m.a.beats()
                    wants(m.client, 204, "PUT", "vm.cancel-migration")
                    m.state("Cancelled")
                m.goes_on()


def test_outcome_destination_killed_token(rig):
    """The lock is free and the record says offered: the guest goes on."""
    with Move(rig, disk=True, hold=TOKEN) as m:
        m.held()
        kill(m.b)
        m.state("Failed", "it goes on here")
        m.goes_on()


def undecided(m):
    """Neither side can be asked: what would run the guest is refused."""
    m.a.until(lambda: m.progress()["undecided"], "not undecided")
    info = m.info()
    check(info["undecided"] and info["state"] == "Paused", info)
    for verb in ("vm.resume", "vm.boot", "vm.reboot", "vm.pause", "vm.shutdown", "vm.delete",
                 "vm.power-button"):
        said = wants(m.client, 500, "PUT", verb)
        check(UNDECIDED in said[0] and "godwit resolve" in said[0], said)
    m.a.process.send_signal(signal.SIGTERM)
    check(m.progress()["undecided"], "SIGTERM decided")


def test_outcome_undecided_until_asked(rig):
    """Without an arbiter the next process on the destination's host settles it from the journal."""
    with Move(rig, hold=TOKEN) as m:
        m.held()
        kill(m.b)
        m.a.until(lambda: m.progress()["undecided"], "not undecided")
        with destination(rig, state="there") as again:
            m.proxy.to = int(again.url().rpartition(":")[2])
            m.state("Failed", "it goes on here")
            m.goes_on()
            check(again.process.poll() is None, "the next one has ended")


def test_outcome_undecided_run(rig):
    with Move(rig, hold=TOKEN) as m:
        m.held()
        kill(m.b)
        undecided(m)
        wants(m.client, 400, "PUT", "vm.resolve-migration", {"run": "perhaps"})
        before = len(m.a.said)
        m.godwit("state", "resolve", m.a.name, "--run")
        m.state("Failed", "it goes on here")
        m.a.until(lambda: len(m.a.said) > before + 3, "the guest stands still")
        wants(m.client, 500, "PUT", "vm.send-migration", {"destination_url": "tcp:127.0.0.1:1",
                                                           "wait": True})
        wants(m.client, 404, "PUT", "vm.resolve-migration", {"run": True})
        finish(m.a)


def test_outcome_undecided_discard(rig):
    with Move(rig, hold=ACCEPTED) as m:
        m.held()
        kill(m.b)
        undecided(m)
        wants(m.client, 204, "PUT", "vm.resolve-migration", {"run": False})
        check(m.a.ended() == 0, m.a.logged)
        check("was given to" in m.refused("state"), "it may start")


def test_outcome_destination_killed_accepted(rig):
    """It ran there: the source ends, and there it may be started anew."""
    with Move(rig, disk=True, hold=ACCEPTED) as m:
        m.held()
        m.b.beats()
        kill(m.b)
        check(m.a.ended() == 0, m.a.logged)
        check("was given to" in m.refused("state"), "it may start")
        m.boots("there")


# No room, or another godwit

@contextlib.contextmanager
def small(path):
    """A file system that has no room left but for what is there."""
    os.makedirs(path)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", path], check=False,
                      capture_output=True).returncode:
        raise Skipped("no file system can be mounted")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(path):
    with contextlib.suppress(OSError):
        with open(os.path.join(path, "full"), "wb") as f:
            while True:
                f.write(b"x" * 4096)
                f.flush()


def test_outcome_destination_full(rig):
    """It refuses before the first page."""
    with small(rig.path("there")):
        fill(rig.path("there"))
        with Move(rig, disk=True) as m:
            m.send()
            m.state("Failed", "the destination refuses")
            check(m.b.ended() == 1, m.b.logged)
            m.goes_on()


def test_outcome_source_full(rig):
    """The guest runs on; the migration ends when its end can be written down."""
    with small(rig.path("state")), Move(rig, disk=True) as m:
        fill(rig.path("state"))
        m.send()
        m.a.logs("tried again")
        m.a.beats()
        os.remove(rig.path("state/full"))
        m.state("Failed", "No space left")
        m.goes_on()


def test_outcome_disk_full(rig):
    """Behind the token: the guest stands still until one side can write that it has it."""
    with small(rig.path("disks")):
        with Move(rig, disk=rig.disk(name="disks/disk.img"), hold=READY) as m:
            m.held()
            fill(rig.path("disks"))
            m.proxy.let_go()
            m.a.until(lambda: m.progress()["undecided"], "decided")
            os.remove(rig.path("disks/full"))
            m.state("Failed", "it goes on here")
            check(m.b.ended() == 1, m.b.logged)
            m.goes_on()


def test_outcome_no_memory(rig):
    """The other side cannot have so much."""
    if rig.watches_threads():
        raise Skipped("a thread-sanitized program needs all addresses")
    limit = (1 << 29, 1 << 29)
    with Move(rig, memory="1G",
              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit)) as m:
        m.send()
        m.state("Failed", "the destination refuses")
        check(m.b.ended() == 1, m.b.logged)
        m.goes_on()


def test_outcome_no_such_device(rig):
    with Move(rig, there=("--net", "id=net7,tap=tap7")) as m:
        m.send()
        m.state("Failed", "net7")
        check(m.b.ended() == 1 and "net7" in m.b.logged, m.b.logged)
        m.goes_on()


def test_outcome_other_format(rig):
    """A source of another format is sent away, and the next one is served."""
    with Move(rig) as m:
        with socket.create_connection(("127.0.0.1", m.proxy.to)) as s:
            s.sendall(b"godwitVM" + struct.pack("<II", 99, 0))
            check(s.recv(1) == b"", "it answered")
        m.send()
        check(m.a.ended() == 0, m.a.logged)
        m.b.beats()
        finish(m.b)


def test_outcome_other_versions(rig):
    """A side that knows no state of a device gets no page either."""
    def forget(payload):
        answer = json.loads(payload)
        del answer["versions"]["uart"]
        return json.dumps(answer).encode()
    with Move(rig, change=forget) as m:
        m.send()
        why = m.state("Failed")
        check('destination does not know "uart"' in why, why)
        check(list(m.progress()["phases_us"]) == ["connect", "hello"], m.progress())
        m.goes_on()


def test_outcome_no_godwit(rig):
    """What answers is something else."""
    with Move(rig) as m, socket.create_server(("127.0.0.1", 0)) as s:
        url = f"tcp:127.0.0.1:{s.getsockname()[1]}"
        wants(m.client, 204, "PUT", "vm.send-migration", {"destination_url": url})
        with s.accept()[0] as near:
            near.sendall(b"220 mail.example ESMTP\r\n")
            m.state("Failed")
        m.goes_on()


# The guest acts

def test_outcome_guest_reboots(rig):
    """It boots again where it is, and moves then."""
    for byte in (b"r", b"t"):
        with Move(rig) as m:
            m.copies()
            before = len(m.a.said)
            m.types(m.a, byte)
            m.a.until(lambda: "running" in m.a.said[before:], "did not boot again")
            wants(m.client, 204, "PUT", "vm.set-migration-parameters", {"bandwidth_limit": 0})
            check(m.a.ended() == 0, m.a.logged)
            m.b.beats()
            finish(m.b)


def test_outcome_guest_powers_off(rig):
    """The VM is over, and the other side ends."""
    with Move(rig, disk=True) as m:
        m.copies()
        m.types(m.a, b"o")
        check(m.a.ended() == 0, m.a.logged)
        m.b.until(lambda: m.b.process.poll() is not None, "waits")
        check(m.b.ended() == 1, m.b.logged)
        m.boots("state")


def test_outcome_guest_panics(rig):
    """What --on-panic says comes first, and nothing moves."""
    with Move(rig, "--on-panic", "pause") as m:
        m.copies()
        m.types(m.a, b"p")
        m.a.until(lambda: m.info()["state"] == "Paused", "not paused")
        wants(m.client, 204, "PUT", "vm.set-migration-parameters", {"bandwidth_limit": 0})
        m.state("Failed", "panicked")
        check(m.info()["state"] == "Paused", "it goes on")
        check(m.b.ended() == 1, m.b.logged)
    with Move(rig, "--on-panic", "exit") as m:
        m.copies()
        m.types(m.a, b"p")
        check(m.a.ended() == 1 and "panicked" in m.a.logged, m.a.logged)
        check(m.b.ended() == 1, m.b.logged)
    with Move(rig, "--on-panic", "restart") as m:
        m.copies()
        before = len(m.a.said)
        m.types(m.a, b"p")
        m.a.until(lambda: "running" in m.a.said[before:], "did not boot again")
        wants(m.client, 204, "PUT", "vm.set-migration-parameters", {"bandwidth_limit": 0})
        check(m.a.ended() == 0, m.a.logged)
        m.b.beats()
        finish(m.b)


def test_outcome_guest_offered(rig):
    """The same between the offer and the stop."""
    with Move(rig, disk=True, hold=SEEN) as m:
        m.held()
        before = len(m.a.said)
        m.types(m.a, b"r")
        m.a.until(lambda: "running" in m.a.said[before:], "did not boot again")
        m.proxy.let_go()
        check(m.a.ended() == 0, m.a.logged)
        m.b.beats()
        finish(m.b)
    with Move(rig, "--on-panic", "pause", disk=True, hold=SEEN) as m:
        m.held()
        m.types(m.a, b"p")
        m.a.logs("panicked")
        m.proxy.let_go()
        m.state("Failed", "panicked")
        m.a.until(lambda: m.info()["state"] == "Paused", "not paused")
        check(m.b.ended() == 1, m.b.logged)
    with Move(rig, disk=True, hold=SEEN) as m:
        m.held()
        m.types(m.a, b"o")
        check(m.a.ended() == 0, m.a.logged)
        check(m.b.ended() == 1, m.b.logged)
        m.boots("state")


def test_outcome_paused(rig):
    """A VM that is paused, by whomever, comes paused."""
    with Move(rig) as m:
        wants(m.client, 204, "PUT", "vm.pause")
        m.send()
        check(m.a.ended() == 0, m.a.logged)
        client = m.b.client()
        m.b.until(lambda: wants(client, 200, "GET", "vm.info")["state"] == "Paused", "not paused")
        check(not m.b.said, m.b.said)
        wants(client, 204, "PUT", "vm.resume")
        m.b.beats()
        finish(m.b)


# Somebody asks for something

REFUSED = (("vm.pause", None), ("vm.resume", None), ("vm.boot", None), ("vm.reboot", None),
           ("vm.soft-reboot", None), ("vm.snapshot", {"destination_url": "file:///nowhere"}),
           ("vm.add-disk", {"path": "/nowhere"}), ("vm.remove-device", {"id": "disk0"}),
           ("vm.resize-disk", {"id": "disk0", "desired_size": 1 << 30}),
           ("vm.set-rate-limit", {"id": "disk0"}), ("vm.resize", {"desired_vcpus": 1}),
           ("vm.send-migration", {"destination_url": "tcp:127.0.0.1:1"}))


def refuses(client):
    for verb, body in REFUSED:
        said = wants(client, 500, "PUT", verb, body)
        check("being migrated" in said[0] and "vm.cancel-migration" in said[0], said)


def test_outcome_requests(rig):
    """Refused on both sides, by API and by verb; what only looks is answered."""
    with Move(rig, disk=True, hold=SEEN) as m:
        m.held()
        refuses(m.client)
        there = m.b.client()
        refuses(there)
        check(m.info()["state"] == "Running", m.info())
        check(wants(there, 200, "GET", "vm.info")["state"] == "Created", "it runs")
        check("being migrated" in m.godwit("state", "pause", m.a.name, status=1), "no sentence")
        wants(there, 500, "PUT", "vm.power-button")
        wants(m.client, 204, "PUT", "vm.cancel-migration")
        m.state("Cancelled")
        m.goes_on()


def test_outcome_changing(rig):
    """A guest was asked to give up a device, and has not answered."""
    with Move(rig, disk=True) as m:
        body = json.dumps({"id": "disk0"}).encode()
        first = Connection(m.a.socket)
        first.send(b"PUT /api/v1/vm.remove-device HTTP/1.1\r\nHost: localhost\r\n"
                   b"Content-Length: %d\r\n\r\n" % len(body), body)
        m.info()  # is answered after that was read
        said = wants(m.client, 500, "PUT", "vm.send-migration", {"destination_url": m.proxy.url})
        check("is being removed or resized" in said[0], said)
        m.goes_on()


def test_outcome_ended(rig):
    """Who ends the VM calls its migration off."""
    for verb in ("vm.shutdown", "vm.delete"):
        with Move(rig) as m:
            m.copies()
            wants(m.client, 204, "PUT", verb)
            check(m.b.ended() == 1, m.b.logged)


def test_outcome_signals(rig):
    """The source's guest has its power button pressed, at home; the other side refuses and ends."""
    for hold in (SEEN, READY):
        with Move(rig, disk=True, hold=hold) as m:
            m.held()
            m.b.process.send_signal(signal.SIGTERM)
            check(m.b.ended() == 1 and "called off" in m.b.logged, m.b.logged)
            m.state("Failed")
            m.goes_on()
        with Move(rig, disk=True, hold=hold) as m:
            m.held()
            m.a.process.send_signal(signal.SIGTERM)
            m.state("Cancelled")
            m.a.beats()
            check(m.b.ended() == 1, m.b.logged)
            m.a.process.send_signal(signal.SIGTERM)
            check(m.a.ended() == 1 and "second signal" in m.a.logged, m.a.logged)


def test_outcome_signal_waiting(rig):
    """Nothing has come yet."""
    with destination(rig) as b:
        b.url()
        b.process.send_signal(signal.SIGTERM)
        check(b.ended() == 1 and "called off" in b.logged, b.logged)


# Who is told

def test_outcome_consoles(rig):
    """Whoever is attached to a port hears where the guest went, and the events say so."""
    with Move(rig) as m:
        with subprocess.Popen([rig.godwit, "console", "--watch", m.a.name],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as console:
            check(console.stdout.read(1), "no console")
            with subprocess.Popen([rig.godwit, "events", "--follow", "--json", m.a.name],
                                  stdout=subprocess.PIPE, text=True) as events:
                m.a.until(lambda: events.stdout.readline(), "no events")
                m.send()
                check(m.a.ended() == 0, m.a.logged)
                told = [json.loads(line) for line in events.stdout.read().splitlines()]
            said = console.stdout.read().decode()
        check(f"[godwit: this VM runs at {m.proxy.url} now]" in said, said[-200:])
        check(f"[godwit: this VM runs at {m.proxy.url} now]" in m.a.said, m.a.said[-200:])
        told = {e["event"]: e["properties"] for e in told if e["event"].startswith("migration")}
        check(told["migration-started"]["url"] == m.proxy.url, told)
        check(told["migration-finished"] == {"url": m.proxy.url}, told)
        finish(m.b)
