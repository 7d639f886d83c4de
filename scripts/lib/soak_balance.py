#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""soak_balance.py BUILD MOVES [PART...]: what agents expect of moves, and how soon they act.

A line of TAP for each: predicted beside real times and blackouts of moves that are ordered one
after the other; from when a host gets hot until a VM has left it; from when memory is short; from
when a host joins until the first VM has come to it.
Parts: predictions, hot, hold, memory, joins. To be run by root, in a network namespace and with a
/run of its own.
"""
import os
import re
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from soak_hosts import Failed, Hosts, machine_load, percentile, until

WARM_S = 70                     # until nothing is known any more of what a guest filled at first
REST_S = 20                     # a VM stays at least this long: what it writes is looked at anew
HOT_CORES = 0.6
HOT_LOAD = 20                   # percent of a core: two of them are well on such a host
SETTLE_S, WATCHED_S = 3, 15     # what waited is done; how long it is looked at
LINK = "200M"                   # a move gets a quarter: what this machine has to spare
#         program, words, MiB of the VM
GUESTS = (("work", "load=5 mib=8", 64), ("work", "load=5 mib=32 rate=2", 64),
          ("work", "load=5 mib=64 rate=5", 128), ("work", "load=5 mib=128 rate=10", 256),
          ("work", "load=2 mib=96", 256), ("work", "load=2 mib=192 rate=10", 256),
          ("work", "load=2 mib=256 rate=5", 512), ("dirty", "mib=16 rate=100 noise", 64))


class Traveller:
    """A VM that is moved to and fro."""

    def __init__(self, hosts, n):
        program, words, mib = GUESTS[n]
        self.hosts, self.name, self.here = hosts, f"v{n}", hosts.names[n % 2]
        hosts.start(self.here, self.name, program, words, mib)
        self.since = time.monotonic() + WARM_S - REST_S

    def moves(self):
        return self.hosts.vm(self.name, self.here).get("moves", [])

    def move(self):
        """The record of it, as the planner gets it."""
        time.sleep(max(0, self.since + REST_S - time.monotonic()))
        left, self.here = self.here, next(h for h in self.hosts.names if h != self.here)
        self.hosts.put(left, "move", vm=self.name, to=self.here)
        until(lambda: [m["from"] for m in self.moves()[:1]] == [left],
              f"{self.name} does not come to {self.here}")
        self.since = time.monotonic()
        return self.moves()[0]


def within(pairs, share):
    """Percent of them where the first is so near the second."""
    return 100 * sum(abs(p - r) <= share * r for p, r in pairs) / len(pairs)


def within_factor(pairs, factor):
    return 100 * sum(r / factor <= p <= r * factor for p, r in pairs) / len(pairs)


def predictions(hosts, moves):
    """Sentences on them."""
    hosts.add(2, "4G", "--link", LINK)
    hosts.add(2, "4G", "--link", LINK)
    hosts.ready()
    hosts.put("s1", "policy", window_s=6)
    travellers = [Traveller(hosts, n) for n in range(len(GUESTS))]
    done = [travellers[i % len(travellers)].move() for i in range(moves)]
    times = [(m["predicted_s"], m["took_s"]) for m in done]
    stops = [(m["predicted_blackout_s"], m["blackout_s"]) for m in done]
    blackouts = [1000 * m["blackout_s"] for m in done]
    for n, guest in enumerate(GUESTS):
        of = times[n::len(GUESTS)]
        print(f"# {' '.join(map(str, guest))}: predicted {statistics.median(p for p, _ in of):.2f} "
              f"s, took {statistics.median(r for _, r in of):.2f} s, each in the middle; "
              f"{within(of, .2):.0f} % within 20 %", flush=True)
    return [f"{moves} moves as predicted, beside a load of {machine_load()}: time within 20 % for "
            f"{within(times, .2):.0f} %, "
            f"error in the middle {100 * statistics.median(abs(p / r - 1) for p, r in times):.0f} %"
            f", blackout within a factor of 2 for {within_factor(stops, 2):.0f} %",
            f"{moves} moves: took p50 {1000 * percentile([r for _, r in times], 50):.0f} ms, "
            f"p99 {1000 * percentile([r for _, r in times], 99):.0f} ms; blackout p50 "
            f"{percentile(blackouts, 50):.0f} ms, p99 {percentile(blackouts, 99):.0f} ms"]


def arrives(hosts, to, limit):
    """Seconds until a VM runs on that host."""
    return until(lambda: any(v["host"] == to and v["state"] == "Running"
                             for v in hosts.status(to)["vms"]), f"no VM comes to {to}", limit)


def busy(hosts, host, first, end, load):
    """VMs of which three want more than a host of HOT_CORES has."""
    for i in range(first, end):
        hosts.start(host, f"v{i}", "work", f"load={load} mib=8", 64)


def worst(hosts, vm, seconds):
    """Milliseconds until its work was done, the worst of each second, in the middle of the next."""
    before = len(hosts.said(vm))
    time.sleep(seconds)
    each = re.findall(r"worst (\d+) us", hosts.said(vm)[before:])
    if len(each) < seconds / 2:
        raise Failed(f"{vm} says little: {hosts.said(vm)[before:]!r}")
    return statistics.median(map(int, each)) / 1000


def hot(hosts, limit, **policy):
    """From when the host is hot; and what one of its VMs feels that stays."""
    hosts.add(HOT_CORES, "1G")
    hosts.add(HOT_CORES, "1G")
    hosts.ready()
    hosts.put("s1", "policy", **policy)
    busy(hosts, "s1", 0, 1, HOT_LOAD)
    time.sleep(SETTLE_S)
    alone = worst(hosts, "v0", WATCHED_S)
    hosts.put("s1", "mode", mode="auto")
    busy(hosts, "s1", 1, 3, HOT_LOAD)
    took = arrives(hosts, "s2", limit)
    time.sleep(SETTLE_S)
    stays = next(v["name"] for v in hosts.status()["vms"] if v["host"] == "s1")
    after = worst(hosts, stays, WATCHED_S)
    said = ", ".join(f"{key} {value}" for key, value in policy.items())
    return [f"a hot host, {said or 'policy as it is by itself'}: a VM has left after {took:.0f} s; "
            f"of 50 pieces of work in a second the worst took {alone:.1f} ms in a VM alone, and "
            f"{after:.1f} ms in one that stayed"]


def hot_at_once(hosts):
    return hot(hosts, 120, window_s=3, interval_s=3, hold_windows=1)


def hot_for_long(hosts):
    return hot(hosts, 600)


def short_of_memory(hosts):
    """From when less is free than the reserve, by the guest's own pace of filling it."""
    policy = {"window_s": 3, "interval_s": 3}
    for _ in range(2):
        hosts.add(2, "512M", "--reserve", "176M")
    hosts.ready()
    hosts.put("s1", "policy", **policy)
    hosts.put("s1", "mode", mode="emergency")
    hosts.start("s1", "large", "work", "load=2 mib=192", 256)
    hosts.start("s1", "small", "work", "load=2 mib=64", 128)
    time.sleep(4 * policy["window_s"])
    if any(v["host"] != "s1" for v in hosts.status()["vms"]):
        raise Failed("a VM leaves before memory is short")
    hosts.start("s1", "last", "work", "load=2 mib=96", 128)
    took = arrives(hosts, "s2", 120)
    return [f"memory below the reserve, windows of 3 s: a VM has left after {took:.0f} s"]


