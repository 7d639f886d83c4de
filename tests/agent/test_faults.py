# SPDX-License-Identifier: Apache-2.0
"""Moves while agents are killed, connections are cut and others lie: no VM is lost, none runs
twice, no host promises more than it has, and the log says what became of each."""
import json
import os
import signal
import uuid

from cluster import check, wait_for
from peer import Peer
from proxy import Cut, Fault, Proxy
from test_moves import moved, restarts, specs, work

MIB = 1 << 20
EXPIRES = "not-arrived db: from b: nothing was sent in time, or it was called off"


def alone(cluster, tls=True, **size):
    """An agent a, and a peer b that is the test."""
    options = [w for k, v in {"memory": "1G", "cores": "2", **size}.items() for w in ("--" + k, v)]
    a = cluster.start("a", "", "--address", "127.0.0.1", *options, tls=None if tls else "")
    a.says('agent "a" runs')
    a.does("policy", window_s=6)
    b = Peer(cluster, "b", tls)
    b.join(a)
    return a, b


def room(name="db", **more):
    return {"vm": name, "uuid": str(uuid.uuid4()), "memory": 64 * MIB, "resident": 8 * MIB,
            "vcpus": 1, **more}


def promised(agent):
    """Bytes that it keeps for others."""
    lines = [json.loads(line) for line in agent.gives("snapshot").splitlines()]
    return [line["reservation"]["memory"] for line in lines if "reservation" in line]


def stays(cluster, agent, vm):
    """Where it was, with its spec, and looked after."""
    agent.until(lambda: not agent.status()["flights"], "shows a flight")
    cluster.runs_at(vm, agent)
    check(f"{vm}.json" in specs(agent), "its spec is gone")
    restarts(cluster, vm, agent, agent.vm(vm)["restarts"] + 1)


def cut_off(cluster, a, b, vm, harm):
    """A move of a new VM through a proxy that does harm; true: it moved."""
    work(a, vm)
    with Proxy(b.waits(vm), harm) as proxy:
        b.answers["prepare"] = lambda _: {"ok": {"token": vm, "expires_s": 30, "url": proxy.url}}
        b.answers["cancel"] = lambda _: [b.call("cancel", vm), {"ok": {}}][1]
        a.does("move", vm=vm, to="b")
        a.until(lambda: f"moved {vm}: " in a.said(), "does not say what became of it")
        check(proxy.done, "nothing was cut")
    check(a.said().count(f"moved {vm}: ") == 1, a.said())
    if f"not-moved {vm}: " in a.said():
        check(any(body["token"] == vm for body in b.is_asked("cancel")), b.asked)
        stays(cluster, a, vm)
        return False
    check(any(body["token"] == vm for body in b.is_asked("settled")), b.asked)
    wait_for(lambda: cluster.where(vm) == ["b"], f"{vm} is not at b alone")
    a.until(lambda: f"{vm}.json" not in specs(a), "keeps the spec")
    return True


def test_faults_stream(cluster):
    """The connection of the VM itself is cut off."""
    a, b = alone(cluster, tls=False)
    for n, harm in enumerate([Cut("OFFER", "middle"), Cut("SEAL", "before"),
                              Fault("reset", 1, True, 100000)]):
        cut_off(cluster, a, b, f"early{n}", harm)


def test_faults_token(cluster):
    """The same when it is decided who runs it."""
    a, b = alone(cluster, tls=False)
    check(not cut_off(cluster, a, b, "before", Cut("TOKEN", "before")), "it moved without a token")
    for n, harm in enumerate([Cut("TOKEN", "middle"), Cut("TOKEN", "after"),
                              Cut("ACCEPTED", "before")]):
        cut_off(cluster, a, b, f"late{n}", harm)


class Then(Cut):
    """Nothing is cut; something else is done at that moment."""

    def __init__(self, message, place, does):
        super().__init__(message, place)
        self.kind, self.does = "delay", does

    def where(self, pipe, size, sections):
        at = super().where(pipe, size, sections)
        if at is not None:
            self.does()
        return at


