# SPDX-License-Identifier: Apache-2.0
"""A guest that does all the harm it can, and another on the same host that has work to do.

EVIL_SEED=N in the environment has it do other harm, EVIL_ROUNDS=N more.
"""
import contextlib
import os
import re
import shutil
import threading
import time

from api_client import wants
from rig import Rig, check
from test_balloon import MIB, Guest
from test_flood import Asker
from test_migrate import Side

SEED = int(os.environ.get("EVIL_SEED", "1"))
ROUNDS = int(os.environ.get("EVIL_ROUNDS", "1"))
RAM, HOTPLUG = 64, 128  # MiB
NOTES_PER_SECOND = 3
MORE_MIB = 8  # that a monitor may have in use after more of the same


class Neighbour(Guest):
    """Who has work to do; no request of it may be lost."""

    def __init__(self, side):
        super().__init__(side)
        self.says("neighbour: ready")

    def report(self):
        self.told("r", "neighbour: ")
        self.side.until(lambda: "\n" in self.side.said[self.at:], "no whole line")
        said = self.side.said[self.at:].partition("\n")[0].strip()
        check(re.match(r"[1-9]\d* done, ", said), self.side.said[-200:])
        return said

    def works(self, blocks):
        """So many more, whatever its neighbours do."""
        def done():
            return wants(self.client, 200, "GET", "vm.counters")["disk0"]["write_ops"]

        end = done() + blocks
        self.side.until(lambda: done() >= end, "it stands still")


def nets():
    """Those that can be had here."""
    found = []
    if os.geteuid() == 0 and os.access("/dev/net/tun", os.R_OK | os.W_OK):
        found += ["--net", "vhost=off"]
    if shutil.which("passt"):
        found += ["--net", "backend=Passt"]
    return found


def mappings(pid):
    """(start, end, name, KiB written that nobody shares) of each."""
    with open(f"/proc/{pid}/smaps", encoding="ascii") as f:
        for line in f:
            words = line.split()
            if not words[0].endswith(":"):
                start, end = (int(each, 16) for each in words[0].split("-"))
                name = " ".join(words[5:])
            elif words[0] == "Private_Dirty:":
                yield start, end, name, int(words[1])


def guest_memory(pid):
    """Where it is, as long as none was added yet: in two pieces, no other has their sizes."""
    return [(start, end) for start, end, name, _ in mappings(pid)
            if not name and (end - start) // MIB in (RAM, HOTPLUG)]


def private_mib(pid, guest):
    """Written memory of a monitor that is not its guest's."""
    return sum(kib for start, end, _, kib in mappings(pid)
               if not any(start < g[1] and g[0] < end for g in guest)) / 1024


def threads(pid):
    """But for those that the kernel adds and removes as it likes, and the one that looks at memory
    now and then."""
    names = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/comm",
                                                encoding="ascii") as f:
            names.append(f.read().strip())
    return sorted(n for n in names if not n.startswith(("iou-", "kvm-", "_sample")))


def files(pid):
    """But the one of each vCPU that is kept from when it was first asked how it is."""
    folder, links = f"/proc/{pid}/fd", []
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"{folder}/{fd}"))
    return sum(not link.endswith("/schedstat") for link in links)


class Evil(Guest):
    def __init__(self, side):
        super().__init__(side)
        self.begun, self.memory = time.monotonic(), {}
        pid = self.side.process.pid
        self.says("evil: round")
        self.side.until(lambda: "vcpu3" in threads(pid), "it has not all its threads")
        wants(self.client, 200, "GET", "vm.info")  # which keeps open where it reads of memory
        self.before = threads(pid), files(pid)
        self.guest = guest_memory(pid)
        check(len(self.guest) == 2 or self.side.rig.watches_threads(), f"memory: {self.guest}")

    def leaves_nothing(self):
        """Its devices are reset and clients are gone: there is no more than there was."""
        def now():
            return threads(self.side.process.pid), files(self.side.process.pid)

        def no_more():
            return now()[0] == self.before[0] and now()[1] <= self.before[1]

        self.side.until(lambda: no_more() or self.side.rig.watches_threads(),
                        f"it had {self.before}, and now {now()}")

    def look(self):
        """Where it is, and what its monitor uses there."""
        marks = re.findall(r"evil: (round \d+ device \d+ queue \d+|done)", self.side.said)
        check(self.side.process.poll() is None, f"it has ended: {self.side.logged[-2000:]}")
        check("FAIL" not in self.side.said, self.side.said[-2000:])
        if marks:
            self.memory[marks[-1]] = private_mib(self.side.process.pid, self.guest)
        return marks[-1] if marks else ""

    def most_lines(self):
        """That its monitor may have written by now: of each device, four without a slot among them,
        and two kinds of requests that a disk refuses."""
        devices = len(wants(self.client, 200, "GET", "vm.info")["device_tree"])
        return (devices + 6) * NOTES_PER_SECOND * (time.monotonic() - self.begun + 2)


