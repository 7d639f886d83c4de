# SPDX-License-Identifier: Apache-2.0
"""vCPUs that a VM is given and that are taken from it, by API and by verb."""
import contextlib
import json
import os
import select
import subprocess

from api_client import Connection, config, monitor, wants
from rig import LIMIT, check, own_name
from test_migrate import Side
from test_snapshot import Vm

CPUS = "boot=1,max=4"


def resize(client, n, status=204):
    answer = wants(client, status, "PUT", "vm.resize", {"desired_vcpus": n})
    return answer[0] if status >= 400 else None


def boot_vcpus(client):
    """As many as its configuration says, and as there are devices and counters."""
    info = wants(client, 200, "GET", "vm.info")
    n = info["config"]["cpus"]["boot_vcpus"]
    shown = {name for name in info["device_tree"] if name.startswith("vcpu")}
    counted = {name[1:] for name in wants(client, 200, "GET", "vm.counters")
               if name.startswith("_vcpu")}
    check(shown == counted and len(shown) in (0, n), f"{n} vCPUs, {shown}, {counted}")
    return n


class Guest:
    """The guest of vcpus.c in its process."""

    def __init__(self, rig, name, *options, cpus=CPUS):
        self.side = Side(rig, name, *(options or (
            "--kernel", rig.elf("vcpus"), "--memory", "64M", "--cpus", cpus, "--serial", "tty")))

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.side.__exit__()

    def says(self, text):
        """It has said this line since the last one that was waited for."""
        def said():
            check("FAIL" not in self.side.said, self.side.said[-300:])
            return text + "\n" in self.side.said
        self.side.until(said, f"does not say {text!r}")
        self.side.said = self.side.said.partition(text + "\n")[2]

    def key(self, key):
        os.write(self.side.process.stdin.fileno(), key.encode())
        self.says(f"key {key}")

    def runs(self, *cpus):
        """It says that it uses these, and they do run."""
        self.says(" ".join(("vcpus:", *map(str, cpus))))
        self.key_c()

    def key_c(self):
        os.write(self.side.process.stdin.fileno(), b"c")
        self.says("vcpus: all run")
        self.says("key c")

    def ends(self):
        os.write(self.side.process.stdin.fileno(), b"q")
        check(self.side.ended() == 0, self.side.logged)
        check("vcpus: ok" in self.side.said, self.side.said[-300:])


@contextlib.contextmanager
def guest(rig, cpus=CPUS, n=1):
    with Guest(rig, "vcpus", cpus=cpus) as g:
        g.runs(*range(n))
        yield g, g.side.client()
        g.ends()


def events(client):
    return [(e["source"], e["event"], (e["properties"] or {}).get("id"),
             (e["properties"] or {}).get("vcpus"))
            for e in wants(client, 200, "GET", "events")["events"]]


def test_vcpus(rig):
    """To the most and back, again and again; what is told of it."""
    with guest(rig) as (g, client):
        for _ in range(3):
            resize(client, 4)
            g.runs(0, 1, 2, 3)
            check(boot_vcpus(client) == 4, "not 4")
            resize(client, 2)
            g.runs(0, 1)
            resize(client, 2)
            check(boot_vcpus(client) == 2, "not 2")
            resize(client, 1)
            g.runs(0)
            check(boot_vcpus(client) == 1, "not 1")
        told = events(client)
        for n in (1, 2, 3):
            check(told.count(("vcpu", "found", f"vcpu{n}", None)) == 3, told)
        check([e[3] for e in told if e[1] == "resized"] == 3 * [4, 3, 2, 1], told)
        for n in (0, 256, 1 << 40, -1, "2", 1.0):
            resize(client, n, 400)
        for n in (5, 255):
            check("1 to 4 vCPUs" in resize(client, n, 500), "no sentence")
        wants(client, 204, "PUT", "vm.resize", {})
        said = wants(client, 500, "PUT", "vm.resize", {"desired_vcpus": 2, "desired_ram": 1 << 30})
        check("memory: the guest can have up to" in said[0], said)
        check(boot_vcpus(client) == 1, "a refusal has changed it")


