# SPDX-License-Identifier: Apache-2.0
""""godwit top" and "godwit stats" at guests that work without pause."""
import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import termios
import time

from rig import LIMIT, check


def verb(rig, *words, status=0):
    """What it wrote; of a failure, what it said."""
    done = subprocess.run([rig.godwit, *words], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=LIMIT, check=False)
    check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
    return done.stderr if status else done.stdout


@contextlib.contextmanager
def busy(rig, which):
    """(name, process) of a VM whose guest asks its serial port all the time."""
    name = f"top-{os.getpid()}-{which}"
    command = [rig.godwit, "run", "--name", name, "--kernel", rig.elf("echo"), "--memory", "64M",
               "--serial", "null", "--disk", "path=" + rig.disk(name=which)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + LIMIT
            while not any(vm["name"] == name and vm["state"] == "Running"
                          for vm in json.loads(verb(rig, "list", "--json"))):
                check(time.monotonic() < deadline and process.poll() is None, "it does not run")
                time.sleep(0.01)
            yield name, process
        finally:
            process.kill()


def test_top_once(rig):
    with busy(rig, "a") as (name, _):
        vm, = json.loads(verb(rig, "top", "--once", "--json", name))
        check((vm["name"], vm["state"], vm["answers"]) == (name, "Running", True), vm)
        check(vm["cpu"] > 0 and vm["exits"] > 0, vm)
        check(vm["memory"]["given"] == 64 << 20 and vm["memory"]["resident"] > 0, vm)
        check(set(vm["disk"]) == {"read_bytes", "write_bytes", "read_ops", "write_ops"}, vm)
        check(set(vm["net"]) == {"rx_bytes", "tx_bytes", "rx_frames", "tx_frames"}, vm)
        vcpu, = vm["vcpus"]
        check(vcpu["id"] == "vcpu0" and vcpu["cpu"] > 0, vcpu)
        check(vcpu["exits_by_kind"]["io"] > 0 and vcpu["exits_by_kind"]["shutdown"] == 0, vcpu)
        check(name in [v["name"] for v in json.loads(verb(rig, "top", "--once", "--json"))], "all")
        title, row, below = verb(rig, "top", "--once", "--interval=0.2", name).splitlines()
        check(title.startswith("NAME ") and title.endswith(" TX/s"), title)
        check(re.match(rf"{name}  Running +1 +\d+\.\d +\d+\.\d +[\d.]+k? +64M ", row), row)
        check(re.match(r"  vcpu0 .* io [\d.]+k?", below), below)


def test_top_prints(rig):
    """Without a terminal, a table or a line of JSON each time, until nobody reads them."""
    with busy(rig, "a") as (name, _):
        for options in ((), ("--json",)):
            with subprocess.Popen([rig.godwit, "top", "--interval", "0.1", *options, name],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as top:
                for _ in range(3):
                    line = top.stdout.readline()
                    if options:
                        check(json.loads(line)[0]["name"] == name, line)
                    else:
                        check(line.startswith(b"NAME "), line)
                        check(top.stdout.readline().startswith(name.encode()), "no VM")
                        check(top.stdout.readline().startswith(b"  vcpu0 "), "no vCPU")
                        check(top.stdout.readline() == b"\n", "no end")
                top.stdout.close()
                check(top.wait(LIMIT) == -signal.SIGPIPE, f"status {top.returncode}")


def test_top_sentences(rig):
    check("VM \"nobody\" is not running" in verb(rig, "top", "--once", "nobody", status=1), "who is that")
    check("0.1 to 3600" in verb(rig, "top", "--interval", "0", status=2), "no interval")
    check("one VM" in verb(rig, "stats", "--prometheus", "a", "b", status=2), "two texts")
    check("VM \"nobody\" is not running" in verb(rig, "stats", "nobody", status=1), "who is that")


def test_stats(rig):
    with busy(rig, "a") as (a, _), busy(rig, "b") as (b, _):
        counters = json.loads(verb(rig, "stats", "--json", a, b))
        check(list(counters) == [a, b], counters)
        check(counters[a]["_vcpu0"]["exits_io"] > 0, counters)
        check(counters[b]["disk0"]["read_ops"] == 0, counters)
        text = verb(rig, "stats", "--prometheus", a)
        check(text.startswith("# HELP godwit_") and text.endswith("\n"), text)
        check('\ngodwit_block_reads_total{device="disk0"} 0\n' in text, text)
        table = verb(rig, "stats", a, b)
        check(re.findall(r"^\S+$", table, re.M) == [a, b], table)
        check(len(re.findall(r"^  disk0\n    read bytes +0 bytes$", table, re.M)) == 2, table)
        check(len(re.findall(r"^    exits io +[1-9]\d*$", table, re.M)) == 2, table)
        check(len(re.findall(r"^    resident bytes +[\d.]+ MiB$", table, re.M)) == 2, table)


class Picture:
    """"godwit top" on a terminal of its own."""

    ON, OFF = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"

    def __init__(self, rig, *words):
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):  # behind nohup or "&"
                signal.signal(ignored, signal.SIG_DFL)
            os.environ.update(TERM="xterm", LC_ALL="C.UTF-8", NO_COLOR="1")
            os.execv(rig.godwit, ["godwit", "top", "--interval", "0.2", *words])
        self.seen = b""

    def resize(self, columns, lines):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def presses(self, keys):
        os.write(self.terminal, keys)

    def is_raw(self):
        return not termios.tcgetattr(self.terminal)[3] & termios.ICANON

    def more(self):
        check(select.select([self.terminal], [], [], LIMIT)[0], f"no more than {self.seen}")
        self.seen += os.read(self.terminal, 1 << 16)

    def frame(self):
        """The next whole one, as lines."""
        while True:
            frame, whole, rest = self.seen.partition(b"\x1b[K\x1b[J")
            if whole:
                self.seen = rest
                text = frame.partition(b"\x1b[H")[2].decode()
                return [line.removesuffix("\x1b[K") for line in text.split("\r\n")]
            self.more()

    def shows(self, wanted, why):
        """The first frame from now on for which wanted(lines) is true."""
        deadline = time.monotonic() + LIMIT
        while True:
            lines = self.frame()
            if wanted(lines):
                return lines
            check(time.monotonic() < deadline, why + ":\n" + "\n".join(lines))

    def ends(self, status):
        """The terminal is as it was."""
        deadline = time.monotonic() + LIMIT
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while time.monotonic() < deadline:
                self.more()
        check(self.seen.endswith(self.OFF), f"it left {self.seen[-80:]}")
        check(not self.is_raw(), "the terminal is in raw mode")
        ended = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        check(ended == status, f"status {ended}, not {status}")
        os.close(self.terminal)


def rows(lines, name):
    """What it shows of that VM: the VM's line and its vCPUs'."""
    at = [i for i, line in enumerate(lines) if line.startswith(name + " ")]
    if not at:
        return []
    end = at[0] + 1
    while lines[end].startswith("  vcpu"):
        end += 1
    return lines[at[0]:end]


def test_top_picture(rig):
    """Draws, obeys its keys and its size, and gives the terminal back."""
    with busy(rig, "a") as (a, _), busy(rig, "b") as (b, _):
        picture = Picture(rig, a, b)
        picture.resize(100, 20)
        first = picture.shows(lambda lines: re.search(r"█|▌", "".join(rows(lines, a)[1:])), "bars")
        check(len(first) == 20, f"{len(first)} lines")
        check(first[0].startswith("godwit top   2 VMs   CPU ") and not first[1], first[0])
        check(first[2].startswith("NAME "), first[2])
        check(" io " in rows(first, b)[1], first)
        check(first[-1].startswith("q quit   c CPU"), first[-1])
        check(picture.is_raw(), "the terminal is not in raw mode")
        picture.presses(b"v")
        picture.shows(lambda lines: len(rows(lines, a)) == len(rows(lines, b)) == 1, "v")
        picture.presses(b"v")
        picture.shows(lambda lines: len(rows(lines, a)) == len(rows(lines, b)) == 2, "v again")
        picture.presses(b" ")
        picture.shows(lambda lines: lines[0].endswith("   paused"), "space")
        picture.resize(60, 6)
        narrow = picture.shows(lambda lines: len(lines) == 6, "a new size")
        check(max(map(len, narrow)) < 60, narrow)
        check(narrow[0].startswith("godwit top"), narrow)
        picture.presses(b" \x1b[B")
        picture.shows(lambda lines: lines[3].startswith("  vcpu0 "), "scrolled by a line")
        picture.presses(b"\x1a")
        check(os.WIFSTOPPED(os.waitpid(picture.pid, os.WUNTRACED)[1]), "not stopped by Ctrl-Z")
        check(not picture.is_raw(), "it is stopped, and the terminal in raw mode")
        os.kill(picture.pid, signal.SIGCONT)
        picture.shows(lambda lines: len(lines) == 6, "a picture after a stop")
        check(picture.is_raw(), "the terminal is not in raw mode again")
        picture.presses(b"q")
        picture.ends(0)
        for end, status in ((lambda p: p.presses(b"\x03"), -signal.SIGINT),
                            (lambda p: os.kill(p.pid, signal.SIGTERM), -signal.SIGTERM),
                            (lambda p: os.kill(p.pid, signal.SIGABRT), -signal.SIGABRT)):
            picture = Picture(rig)
            picture.shows(lambda lines: rows(lines, a), "a picture")
            end(picture)
            picture.ends(status)


def test_top_lost_vms(rig):
    """A VM that hangs is said to, one that ended is not shown; the others go on."""
    with busy(rig, "a") as (a, _), busy(rig, "b") as (b, hanging), busy(rig, "c") as (c, ending):
        picture = Picture(rig, a, b, c)
        picture.resize(100, 20)
        picture.shows(lambda lines: all(len(rows(lines, n)) == 2 for n in (a, b, c)), "all")
        hanging.send_signal(signal.SIGSTOP)
        picture.shows(lambda lines: "No answer" in "".join(rows(lines, b)), "a VM that hangs")
        ending.kill()
        picture.shows(lambda lines: not rows(lines, c), "a VM that ended")
        for _ in range(3):
            lines = picture.frame()
            check("No answer" in rows(lines, b)[0] and "Running" in rows(lines, a)[0], lines)
        late = json.loads(verb(rig, "top", "--once", "--json", a, b))
        check([vm["answers"] for vm in late] == [True, False], late)
        check(late[1]["cpu"] is None and late[1]["vcpus"] == [], late)
        hanging.send_signal(signal.SIGCONT)
        picture.shows(lambda lines: len(rows(lines, b)) == 2 and "Running" in rows(lines, b)[0],
                      "a VM that goes on")
        hanging.kill()
        picture.shows(lambda lines: not rows(lines, b) and rows(lines, a), "the last")
        picture.presses(b"q")
        picture.ends(0)