def joins(hosts):
    """A host that is started beside one that has been hot for a while; no more is said."""
    hosts.add(HOT_CORES, "1G")
    hosts.ready()
    hosts.put("s1", "policy", window_s=10, interval_s=10)
    hosts.put("s1", "mode", mode="auto")
    busy(hosts, "s1", 0, 3, 30)
    time.sleep(60)
    began = time.monotonic()
    hosts.add(HOT_CORES, "1G")
    hosts.ready()
    known = time.monotonic() - began
    took = known + arrives(hosts, "s2", 300)
    return [f"a host joins a hot one, windows of 10 s: known after {known:.0f} s, "
            f"a VM has come after {took:.0f} s"]


PARTS = {"predictions": predictions, "hot": hot_at_once, "hold": hot_for_long,
         "memory": short_of_memory, "joins": joins}


def soak(build, what, *args):
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Hosts(build, folder) as hosts:
        try:
            said = what(hosts, *args)
        except (Failed, OSError) as e:
            print(f"not ok - balance: {what.__name__} # {time.monotonic() - began:.0f} s\n# {e}")
            for name in hosts.names:
                for line in hosts.log(name).splitlines()[-12:]:
                    print(f"# {name}: {line}")
            return False
    for sentence in said:
        print(f"ok - balance: {sentence} # {time.monotonic() - began:.0f} s", flush=True)
    return True


def main():
    build, moves = os.path.abspath(sys.argv[1]), int(sys.argv[2])
    print(f"# load at first {machine_load()}", flush=True)
    done = [soak(build, PARTS[part], *([moves] if part == "predictions" else []))
            for part in sys.argv[3:] or PARTS]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
