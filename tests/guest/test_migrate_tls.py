# SPDX-License-Identifier: Apache-2.0
"""Who may send a VM to whom, and strangers beside them."""
import contextlib
import json
import os
import socket
import struct
import subprocess
import threading

from api_client import wants
from framing import crc32c
from rig import LIMIT, check
from test_migrate import Side, destination, finish, source


def certificates(rig):
    subprocess.run([os.path.join(rig.programs, "certificates"), rig.folder], check=True,
                   stdout=subprocess.DEVNULL,
                   timeout=LIMIT)
    return rig.path


def move(rig, a, url, *options):
    """What "godwit migrate" says."""
    done = subprocess.run([rig.godwit, "migrate", a.name, url, *options], capture_output=True,
                          text=True, timeout=LIMIT, check=False)
    return done.returncode, done.stdout + done.stderr


def refused(rig, a, b, *options, saying, there):
    """No move, and both sides know why; the guest goes on, and b still waits."""
    status, said = move(rig, a, b.url(), *options)
    check(status == 1 and saying in said, said)
    b.logs(there)
    check(b.process.poll() is None, b.logged)
    a.beats()


def events(side):
    """Those of its VM so far, by name."""
    with open(side.events, encoding="ascii") as f:
        found = [json.loads(line) for line in f if line.strip()]
    return {event["event"]: event["properties"] for event in found}


def test_migrate_tls(rig):
    """Certificates of one authority on both sides, more than one connection."""
    path = certificates(rig)
    with source(rig) as a, destination(rig, "--tls", path("good"), "--event-monitor",
                                       "path=" + path("events")) as b:
        b.events = path("events")
        # Where the command is called, not where the VM's process was.
        done = subprocess.run([rig.godwit, "migrate", a.name, b.url(), "--tls", "good", "--streams",
                               "3", "--json"], capture_output=True, cwd=rig.folder, text=True,
                              timeout=LIMIT, check=False)
        check(done.returncode == 0, done.stderr)
        answer = json.loads(done.stdout)
        check(answer["transportation_mode"]["Tcp"] == {"connections": 3, "tls": True}, answer)
        check(answer["peer_identity"] == "127.0.0.1", answer)
        check(a.ended() == 0, a.logged)
        progress = wants(b.client(), 200, "GET", "vm.migration-progress")
        check(progress["transportation_mode"]["Tcp"]["tls"], progress)
        check(progress["peer_identity"] == "CN=host1", progress)
        check(progress["peer"].startswith("tcp:127.0.0.1:"), progress)
        check(events(b)["migration-receive-started"] ==
              {"peer": progress["peer"], "peer_identity": "CN=host1"}, events(b))
        finish(b)


def test_migrate_tls_refused(rig):
    """The wrong certificate on either side, or none, or TLS on one side alone."""
    path = certificates(rig)
    with source(rig) as a, destination(rig, "--tls", path("good")) as b:
        refused(rig, a, b, "--tls", path("strange"),
                saying="the certificate of 127.0.0.1 is not signed by ca-cert.pem",
                there="its ca-cert.pem has not signed this side's certificate")
        refused(rig, a, b, "--tls", path("forged"),
                saying="its ca-cert.pem has not signed this side's certificate",
                there="the certificate of the other side is not signed by ca-cert.pem")
        refused(rig, a, b, saying="TLS is wanted here", there="TLS is wanted here")
        for folder, missing in (("receiver", "client-cert.pem"), ("nowhere", "ca-cert.pem")):
            status, said = move(rig, a, b.url(), "--tls", path(folder))
            check(status == 1 and f"{missing} is not in {path(folder)}" in said, said)
        check(move(rig, a, b.url(), "--tls", path("good"))[0] == 0, a.logged + b.logged)
        finish(b)


def test_migrate_tls_other_name(rig):
    """The certificate of another host than the one that is meant."""
    path = certificates(rig)
    with source(rig) as a, destination(rig, "--tls", path("renamed")) as b:
        refused(rig, a, b, "--tls", path("good"), saying="is for other names",
                there="not acceptable or names another")


def test_migrate_tls_unwanted(rig):
    """A source with TLS, a destination without."""
    path = certificates(rig)
    with source(rig) as a, destination(rig) as b:
        refused(rig, a, b, "--tls", path("good"), saying="127.0.0.1 does not speak TLS",
                there="the other side speaks TLS")
        check(move(rig, a, b.url())[0] == 0, a.logged + b.logged)
        finish(b)


def test_migrate_listen(rig):
    """Other hosts reach a destination only with TLS, or if one says so."""
    path = certificates(rig)
    url = "tcp:0.0.0.0:0"
    with Side(rig, "open", "--incoming", url) as side:
        check(side.ended() != 0, side.logged)
        check("can be reached from other hosts" in side.logged, side.logged)
    with Side(rig, "wrong", "--incoming", url, "--tls", path("nowhere")) as side:
        check(side.ended() != 0, side.logged)
        check(f"ca-cert.pem is not in {path('nowhere')}" in side.logged, side.logged)
    for options in (["--plaintext"], ["--tls", path("receiver")]):
        with Side(rig, "allowed", "--incoming", url, *options) as side:
            check(side.url().startswith("tcp:0.0.0.0:"), side.logged)


def connect(b):
    _, host, port = b.url().split(":")
    return socket.create_connection((host, int(port)), LIMIT)


MAGIC = b"godwitVM" + struct.pack("<II", 1, 0)


def hello(text, magic=MAGIC):
    head = struct.pack("<IIQ", 48, 0, len(text))
    crc = crc32c(head + text)
    return magic + head[:4] + struct.pack("<I", crc) + head[8:] + text


STRANGERS = (
    b"", b"g", b"GET / HTTP/1.1\r\n\r\n", MAGIC, MAGIC[:9], b"\x16\x03\x01\x02\x00\x01",
    hello(b"{}")[:-1], hello(b"[]"), hello(b"{"), hello(b"{}", b"x" * 16),
    hello(b'{"role": "data", "index": 0}'), hello(b'{"role": "again", "session": ""}'),
    hello(b'{"role": "begin"}'),
    hello(b'{"role": "begin", "session": "../../../../../../../../../../etc/pass", '
          b'"vm": "../../../../../../../../../../etc/pass", "streams": 1, "generation": 1, '
          b'"config": {}}'),
    hello(b"[" * 5000), struct.pack("<IIQ", 48, 0, 1 << 62).join((MAGIC, b"")),
)


class Flood:
    """Connections without end, of which each stays open."""

    def __init__(self, b):
        self.b, self.over, self.count = b, threading.Event(), 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with contextlib.ExitStack() as stack:
            while not self.over.wait(0.01) and self.count < 400:
                with contextlib.suppress(OSError):
                    stack.enter_context(connect(self.b)).sendall(
                        STRANGERS[self.count % len(STRANGERS)])
                    self.count += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def strangers(rig, options, moving):
    with source(rig) as a, destination(rig, *options) as b, contextlib.ExitStack() as stack:
        for words in STRANGERS * 3:  # more than are listened to at once
            stack.enter_context(connect(b)).sendall(words)
        with Flood(b) as flood:
            status, said = move(rig, a, b.url(), *moving)
            check(status == 0, said + b.logged)
            check(flood.count > 0, "no flood")
        check(a.ended() == 0, a.logged)
        finish(b)


def test_migrate_strangers(rig):
    """Whoever else connects and says nothing, half of it or nonsense is in nobody's way."""
    strangers(rig, [], [])


def test_migrate_strangers_tls(rig):
    path = certificates(rig)
    strangers(rig, ["--tls", path("good")], ["--tls", path("good")])