def ask_for_more(evil, disk, stop):
    """All that a guest may be asked for, and must answer to, as long as it does harm."""
    client, turns = evil.side.client(), 0
    while not stop.is_set() or not turns:
        for mib in (32, 0):
            client.ask("PUT", "vm.resize", {"desired_balloon": mib * MIB})
            client.ask("PUT", "vm.resize", {"desired_ram": (RAM + mib) * MIB})
        wants(client, 200, "PUT", "vm.add-disk", {"path": disk, "id": "guest"})
        wants(client, 204, "PUT", "vm.remove-device", {"id": "guest"})
        for number in (4, 2):  # it may also refuse
            client.ask("PUT", "vm.resize", {"desired_vcpus": number})
        turns += 1
    client.close()
    evil.turns = turns


@contextlib.contextmanager
def asked_for_more(rig, evil):
    stop = threading.Event()
    asking = threading.Thread(target=ask_for_more, args=(evil, rig.disk(1, "more.img"), stop))
    asking.start()
    try:
        yield
    finally:
        stop.set()
        asking.join()


def watch(evil, neighbour, askers):
    """Until it has done all the harm; its neighbour works on at each step of it."""
    at = ""
    while at != "done":
        for asker in askers:
            asker.ask()
        now = evil.look()
        if now != at:
            neighbour.works(2)
        at = now
        time.sleep(0.005)


def evil_guest(rig, seed, rounds):
    return Side(rig, "evil", "--kernel", rig.elf("evil"), "--append",
                f"wild rounds={rounds} seed={seed}", "--cpus", "2,max=4", "--memory",
                f"{RAM}M,hotplug_size={HOTPLUG}M", "--balloon", "size=0,free_page_reporting=on",
                "--disk", "path=" + rig.disk(), "--console", f"Socket,socket={rig.path('port')}",
                "--serial", "tty", *nets())


def has_grown(rig, evil):
    """Where what is freed is kept, nobody can tell."""
    first, last = list(evil.memory.values())[0], evil.memory["done"]
    with open(rig.godwit, "rb") as f:
        keeps_freed = b"__asan_init" in f.read() or rig.watches_threads()
    check(keeps_freed or last <= first + MORE_MIB, f"MiB in use: {evil.memory}")
    return f"{first:.1f} to {last:.1f} MiB"


def do_harm(rig, seed, rounds, neighbour):
    """Returns how it went for the monitor of the one that does, and for those who ask it."""
    with evil_guest(rig, seed, rounds) as side:
        evil = Evil(side)
        askers = [Asker(side.socket, "vmm.ping", "pid"), Asker(side.socket, "vm.info", "config")]
        with asked_for_more(rig, evil):
            watch(evil, neighbour, askers)
        lines, most = side.logged.count("\n"), evil.most_lines()
        check(lines <= most, f"{lines} lines, at most {most:.0f} were expected")
        for client in (evil.client, *(a.connection for a in askers)):
            client.close()
        evil.leaves_nothing()
        grown = has_grown(rig, evil)
        evil.quit()
    return f"{lines} lines in its log, {grown}, asked for more {evil.turns} times; " \
           f"{'; '.join(a.said() for a in askers)}"


def evil_beside(rig, seed, rounds):
    os.mkdir(rig.path("other"))
    other = Rig(os.path.dirname(rig.godwit), rig.path("other"))
    with Side(other, "neighbour", "--kernel", rig.elf("neighbour"), "--memory", "64M", "--disk",
              "path=" + other.disk(1), "--serial", "tty") as side:
        neighbour = Neighbour(side)
        neighbour.works(200)
        alone = neighbour.report()
        harm = do_harm(rig, seed, rounds, neighbour)
        meanwhile = neighbour.report()
        neighbour.quit()
    return f"neighbour before: {alone}; meanwhile: {meanwhile}; {harm}"


def test_evil(rig):
    print(f"# seed {SEED}: {evil_beside(rig, SEED, ROUNDS)}", flush=True)
