# SPDX-License-Identifier: Apache-2.0
"""What scripts/bench runs: monitors as processes, and rounds of them."""
import contextlib
import itertools
import os
import select
import signal
import tempfile
import time
from typing import NamedTuple

from bench_report import Failed

LIMIT = 20                      # seconds a monitor may take to the first byte, or to end
SETUP_ROUNDS = 1                # not counted: the first run of a program reads it from disk


# The fastest found that still has the devices compared: no option ROMs (QEMU then starts the guest
# from qboot, not SeaBIOS), no clock, no second serial port.
MICROVM = "microvm,x-option-roms=off,rtc=off,auto-kernel-cmdline=off,acpi=off"
QEMU_OPTIONS = ["-accel", "kvm", "-nodefaults", "-no-user-config", "-display", "none",
                "-serial", "stdio", "-no-reboot"]


class Programs:
    """Where they are."""

    def __init__(self, build):
        self.guests = f"{build}/tests/guest"
        self.godwit = os.environ.get("GODWIT", f"{build}/godwit")
        self.qemu = os.environ.get("QEMU", "qemu-system-x86_64")
        self.started = itertools.count()

    def has_godwit(self):
        return os.access(self.godwit, os.X_OK)

    def elf(self, guest):
        return f"{self.guests}/{guest}.elf"

    def run(self, guest):
        """godwit's command; each has a name of its own."""
        return [self.godwit, "run", "--name", f"bench-{os.getpid()}-{next(self.started)}", "--cpus",
                "1", "--memory", f"{guest.mib}M", "--kernel", self.elf(guest.program),
                "--append", guest.words, "--disk", f"path={guest.disk}", "--serial", "tty",
                *(["--api-socket", guest.control] if guest.control else [])]

    def floor(self, guest, words="", mib=1024):
        """The command of a bare loop."""
        return [f"{self.guests}/bare-loop", "--memory", f"{mib}M", "--kernel", self.elf(guest),
                "--append", words]


class Guest(NamedTuple):
    """What a monitor is to run; control: where its control socket is to be, if it has one."""
    program: str
    disk: str
    words: str = ""
    mib: int = 1024
    control: str = ""


class Monitor:
    def __init__(self, name, command):
        self.name = name
        self.command = command  # a function (Guest) -> argument list


class Process:
    """A monitor with its standard output on a pipe; started is the time just before it exists."""

    def __init__(self, argv):
        self.argv = argv
        self.log = tempfile.TemporaryFile()
        self.out, write_end = os.pipe()
        read_end, self.stdin = os.pipe()        # open and silent, like an idle terminal
        actions = [(os.POSIX_SPAWN_DUP2, read_end, 0), (os.POSIX_SPAWN_DUP2, write_end, 1),
                   (os.POSIX_SPAWN_DUP2, self.log.fileno(), 2)]
        self.started = time.monotonic_ns()
        self.pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
        os.close(write_end)
        os.close(read_end)

    def fail(self, what):
        raise Failed(f"{' '.join(self.argv)}: {what}\n{self.said()}")

    def said(self):
        """Its standard error so far."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip()

    def first_byte(self, limit=LIMIT, wanted=b"G"):
        """Milliseconds from the start to the guest's first byte."""
        ready, _, _ = select.select([self.out], [], [], limit)
        byte = os.read(self.out, 1) if ready else b""
        now = time.monotonic_ns()
        if byte != wanted:
            self.fail(f"got {byte!r} instead of the guest's first byte")
        return (now - self.started) / 1e6

    def end(self, kill):
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + LIMIT
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.002)
        os.close(self.out)
        os.close(self.stdin)
        self.log.close()
        if deadline == float("inf"):
            raise Failed(f"{' '.join(self.argv)}: did not end")


def disk(folder, number=0):
    """An empty one of 64 MiB."""
    path = f"{folder}/disk{number}.img"
    with open(path, "ab") as f:
        f.truncate(64 << 20)
    return path


@contextlib.contextmanager
def running(*commands):
    """Their processes, started one behind the other; all of them end with it."""
    processes = []
    try:
        for command in commands:
            processes.append(Process(command))
        yield processes
    finally:
        for p in processes:
            os.kill(p.pid, signal.SIGKILL)
        for p in processes:
            p.end(kill=False)


def rounds(rows, measure, monitors, n, setup=SETUP_ROUNDS):
    """{row: {name: [value of each round]}}; every round runs each monitor, in turning order, and
    every other one backwards: none always finds what another one has left.

    A value of None: the monitor has no place in that row, and its list stays empty.
    Each time in a new folder: io_uring may hold a disk, and its lock, a little longer than a
    process that was killed has lived.
    """
    measured = {row: {m.name: [] for m in monitors} for row in rows}
    for i in range(-setup, n):
        for k in range(len(monitors)):
            m = monitors[(i + (-k if i % 2 else k)) % len(monitors)]
            with tempfile.TemporaryDirectory() as folder:
                values = measure(m, folder)
            if i >= 0:
                for row, value in zip(rows, values, strict=True):
                    if value is not None:
                        measured[row][m.name].append(value)
    return measured
