# SPDX-License-Identifier: Apache-2.0
"""A migration that cannot end well keeps no process: what is written stays as it is."""
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import time

from api_client import wants
from framing import section
from rig import LIMIT, check
from test_migrate import Side, finish
from test_migrate_outcomes import (ACCEPTED, HELLO, READY, SLOW, TOKEN, Move, exactly, fill, kill,
                                   small)

CANCEL = 39
LEFT = "this host's records still say"


def terminate_twice(side):
    for _ in range(2):
        side.process.send_signal(signal.SIGTERM)
        side.logs("SIGTERM")


def test_migrate_ends_undecided(rig):
    """Neither side can be asked, and the process is to end."""
    with Move(rig, hold=TOKEN) as m:
        m.held()
        kill(m.b)
        m.a.until(lambda: m.progress()["undecided"], "not undecided")
        terminate_twice(m.a)
        check(m.a.ended() == 1 and m.a.logged.count(LEFT) == 1, m.a.logged)
        m.resolves()


def test_migrate_ends_late(rig):
    """That it is called off comes late, and no other connection ends before that."""
    with Move(rig, hold=CANCEL) as m:
        m.copies()
        wants(m.client, 204, "PUT", "vm.cancel-migration")
        m.proxy.wait()
        time.sleep(0.2)
        m.proxy.let_go()
        check(m.b.ended() == 1 and "called off" in m.b.logged, m.b.logged)
        m.state("Cancelled")
        m.goes_on()


def full(m):
    """It cannot write that it was called off."""
    fill(m.rig.path("state"))
    m.send()
    m.a.logs("tried again")


def test_migrate_ends_full(rig):
    """Whoever ends the VM is answered, and the process ends."""
    for verb in ("vm.shutdown", "vmm.shutdown", None):
        with small(rig.path("state")), Move(rig, disk=True) as m:
            full(m)
            if verb:
                said = wants(m.client, 500, "PUT", verb)
                check(LEFT in said[0] and f"godwit resolve {m.uuid}" in said[0], said)
            else:
                terminate_twice(m.a)
            check(m.a.ended() == 1 and m.a.logged.count(LEFT) == 1, m.a.logged)
        os.rmdir(rig.path("state"))


@contextlib.contextmanager
def no_more_files(process):
    """It has more than these, so that it cannot open any."""
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (8, limits[1]))
    yield
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)


def test_migrate_ends_no_files(rig):
    """A destination that is short of files takes the connection when it has some again."""
    with Move(rig) as m:
        with no_more_files(m.b.process):
            m.send()
            m.b.logs("has to wait")
        check(m.a.ended() == 0, m.a.logged)
        m.b.beats()
        finish(m.b)


def test_migrate_ends_no_files_later(rig):
    """So does one that has the VM, and is asked whether."""
    with Move(rig, hold=ACCEPTED) as m:
        m.held()
        m.b.beats()
        with no_more_files(m.b.process):
            m.proxy.cut()
            m.b.logs("has to wait")
        check(m.a.ended() == 0, m.a.logged)
        finish(m.b)


def test_migrate_ends_moved_on(rig):
    """Where the VM came to, its first host is answered while it is moved on from there."""
    with (Move(rig, hold=ACCEPTED) as m,
          Side(rig, "far", "--incoming", "tcp:127.0.0.1:0", state="there") as c):
        m.held()
        m.b.beats()
        client = m.b.client()
        wants(client, 204, "PUT", "vm.send-migration", {"destination_url": c.url(), **SLOW})
        m.b.until(lambda: wants(client, 200, "GET", "vm.migration-progress")["phase"] == "copy",
                  "does not copy")
        m.proxy.cut()
        check(m.a.ended() == 0, m.a.logged)
        finish(m.b)


def test_migrate_ends_silent(rig):
    """Connections that only seem to be there are replaced by those with which the source comes."""
    with Move(rig) as m:
        m.copies()
        m.proxy.silence()
        wants(m.client, 204, "PUT", "vm.set-migration-parameters", {"bandwidth_limit": 0})
        check(m.a.ended() == 0, m.a.logged)
        m.b.beats()
        finish(m.b)


def test_migrate_ends_silent_token(rig):
    """A source that died is noticed by the one that waits for its token."""
    with Move(rig, disk=True, hold=TOKEN) as m:
        m.held()
        m.proxy.silence()
        kill(m.a)
        m.b.beats()
        finish(m.b)


def test_migrate_ends_destination_full(rig):
    """Where accepting cannot be written the token is refused, and the guest goes on at once."""
    with small(rig.path("there")), Move(rig, hold=READY) as m:
        m.held()
        fill(rig.path("there"))
        m.proxy.let_go()
        m.state("Failed", "it goes on here")
        check(m.b.ended() == 1 and "No space left" in m.b.logged, m.b.logged)
        m.goes_on()


def test_migrate_ends_by_name(rig):
    """One that waits has its name, and is listed, looked at and called off by it."""
    def godwit(*words):
        done = subprocess.run([rig.godwit, *words], capture_output=True, text=True, timeout=LIMIT,
                              check=False)
        return done.stdout + done.stderr

    with Side(rig, "waits", "--incoming", "tcp:127.0.0.1:0") as b:
        b.url()
        listed = {vm["name"]: vm for vm in json.loads(godwit("list", "--json"))}
        check(listed[b.name]["state"] == "Waiting", listed)
        check("connect" in godwit("migration", b.name), godwit("migration", b.name))
        said = godwit("run", "--name", b.name, "--incoming", "tcp:127.0.0.1:0")
        check("is running already" in said, said)
        check(not godwit("cancel", b.name), "it is not called off")
        check(b.ended() == 1 and "called off" in b.logged, b.logged)
        check(b.name not in godwit("list"), godwit("list"))
    said = godwit("run", "--name", "../up", "--incoming", "tcp:127.0.0.1:0")
    check("name must be" in said, said)


def first_words(m):
    """What its source says to a destination, which hears no more of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wants(m.client, 204, "PUT", "vm.send-migration",
              {"destination_url": f"tcp:127.0.0.1:{listener.getsockname()[1]}"})
        with listener.accept()[0] as s:
            kind, _, length = struct.unpack("<IIQ", exactly(s, 32)[16:])
            check(kind == HELLO, f"section {kind}")
            hello = json.loads(exactly(s, length))
    m.state("Failed")
    return hello


def test_migrate_ends_early(rig):
    """A source that calls it off before its memory connections are there is heard."""
    with Move(rig) as m:
        hello = first_words(m)
        with socket.create_connection(("127.0.0.1", m.proxy.to)) as s:
            s.sendall(b"godwitVM" + struct.pack("<II", 1, 0) +
                      section(HELLO, json.dumps(hello).encode()))
            kind, _, length = struct.unpack("<IIQ", exactly(s, 16))
            check(kind == HELLO and b"versions" in exactly(s, length), "no answer")
            s.sendall(section(CANCEL, struct.pack("<36sIQ", hello["session"].encode(), 0, 1) +
                              b"never mind"))
            check(m.b.ended() == 1 and "called it off: never mind" in m.b.logged, m.b.logged)
        m.goes_on()
