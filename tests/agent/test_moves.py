# SPDX-License-Identifier: Apache-2.0
"""VMs that agents move: asked by a person, because their host is emptied, or because it is hot."""
import json
import os
import signal
import time

from cluster import check, wait_for


def work(agent, name, load=10, **more):
    """A VM with a spec runs there, and all that is known of VMs is known of it."""
    agent.does("apply", **agent.spec(name, "work", f"load={load}", **more))
    agent.until(lambda: "memory" in (agent.vm(name) or {}), f"does not know {name}")


def specs(agent):
    return sorted(os.listdir(agent.state + "/agent/specs"))


def moved(cluster, vm, source, to):
    """All of it: the VM, its spec, and what is known of its moves."""
    cluster.runs_at(vm, to)
    source.until(lambda: f"{vm}.json" not in specs(source), f"keeps the spec of {vm}")
    to.waits_for(vm, spec=True, why="")
    last = to.until(lambda: (to.vm(vm).get("moves") or [{}])[0].get("from") == source.name and
                    to.vm(vm)["moves"][0], f"is not told of the move of {vm}")
    check(last["took_s"] >= last["blackout_s"] > 0, last)
    check({"predicted_s", "predicted_blackout_s", "predicted_gain"} <= set(last), last)
    check(vm not in source.pids(), f"{source.name} still has a process of {vm}")
    return last


def restarts(cluster, vm, at, times):
    """Its process is killed, and another one runs it on the same host."""
    os.kill(at.pid_of(vm), signal.SIGKILL)
    at.waits_for(vm, state="Running", restarts=times)
    cluster.runs_at(vm, at)


def test_moves_asked(cluster):
    """At its host and at another one, there and back; who has the spec has the VM from then on."""
    a, b, c = cluster.hosts("abc")
    work(a, "web")
    uuid = a.vm("web")["uuid"]
    a.does("move", vm="web", to="b")
    moved(cluster, "web", a, b)
    restarts(cluster, "web", b, 1)
    check(b.vm("web")["uuid"] == uuid, "another uuid")
    c.until(lambda: any(vm["name"] == "web" and vm["host"] == "b" and "memory" in vm
                        for vm in c.status()["vms"]), "does not hear where it is")
    c.does("move", vm="web", to="a")
    moved(cluster, "web", b, a)
    check([move["from"] for move in a.vm("web")["moves"]] == ["b", "a"], a.vm("web"))
    restarts(cluster, "web", a, 1)
    check("vm-start web" not in b.said() + c.said(), "another host has tried to start it")
    for agent in (a, b, c):
        agent.until(lambda one=agent: not one.status()["flights"], "shows a flight")


def test_moves_refused(cluster):
    """A destination that has no room, takes none, or is not known; an order that makes no sense."""
    a, b = cluster.hosts("ab", {"b": {"memory": "100M", "reserve": "50M"}})
    work(a, "web")
    a.does("move", vm="web", to="b")
    a.says("not-moved web: to b: its 64 MiB of memory have no room")
    b.says("refused web: from a: its 64 MiB")
    b.does("host", id="b", state="draining")
    a.sees("a", a="up", b="draining")
    a.does("move", vm="web", to="b")
    a.says('not-moved web: to b: the host takes no VMs, its state is "draining"')
    check(a.refuses(404, "move", vm="web", to="nowhere") == "no host nowhere is known here",
          "no sentence")
    check(a.refuses(400, "move", vm="web", to="a") == 'VM "web" is on a already', "no sentence")
    check(a.refuses(404, "move", vm="db", to="b") == 'no host has a VM "db"', "no sentence")
    a.refuses(400, "move", vm="web", to=["b"])
    a.refuses(404, "move", vm=7, to="b")
    a.refuses(400, "move", vm="web", to="../b")
    a.until(lambda: a.said().count("not-moved web") == 2, "does not refuse twice")
    cluster.runs_at("web", a)
    check(specs(a) == ["web.json"] and not specs(b), "the spec has moved")
    check("moves" not in a.vm("web"), a.vm("web"))
    restarts(cluster, "web", a, 1)


def test_moves_drain(cluster):
    """A host that is drained, or in maintenance, is empty in the end, and only if agents may."""
    a, b = cluster.hosts("ab")
    for name in ("web", "db"):
        work(a, name)
    a.does("host", id="a", state="draining")
    a.says("recommends web: from a to b", "recommends db: from a to b")
    check("orders" not in a.said() and "moves " not in a.said(), a.said())
    b.does("mode", mode="emergency")
    for name in ("web", "db"):
        check(moved(cluster, name, a, b)["predicted_s"] > 0, "nothing was predicted")
    a.says("orders web: from a to b (draining)", "orders db: from a to b (draining)")
    a.does("host", id="b", state="maintenance")
    a.does("host", id="a", state="up")
    for name in ("web", "db"):
        moved(cluster, name, b, a)
    check(not b.pids(), b.pids())


def test_moves_hot(cluster):
    """Those that want more than their host has come apart."""
    a, b = cluster.hosts("ab", cores="1")
    a.does("policy", window_s=1, hold_windows=1, margin=0, gain_min=0, cooldown_s=0)
    for name in ("one", "two", "three"):
        work(a, name, load=90)
    b.does("mode", mode="auto")
    a.says("orders ")
    wait_for(lambda: len(a.pids()) < 3 and b.pids(), "all stay")
    b.until(lambda: any(vm["host"] == "b" and vm["state"] == "Running" and "moves" in vm
                        for vm in b.status()["vms"]), "runs none")
    for name in ("one", "two", "three"):
        wait_for(lambda vm=name: len(cluster.where(vm)) == 1, f"{name} is not on one host")


def test_moves_to_one_that_joins(cluster):
    """At once, and not when it is time for the next plan."""
    a = cluster.start("a", "", "--address", "127.0.0.1", "--memory", "1G", "--cores", "1")
    a.sees("a", a="up")
    for name in ("one", "two", "three"):
        work(a, name, load=90)
    a.does("policy", window_s=6, interval_s=3600, hold_windows=1, margin=0, gain_min=0,
           cooldown_s=0)
    a.does("mode", mode="auto")
    a.until(lambda: a.vm("three").get("happiness", 1) < 0.8, "is not hot")
    b = cluster.start("b", a.address(), "--address", "127.0.0.1", "--memory", "1G", "--cores", "1")
    a.says("orders ")
    wait_for(b.pids, "it is not used")


def test_moves_with_its_days(cluster):
    """How its days go is known after a move, and after an agent was killed."""
    a, b = cluster.hosts("ab")
    work(a, "web")
    a.killed()
    hour = int(time.time()) // 3600
    days = {"hour": hour, "cores": [2.0 if (hour - 1 - i) % 2 else 1.5 for i in range(48)]}
    with open(a.state + "/agent/days.json", "w", encoding="ascii") as f:
        json.dump({"web": days}, f)
    cluster.again(a)

    def knows(agent):
        return 1.5 <= agent.until(lambda: (agent.vm("web") or {}).get("cpu_yesterday"),
                                  "does not tell of yesterday") <= 2
    check(knows(a), a.vm("web"))
    a.sees("a", a="up", b="up")
    a.does("move", vm="web", to="b")
    moved(cluster, "web", a, b)
    check(knows(b), b.vm("web"))
    check(b.vm("web")["cpu_mean"] == 1, "not all that it has now")
    told = b.call("explain", "web", program="godwit-agent")
    check("its days are alike" in told.stdout, told)
