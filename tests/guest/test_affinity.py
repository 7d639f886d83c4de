# SPDX-License-Identifier: Apache-2.0
"""vCPUs that run on some of the host's CPUs only, also where they come from elsewhere."""
import json
import os
import time

from api_client import Connection, config, monitor, wants
from rig import LIMIT, check, own_name
from test_snapshot import Vm
from test_vcpus import Guest, resize

NONE = 1000  # no host of tests has that


def allowed(pid):
    """{vCPU: on which CPUs its thread may run}"""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii") as f:
            name = f.read().strip()
        if name.startswith("vcpu"):
            found[name] = os.sched_getaffinity(int(tid))
    return found


def not_pinned(client):
    return [e["properties"]["id"] for e in wants(client, 200, "GET", "events")["events"]
            if (e["source"], e["event"]) == ("vcpu", "not-pinned")]


def check_not_pinned(client, vcpus):
    """It says so when it builds the VM, which takes its time."""
    deadline = time.monotonic() + LIMIT
    while not_pinned(client) != vcpus:
        check(time.monotonic() < deadline, f"it says so of {not_pinned(client)}")
        time.sleep(0.02)


def test_affinity(rig):
    """Those that are named, also before they are there; others run anywhere."""
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    with Guest(rig, "vcpus", cpus=f"boot=1,max=3,affinity=[0@[{first}],2@[{last}]]") as g:
        g.runs(0)
        wanted = {"vcpu0": {first}, "vcpu1": os.sched_getaffinity(0), "vcpu2": {last}}
        check(allowed(g.side.process.pid) == wanted, allowed(g.side.process.pid))
        client = g.side.client()
        resize(client, 3)
        g.runs(0, 1, 2)
        check(allowed(g.side.process.pid) == wanted, allowed(g.side.process.pid))
        told = wants(client, 200, "GET", "vm.info")["config"]["cpus"]["affinity"]
        check(told == [{"vcpu": 0, "host_cpus": [first]}, {"vcpu": 2, "host_cpus": [last]}], told)
        check(not not_pinned(client), "it says that they are not pinned")
        g.ends()


def test_affinity_refused(rig):
    """With a sentence, when it is built."""
    rig.run("echo", "--cpus", f"boot=2,affinity=[1@[0,{NONE}]]", status=1)
    check(f"vcpu1 is to run on CPU {NONE}, which this host does not have" in rig.said, rig.said)
    with monitor(rig) as (_, client):
        for affinity, word in (([{"vcpu": 1, "host_cpus": [0]}], "no vcpu 1"),
                               ([{"vcpu": 0}], "host_cpus is missing"),
                               ([{"vcpu": 0, "host_cpus": []}], "names none"),
                               ([{"vcpu": 0, "host_cpus": [0]}] * 2, "twice"),
                               ([{"vcpu": 0, "host_cpus": [1024]}], "from 0 to 1023"), ([7], "object")):
            said = wants(client, 400, "PUT", "vm.create", config(rig, cpus={"affinity": affinity}))
            check("affinity" in said[0] and word in said[0], said)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_affinity_elsewhere(rig):
    """A host without such a CPU runs the guest on any, and says so."""
    with Guest(rig, "source", cpus="boot=2,max=2,affinity=[0@[0],1@[0]]") as a, \
            Guest(rig, "destination", "--incoming", "tcp:127.0.0.1:0", "--cpus",
                  f"affinity=[0@[{NONE}],1@[0]]") as b:
        a.runs(0, 1)
        wants(a.side.client(), 200, "PUT", "vm.send-migration",
              {"destination_url": b.side.url(), "wait": True})
        check(a.side.ended() == 0, a.side.logged)
        b.key_c()
        check(allowed(b.side.process.pid) == {"vcpu0": os.sched_getaffinity(0), "vcpu1": {0}},
              allowed(b.side.process.pid))
        check_not_pinned(b.side.client(), ["vcpu0"])
        b.side.logs(f"CPU {NONE}")
        b.side.logs("not pinned")
        wants(b.side.client(), 204, "PUT", "vm.snapshot",
              {"destination_url": "file://" + rig.path("saved"), "pause": True})
        b.ends()
    with open(rig.path("saved/config.json"), encoding="ascii") as f:
        check(json.load(f)["cpus"]["affinity"][0]["host_cpus"] == [NONE], "it is forgotten")
    vm = Vm(rig, "restore", "--resume", rig.path("saved"), "--name", own_name(), "--api-socket",
            rig.path("api.sock"))
    try:
        client = Connection(rig.path("api.sock"))
        check_not_pinned(client, ["vcpu0"])
        check(allowed(vm.process.pid)["vcpu1"] == {0}, allowed(vm.process.pid))
        vm.serial.sendall(b"q")
        vm.ends()
    finally:
        vm.process.kill()
