# SPDX-License-Identifier: Apache-2.0
"""Disks that change their size, and limits that change, before a VM runs, while it does and while
it is paused."""
import contextlib
import fcntl
import json
import os
import resource
import signal
import subprocess

from rig import LIMIT, check
from test_api import config, monitor, wants
from test_migrate import Side

MIB = 1 << 20
STATES = ("Created", "Running", "Paused")
OPS = {"ops": {"size": 5, "refill_time": 1000}}


def bring_to(client, state):
    """From the one before it in STATES."""
    if state != "Created":
        wants(client, 204, "PUT", {"Running": "vm.boot", "Paused": "vm.pause"}[state])
    check(wants(client, 200, "GET", "vm.info")["state"] == state, state)


def resize(client, status, name, size):
    return wants(client, status, "PUT", "vm.resize-disk", {"id": name, "desired_size": size})


def limit(client, status, name, limits):
    return wants(client, status, "PUT", "vm.set-rate-limit",
                 {"id": name, "rate_limiter_config": limits})


def limits_of(client, section="disks", place=0):
    info = wants(client, 200, "GET", "vm.info")
    return info["config"][section][place].get("rate_limiter_config")


def test_disk_resize(rig):
    """In every state; what is refused leaves the file as it is."""
    path, other = rig.disk(), rig.disk(name="other.img")
    disks = [{"path": path}, {"path": other, "readonly": True}]
    with monitor(rig) as (process, client):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
        resize(client, 404, "disk0", MIB)
        wants(client, 204, "PUT", "vm.create", config(rig, disks=disks))
        for number, state in enumerate(STATES, 1):
            bring_to(client, state)
            for size in (96 * MIB * number, 32 * MIB, 48 * MIB + 512):
                resize(client, 204, "disk0", size)
                check(os.path.getsize(path) == size, f"{state}: {os.path.getsize(path)} bytes")
            for size in (0, 511, 48 * MIB + 1, -512, 1 << 63, None, "48M", 512.0, [512]):
                resize(client, 400, "disk0", size)
            resize(client, 400, 5, MIB)
            wants(client, 400, "PUT", "vm.resize-disk", {"desired_size": MIB})
            wants(client, 400, "PUT", "vm.resize-disk", {"id": "disk0"})
            wants(client, 400, "PUT", "vm.resize-disk")
            for name in ("disk2", "", "disks", "platform", "x" * 100):
                resize(client, 404, name, MIB)
            for name in ("serial", "rng"):
                check("only disks" in resize(client, 500, name, MIB)[0], name)
            check("read-only" in resize(client, 500, "disk1", MIB)[0], "disk1")
            check("cannot give" in resize(client, 500, "disk0", 1 << 62)[0], "4 EiB")
            check(os.path.getsize(path) == 48 * MIB + 512, f"{state}: the file has changed")
            check(os.path.getsize(other) == 64 * MIB, f"{state}: the other file has changed")
        wants(client, 204, "PUT", "vm.resume")
        wants(client, 204, "PUT", "vm.reboot")
        resize(client, 204, "disk0", MIB)
        hot = wants(client, 200, "PUT", "vm.add-disk", {"path": rig.disk(name="hot.img")})
        resize(client, 204, hot["id"], 128 * MIB)
        check(os.path.getsize(rig.path("hot.img")) == 128 * MIB, "the hot disk")
        wants(client, 204, "PUT", "vm.shutdown")
        resize(client, 204, "disk0", 2 * MIB)
        check(os.path.getsize(path) == 2 * MIB, "after the shutdown")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_disk_resize_created(rig):
    """Without a machine the image is opened as the machine would do it."""
    with open(rig.path("disk.qcow2"), "wb") as f:
        f.write(b"QFI\xfb" + bytes(4 * MIB))
    disks = [{"path": rig.path("nothing")}, {"path": rig.path("disk.qcow2")},
             {"path": rig.path("disk.qcow2"), "image_type": "raw"}]
    with monitor(rig) as (_, client):
        wants(client, 204, "PUT", "vm.create", config(rig, disks=disks))
        check("does not exist" in resize(client, 500, "disk0", MIB)[0], "no file")
        check("qcow2" in resize(client, 500, "disk1", MIB)[0], "another format")
        resize(client, 204, "disk2", MIB)
        check(os.path.getsize(rig.path("disk.qcow2")) == MIB, "raw, whatever it looks like")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_rate_limit(rig):
    """In every state; the configuration follows, and the VM's next life has them."""
    disks = [{"path": rig.disk()}, {"path": rig.disk(name="b"), "rate_limit_group": "gold"}]
    groups = [{"id": "gold", "rate_limiter_config": {"ops": {"size": 7}}}]
    with monitor(rig) as (_, client):
        limit(client, 404, "disk0", OPS)
        wants(client, 204, "PUT", "vm.create",
              config(rig, disks=disks, rate_limit_groups=groups))
        for state in STATES:
            bring_to(client, state)
            limit(client, 204, "disk0", {"bandwidth": {"size": MIB, "refill_time": 100}})
            limit(client, 204, "disk0", {"ops": {"size": 5}})
            check(limits_of(client) == OPS, f"{state}: {limits_of(client)}")
            for bad in ({"ops": {}}, {"ops": {"size": -1}}, {"ops": 5}, 5, [], "off"):
                limit(client, 400, "disk0", bad)
            check(limits_of(client) == OPS, f"{state}: the limits have changed")
            limit(client, 204, "disk0", None)
            check(not limits_of(client), f"{state}: {limits_of(client)}")
            limit(client, 204, "disk0", OPS)
            wants(client, 204, "PUT", "vm.set-rate-limit", {"id": "disk0"})
            check(not limits_of(client), f"{state}: {limits_of(client)}")
            limit(client, 204, "gold", OPS)
            check(limits_of(client, "rate_limit_groups") == OPS, f"{state}: the group")
            check("group gold" in limit(client, 400, "disk1", OPS)[0], "a member of a group")
            wants(client, 400, "PUT", "vm.set-rate-limit", {"rate_limiter_config": OPS})
            for name in ("disk2", "", "net", "cpus"):
                limit(client, 404, name, OPS)
            check("only disks" in limit(client, 500, "serial", OPS)[0], "serial")
        limit(client, 204, "disk0", OPS)
        wants(client, 204, "PUT", "vm.resume")
        wants(client, 204, "PUT", "vm.reboot")
        check(limits_of(client) == OPS, "after a reboot")
        wants(client, 204, "PUT", "vm.shutdown")
        wants(client, 204, "PUT", "vm.boot")
        check(limits_of(client) == OPS, "in the next life")
        hot = wants(client, 200, "PUT", "vm.add-disk", {"path": rig.disk(name="hot.img")})
        limit(client, 204, hot["id"], OPS)
        check(limits_of(client, place=2) == OPS, "the hot disk")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_disk_verbs(rig):
    """godwit resize-disk, godwit limit."""
    name = f"test-{os.getpid()}"
    path = rig.disk()

    def verb(*words, status=0):
        done = subprocess.run([rig.godwit, *words], capture_output=True, text=True, timeout=LIMIT,
                              check=False)
        check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout if status == 0 else done.stderr

    def limits():
        disk = json.loads(verb("info", "--json", name))["config"]["disks"][0]
        return disk.get("rate_limiter_config")

    command = rig.command("hello", "--append", "stay", "--disk", "path=" + path)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as vm:
        try:
            check(vm.stdout.read(1) == b"G", "no first byte")
            check(not verb("resize-disk", name, "disk0", "1G"), "it says something")
            check(os.path.getsize(path) == 1 << 30, "1G")
            check("SIZE" in verb("resize-disk", name, "disk0", "big", status=2), "big")
            check("something is missing" in verb("resize-disk", name, "disk0", status=2), "no size")
            check("multiple of 512" in verb("resize-disk", name, "disk0", "1000", status=1), "1000")
            check('no device "disk7"' in verb("resize-disk", name, "disk7", "1G", status=1), "disk7")
            check(not verb("limit", name, "disk0", "bw=1M,ops=5"), "it says something")
            check(limits() == {**OPS, "bandwidth": {"size": MIB, "refill_time": 1000}}, limits())
            check('did you mean "ops"' in verb("limit", name, "disk0", "op=5", status=2), "op")
            check("something is missing" in verb("limit", name, "disk0", status=2), "no limits")
            check("key=value" in verb("limit", name, "disk0", "5", status=2), "no key")
            check(not verb("limit", name, "disk0", "off"), "it says something")
            check(not limits(), limits())
            verb("shutdown", "--now", name)
            check(vm.wait(LIMIT) == 0, "it did not end well")
        finally:
            vm.kill()


