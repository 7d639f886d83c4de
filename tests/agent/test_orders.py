# SPDX-License-Identifier: Apache-2.0
"""Moves that persons wait for: "godwit-agent move" says how they end, whoever has the VM."""
import threading
import time

from cluster import check, wait_for
from test_faults import alone
from test_moves import moved, work


class Order(threading.Thread):
    """A move that is waited for, in a thread of its own."""

    def __init__(self, agent, vm, to):
        super().__init__(daemon=True)
        self.agent, self.vm, self.to, self.done = agent, vm, to, None
        self.start()

    def run(self):
        self.done = self.agent.call("move", self.vm, self.to, program="godwit-agent")

    def ends(self, status, *parts):
        self.agent.until(lambda: self.done, f"does not say how the move of {self.vm} ended")
        said = self.done.stdout + self.done.stderr
        check(self.done.returncode == status, said)
        check(all(part in said for part in parts), said)


def test_orders_awaited(cluster):
    """From the host that has the VM and from another one; and one that is refused by a third."""
    a, b, c = cluster.hosts("abc", {"c": {"memory": "100M", "reserve": "50M"}})
    work(a, "web")
    Order(a, "web", "c").ends(1, 'VM "web" has not moved to c: its 64 MiB of memory have no room')
    c.until(lambda: any(vm["name"] == "web" and vm["host"] == "a" and "memory" in vm
                        for vm in c.status()["vms"]), "does not hear where it is")
    Order(c, "web", "c").ends(1, 'VM "web" has not moved to c: its 64 MiB of memory have no room')
    Order(c, "web", "b").ends(0, 'VM "web" runs on b now: ', "stood still for ")
    moved(cluster, "web", a, b)
    Order(b, "web", "a").ends(0, 'VM "web" runs on a now: ')
    moved(cluster, "web", b, a)
    Order(b, "db", "a").ends(1, 'no host has a VM "db"')


def test_orders_lost(cluster):
    """The other host's agent says that it moves the VM, and never how that ended; or lies."""
    a, b = alone(cluster)
    b.told["vms"] = [{"name": "web", "uuid": "u", "state": "Running",
                      "record": {"id": "web", "host": "b"}}]
    a.until(lambda: any(vm["name"] == "web" for vm in a.status()["vms"]), "does not hear of it")

    def begun(order, times):
        wait_for(lambda: len([1 for kind, _ in b.asked if kind == "move"]) == times,
                 lambda: f"b is not asked {times} times but {b.asked}; {order.done}")
        return order

    lost = begun(Order(a, "web", "a"), 1)
    lost.ends(1, 'how the move of VM "web" to a ended is not known here, for its agent has not')
    b.told["flights"] = [{"vm": "web", "from": "b", "to": "a", "since": 1, "phase": "asks"}]
    goes_on, another = begun(Order(a, "web", "a"), 2), begun(Order(a, "web", "a"), 3)
    for said in ({}, {"vm": "db", "moved": False}, {"vm": ["web"]}):
        b.ask("a", "outcome", **said)
    time.sleep(1)  # they would be wrong to end now
    check(not goes_on.done and not another.done, "it has ended")
    b.ask("a", "outcome", vm="web", moved=False, why="the\nend")
    goes_on.ends(1, 'VM "web" has not moved to a: it does not say why')
    another.ends(1, 'VM "web" has not moved to a: it does not say why')
    silent = begun(Order(a, "web", "a"), 4)
    b.kill()
    silent.ends(1, "for the agent of the host it was on is not heard any more")


def test_orders_maintenance(cluster):
    """What was said here a moment ago counts, whether or not the other host has heard it."""
    a, b = alone(cluster)
    work(a, "web")
    a.does("host", id="b", state="maintenance")
    Order(a, "web", "b").ends(1, 'the host takes no VMs, its state is "maintenance"')
    check(not [1 for kind, _ in b.asked if kind == "prepare"], b.asked)
