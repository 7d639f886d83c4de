# SPDX-License-Identifier: Apache-2.0
"""What is known of a VM at any time: what its guest writes, how it would move, what it waits for."""
import contextlib
import os
import re
import subprocess

from api_client import wants
from rig import Skipped, check
from test_migrate import Side, destination, finish, source

MIB = 1 << 20


def predicted(client, query="", status=200):
    return wants(client, status, "GET", "vm.predict-migration" + query)


def test_signals(rig):
    """Nobody has asked before, so that a second is waited for; then it is counted."""
    with source(rig, words="mib=32 rate=50") as a:
        client = a.client()
        first = wants(client, 200, "GET", "vm.info")
        check("migration_prediction" not in first, first)
        check("_move" not in wants(client, 200, "GET", "vm.counters"), "known before it was looked for")
        found = predicted(client)
        check(16 * MIB < found["memory_bytes"] < 128 * MIB, found)
        check(found["memory_dirty_bps"] > MIB, found)
        check(found["memory_transmission_bps"] == 1250000000, found)
        check(found["total_us"] > found["blackout_us"] > 0, found)
        slow = predicted(client, "?rate=2000000")
        check(slow["memory_transmission_bps"] == 2000000, slow)
        check(slow["total_us"] > 20 * found["total_us"], (slow, found))
        check(slow["vcpu_throttle_percent"] > 0, slow)
        check("total_us" not in predicted(client, "?rate=1"), "it would end")
        for wrong in "x", "0", "-1", "", str(1 << 63):
            predicted(client, "?rate=" + wrong, 400)
        move = wants(client, 200, "GET", "vm.counters")["_move"]
        check(move["samples"] >= 1 and move["converges"] == 1, move)
        check(move["memory"] > 16 * MIB and move["dirty_rate"] > MIB, move)
        info = wants(client, 200, "GET", "vm.info")
        check(info["migration_prediction"]["memory_bytes"] > 16 * MIB, info)
        check(info["cpus"]["run_ns"] > 0 and info["cpus"]["throttled_ns"] == 0, info["cpus"])
        check("swapped" in info["memory"], info["memory"])
        text = wants(client, 200, "GET", "/metrics")
        check(re.search(r'^godwit_move_dirty_bytes_per_second{device="move"} [1-9]', text, re.M), text)
        with destination(rig) as b:
            check(wants(client, 200, "PUT", "vm.check-migration", {"destination_url": b.url()})
                  ["memory_transmission_bps"] == predicted(client)["memory_transmission_bps"], "measured")
        finish(a)


def test_signals_take_no_memory(rig):
    """Pages that were never touched are not made by looking at them, shared or not."""
    for kind in "shared=on", "shared=off":
        with Side(rig, "source", "--kernel", rig.elf("dirty"), "--memory", "2G," + kind, "--serial",
                  "tty", "--append", "mib=8") as a:
            a.until(lambda: "running" in a.said, "the guest does not run")
            client = a.client()
            before = wants(client, 200, "GET", "vm.counters")["_memory"]["rss"]
            found = predicted(client)
            after = wants(client, 200, "GET", "vm.counters")["_memory"]["rss"]
            check(after < before + MIB or rig.watches_threads(), f"{kind}: {before} bytes, then {after}")
            check(found["memory_bytes"] < 512 * MIB, found)
            finish(a)


@contextlib.contextmanager
def group(rig):
    """A control group of its own; it and its mount are gone afterwards."""
    root = rig.path("cgroup2")
    os.mkdir(root)
    done = subprocess.run(["mount", "-t", "cgroup2", "none", root], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise Skipped(f"cannot mount cgroup2: {done.stderr.strip()}")
    own = os.path.join(root, f"godwit-test-{os.getpid()}")
    try:
        os.mkdir(own)
        try:
            if not os.path.exists(os.path.join(own, "cpu.pressure")):
                raise Skipped("this kernel knows no pressure of control groups")
            yield own
        finally:
            os.rmdir(own)
    finally:
        subprocess.run(["umount", root], check=True)


def test_signals_pressure(rig):
    """That of its own group; in the root there is none to tell."""
    with group(rig) as own, source(rig) as a:
        client = a.client()
        try:
            with open("/proc/self/cgroup", encoding="ascii") as f:
                if "0::/\n" in f.readlines():
                    check("_pressure" not in wants(client, 200, "GET", "vm.counters"), "the host's")
            with open(os.path.join(own, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write(str(a.process.pid))
            counters = wants(client, 200, "GET", "vm.counters")
            check(set(counters["_pressure"]) == {f"{what}_{kind}" for kind in ("avg10", "ns") for what in (
                "cpu_some", "memory_some", "memory_full", "io_full")}, counters)
            text = wants(client, 200, "GET", "/metrics")
            check('\ngodwit_pressure_avg10_ratio{device="pressure",what="cpu-some"} 0.' in text, text)
        finally:
            a.process.kill()
            a.ended()