def test_vcpus_refused(rig):
    """The guest's no is told; who gives a vCPU up from inside of it is believed, too."""
    with guest(rig, "boot=3,max=4", 3) as (g, client):
        g.key("r")
        said = resize(client, 1, 500)
        check("refuses" in said and "_OST 0x82" in said and "has 3 vCPUs now, not 1" in said, said)
        check(boot_vcpus(client) == 3, "it has fewer")
        g.says("vcpus: 0 1 2")
        g.key("x")
        resize(client, 2)
        g.runs(0, 1)
        check(boot_vcpus(client) == 2, "it has more")
        g.key("g")
        resize(client, 3)
        g.runs(0, 1, 2)


def test_vcpus_not_answered(rig):
    """It keeps them, also if it gives them up later; meanwhile nothing else changes that."""
    with guest(rig, "boot=3,max=4", 3) as (g, client):
        g.key("s")
        # It spins while it is waited for: with little of a core it is no burden for other tests.
        wants(client, 204, "PUT", "vm.resize", {"cpu_limit": 0.1})
        client.begin("PUT", "vm.resize", {"desired_vcpus": 1})
        other = g.side.client()
        g.side.until(lambda: "being given 1 vCPUs" in resize(other, 2, 429), "is not busy")
        said = wants(other, 500, "PUT", "vm.send-migration", {"destination_url": "tcp:127.0.0.1:1"})
        check("the number of its vCPUs changes" in said[0], said)
        status, said = client.answer()
        check(status == 500 and "did not give it up within 30 s" in said[0], said)
        check("has 3 vCPUs now, not 1" in said[0], said)
        check(boot_vcpus(client) == 3, "it has fewer")
        wants(client, 204, "PUT", "vm.resize", {"cpu_limit": 0})
        g.key("g")
        g.key("e")
        g.runs(0, 1, 2)
        resize(client, 1)
        g.runs(0)


def test_vcpus_hostile(rig):
    """Whatever it writes, and whatever it sends to vCPUs that are not there."""
    with guest(rig, "boot=2,max=4", 2) as (g, client):
        for n in (3, 4, 2):
            g.key("h")
            check(boot_vcpus(client) < n or n == 2, "it took more than it has")
            resize(client, n)
            g.runs(*range(n))
        g.key("h")
        check(boot_vcpus(client) == 2, "not 2")


def test_vcpus_reboot(rig):
    """A guest that boots again has as many as before, whoever wants it to, and what it was asked
    for is gone."""
    with guest(rig) as (g, client):
        resize(client, 3)
        g.runs(0, 1, 2)
        os.write(g.side.process.stdin.fileno(), b"b")
        g.runs(0, 1, 2)
        wants(client, 204, "PUT", "vm.reboot")
        g.runs(0, 1, 2)
        g.key("s")
        client.begin("PUT", "vm.resize", {"desired_vcpus": 2})
        other = g.side.client()
        g.side.until(lambda: "being given" in resize(other, 2, 429), "is not busy")
        wants(other, 204, "PUT", "vm.reboot")
        check(client.answer()[0] == 204, "not gone")
        g.runs(0, 1)
        check(boot_vcpus(client) == 2, "not 2")
        resize(client, 4)
        g.runs(0, 1, 2, 3)


def test_vcpus_paused(rig):
    """It answers when it goes on, and may be stopped at any moment."""
    with guest(rig) as (g, client):
        other = g.side.client()
        for n in 20 * (4, 1, 3, 2):
            client.begin("PUT", "vm.resize", {"desired_vcpus": n})
            wants(other, 204, "PUT", "vm.pause")
            wants(other, 200, "GET", "vm.info")
            wants(other, 204, "PUT", "vm.resume")
            check(client.answer()[0] == 204, "not done")
            g.runs(*range(n))
        wants(client, 204, "PUT", "vm.pause")
        both = {c.socket: c for c in (client, other)}
        for c in both.values():
            c.begin("PUT", "vm.resize", {"desired_vcpus": 4})
        # Which of them comes first is not said; the one that is answered is the other.
        late = both.pop(select.select(both, [], [], LIMIT)[0][0])
        status, said = late.answer()
        check(status == 429 and "being given 4" in said[0], said)
        check(boot_vcpus(late) == 4, "not 4")
        wants(late, 204, "PUT", "vm.resume")
        check(both.popitem()[1].answer()[0] == 204, "not done")
        g.runs(0, 1, 2, 3)


