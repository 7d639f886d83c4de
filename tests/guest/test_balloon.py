# SPDX-License-Identifier: Apache-2.0
"""Guests that give memory, take it back, report it, say how they do, and lie."""
import os
import re
import subprocess
import time

from api_client import Connection, wants
from rig import LIMIT, check, own_name
from test_migrate import Side, destination
from test_record import records
from test_snapshot import Vm, godwit

MIB = 1 << 20
PAGE = 4096
STATS = ("swap_in swap_out major_faults minor_faults free_memory total_memory available_memory "
         "disk_caches hugetlb_allocations hugetlb_failures oom_kills alloc_stalls async_scans "
         "direct_scans async_reclaims direct_reclaims").split()


class Guest:
    """What a side's guest is told, and what is known of it."""

    def __init__(self, side):
        self.side, self.client, self.at = side, side.client(), 0

    def says(self, text):
        """It does, later than what it said before."""
        found = self.side.until(lambda: self.side.said.find(text, self.at) + 1, f"no {text}")
        self.at = found + len(text) - 1

    def told(self, command, answer=None):
        self.side.process.stdin.write(command.encode())
        self.side.process.stdin.flush()
        if answer:
            self.says(answer)

    def resident(self):
        """Whoever asks for counters has memory looked at, which has a shadow where threads are
        watched."""
        return wants(self.client, 200, "GET", "vm.info")["memory"]["resident"]

    def counted(self, name):
        return wants(self.client, 200, "GET", "vm.counters")["balloon"][name]

    def stats(self):
        return wants(self.client, 200, "GET", "vm.balloon-stats")

    def resize(self, mib, wait=True):
        wants(self.client, 204, "PUT", "vm.resize", {"desired_balloon": mib * MIB})
        if wait:
            self.has(mib)

    def has(self, mib):
        """It says so when it has, and as it may have said so already, only the number counts."""
        self.side.until(lambda: self.stats()["balloon_actual"] == mib * MIB, f"not {mib} MiB")

    def quit(self):
        self.told("q")
        check(self.side.ended() == 0, self.side.logged)


def ballooned(rig, balloon, *options, memory="128M,thp=off", words=""):
    return Side(rig, "source", "--kernel", rig.elf("balloon"), "--memory", memory, "--serial", "tty",
                "--append", words, "--balloon", balloon, *options)


def events(guest, name):
    return [e["properties"] for e in wants(guest.client, 200, "GET", "events")["events"]
            if e["source"] == "balloon" and e["event"] == name]


def balloon(rig, memory, exact):
    """_: pages are counted one by one; else the host may hold more for one that is touched."""
    with ballooned(rig, "size=0", memory=memory) as side:
        guest = Guest(side)
        guest.says("balloon: 0 pages")
        before = guest.resident()
        check(before > 64 * MIB, before)
        guest.resize(48)
        guest.says(f"balloon: {48 * 256} pages")
        check(guest.resident() < before - 44 * MIB, f"{before} became {guest.resident()}")
        now = guest.stats()
        check(now["balloon_target"] == now["balloon_given"] == 48 * MIB, now)
        check(now["balloon_touched"] == 0, now)
        info = wants(guest.client, 200, "GET", "vm.info")
        check(info["memory_actual_size"] == 80 * MIB, info)
        check(info["config"]["balloon"]["size"] == 48 * MIB, info)
        guest.told("v", "verified")
        guest.told("t", "touched")
        now = guest.stats()
        check(now["balloon_touched"] == 64 * PAGE if exact else
              64 * PAGE <= now["balloon_touched"] <= 4 * MIB, now)
        check(now["balloon_given"] == 48 * MIB, now)
        guest.told("h", "hostile: done")
        check(guest.counted("refused") > 1000, "it refuses nothing")
        check(guest.stats()["balloon_given"] == 48 * MIB, guest.stats())
        guest.told("v", "verified")
        guest.resize(16)
        guest.told("v", "verified")
        guest.resize(0)
        check(guest.stats()["balloon_given"] == 0, guest.stats())
        guest.told("v", "verified")
        check(guest.resident() > before - 4 * MIB, "it did not come back")
        check(guest.counted("inflated") >= 48 * MIB and guest.counted("kept") == 0, "counters")
        check([e["actual"] for e in events(guest, "reached")] == [n * MIB for n in (48, 16, 0)],
              events(guest, "reached"))
        guest.quit()


def test_balloon(rig):
    balloon(rig, "128M,thp=off", True)


def test_balloon_large_pages(rig):
    balloon(rig, "128M", False)


def test_balloon_shared_memory(rig):
    balloon(rig, "128M,shared=on", True)


