# SPDX-License-Identifier: Apache-2.0
"""How long a migration takes, what it sends, how long the guest is silent; a snapshot's first byte.

All of it is seen from outside and in the same way for every monitor. tests/guest/dirty.c sends a
byte each millisecond: this program hears it in both places with one clock. Monitors, bare copy and
iperf3 have a network of their own, whose loopback device counts what is sent.
"""
import contextlib
import itertools
import json
import mmap
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Callable, NamedTuple

from bench_monitor import SETUP_ROUNDS, rounds, running
from bench_movers import LIMIT, RUNNING, Godwit, MappingQemu, Qemu, TunedQemu, hear
from bench_report import HIGHER, LOWER, Failed, Row

LIBRARY = os.path.dirname(os.path.abspath(__file__))
BEFORE = 0.5                    # seconds in which the guest is heard before it moves
AFTER = 200                     # heartbeats at the new place
MIB = 1 << 20
MADV_POPULATE_WRITE = 23        # <linux/mman.h>


class Case(NamedTuple):
    """A guest that moves; written: MiB of each vCPU, words: more of dirty.c's command line."""
    name: str
    written: int
    gib: int = 1
    cpus: int = 1
    words: str = ""
    tls: bool = False
    rates: bool = False         # rows of how fast the passes are, beside bare copy and iperf3

    def rows(self):
        return [Row(f"{self.name}: in all", "ms", LOWER), Row(f"{self.name}: sent", "MiB", LOWER),
                Row(f"{self.name}: longest silence", "ms", LOWER),
                Row(f"{self.name}: time lost", "ms", LOWER)] + (
            [Row(f"{self.name}: first pass", "Gbit/s", HIGHER),
             Row(f"{self.name}: later passes", "Gbit/s", HIGHER)] if self.rates else [])

    def append(self):
        return f"mib={self.written} cpus={self.cpus} {self.words}"


CASES = [
    Case("1 GiB, idle", 0),
    Case("4 GiB, idle", 0, gib=4),
    Case("1 GiB, 16 MiB rewritten", 16),
    Case("1 GiB, 64 MiB rewritten", 64),
    Case("1 GiB, 64 MiB rewritten, with TLS", 64, tls=True),
    Case("1 GiB, 64 MiB nearly the same", 64, words="noise"),
    Case("1 GiB, 64 MiB incompressible", 64, words="renew"),
    Case("1 GiB, 2 vCPUs, 32 MiB rewritten by each", 32, cpus=2),
    Case("1 GiB, 512 MiB rewritten", 512),
    Case("1 GiB, 512 MiB incompressible", 512, words="renew", rates=True),
    Case("4 GiB, 2 vCPUs, 256 MiB rewritten by each", 256, gib=4, cpus=2),
]
SNAPSHOT = Case("start to the first byte", 1, words="fill=960")


