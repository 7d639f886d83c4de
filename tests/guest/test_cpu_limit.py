# SPDX-License-Identifier: Apache-2.0
"""What all vCPUs of a busy guest have together, while it runs, moves and comes back."""
import contextlib
import json
import os
import socket
import subprocess
import time

from api_client import Connection, monitor, config, wants
from rig import LIMIT, Skipped, check, own_name
from test_snapshot import Vm
from test_vcpus import Guest, boot_vcpus

LOOK_S = 1
LOOKS = 5
SLACK = 0.1  # of a core: a burst, slices that a tick of the host made longer


def counted(client, name):
    return sum(c[name] for device, c in wants(client, 200, "GET", "vm.counters").items()
               if device.startswith("_vcpu"))


def limit_of(client):
    return wants(client, 200, "GET", "vm.info")["config"]["cpus"].get("limit", 0)


def look(client):
    """(share of a core, how long vCPUs were held back) in some time"""
    began, ran, held = time.monotonic(), counted(client, "run_ns"), counted(client, "throttled_ns")
    time.sleep(LOOK_S)
    ran, held = counted(client, "run_ns") - ran, counted(client, "throttled_ns") - held
    return ran / 1e9 / (time.monotonic() - began), held


def is_held_to(client, limit):
    """It has no more than that, is held back, and runs; if not at once, the host stood still."""
    check(limit_of(client) == limit, limit_of(client))
    looks = []
    while not any(0 < share <= limit + SLACK and held for share, held in looks):
        check(len(looks) < LOOKS, f"at a limit of {limit}: {looks}")
        looks.append(look(client))


def is_free(client):
    """From the next entry into the guest on: a vCPU that is being woken up may count once more."""
    check(limit_of(client) == 0, limit_of(client))
    seen = []
    while len(seen) < 20 and len(set(seen[-2:])) != 1 or len(seen) < 2:
        seen.append(counted(client, "throttled_ns"))
        time.sleep(0.2)
    check(seen[-1] == seen[-2], f"it is held back: {seen}")


def put(client, body, status=204):
    return wants(client, status, "PUT", "vm.resize", body)


def test_cpu_limit(rig):
    """Two vCPUs that are busy have half a core, then less, then all."""
    with Guest(rig, "vcpus", cpus="boot=2,max=3,limit=0.5") as g:
        g.runs(0, 1)
        client = g.side.client()
        is_held_to(client, 0.5)
        put(client, {"cpu_limit": 0.2})
        is_held_to(client, 0.2)
        put(client, {"desired_vcpus": 3})
        g.runs(0, 1, 2)
        is_held_to(client, 0.2)
        put(client, {"cpu_limit": 0})
        is_free(client)
        for wrong in (-1, 0.001, 256, "1", True):
            check("cpu_limit" in put(client, {"cpu_limit": wrong}, 400)[0], wrong)
        put(client, {"cpu_limit": 1, "desired_vcpus": 4}, 500)
        check(limit_of(client) == 0, "a refusal has changed it")
        put(client, {"cpu_limit": 2.5, "desired_vcpus": 2})
        g.runs(0, 1)
        check(limit_of(client) == 2.5 and boot_vcpus(client) == 2, "not both")
        wants(client, 204, "PUT", "vm.pause")
        put(client, {"cpu_limit": 0.3})
        wants(client, 204, "PUT", "vm.resume")
        is_held_to(client, 0.3)
        wants(client, 204, "PUT", "vm.reboot")
        g.runs(0, 1)
        is_held_to(client, 0.3)
        g.ends()


def quota_of(group):
    with open(group + "/cpu.cfs_quota_us", encoding="ascii") as f:
        return int(f.read())


