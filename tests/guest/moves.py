# SPDX-License-Identifier: Apache-2.0
"""One guest that moves from process to process, many times, in spite of all that is done to it."""
import collections
import contextlib
import glob
import json
import os
import random
import re
import time

from api_client import Connection, wants
from proxy import KINDS, MESSAGES, PLACES, Fault, Proxy
from rig import Failed, check
from test_migrate import Side

WENT = re.compile(r"\[godwit: [^\]]*\]")
LAST_WORDS = re.compile(r"(?:dirty: \d+ passes|scatter: \d+ reads), (\d+) beats")
BYTES = {(0, True): 20000, (0, False): 1500, (1, True): 9 << 20, (1, False): 1000}  # about


def beats_of(side):
    """All that its guest has sent; the monitor's own last line is none of it."""
    return WENT.sub("", side.said).count(".")


class Traveller:
    """The guest, the process that it is in, and what it has said in all of them."""

    def __init__(self, rig, *more, cpus=1, memory=64, disk=False, program="dirty"):
        self.rig, self.number, self.beats = rig, 0, 0
        self.outcomes = collections.Counter()
        self.has_disk, self.disk = disk, rig.path("disk.img")
        options = [*more, *(["--disk", "path=" + rig.disk()] if disk else [])]
        self.at = Side(rig, "move0", "--kernel", rig.elf(program), "--memory", f"{memory}M",
                       "--cpus", str(cpus), "--serial", "tty", "--append",
                       f"mib=4 cpus={cpus} rate=40" + (" blk" if disk else ""), *options)
        self.at.until(lambda: "running" in self.at.said, "the guest does not run")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.at.__exit__()

    def destination(self):
        self.number += 1
        return Side(self.rig, f"move{self.number}", "--incoming", "tcp:127.0.0.1:0")

    def arrived(self, side):
        """The process that it left has ended well, and what is on the host says so."""
        check(self.at.ended() == 0, f"status {self.at.process.returncode}: {self.at.logged}")
        side.beats()
        self.beats += beats_of(self.at)
        self.journals({"given"}, {"accepted"})
        self.at = side
        self.outcomes["moved"] += 1

    def stayed(self, side, why):
        """It goes on where it was; the other process never ran it, and ends if it knew of it."""
        self.at.beats()
        side.until(lambda: side.process.poll() is not None or not self.knows(side), "goes on")
        if side.process.poll() is not None:
            check(side.ended() == 1, f"status {side.process.returncode}: {side.logged}")
        check(not side.said, f"two run it: {side.said[-100:]}")
        self.at.beats()
        # Before an offer nothing is written: then it says what became of the last one.
        self.journals({"running", "given"}, None)
        self.outcomes[why] += 1

    def journals(self, source, destination):
        for role, wanted in (("source", source), ("destination", destination)):
            for path in glob.glob(self.rig.path(f"state/*-{role}.json")):
                with open(path, encoding="ascii") as f:
                    entry = json.load(f)
                state = entry.get("state") or entry["last"]["state"]
                check(wanted is None or state in wanted, f"the journal of the {role} says {state}")
        if self.has_disk:
            with open(self.disk + ".owner", encoding="ascii") as f:
                check(json.load(f)["state"] == "running", "the record does not say running")

    def state(self):
        """How the last migration of its process ended; None: not yet."""
        if self.at.process.poll() is not None:
            return "Finished"
        with contextlib.suppress(OSError, Failed):
            client = Connection(self.at.socket)
            answer = wants(client, 200, "GET", "vm.migration-progress")["state"]
            client.close()
            return None if "Ongoing" in answer else list(answer)[0]
        return None  # it is about to end

    def progress(self):
        """What its process says of the last migration."""
        return wants(Connection(self.at.socket), 200, "GET", "vm.migration-progress")

    def end_of_move(self, side):
        """Each of the two ends, or none; then exactly one of them has the guest."""
        try:
            state = self.at.until(self.state, "does not settle")
        except Failed as e:
            raise Failed(f"{e}\nof that: {self.progress()}\nthe other side: {side.logged}") from e
        if state == "Finished":
            self.arrived(side)
        else:
            self.stayed(side, state.lower())
        return state == "Finished"

    def knows(self, side):
        """Has a source told that process of itself?"""
        with contextlib.suppress(OSError, Failed):
            client = Connection(side.socket)
            session = wants(client, 200, "GET", "vm.migration-progress")["session"]
            client.close()
            return session
        return True

    def begin(self, url, **more):
        client = self.at.client()
        wants(client, 204, "PUT", "vm.send-migration", {"destination_url": url, **more})
        return client

    @contextlib.contextmanager
    def guarded(self):
        side = self.destination()
        try:
            yield side
        finally:
            if side is not self.at:
                side.__exit__()

    def move(self, **how):
        with self.guarded() as side:
            self.begin(side.url(), **how).close()
            check(self.end_of_move(side), f"it did not move: {self.at.logged}")

    def cancel(self, chance):
        """At a random moment; the guest is here or there."""
        with self.guarded() as side:
            client = self.begin(side.url())
            time.sleep(chance.random() ** 2 * 0.3)
            with contextlib.suppress(OSError, Failed):  # it may be gone
                client.ask("PUT", "vm.cancel-migration")
            client.close()
            return self.end_of_move(side)

    def through(self, harm):
        """By way of a proxy that does this once; true: it moved."""
        with self.guarded() as side, Proxy(side.url(), harm) as proxy:
            self.begin(proxy.url).close()
            moved = self.end_of_move(side)
            self.outcomes["harm done"] += proxy.done
            return moved

    def end(self):
        """The guest looks at all of its memory; every heartbeat was seen once."""
        os.write(self.at.process.stdin.fileno(), b"q")
        check(self.at.ended() == 0, self.at.logged)
        said = LAST_WORDS.search(self.at.said)
        check(said, self.at.said[-300:])
        self.beats += beats_of(self.at)
        check(self.beats == int(said[1]), f"{self.beats} heartbeats seen of {said[1]}")


def random_fault(chance):
    connection, from_source = chance.choice(list(BYTES))
    return Fault(chance.choice(KINDS), connection, from_source,
                 chance.randrange(BYTES[connection, from_source]))


def all_cuts(rig):
    """Each message at each place; for who watches threads, where each takes long, at one of them."""
    return [(message, place) for i, message in enumerate(MESSAGES) for j, place in enumerate(PLACES)
            if not rig.watches_threads() or i % len(PLACES) == j]


def moves_after_cut(message, place, has_arbiter):
    """What docs/handover.md has for a cut there: True, False, or None: the lock decides."""
    if (message, place) in (("OFFER", "after"), ("SEEN", "after")):
        return None  # SEEN may have come back: it is met before or after the guest was stopped
    if message in ("OFFER", "SEEN"):
        return True  # it is offered again on a new connection
    if message == "SEAL" or (message, place) in (("READY", "before"), ("READY", "middle")):
        return False
    if message in ("READY", "TOKEN"):
        return None if has_arbiter else (message, place) == ("TOKEN", "after")
    return True


def new_chance(seed):
    print(f"# seed {seed}", flush=True)
    return random.Random(seed)