def test_vcpus_move(rig):
    """What is there moves, also with a gap, and comes and goes there as before."""
    with guest_that_moves(rig) as (a, b):
        client = a.side.client()
        resize(client, 4)
        a.runs(0, 1, 2, 3)
        a.key("k")
        check("has 2 vCPUs now" in resize(client, 1, 500), "no gap")
        a.runs(0, 2)
        a.key("g")
        answer = wants(client, 200, "PUT", "vm.send-migration",
                       {"destination_url": b.side.url(), "wait": True})
        check(len(answer["throttled_us"]) == 2, answer)
        check(a.side.ended() == 0, a.side.logged)
        there = b.side.client()
        b.key_c()
        check(boot_vcpus(there) == 2, "not 2")
        b.key("h")
        resize(there, 3)
        b.runs(0, 1, 2)
        for n in (4, 1, 4):
            resize(there, n)
            b.runs(*range(n))
        wants(there, 204, "PUT", "vm.reboot")
        b.runs(0, 1, 2, 3)
        b.ends()


@contextlib.contextmanager
def guest_that_moves(rig):
    with Guest(rig, "source") as a, \
            Guest(rig, "destination", "--incoming", "tcp:127.0.0.1:0") as b:
        a.runs(0)
        yield a, b


def test_vcpus_snapshot(rig):
    """Of one that has all that it may have: it can still be given fewer."""
    with guest(rig, "boot=3,max=4", 3) as (g, client):
        resize(client, 4)
        g.runs(0, 1, 2, 3)
        wants(client, 204, "PUT", "vm.snapshot",
              {"destination_url": "file://" + rig.path("saved"), "pause": True})
    vm = Vm(rig, "restore", "--resume", rig.path("saved"), "--name", own_name(), "--api-socket",
            rig.path("api.sock"))
    try:
        vm.serial.sendall(b"c")
        vm.hears(b"vcpus: all run")
        client = Connection(rig.path("api.sock"))
        check(boot_vcpus(client) == 4, "not 4")
        resize(client, 2)
        check(boot_vcpus(client) == 2, "not 2")
        vm.hears(b"vcpus: 0 1\n")
        vm.serial.sendall(b"c")
        vm.hears(b"vcpus: all run")
        vm.serial.sendall(b"q")
        vm.ends()
    finally:
        vm.process.kill()


def test_vcpus_not_booted(rig):
    """The configuration is changed; a VM whose number is fixed keeps it once it is booted."""
    with monitor(rig) as (_, client):
        resize(client, 1, 404)
        wants(client, 204, "PUT", "vm.create",
              config(rig, "vcpus", cpus={"boot_vcpus": 1, "max_vcpus": 3}))
        resize(client, 4, 500)
        resize(client, 3)
        check(boot_vcpus(client) == 3, "not 3")
        wants(client, 204, "PUT", "vm.boot")
        resize(client, 2)
        check(boot_vcpus(client) == 2, "not 2")
        wants(client, 204, "PUT", "vm.shutdown")
        check(boot_vcpus(client) == 2, "the next life has others")
        wants(client, 204, "PUT", "vm.boot")
        check(boot_vcpus(client) == 2, "the next life has others")
        wants(client, 204, "PUT", "vm.delete")
        disk = {"path": rig.disk(), "id": "cpu-hotplug"}
        wants(client, 204, "PUT", "vm.create",
              config(rig, "echo", cpus={"boot_vcpus": 2}, disks=[disk]))
        wants(client, 204, "PUT", "vm.boot")
        check("max_vcpus above boot_vcpus" in resize(client, 1, 500), "no sentence")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_vcpus_verb(rig):
    with guest(rig) as (g, _):
        def verb(*words, status=0):
            done = subprocess.run([rig.godwit, *words], capture_output=True, text=True,
                                  timeout=LIMIT, check=False)
            check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
            return done.stdout if status == 0 else done.stderr

        name = g.side.name
        check(not verb("resize", name, "--cpus", "4"), "it says something")
        g.runs(0, 1, 2, 3)
        listed = {vm["name"]: vm["vcpus"] for vm in json.loads(verb("list", "--json"))}
        check(listed[name] == 4, listed)
        check("1 to 4 vCPUs" in verb("resize", name, "--cpus=5", status=1), "5")
        check("from 1 to 255" in verb("resize", name, "--cpus", "0", status=2), "0")
        check("--cpus N" in verb("resize", name, status=2), "no number")
        check("--cpus" in verb("complete", "--", "resize", name, "--"), "no completion")
