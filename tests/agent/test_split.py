# SPDX-License-Identifier: Apache-2.0
"""A network that comes apart, and persons who take the hosts of the other side out on both, so that
two agents plan: no VM is lost, none runs twice, and no host promises more than it has."""
import contextlib
import json
import os
import time

from cluster import check
from net import ADDRESS, Net
from test_faults import MIB, promised
from test_moves import moved, restarts, specs, work

HAS = 100 * MIB  # of which one VM of 64 MiB takes most


@contextlib.contextmanager
def apart(cluster, **memory):
    """Hosts by name with so much, between which the network may be cut."""
    net, found = Net(), []
    with contextlib.closing(net):
        for name, its in memory.items():
            agent = cluster.start(name, found[0].address() if found else "", "--address", ADDRESS,
                                  "--cores", "2", "--memory", str(its), tls="")
            net.lead_to(agent)
            found.append(agent)
        for agent in found:
            agent.sees(min(memory), **{name: "up" for name in memory})
        # However little VMs get: only what must goes.
        found[0].does("policy", window_s=6, interval_s=1, happy_low=0, use_high=10)
        found[0].does("mode", mode="auto")
        for agent in found:
            agent.until(lambda one=agent: one.status()["mode"] == "auto", "does not hear the mode")
        yield net, found


def crowded(agents):
    """Those that have, or wait for, more VMs than they have memory for: one."""
    return [agent.name for agent in agents if len(agent.pids()) > 1]


def one_goes(cluster, to, **sources):
    """One of these VMs to a host that has room for one: who went and from where, and who stayed."""
    def gone():
        check(not crowded([to]), f"{to.name} has {to.pids()}")
        return [vm for vm, agent in sources.items() if f" moved {vm}: " in agent.said()]
    went, = to.until(gone, f"gets none of {list(sources)}")
    moved(cluster, went, sources[went], to)
    stayed, = set(sources) - {went}
    cluster.runs_at(stayed, sources[stayed])
    return went, sources[went], stayed, sources[stayed]


def ordered(planner, vm, source, to):
    planner.says(f"orders {vm}: from {source.name} to {to.name} (draining)")
    source.says(f"moves {vm}: to {to.name}, as {planner.name} wants: draining")


def test_split(cluster):
    """Two and two: each side's planner empties one of its hosts, and none touches the other's."""
    with apart(cluster, a=HAS, b=2 * HAS, c=HAS, d=2 * HAS) as (net, agents):
        a, b, c, d = agents
        for agent, names in ((b, ("web", "app")), (d, ("db", "log"))):
            for name in names:
                work(agent, name)
        net.cut("ab", "cd")
        for agent in agents:
            agent.until(lambda one=agent: one.status()["planner"] is None, "hears what it cannot")
        for agent, others in ((a, "cd"), (c, "ab")):
            for other in others:
                agent.does("host", id=other, state="maintenance")
        time.sleep(0.01)  # in the same millisecond neither is the last word
        b.does("host", id="b", state="draining")
        d.does("host", id="d", state="draining")
        for agent in (a, b):
            agent.sees("a", a="up", b="draining", c="dead", d="dead")
        for agent in (c, d):
            agent.sees("c", a="dead", b="dead", c="up", d="draining")
        found = [(*one_goes(cluster, a, web=b, app=b), a), (*one_goes(cluster, c, db=d, log=d), c)]
        for went, source, _, _, to in found:
            ordered(to, went, source, to)
        here, there = found[0][0], found[1][0]
        said = a.refuses(404, "move", vm=there, to="a")
        check(said == f'no host has a VM "{there}"', said)
        a.does("move", vm=here, to="c")
        a.says(f'not-moved {here}: to c: the host takes no VMs, its state is "maintenance"')
        net.mend()
        # What was said last of a host counts: b is not in maintenance.
        for agent in agents:
            agent.sees("b", a="maintenance", b="draining", c="maintenance", d="draining")
        for name in "abcd":
            c.does("host", id=name, state="up")
        for agent in agents:
            agent.sees("a", a="up", b="up", c="up", d="up")
        for went, source, stayed, at, to in found:
            restarts(cluster, went, to, 1)
            restarts(cluster, stayed, at, 1)
            check(specs(to) == [went + ".json"] and specs(source) == [stayed + ".json"], "specs")
        check(not crowded([a, c]), "a host has more than it has room for")
        check(not [one.name for one in agents if promised(one)], "room is still kept")


def from_the_future(agent, **states):
    """As if a person had set them there, by a clock that was fast."""
    agent.killed()
    path = os.path.join(agent.state, "agent/settings.json")
    with open(path, encoding="ascii") as f:
        settings = json.load(f)
    at = int(time.time() + 3600) * 1000
    settings.update({f"host.{name}": {"value": state, "at": at, "by": agent.name}
                     for name, state in states.items()})
    with open(path, "w", encoding="ascii") as f:
        json.dump(settings, f)
    port = agent.address().rpartition(":")[2]
    agent.options[agent.options.index("--listen") + 1] = "tcp:127.0.0.1:" + port
    agent.start()


def test_split_heard(cluster):
    """One hears both planners: c does not hear that it was taken out, for what was said there comes
    from the future, and neither do the others take that."""
    with apart(cluster, a=HAS, b=HAS, c=2 * HAS, d=HAS) as (net, (a, b, c, d)):
        work(d, "web")
        for name in "ab":
            a.does("host", id=name, state="draining")
        net.cut("ab", "c")
        for agent, planner in ((a, None), (b, None), (c, None), (d, "d")):
            agent.until(lambda one=agent, who=planner: one.status()["planner"] == who,
                        f"does not come to {planner}")
        a.does("host", id="c", state="maintenance")
        from_the_future(c, a="maintenance", b="maintenance", c="up")
        d.does("host", id="d", state="draining")
        c.sees("c", a="dead", b="dead", c="up", d="draining")
        for agent in (a, b, d):
            agent.sees("a", a="draining", b="draining", c="maintenance" if agent is d else "dead",
                       d="draining")
        d.says("a setting is left out: ", "comes from the future")
        # Both want it away; a has no place for it, and d does not do as c wants.
        refused = "order-refused web: d will not move it to c: c does not plan for this host, a"
        c.says("orders web: from d to c (draining)", refused)
        cluster.runs_at("web", d)
        check("moves web: " not in d.said(), d.said())
        a.does("host", id="a", state="up")
        moved(cluster, "web", d, a)
        ordered(a, "web", d, a)
        # Both want to fill d, from hosts that are theirs.
        c.does("host", id="c", state="draining")
        work(b, "one")
        work(c, "two")
        d.does("host", id="d", state="up")
        went, source, stayed, at = one_goes(cluster, d, one=b, two=c)
        ordered(a if source is b else c, went, source, d)
        at.does("move", vm=stayed, to="d")
        at.says(f"not-moved {stayed}: to d: its 64 MiB of memory have no room")
        net.mend()
        for name in "abc":
            c.does("host", id=name, state="up")
        for name in "cb":
            a.does("host", id=name, state="up")
        for agent in (a, b, c, d):
            agent.sees("a", a="up", b="up", c="up", d="up")
        for vm, host in (("web", a), (went, d), (stayed, at)):
            restarts(cluster, vm, host, 1)
            check(specs(host) == [vm + ".json"], specs(host))
        check(not crowded([a, b, d]), "a host has more than it has room for")