def goes_without(cluster, end):
    """A move whose source's agent ends in the middle; the next one leaves the spec to the other."""
    a, b = alone(cluster, tls=False)
    work(a, "web")
    told = a.vm("web")
    with Proxy(b.waits("web"), Then("OFFER", "before", lambda: end(a))) as proxy:
        b.answers["prepare"] = lambda _: {"ok": {"token": "t", "expires_s": 30, "url": proxy.url}}
        a.does("move", vm="web", to="b")
        wait_for(lambda: cluster.where("web") == ["b"], "it does not go on without its agent")
        check(proxy.done, "the agent did not end")
    cluster.again(a)
    a.waits_for("web", state="stopped")
    check("may run there" in a.refuses(409, "start", name="web"), "it is started twice")
    record = {"id": "web", "host": "b", "at": told["at"], "vcpus": 1, "memory": 64 * MIB,
              "resident": MIB, "run": [0], "delay": [0], "cpu_mean": 0}
    b.told["vms"] = [{"name": "web", "uuid": told["uuid"], "host": "b", "state": "Running",
                      "spec": False, "record": record}]
    b.join(a)
    a.until(lambda: any(vm["host"] == "b" for vm in a.status()["vms"]), "does not hear of it")
    check(specs(a) == ["web.json"], "its last spec is gone")
    b.told["vms"][0]["spec"] = True
    a.says("spec-left web: it is another host's")
    a.until(lambda: a.vm("web") is None and not specs(a), "keeps the spec")
    check(cluster.where("web") == ["b"], cluster.where("web"))


def test_faults_source_killed(cluster):
    goes_without(cluster, lambda agent: agent.killed())


def test_faults_source_ended(cluster):
    goes_without(cluster, lambda agent: agent.ended())


def test_faults_destination_killed(cluster):
    """The agent, and nothing comes; another one ends the process that waits.  The same when it ends
    as a person would have it."""
    a, b = alone(cluster)
    spec = a.spec("db", "work", vm={"platform": {"uuid": str(uuid.uuid4())}})
    wanted = room(spec=spec, uuid=spec["vm"]["platform"]["uuid"])
    check("ok" in b.ask("a", "prepare", **wanted), a.said())
    check(specs(a) == ["db.json"] and a.pid_of("db"), "nothing waits")
    a.killed()
    check(a.pid_of("db"), "it ended with the agent")
    cluster.again(a)
    a.says("not-arrived db: process ", "the agent that had it wait has ended")
    wait_for(lambda: not a.pids(), "it still waits")
    check(a.waits_for("db", state="stopped")["why"] == "", a.vm("db"))
    a.refuses(409, "start", name="db")
    b.join(a)
    check("ok" in b.ask("a", "prepare", **wanted), a.said())
    a.ended()
    check(not a.pids() and not specs(a), "something is left")


def test_faults_expires(cluster):
    """Room that nobody uses is given to another; so is that of a move that is called off."""
    a, b = alone(cluster, memory="100M")
    wanted = room(spec=a.spec("db", "work", vm={"platform": {"uuid": str(uuid.uuid4())}}))
    wanted["uuid"] = wanted["spec"]["vm"]["platform"]["uuid"]
    check("ok" in b.ask("a", "prepare", **wanted), a.said())
    check("have no room" in b.ask("a", "prepare", **room("other"))["refused"]["why"], a.said())
    a.says(EXPIRES)
    a.until(lambda: not a.pids() and not promised(a) and not specs(a), "keeps something")
    token = b.ask("a", "prepare", **room("other"))["ok"]["token"]
    check(promised(a) == [64 * MIB] and a.pid_of("other"), promised(a))
    b.ask("a", "cancel", token=token, why="enough")
    a.until(lambda: not a.pids() and not promised(a), "keeps something")


def test_faults_larger(cluster):
    """A VM that has more memory than room was asked for does not come."""
    a, b = alone(cluster, tls=False)
    url = b.ask("a", "prepare", **room(memory=16 * MIB))["ok"]["url"]
    elf = os.path.join(cluster.build, "tests/guest/dirty.elf")
    said = cluster.path("said")
    b.run("godwit", "run", "--name", "db", "--kernel", elf, "--memory", "64M", "--append",
          "mib=32 noise", "--serial", "file=" + said)

    def is_full():
        with open(said, encoding="ascii", errors="replace") as f:
            return "running" in f.read()
    wait_for(lambda: os.path.exists(said) and is_full(), "it does not run")
    went = b.call("migrate", "db", url, "--bandwidth", "2M")
    check(went.returncode == 1, went.stdout)
    a.says("not-arrived db: from b: it has more memory than room was asked for")
    a.until(lambda: not a.pids() and not promised(a), "keeps something")
    check(cluster.where("db") == ["b"], cluster.where("db"))


