# SPDX-License-Identifier: Apache-2.0
"""A lease server decides where a VM runs: --lease, docs/handover.md."""
import contextlib
import os
import re
import socket
import threading
import uuid

from api_client import wants
from moves import Traveller, all_cuts, moves_after_cut
from proxy import Cut
from proxy import Proxy as CuttingProxy
from rig import LIMIT, check, own_name
from test_migrate import destination, finish, source
from test_migrate_outcomes import READY, TOKEN, UNDECIDED, Move, kill
from test_ownership import Host, running

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
REQUEST = re.compile(rf"(take|who) ({UUID})(?: ([1-9][0-9]*) (\S+/{UUID}/{UUID}))?\n")


class LeaseServer:
    """The whole of one: who has which VM, in what generation."""

    def __init__(self, path):
        self.path, self.url = path, "unix:" + path
        self.leases, self.asked, self.wrong = {}, [], []
        self.lock, self.listener, self.thread = threading.Lock(), None, None
        self.die_at = None  # the verb at which it dies, and whether it still does what is asked
        self.start()

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.serve, args=(self.listener,), daemon=True)
        self.thread.start()

    def stop(self):
        """Who asks now is refused."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if threading.current_thread() is not self.thread:
            self.thread.join()

    def take(self, vm, generation, holder):
        now, name = self.leases.get(vm, (generation - 1, None))
        if generation != now + 1 and not (name == holder and generation >= now):
            return "no"
        self.leases[vm] = (generation, holder)
        return "yes"

    def who(self, vm):
        return "yes {} {}".format(*self.leases[vm]) if vm in self.leases else "no"

    def answer(self, line):
        words = REQUEST.fullmatch(line)
        if not words or (words[1] == "take") != bool(words[3]):
            self.wrong.append(line)
            return "unknown"
        with self.lock:
            self.asked.append(words[1])
            dies = self.die_at and self.die_at[0] == words[1]
            if dies:
                self.stop()
            if dies and not self.die_at[1]:
                return None
            answer = (self.take(words[2], int(words[3]), words[4]) if words[1] == "take"
                      else self.who(words[2]))
            return None if dies else answer

    def serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                with client, client.makefile("rw", encoding="ascii") as f:
                    with contextlib.suppress(OSError):
                        for line in f:
                            answer = self.answer(line)
                            if answer is None:
                                break
                            f.write(answer + "\n")
                            f.flush()

    def back(self):
        self.die_at = None
        self.start()

    def only(self):
        """The one lease there is: generation, holder."""
        with self.lock:
            check(len(self.leases) == 1, self.leases)
            return next(iter(self.leases.values()))

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stop()
        check(not self.wrong, self.wrong)


def serve(rig):
    return LeaseServer(rig.path("lease"))


def test_lease_cold_start(rig):
    """The host that had a VM last starts it again; no other, and nobody who hears no answer."""
    with serve(rig) as server:
        other, host = Host(rig), Host(rig)
        other.state = rig.path("other-state")
        for generation in (1, 2):
            host.boot("--lease", server.url)
            check(server.only()[0] == generation, server.leases)
        said = other.boot("--lease", server.url, status=1)
        check("the lease of this VM is held by host " in said, said)
        check(server.only()[0] == 2 and host.record()["generation"] == 2, "something was changed")
        server.stop()
        for _ in range(2):
            said = host.boot("--lease", server.url, status=1)
            check("it is not known whether this VM runs elsewhere: the lease server" in said, said)
            check(host.record()["generation"] == 2, host.record())
        server.back()
        # Freed by whoever knows that its host is gone.
        server.leases[host.vm] = (3, "-")
        other.boot("--lease", server.url)
        check(server.only()[0] == 4, server.leases)
        check("held by host" in host.boot("--lease", server.url, status=1), "two hosts")
        said = host.boot("--lease", "tcp:alpha:1", status=2)
        check("is no lease server; write unix:PATH" in said, said)


def test_lease_two_processes(rig):
    """Two processes of one host have one VM between them, also without a disk that has a lock."""
    with serve(rig) as server:
        host = Host(rig)
        second = ["run", "--config", host.config, "--name", own_name() + "b", "--memory", "64M",
                  "--kernel", rig.elf("hello"), "--lease", server.url]
        with running(host, "--append", "stay", "--lease", server.url):
            said = host.run(*second, status=1)
            check(f"another process of this host runs the VM {host.vm}" in said, said)
            check(server.only()[0] == 1, server.leases)
        host.run(*second)
        check(server.only()[0] == 2, server.leases)


def test_lease_resolve(rig):
    """The question again, before a person may start a VM that was offered to another host."""
    with serve(rig) as server:
        host = Host(rig)
        host.boot("--lease", server.url)
        mine = server.only()[1]
        host.promise("source", "answered", 1)
        entry = f"{host.state}/{host.vm}-source.json"
        with open(entry, encoding="ascii") as f:
            text = f.read().replace('"none"', '"lease"')
        with open(entry, "w", encoding="ascii") as f:
            f.write(text)
        check("was offered to" in host.boot("--lease", server.url, status=1), "it started")
        check(server.only() == (1, mine), "it was taken by who may not start")
        said = host.run("resolve", host.vm, "--run", status=1)
        check("a lease decides where this VM runs; say --lease unix:PATH" in said, said)
        resolve = ("resolve", host.vm, "--run", "--lease", server.url)
        server.leases[host.vm] = (2, f"beta/{uuid.uuid4()}/{uuid.uuid4()}")
        check("is held by host beta" in host.run(*resolve, status=1), "it was not asked")
        server.stop()
        check("it is not known" in host.run(*resolve, status=1), "nobody was asked")
        check(host.last("source")["state"] == "answered", host.last("source"))
        server.back()
        server.leases[host.vm] = (1, mine)
        check("was answered, is running" in host.run(*resolve), "not resolved")
        check(server.only()[0] == 2, server.leases)
        host.boot("--lease", server.url)
        check(server.only()[0] == 3, server.leases)


def test_lease_moves(rig):
    """There and back, and each time the next generation."""
    with serve(rig) as server, Traveller(rig, "--lease", server.url, disk=True) as t:
        holders = set()
        for n in range(4):
            check(server.only()[0] == 1 + n, server.leases)
            holders.add(server.only()[1])
            t.move()
        t.end()
        check(server.only()[0] == 5 and len(holders) == 4, server.leases)


def moves_after_cut_with_lease(message, place):
    """As without an arbiter, but nobody is asked: who is first has it."""
    if message == "TOKEN" or (message, place) == ("READY", "after"):
        return None if place == "after" else False
    return moves_after_cut(message, place, False)


def test_lease_moves_cut(rig):
    """A cut at each message is settled without a person, and the lease says where it runs."""
    with serve(rig) as server, Traveller(rig, "--lease", server.url, disk=True) as t:
        for message, place in all_cuts(rig):
            before = server.only()[1]
            moved = t.through(Cut(message, place))
            wanted = moves_after_cut_with_lease(message, place)
            check(wanted in (None, moved), f"cut {place} {message}: moved is {moved}")
            check((server.only()[1] != before) == moved, f"{place} {message}: {server.leases}")
        t.end()
        check(t.outcomes["harm done"] == len(all_cuts(rig)), t.outcomes)


def dead_server(rig, server, place, does):
    """It dies at the first question after the token, which is cut off; then it comes back."""
    server.start()
    with Traveller(rig, "--lease", server.url) as t:
        with t.guarded() as side, CuttingProxy(side.url(), Cut("TOKEN", place)) as proxy:
            server.die_at = ("take", does)
            client = t.begin(proxy.url)
            t.at.until(lambda: wants(client, 200, "GET", "vm.migration-progress")["undecided"],
                       "decided without an arbiter")
            said = wants(client, 500, "PUT", "vm.resume")[0]
            check(UNDECIDED in said, said)
            beats = len(t.at.said), len(side.said)
            wants(client, 204, "PUT", "vm.resolve-migration", {"run": True})
            check(wants(client, 200, "GET", "vm.migration-progress")["undecided"], "a word decided")
            check((len(t.at.said), len(side.said)) == beats, "one runs on an answer not known")
            client.close()
            server.back()
            moved = t.end_of_move(side)
            check(server.only()[0] == 2, server.leases)
        t.move()
        t.end()
        server.stop()
        server.leases = {}
        return moved


def test_lease_server_dies(rig):
    """Whether it still did what was asked or not, its answer is lost: nobody runs until it is back."""
    with serve(rig) as server:
        server.stop()
        for does in (True, False):
            check(not dead_server(rig, server, "before", does), "it moved without a token")
            dead_server(rig, server, "after", does)
        server.start()


def test_lease_server_away(rig):
    """Without a server, or held by another, a VM stays where it is."""
    with serve(rig) as server, source(rig, "--lease", server.url) as a:
        vm, mine = next(iter(server.leases.items()))
        client = a.client()

        def refused(why):
            with destination(rig) as b:
                wants(client, 204, "PUT", "vm.send-migration", {"destination_url": b.url()})
                a.until(lambda: "Failed" in wants(client, 200, "GET",
                                                  "vm.migration-progress")["state"], "not failed")
                state = wants(client, 200, "GET", "vm.migration-progress")["state"]
                check(why in state["Failed"]["error_msg"], state)
                a.beats()

        server.stop()
        refused("does not answer")
        server.back()
        server.leases[vm] = (2, f"beta/{uuid.uuid4()}/{uuid.uuid4()}")
        refused('is held by "beta/')
        server.leases[vm] = mine
        finish(a)


def test_lease_path(rig):
    """At the destination the server may be at another path; one that is not there is told first."""
    with serve(rig) as server:
        os.symlink(server.path, rig.path("there"))
        with source(rig, "--lease", server.url) as a, \
             destination(rig, "--lease", "unix:" + rig.path("there")) as b:
            answer = wants(a.client(), 200, "PUT", "vm.send-migration",
                           {"destination_url": b.url(), "wait": True})
            check(list(answer["state"]) == ["Finished"], answer)
            check(a.ended() == 0, a.logged)
            config = wants(b.client(), 200, "GET", "vm.info")["config"]
            check(config["lease"] == "unix:" + rig.path("there"), config)
            finish(b)


def test_lease_source_dies(rig):
    """Behind the token the destination goes on by the lease; before it only the source's host may."""
    with serve(rig) as server:
        with Move(rig, "--lease", server.url, hold=READY) as m:
            m.held()
            kill(m.a)
            said = m.refused("state")
            check("was offered to" in said, said)
            m.godwit("state", "resolve", m.uuid, "--run", "--lease", server.url)
            check(m.b.process.poll() is None or m.b.ended() == 1, m.b.logged)
            m.boots("state")
            check(not m.b.said, "two run it")
    with serve(rig) as server:
        with Move(rig, "--lease", server.url, hold=TOKEN) as m:
            m.held()
            m.proxy.let_go()
            kill(m.a)
            m.b.beats()
            check(server.only()[0] == 2, server.leases)
            said = m.godwit("state", "resolve", m.uuid, "--run", "--lease", server.url, status=1)
            check("is held by host" in said, said)
            finish(m.b)
            m.boots("there")
            check(server.only()[0] == 3, server.leases)


def test_lease_names(rig):
    """The destination knows the VM's lease by its session, of which no host need be told."""
    with serve(rig) as server, source(rig, "--lease", server.url) as a, destination(rig) as b:
        wants(a.client(), 204, "PUT", "vm.send-migration", {"destination_url": b.url()})
        check(a.process.wait(LIMIT) == 0, a.logged)
        b.beats()
        session = wants(b.client(), 200, "GET", "vm.migration-progress")["session"]
        check(server.only()[1].endswith("/" + session), server.leases)
        finish(b)