class Wire:
    """A network with nothing but a loopback device, until it is closed."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
            stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"up\n":
            self.close()
            raise Failed("the kernel gives no network of our own: run this part as root")
        self.counters = open(f"/proc/{self.holder.pid}/net/dev", encoding="ascii")

    def inside(self, *argv):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *argv]

    def sent(self):
        """Bytes so far."""
        self.counters.seek(0)
        return int(re.search(r"^ *lo:(?: *\d+){8} +(\d+)", self.counters.read(), re.M)[1])

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


class Listener:
    """When the guest was heard at which place, and when how much had been sent."""

    def __init__(self, wire):
        self.wire = wire
        self.beats = {}
        self.sent = []

    def listen(self, places, enough):
        """Until the function says that it is."""
        deadline, places = time.monotonic() + LIMIT, list(places)
        while not enough():
            ready, _, _ = select.select(places, [], [], 0.001)
            now = time.monotonic_ns()
            for place in ready:
                heard = os.read(place, 1 << 16)
                self.beats.setdefault(place, []).extend([now] * heard.count(b"."))
                if not heard:
                    places.remove(place)
            self.sent.append((now, self.wire.sent()))
            if time.monotonic() > deadline:
                raise Failed(f"the guest has not moved after {LIMIT} s")

    def heard(self, place):
        return self.beats.get(place, [])


def silence(beats, began):
    """Milliseconds: the longest gap since then less the usual one before; and the time lost, which
    is how much longer all gaps took than as many before, at least that longest one."""
    beats = sorted(beats)
    gaps = [(later, later - earlier) for earlier, later in itertools.pairwise(beats)]
    before = [gap for at, gap in gaps if at <= began]
    since = [gap for at, gap in gaps if at > began]
    longest = max(since) - statistics.median(before)
    lost = sum(since) - len(since) * statistics.mean(before)
    return longest / 1e6, max(longest, lost) / 1e6


def rates(sent, written, ended):
    """Gbit/s of the first written bytes, and of all behind them; sent: [(ns, bytes so far)].

    The first MiB is behind what both ends say before they move memory.
    """
    sent = [s for s in sent if s[0] <= ended]
    base, total = sent[0][1], sent[-1][1]
    began, first = ([s for s in sent if s[1] - base >= n][:1] for n in (MIB, written))
    if not first or total == first[0][1]:
        raise Failed(f"{(total - base) / MIB:.0f} MiB were sent: there is no second pass")
    marks = [*began, *first, sent[-1]]
    return tuple((later[1] - earlier[1]) * 8 / (later[0] - earlier[0])
                 for earlier, later in itertools.pairwise(marks))


@contextlib.contextmanager
def attentive():
    """This program goes before all others: its own waiting is not the guest's silence."""
    usual = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *usual)


def use_memory(case):
    """As much as the guest writes, and gives it back.

    What a virtual machine's kernel has not used for a while its own host may have taken, and whoever
    gets it first would pay for that.
    """
    if case.written:
        with mmap.mmap(-1, case.written * case.cpus * MIB) as memory:
            memory.madvise(MADV_POPULATE_WRITE)


class Column(NamedTuple):
    """What a row is measured of."""
    name: str
    measure: Callable


def sides(programs, *qemus):
    """Those of the monitors that are there."""
    return [Godwit, *qemus] if programs.has_godwit() else qemus


def move(side, case, wire):
    """One migration: milliseconds, MiB, milliseconds of silence and lost, rates."""
    listener = Listener(wire)
    with contextlib.ExitStack() as stack:
        source, = stack.enter_context(running(side.source(case)))
        hear(source, RUNNING)
        destination, = stack.enter_context(running(side.destination(case)))
        side.prepare(source, destination)
        use_memory(case)
        here, there = source.out, destination.out
        with attentive():
            until = time.monotonic() + BEFORE
            listener.listen([here], lambda: time.monotonic() > until)
            began, base = time.monotonic_ns(), wire.sent()
            begun = side.begin()
            listener.listen([here, there], lambda: len(listener.heard(there)) >= AFTER)
        side.finish(source, begun)
        os.write(destination.stdin, b"q")
        hear(destination, b"dirty: ok\n")
    ended = listener.heard(there)[0]
    sent = [(began, base), *(s for s in listener.sent if s[0] > began)]
    return ((ended - began) / 1e6, (sent[-1][1] - base) / MIB,
            *silence(listener.heard(here) + listener.heard(there), began),
            *(rates(sent, case.written * MIB, ended) if case.rates else ()))


def bare_copy(programs, wire, case):
    """The pages once, while such a guest takes its share of the processors."""
    if case.cpus > 1 or not case.written or case.tls:
        return [None] * len(case.rows())
    with running(programs.floor("dirty", case.append())) as (p,):
        hear(p, RUNNING)
        use_memory(case)
        said = subprocess.run(wire.inside(f"{programs.guests}/bare-copy",
                                          str(case.written)),
                              stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=True).stdout
    fresh, touched = (int(n) for n in re.findall(r"^(?:fresh|touched) (\d+)$", said, re.M))
    bits = case.written * MIB * 8
    return [fresh / 1e6, None, None, None, *([bits / fresh, bits / touched] if case.rates else [])]