def test_faults_cut_off(cluster):
    """In the middle of an answer, and of a question; and answers that are none."""
    a, b = alone(cluster)
    work(a, "web")
    answers = [b'{"ok": {"token": "t", "ur', {"ok": {}}, {"ok": []}, {"ok": {"token": 7, "url": {}}},
               {"ok": {"token": "t", "url": "unix:/x"}}, {"ok": {"token": "t", "url": "tcp:[::1]:1"}},
               {"refused": {"why": "no\nroom"}}, {"refused": []}, []]
    for n, answer in enumerate(answers):
        b.answers["prepare"] = lambda _, said=answer: said

        def is_asked(times=n):
            if not a.status()["flights"]:
                a.does("move", vm="web", to="b")
            return len([1 for kind, _ in b.asked if kind == "prepare"]) > times
        a.until(is_asked, "does not ask")  # it may have to be reached anew
        a.until(lambda: not a.status()["flights"], f"does not give up after {answer}")
    stays(cluster, a, "web")
    b.lines["a"].sock.sendall(b'{"prepare": {"vm": "db", "uu')
    b.lines["a"].close()
    check(not promised(a) and list(a.pids()) == ["web"], "room for half a question")


ABSURD = [None, {}, [], "", "x", True, -1, 0.5, 1e300, (1 << 63) - 1, "\n" * 100, ["x"] * 100]


def test_faults_absurd(cluster):
    """Questions with all kinds of wrong values are refused, and nothing is begun."""
    a, b = alone(cluster)
    work(a, "web")
    good = {"prepare": room(spec=None, moves=[]),
            "settled": {"token": "t", "vm": "web", "move": {"at": 1, "from": "b", "took_s": 1}},
            "cancel": {"token": "t", "why": "enough"}, "gain": {"vm": "web", "gain": 1},
            "move": {"vm": "web", "to": "b", "why": "so", "predicted": {}},
            "outcome": {"vm": "web", "moved": True, "time_s": 1, "blackout_s": 1, "bytes": 1}}
    for kind, body in good.items():
        for key in body:
            for value in ABSURD:
                if (kind, key, value) in (("prepare", "moves", []), ("prepare", "resident", 0)):
                    continue
                answer = b.ask("a", kind, **{**body, key: value})
                check(kind in ("cancel", "outcome") or "refused" in answer, (kind, key, value))
    for name in ("..", ".agent.sock", "-x", "a/b", "x" * 65, "\u00e9"):
        check("refused" in b.ask("a", "prepare", **room(name)), name)
    for more in ({"memory": 1 << 62}, {"resident": 65 * MIB}, {"uuid": "../../x"}, {"more": 1},
                 {"spec": a.spec("web")}, {"spec": a.spec("db")},
                 {"moves": [{"at": 1, "from": "b", "took_s": 1e300}]},
                 {"moves": [{"at": 1, "from": "b", "took_s": 1}] * 200}):
        check("refused" in b.ask("a", "prepare", **room(**more)), more)
    check(list(a.pids()) == ["web"] and not promised(a) and specs(a) == ["web.json"], a.said())
    stays(cluster, a, "web")


def test_faults_liar(cluster):
    """It tells of others what is not so, and gives orders that are not its to give."""
    a, b = alone(cluster)
    work(a, "web")
    vm = a.vm("web")
    record = {"id": "web", "host": "b", "at": vm["at"], "vcpus": 1, "memory": 64 * MIB,
              "resident": MIB, "run": [0], "delay": [0], "cpu_mean": 0}

    def told(name, host, **more):
        return {"name": name, "uuid": vm["uuid"], "state": "Running", "host": host,
                "record": {**record, "id": name, "host": host, **more}}
    flight = {"vm": "huge", "from": "b", "to": "c", "since": 1, "phase": "copy"}
    b.told.update(
        host={"id": "b", "at": 1 << 62, "state": "up", "cores": -1, "memory": 1 << 62, "link": "x",
              "reserve": -1, "available": 1e300, "use": ["x"]},
        vms=[told("ghost", "a"), told("huge", "b", memory=1 << 62, vcpus=1 << 40),
             told("web", "b"), told("odd", "b", run="x"), {"name": 7}, 7],
        flights=[{"vm": "web", "from": "a", "to": "b", "since": 1}, {"vm": 7, "from": "b"}, 7,
                 flight],
        reservations=[{"host": "a", "vm": "x", "memory": 1 << 60, "vcpus": 1, "until": 1 << 40}],
        settings={"mode": {"value": "auto", "at": 1 << 61, "by": "b"}, "policy.margin": 7})
    a.until(lambda: any(one["name"] == "huge" for one in a.status()["vms"]), "does not hear it")
    status = a.status()
    names = [one["name"] for one in status["vms"]]
    check("ghost" not in names and a.vm("web"), names)
    check(status["flights"] == [flight], status["flights"])
    check(status["mode"] == "recommend" and not promised(a), status["mode"])
    for verb in (["status"], ["plan"], ["explain", "web"]):
        done = a.call(*verb, program="godwit-agent")
        check(done.returncode == 0, f"{verb}: {done.stdout}{done.stderr}")

    order = b.ask("a", "move", vm="web", to="b", why="I plan", predicted={})
    check("b does not plan for this host" in order["refused"]["why"], order)
    move = {"at": vm["at"], "from": "b", "took_s": 1}
    check("refused" in b.ask("a", "settled", token="t", vm="web", move=move), "settled")
    check("refused" in b.ask("a", "gain", vm="web", gain=1), "gain")
    b.ask("a", "cancel", token="t", why="so")
    b.ask("a", "outcome", vm="web", moved=True, time_s=1e300, blackout_s=-1, bytes=-1)
    # The token of another.
    c = Peer(cluster, "c")
    c.join(a)
    token = c.ask("a", "prepare", **room("db"))["ok"]["token"]
    check("refused" in b.ask("a", "settled", token=token, vm="db", move=move), "not its own")
    b.ask("a", "cancel", token=token, why="so")
    # A spec of this host.
    a.does("apply", **a.spec("off", state="stopped"))
    own = a.vm("off")
    for its in (own["uuid"], str(uuid.uuid4())):
        spec = a.spec("off", "work", vm={"platform": {"uuid": its}})
        said = b.ask("a", "prepare", **room("off", uuid=its, spec=spec))
        check(said["refused"]["why"] == 'the host has a spec "off" of its own', said)
    check(specs(a) == ["off.json", "web.json"], specs(a))
    check(promised(a) == [64 * MIB] and a.pid_of("db"), "another has called it off")
    b.told["flights"] = []
    stays(cluster, a, "web")
    check("moves" not in a.vm("web"), a.vm("web"))
    # All that it asks for, as if it needed none of it.
    a.does("policy", in_max=100)
    for n in range(20):
        b.ask("a", "prepare", **room(f"vm{n}", resident=0))
    check(0 < sum(promised(a)) <= 1024 * MIB - 64 * MIB, promised(a))