def test_balloon_reports(rig):
    """What is free goes, unless it has a pattern."""
    for words, goes in (("", True), ("nostats", True), ("pattern", False), ("noreporting", None)):
        with ballooned(rig, "size=0,free_page_reporting=on", words=words) as side:
            guest = Guest(side)
            guest.says("balloon: 0 pages")
            before = guest.resident()
            guest.told("h", "hostile: done")
            guest.told("v", "verified")
            if goes is not None:
                guest.told("r", "reported")
                check((guest.resident() < before - 28 * MIB) == goes,
                      f"{words}: {before} became {guest.resident()}")
                check(guest.counted("reported") == (32 * MIB if goes else 0), words)
                guest.told("f")
                guest.told("v", "verified")
                check(guest.resident() > before - 2 * MIB, words)
            guest.quit()


def test_balloon_statistics(rig):
    """Each time they are asked for they are newer; a guest without them answers at once."""
    with ballooned(rig, "size=0") as side:
        guest = Guest(side)
        guest.says("balloon: 0 pages")
        first, second = guest.stats(), guest.stats()
        check(set(first["stats"]) == set(STATS) == set(first["times_ms"]), first)
        check(first["stats"]["free_memory"] == 64 * MIB, first)
        for tag, name in enumerate(STATS):
            value = first["stats"][name]
            check(name == "free_memory" or value // 1000 == tag, f"{name}: {value}")
            check(name == "free_memory" or second["stats"][name] > value, f"{name}: not newer")
        metrics = guest.counted("total_memory")
        check(metrics // 1000 == 5, metrics)
        guest.told("s")
        silent = guest.stats()
        while guest.stats()["times_ms"] != silent["times_ms"]:
            silent = guest.stats()
        check(set(silent["stats"]) == set(STATS), silent)
        # Others do not wait for that, and the VM may end meanwhile.
        waiting = Connection(side.socket)
        waiting.begin("GET", "vm.balloon-stats")
        wants(guest.client, 204, "PUT", "vm.pause")
        wants(guest.client, 204, "PUT", "vm.resume")
        wants(guest.client, 204, "PUT", "vm.shutdown")
        status, last = waiting.answer()
        check(status == 200 and last["times_ms"] == silent["times_ms"], last)
    with ballooned(rig, "size=0", words="nostats") as side:
        guest = Guest(side)
        guest.says("balloon: 0 pages")
        check(guest.stats()["stats"] == {}, guest.stats())
        guest.quit()


def test_balloon_reboot(rig):
    """It is empty then, and the target stays."""
    with ballooned(rig, "size=8M") as side:
        guest = Guest(side)
        guest.says(f"balloon: {8 * 256} pages")
        guest.resize(24)
        guest.says(f"balloon: {24 * 256} pages")
        guest.told("b", f"balloon: {24 * 256} pages")
        check(guest.stats()["balloon_given"] == 24 * MIB, guest.stats())
        check(guest.counted("inflated") == 48 * MIB, guest.counted("inflated"))
        guest.quit()


def test_balloon_verbs(rig):
    """godwit resize and info; what cannot be is said."""
    def verb(*arguments, status=0):
        done = subprocess.run([rig.godwit, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT, check=False)
        check(done.returncode == status, f"{arguments}: {done.returncode} {done.stderr}")
        return done.stdout + done.stderr

    with ballooned(rig, "size=0") as side:
        guest = Guest(side)
        guest.says("balloon: 0 pages")
        said = verb("resize", side.name, "--memory", "96M")
        check("96 MiB asked, 96 MiB given" in said, said)
        guest.has(32)
        said = verb("info", side.name)
        check(re.search("memory    96 MiB, [0-9]+ MiB on the host\nballoon   32 MiB of 32 MiB, 0 MiB "
                        "touched again\n", said), said)
        check(" 32 MiB free," in said, said)
        check("up to 128 MiB" in verb("resize", side.name, "--memory", "129M", status=1), "129M")
        for wrong in (-1, "1G", 1.5, []):
            wants(guest.client, 400, "PUT", "vm.resize", {"desired_balloon": wrong})
        wants(guest.client, 500, "PUT", "vm.resize", {"desired_balloon": 129 * MIB})
        check(guest.stats()["balloon_target"] == 32 * MIB, guest.stats())
        guest.quit()
    with Side(rig, "source", "--kernel", rig.elf("echo"), "--memory", "64M") as side:
        client = side.client()
        wants(client, 404, "PUT", "vm.resize", {"desired_balloon": 0})
        wants(client, 404, "GET", "vm.balloon-stats")


def test_balloon_moves(rig):
    """What was given costs nothing on the way, and nothing where the guest goes."""
    for memory in ("128M,thp=off", "128M,shared=on"):
        with ballooned(rig, "size=48M", memory=memory) as a, destination(rig) as b:
            guest = Guest(a)
            guest.says(f"balloon: {48 * 256} pages")
            answer = wants(guest.client, 200, "PUT", "vm.send-migration",
                           {"destination_url": b.url(), "wait": True, "compress": "none"})
            check(a.ended() == 0, a.logged)
            sent = sum(r["pages"] for r in answer["rounds"])
            check(sent < 24 * 256 and answer["rounds"][0]["zero_pages"] == 0, answer)
            there = Guest(b)
            # The sanitizer's own memory is as large as what it saw move.
            check(there.resident() < 40 * MIB or rig.watches_threads(), there.resident())
            now = there.stats()
            check(now["balloon_actual"] == now["balloon_target"] == 48 * MIB, now)
            check(now["balloon_given"] == 0 and set(now["stats"]) == set(STATS), now)
            there.told("v", "verified")
            there.resize(56)
            check(there.stats()["balloon_given"] == 8 * MIB, there.stats())
            there.resize(0)
            there.told("v", "verified")
            check(there.resident() > 60 * MIB, there.resident())
            there.quit()


def test_balloon_in_the_middle_of_a_move(rig):
    """Given while it moves: the destination gives back what it had of it."""
    with ballooned(rig, "size=0") as a, destination(rig) as b:
        guest = Guest(a)
        guest.says("balloon: 0 pages")
        wants(guest.client, 204, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "bandwidth_limit": 16 * MIB, "compress": "none"})

        def sent():
            return wants(guest.client, 200, "GET", "vm.migration-progress") \
                ["memory_transmission_info"]["memory_bytes_transmitted"]

        a.until(sent, "does not copy")
        wants(guest.client, 500, "PUT", "vm.resize", {"desired_balloon": 48 * MIB})
        check(set(guest.stats()["stats"]) == set(STATS), "no statistics")
        # Most of what it gives is over there.
        a.until(lambda: sent() > 48 * MIB, "does not copy")
        guest.told("g")
        check(a.ended() == 0, a.logged)
        there = Guest(b)
        b.until(lambda: there.stats()["balloon_actual"] == 48 * MIB, "does not give all of it")
        check(there.resident() < 40 * MIB or rig.watches_threads(), there.resident())
        there.told("v", "verified")
        there.told("q")
        check(b.ended() == 0, b.logged)


def test_balloon_hints(rig):
    """What is free is left out of a move, unless it is written after the guest was asked."""
    for memory in "128M,thp=off", "128M,shared=on":
        with ballooned(rig, "size=0,free_page_hinting=on", memory=memory) as a, destination(rig) as b:
            guest = Guest(a)
            guest.says("balloon: 0 pages")
            wants(guest.client, 204, "PUT", "vm.send-migration",
                  {"destination_url": b.url(), "bandwidth_limit": 32 * MIB, "compress": "none"})
            guest.says("hinted")
            check(a.ended() == 0, a.logged)
            there = Guest(b)
            there.told("v", "verified")
            check(there.resident() < 58 * MIB or rig.watches_threads(), there.resident())
            there.quit()
            moved = records(rig, "outgoing")[-1]
            hinted = [r["hinted_pages"] for r in moved["rounds"]]
            check(hinted[0] > 6 * 1024 and not any(hinted[1:]), hinted)


def test_balloon_in_a_snapshot(rig):
    """A view of a file, of which pages are given: they are zero and cost nothing."""
    directory, path = rig.path("snapshot"), rig.path("api.sock")

    def is_now(client, name, mib):
        deadline = time.monotonic() + LIMIT
        while (now := wants(client, 200, "GET", "vm.balloon-stats"))[name] != mib * MIB:
            check(time.monotonic() < deadline, f"{name}: {now}")
            time.sleep(0.01)
        return now

    vm = Vm(rig, "run", "--name", own_name(), "--kernel", rig.elf("balloon"), "--memory", "128M",
            "--balloon", "size=16M,free_page_reporting=on")
    vm.hears(b"balloon: 4096 pages")
    godwit(rig, "snapshot", "--stop", own_name(), directory)
    vm.ends()
    memory = os.stat(os.path.join(directory, "memory-ranges"))
    check(memory.st_blocks * 512 < 56 * MIB, "what was given is there")
    vm = Vm(rig, "restore", directory, "--resume", "--api-socket", path, "--balloon",
            "size=40M,free_page_reporting=on")
    client = Connection(path)
    now = is_now(client, "balloon_actual", 40)
    check(now["balloon_given"] == 24 * MIB and now["balloon_touched"] == 0, now)
    vm.serial.sendall(b"v")
    vm.hears(b"verified")
    check(wants(client, 200, "GET", "vm.counters")["balloon"]["kept"] == 0, "some is kept")
    wants(client, 204, "PUT", "vm.resize", {"desired_balloon": 0})
    is_now(client, "balloon_actual", 0)
    vm.serial.sendall(b"vr")
    vm.hears(b"reported")
    check(wants(client, 200, "GET", "vm.counters")["balloon"]["reported"] == 32 * MIB, "not given")
    vm.serial.sendall(b"fvq")
    vm.hears(b"verified")
    vm.ends()