@contextlib.contextmanager
def cgroup_of(pid):
    """A cgroup of version 1 for one process, gone afterwards."""
    group = f"/sys/fs/cgroup/cpu/{own_name()}"
    try:
        os.mkdir(group)
    except OSError as e:
        raise Skipped(f"no cgroup for a quota can be made: {e.strerror}") from e
    try:
        with open(group + "/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(pid))
        yield group
    finally:
        with open(group + "/../cgroup.procs", "w", encoding="ascii") as f:
            for each in open(group + "/cgroup.procs", encoding="ascii"):
                f.write(each)
        os.rmdir(group)


def test_cpu_limit_cgroup(rig):
    """In a cgroup of its own the kernel limits it, as long as it is alone there."""
    with Guest(rig, "vcpus", cpus="boot=2") as g, cgroup_of(g.side.process.pid) as group:
        g.runs(0, 1)
        client = g.side.client()

        def held():
            return wants(client, 200, "GET", "vm.counters")["_cpus"]["throttled_ns"]

        put(client, {"cpu_limit": 0.5})
        check(quota_of(group) == 50000, quota_of(group))
        g.side.until(held, "the kernel does not hold it back")
        check(counted(client, "throttled_ns") == 0, "it holds itself back, too")
        put(client, {"cpu_limit": 1.5})
        check(quota_of(group) == 150000, quota_of(group))
        put(client, {"cpu_limit": 0})
        check(quota_of(group) == -1, quota_of(group))
        with subprocess.Popen(["sleep", "100"]) as other:
            with open(group + "/cgroup.procs", "w", encoding="ascii") as f:
                f.write(str(other.pid))
            put(client, {"cpu_limit": 0.3})
            check(quota_of(group) == -1, "it limits others")
            is_held_to(client, 0.3)
            other.kill()
        put(client, {"cpu_limit": 0.5})
        g.side.until(lambda: not put(client, {"cpu_limit": 0.5}) and quota_of(group) == 50000,
                     "not alone again")
        # Nobody listens there: it tries, fails, and has its quota again.
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            wants(client, 204, "PUT", "vm.send-migration",
                  {"destination_url": f"tcp:127.0.0.1:{deaf.getsockname()[1]}"})
            check(quota_of(group) == -1, "what moves it is limited")
            is_held_to(client, 0.5)
            wants(client, 204, "PUT", "vm.cancel-migration")
            g.side.until(lambda: quota_of(group) == 50000, "not again")
        os.write(g.side.process.stdin.fileno(), b"q")
        check(g.side.ended() == 0, g.side.logged)
        check(quota_of(group) == -1, "it left its quota behind")


def test_cpu_limit_move(rig):
    """It goes with the guest, and the migration does not count it as its own."""
    with Guest(rig, "source", cpus="boot=2,max=3,limit=2.5") as a, \
            Guest(rig, "destination", "--incoming", "tcp:127.0.0.1:0") as b:
        a.runs(0, 1)
        client = a.side.client()
        put(client, {"cpu_limit": 0.4})
        is_held_to(client, 0.4)
        answer = wants(client, 200, "PUT", "vm.send-migration",
                       {"destination_url": b.side.url(), "wait": True})
        if not any(step["throttle_percent"] for step in answer["steps"]):
            check(not any(answer["throttled_us"]), answer)
        check(a.side.ended() == 0, a.side.logged)
        there = b.side.client()
        b.key_c()
        is_held_to(there, 0.4)
        put(there, {"cpu_limit": 0})
        is_free(there)
        b.ends()


def test_cpu_limit_snapshot(rig):
    with Guest(rig, "vcpus", cpus="boot=2,limit=0.3") as g:
        g.runs(0, 1)
        wants(g.side.client(), 204, "PUT", "vm.snapshot",
              {"destination_url": "file://" + rig.path("saved"), "pause": True})
        g.ends()
    vm = Vm(rig, "restore", "--resume", rig.path("saved"), "--name", own_name(), "--api-socket",
            rig.path("api.sock"))
    try:
        client = Connection(rig.path("api.sock"))
        is_held_to(client, 0.3)
        vm.serial.sendall(b"q")
        vm.ends()
    finally:
        vm.process.kill()


def test_cpu_limit_not_booted(rig):
    with monitor(rig) as (_, client):
        wants(client, 204, "PUT", "vm.create",
              config(rig, "vcpus", cpus={"boot_vcpus": 1, "limit": 0.2}))
        put(client, {"cpu_limit": 0.25})
        wants(client, 204, "PUT", "vm.boot")
        is_held_to(client, 0.25)
        wants(client, 204, "PUT", "vm.delete")
        said = wants(client, 400, "PUT", "vm.create",
                     config(rig, "vcpus", cpus={"boot_vcpus": 1, "limit": 0.009}))
        check("limit must be 0 or a number from 0.01 to 255" in said[0], said)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_cpu_limit_verb(rig):
    """A number with a fraction is vCPUs and a limit, a whole one no limit."""
    def verb(*words, status=0):
        done = subprocess.run([rig.godwit, *words], capture_output=True, text=True,
                              timeout=LIMIT, check=False)
        check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout if status == 0 else done.stderr

    for cpus, fixed in (("1.5,max=4", False), ("1.5", True)):
        with Guest(rig, "vcpus", cpus=cpus) as g:
            g.runs(0, 1)
            client, name = g.side.client(), g.side.name
            check(limit_of(client) == 1.5, limit_of(client))
            verb("resize", name, "--cpus", "0.7")
            if not fixed:
                g.runs(0)
            check((boot_vcpus(client), limit_of(client)) == (2 if fixed else 1, 0.7), "not 0.7")
            check("0.7 cores at most" in verb("info", name), verb("info", name))
            if fixed:
                check("max_vcpus" in verb("resize", name, "--cpus", "2.5", status=1), "2.5")
                check("max_vcpus" in verb("resize", name, "--cpus", "1", status=1), "1")
                check(limit_of(client) == 0.7, "a refusal has changed it")
            verb("resize", name, "--cpus", "2")
            if not fixed:
                g.runs(0, 1)
            check((boot_vcpus(client), limit_of(client)) == (2, 0), "not 2")
            verb("resize", name, "--cpu-limit", "0.25")
            is_held_to(client, 0.25)
            vm, = json.loads(verb("top", "--once", "--json", name))
            check(vm["throttled"] is None or vm["throttled"] > 0, vm)
            verb("resize", name, "--cpu-limit", "none")
            is_free(client)
            os.write(g.side.process.stdin.fileno(), b"q")
            check(g.side.ended() == 0, g.side.logged)