def test_faults_planners(cluster):
    """Who hears others plan, too, does as one of them says; two that both send to one host fill it
    no further than it goes; two orders for one VM are one move."""
    a, b, c = cluster.hosts("abc", {"c": {"memory": "100M"}})
    work(a, "web")
    work(b, "db")
    a.does("move", vm="web", to="c")
    b.does("move", vm="db", to="c")
    wait_for(lambda: a.said().count("moved web: ") + b.said().count("moved db: ") == 2,
             "not both are over")
    went, stayed = ((a, "web"), (b, "db")) if "not-moved db" in b.said() else ((b, "db"), (a, "web"))
    moved(cluster, went[1], went[0], c)
    stayed[0].says(f"not-moved {stayed[1]}: to c: ")
    stays(cluster, stayed[0], stayed[1])
    c.does("host", id="c", state="draining")
    b.sees("a", a="up", b="up", c="draining")
    answers = [agent.ask("PUT", "move", {"vm": went[1], "to": "ab"[n]})[0]
               for n, agent in enumerate((a, b)) for _ in range(2)]
    check(204 in answers and set(answers) <= {204, 404, 409, 500}, answers)
    wait_for(lambda: cluster.where(went[1]) in (["a"], ["b"]), "it does not go to one of them")
    to = a if cluster.where(went[1]) == ["a"] else b
    moved(cluster, went[1], c, to)
    restarts(cluster, went[1], to, 1)
    check(not c.pids() and not specs(c), "something is left")


def test_faults_monitors(cluster):
    """A monitor is killed while its VM moves: that of the destination, and that of the source."""
    a, b = alone(cluster, tls=False)
    work(a, "web")
    for message, side in (("OFFER", "b"), ("SEAL", "b"), ("OFFER", "a")):
        host = {"a": a, "b": b}[side]
        end = Then(message, "before", lambda at=host: os.kill(at.pid_of("web"), signal.SIGKILL))
        before = a.said().count("not-moved web")
        with Proxy(b.waits("web"), end) as proxy:
            b.answers["prepare"] = lambda _, to=proxy.url: {
                "ok": {"token": "t", "expires_s": 30, "url": to}}
            b.answers["cancel"] = lambda _: [b.call("cancel", "web"), {"ok": {}}][1]
            a.does("move", vm="web", to="b")
            a.until(lambda n=before: a.said().count("not-moved web") > n, "does not give up")
            check(proxy.done, "nothing was killed")
        wait_for(lambda: not b.pids(), "the destination still waits")
        a.until(lambda: not a.status()["flights"], "shows a flight")
    # Offered, and then its monitor was killed: only a person knows that it does not run there.
    a.until(lambda: "may run there" in (a.vm("web") or {}).get("why", ""), "starts it")
    check(a.call("resolve", a.vm("web")["uuid"], "--run").returncode == 0, "resolve")
    a.does("start", name="web")
    cluster.runs_at("web", a)