def iperf3(programs, wire, case):
    """The same for a second."""
    if not case.rates:
        return [None] * len(case.rows())
    with running(programs.floor("dirty", case.append()),
                 wire.inside("iperf3", "--server", "--one-off", "--forceflush")) as (p, server):
        hear(p, RUNNING)
        hear(server, b"Server listening")
        said = subprocess.run(wire.inside("iperf3", "--client", "127.0.0.1", "--time", "1",
                                          "--json"),
                              stdout=subprocess.PIPE, timeout=LIMIT, check=True).stdout
    rate = json.loads(said)["end"]["sum_received"]["bits_per_second"] / 1e9
    return [None, None, None, None, rate, rate]


def need_packages(*names):
    subprocess.run(["bash", "-c", '. "$0" && need_packages "$@"', f"{LIBRARY}/common.sh", *names],
                   check=True)


def certificates(folder):
    """An authority, and what it says of both ends, under the names that QEMU and libvirt use."""
    def openssl(*argv):
        subprocess.run(["openssl", *argv], cwd=folder, stderr=subprocess.DEVNULL, check=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca-cert.pem", "-subj",
            "/CN=bench authority", "-addext", "keyUsage=critical,keyCertSign")
    for end in ("server", "client"):
        with open(f"{folder}/{end}.ext", "w", encoding="ascii") as f:
            f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nkeyUsage=digitalSignature\n"
                    f"extendedKeyUsage={end}Auth\nbasicConstraints=CA:FALSE\n")
        openssl("req", *key, "-keyout", f"{end}-key.pem", "-out", f"{end}.csr", "-subj",
                "/CN=localhost")
        openssl("x509", "-req", "-in", f"{end}.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem",
                "-CAcreateserial", "-extfile", f"{end}.ext", "-out", f"{end}-cert.pem")


def moves(n, programs):
    """Every case's rows."""
    need_packages("iperf3", "openssl")
    measured = {}
    with contextlib.closing(Wire()) as wire, tempfile.TemporaryDirectory() as tls:
        certificates(tls)

        def column(side):
            def measure(case, folder):
                return move(side(programs, wire, folder, tls if case.tls else None), case, wire)
            return Column(side.name, measure)

        columns = [
            Column("bare copy", lambda case, _: bare_copy(programs, wire, case)),
            Column("iperf3", lambda case, _: iperf3(programs, wire, case)),
            *map(column, sides(programs, Qemu, TunedQemu))]
        for case in CASES:
            measured |= rounds(case.rows(), lambda m, folder, c=case: m.measure(c, folder),
                               columns, n, setup=0 if measured else SETUP_ROUNDS)
            print(f"bench: {case.name}: done", file=sys.stderr)
    return measured


def restores(n, programs):
    """One row: the bare loop starts a guest of that size, the others have a full one in a file."""
    with contextlib.closing(Wire()) as wire, tempfile.TemporaryDirectory() as files:
        def floor(_folder):
            with running(programs.floor("hello")) as (p,):
                return (p.first_byte(),)

        def column(side):
            path = f"{files}/{side.__name__}"
            side(programs, wire, files, None).save(SNAPSHOT, path)

            def measure(folder):
                monitor = side(programs, wire, folder, None)
                with running(monitor.restore(SNAPSHOT, path)) as (p,):
                    monitor.restoring(p, path)
                    return (p.first_byte(wanted=b"."),)
            return Column(side.name, measure)

        columns = [Column("bare loop", floor),
                   *map(column, sides(programs, Qemu, MappingQemu))]
        return rounds([Row(SNAPSHOT.name, "ms", LOWER)], lambda m, folder: m.measure(folder),
                      columns, n)
