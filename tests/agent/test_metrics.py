# SPDX-License-Identifier: Apache-2.0
"""What an agent tells monitoring systems."""
import os
import pathlib
import sys

from cluster import check

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "unit"))

# pylint: disable=wrong-import-position
from metrics import parse

GUEST = "tests/guest/service.elf"


def metrics(agent):
    """{(name, labels): value}, read as strictly as the monitor's; Bad if it is not well-formed."""
    samples = [s for family in parse(agent.gives("/metrics"), False) for s in family.samples]
    return {(name, *(f"{k}={v}" for k, v in labels)): value for name, labels, value in samples}


def test_metrics(cluster):
    """Of a host without VMs, then of one that has two, and of who plans."""
    a = cluster.start("a")
    b = cluster.start("b", a.address())
    for agent in (a, b):
        agent.sees("a", a="up", b="up")
    a.until(lambda: ("godwit_host_cores",) in metrics(a), "does not know its host")
    of_a, of_b = metrics(a), metrics(b)
    check(of_a["godwit_planner",] == 1 and of_b["godwit_planner",] == 0, (of_a, of_b))
    for of in of_a, of_b:
        check(of["godwit_peers_heard",] == 1, of)
        check(of["godwit_host_vms",] == 0 and of["godwit_reservations",] == 0, of)
        check(0 < of["godwit_host_available_bytes",] <= of["godwit_host_memory_bytes",], of)
        check(of["godwit_moves_begun_total",] == 0, of)
        check({k[1] for k in of if k[0] == "godwit_moves_over_total"} ==
              {"how=moved", "how=failed", "how=refused"}, of)
        check(not [k for k in of if k[0].startswith(("godwit_vm_", "godwit_last_move_"))], of)


def start_guest(agent, name):
    kernel = os.path.join(agent.cluster.build, GUEST)
    agent.does("apply", name=name, vm={"payload": {"kernel": kernel, "cmdline": "nodriver"},
                                      "memory": {"size": 64 << 20}})


def test_metrics_of_vms(cluster):
    """Each VM has all values, once it was looked at for a window."""
    a = cluster.start("a")
    a.does("policy", window_s=1)
    for name in "v1", "v2":
        start_guest(a, name)
    names = {"happiness_ratio", "run_ratio", "delay_ratio", "throttled_ratio", "resident_bytes",
             "restarts_total"}
    wanted = {(f"godwit_vm_{name}", f"vm={vm}") for name in names for vm in ("v1", "v2")}
    a.until(lambda: {k for k in metrics(a) if k[0].startswith("godwit_vm_")} == wanted,
            "does not know all of its VMs")
    of = metrics(a)
    check(of["godwit_host_vms",] == 2, of)
    for (name, *_), value in of.items():
        check(value <= 1 or not name.endswith("_ratio"), of)
    check(of["godwit_vm_resident_bytes", "vm=v1"] > 1 << 20, of)


def over(agent):
    return {how: metrics(agent)["godwit_moves_over_total", f"how={how}"]
            for how in ("moved", "failed", "refused")}


def test_metrics_of_moves(cluster):
    """One that is refused, then one that a person asked another agent for, which was predicted."""
    a = cluster.start("a", "", "--address", "127.0.0.1")
    b = cluster.start("b", a.address(), "--address", "127.0.0.1")
    for agent in (a, b):
        agent.sees("a", a="up", b="up")
    a.does("policy", window_s=6)
    start_guest(b, "v")
    # Before its first window is over it is none of the planner's VMs.
    b.until(lambda: ("godwit_vm_run_ratio", "vm=v") in metrics(b), "does not know the VM")
    b.does("host", id="a", state="maintenance")
    b.does("move", vm="v", to="a")
    b.until(lambda: over(b)["refused"] == 1, "was not refused")
    b.does("host", id="a", state="up")
    a.sees("a", a="up", b="up")
    a.until(lambda: any(vm["name"] == "v" for vm in a.status()["vms"]), "does not hear of it")
    a.does("move", vm="v", to="a")
    b.until(lambda: over(b)["moved"] == 1, "did not move it")
    of = metrics(b)
    check(over(b) == {"moved": 1, "failed": 0, "refused": 1}, of)
    check(of["godwit_moves_begun_total",] == 2, of)
    check(of["godwit_last_move_seconds",] > of["godwit_last_move_blackout_seconds",] > 0, of)
    check(over(a) == {"moved": 0, "failed": 0, "refused": 0}, metrics(a))
    a.until(lambda: "moves" in vm_record(a, "v"), "does not know of the move")
    move = vm_record(a, "v")["moves"][0]
    check(move["from"] == "b" and move["predicted_s"] > move["predicted_blackout_s"] > 0, move)
    # Who plans has learned from it as the host that it left.
    for agent in (a, b):
        path = os.path.join(agent.state, "agent/lessons.json")
        agent.until(lambda file=path: os.path.exists(file), "has learned nothing")


def vm_record(agent, name):
    return next((vm for vm in agent.status()["vms"] if vm["name"] == name), {})