def lease(file, kind):
    """True: whoever opens it now waits for this process; false: somebody has it open."""
    with contextlib.suppress(BlockingIOError):
        fcntl.fcntl(file, fcntl.F_SETLEASE, kind)
        return True
    return False


def test_disk_slow(rig):
    """A disk that takes long to open keeps no guest waiting, nor who looks at the VM."""
    with Side(rig, "slow", "--kernel", rig.elf("dirty"), "--memory", "64M", "--serial", "tty",
              "--append", "mib=4 rate=40") as a, open(rig.disk(), "r+b") as disk:
        a.until(lambda: "running" in a.said, "the guest does not run")
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        a.until(lambda: lease(disk, fcntl.F_WRLCK), "no lease")
        client = a.client()
        client.begin("PUT", "vm.add-disk", {"path": disk.name})
        a.until(lambda: fcntl.fcntl(disk, fcntl.F_GETLEASE) == fcntl.F_UNLCK, "opens no disk")
        for _ in range(20):
            a.beats()
        other = a.client()
        check(not wants(other, 200, "GET", "vm.info")["config"]["disks"], "has it already")
        counters = wants(other, 200, "GET", "vm.counters")
        check("_vcpu0" in counters and "_memory" in counters, counters.keys())
        check("godwit_" in other.ask("GET", "/metrics")[1], "no metrics")
        wants(other, 404, "GET", "vm.migration-progress")
        other.begin("PUT", "vm.cancel-migration")
        lease(disk, fcntl.F_UNLCK)
        status, answer = client.answer()
        check(status == 200 and answer["id"], (status, answer))
        check(other.answer()[0] == 404, "calls off what is not under way")
        check(wants(other, 200, "GET", "vm.info")["config"]["disks"], "has it not")
