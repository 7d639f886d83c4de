# SPDX-License-Identifier: Apache-2.0
"""VMs that move from one process to another while they run."""
import contextlib
import os
import re
import subprocess
import threading
import time

from api_client import Connection, monitor, wants
from rig import LIMIT, check

WAITS = re.compile(r"waits for a migration at (\S+)")


class Side:
    """A process with a VM: what its guest says, and what it says itself."""

    def __init__(self, rig, name, *options, state="state", **popen):
        self.name, self.rig = f"{name}-{os.getpid()}", rig
        self.socket = rig.path(f"{self.name}.sock")
        self.said, self.logged = "", ""
        env = dict(os.environ, GODWIT_STATE_DIR=rig.path(state))
        self.process = subprocess.Popen(
            [rig.godwit, "run", "--name", self.name, "--api-socket", self.socket, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
            **popen)
        self.readers = [threading.Thread(target=self.read, args=args) for args in
                        ((self.process.stdout, "said"), (self.process.stderr, "logged"))]
        for reader in self.readers:
            reader.start()

    def read(self, pipe, name):
        while data := os.read(pipe.fileno(), 4096):
            setattr(self, name, getattr(self, name) + data.decode(errors="replace"))

    def until(self, true, why):
        deadline = time.monotonic() + LIMIT
        while not (found := true()):
            check(time.monotonic() < deadline, f"{self.name}: {why}: {self.logged} {self.said[-200:]}")
            time.sleep(0.01)
        return found

    def logs(self, text, times=1):
        """Its log, which is read beside all else, says so."""
        self.until(lambda: self.logged.count(text) >= times, f"does not say {text!r}")

    def url(self):
        return self.until(lambda: WAITS.search(self.logged), "waits for nothing").group(1)

    def client(self):
        def connect():
            with contextlib.suppress(OSError):
                return Connection(self.socket)
        return self.until(connect, "no socket")

    def beats(self):
        """Its guest goes on."""
        before = len(self.said)
        self.until(lambda: len(self.said) > before + 3, "the guest stands still")
        check("dirty:" not in self.said[before:], self.said[-300:])

    def ended(self):
        status = self.process.wait(LIMIT)
        for reader in self.readers:
            reader.join()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.process.kill()
        self.ended()


def source(rig, *options, words="mib=8"):
    side = Side(rig, "source", "--kernel", rig.elf("dirty"), "--memory", "128M", "--serial", "tty",
                "--append", words, *options)
    side.until(lambda: "running" in side.said, "the guest does not run")
    return side


def destination(rig, *options, **more):
    return Side(rig, "destination", "--incoming", "tcp:127.0.0.1:0", *options, **more)


def finish(side):
    """The guest looks at all of its memory; nothing of it may be wrong."""
    side.beats()
    wants(side.client(), 204, "PUT", "vm.delete")


def test_migrate(rig):
    """A guest that rewrites its memory goes on elsewhere, and its first process ends."""
    with source(rig) as a, destination(rig) as b:
        answer = wants(a.client(), 200, "PUT", "vm.send-migration",
                       {"destination_url": b.url(), "wait": True})
        check(list(answer["state"]) == ["Finished"] and answer["rounds"], answer)
        check(a.ended() == 0, a.logged)
        check(f"runs at {b.url()} now" in a.logged, a.logged)
        b.beats()
        client = b.client()
        progress = wants(client, 200, "GET", "vm.migration-progress")
        check(progress["incoming"] and progress["session"] == answer["session"], progress)
        wants(client, 404, "PUT", "vm.cancel-migration")
        finish(b)


def test_migrate_cancel(rig):
    """Called off, the guest goes on where it is; the other side ends."""
    with source(rig) as a, destination(rig) as b:
        client = a.client()
        wants(client, 204, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "bandwidth_limit": 1 << 20, "compress": "none"})
        a.until(lambda: wants(client, 200, "GET", "vm.migration-progress")["phase"] == "copy",
                "does not copy")
        wants(client, 500, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.set-migration-parameters", {"downtime_ms": 20})
        wants(client, 400, "PUT", "vm.set-migration-parameters", {"downtime_ms": 0})
        for key in ("downtime", "wait"):
            said = wants(client, 400, "PUT", "vm.set-migration-parameters", {key: 1})
            check(f'unknown key "{key}"' in said[0], said)
        wants(client, 204, "PUT", "vm.cancel-migration")
        a.until(lambda: "Cancelled" in wants(client, 200, "GET", "vm.migration-progress")["state"],
                "not cancelled")
        a.beats()
        check(b.ended() == 1, b.logged)
        finish(a)


def url_of(client):
    """Where an empty monitor waits, as its events say."""
    events = wants(client, 200, "GET", "events?since=1&wait=60")["events"]
    return next((e["properties"]["url"] for e in events
                 if e["event"] == "migration-receive-ready"), None)


def test_migrate_api(rig):
    """To a monitor that was empty, whose client waits for the VM."""
    with monitor(rig) as (_, client), source(rig) as a:
        receiver = threading.Thread(target=wants, args=(
            client, 204, "PUT", "vm.receive-migration",
            {"receiver_url": "tcp:127.0.0.1:0",
             "config": {"name": f"api-{os.getpid()}", "serial": {"mode": "Null"}}}))
        receiver.start()
        other = Connection(rig.path("api.sock"))
        url = a.until(lambda: url_of(other), "the monitor waits for nothing")
        wants(a.client(), 204, "PUT", "vm.send-migration", {"destination_url": url})
        check(a.ended() == 0, a.logged)
        receiver.join()
        check(wants(other, 200, "GET", "vm.info")["state"] == "Running", "does not run")
        wants(other, 500, "PUT", "vm.receive-migration", {"receiver_url": "tcp:127.0.0.1:0"})
        wants(other, 204, "PUT", "vmm.shutdown")


def test_migrate_slowed_down(rig):
    """A guest that writes more than goes over is slowed down, and told to whom it concerns."""
    with source(rig, words="mib=8 renew") as a, destination(rig) as b:
        client = a.client()
        answer = wants(client, 200, "PUT", "vm.send-migration",
                       {"destination_url": b.url(), "bandwidth_limit": 64 << 20, "wait": True})
        percents = [step["throttle_percent"] for step in answer["steps"]]
        check(len(percents) > 1 and percents[0] and not percents[-1], percents)
        check(len(answer["throttled_us"]) == 1 and answer["throttled_us"][0] > 0, answer)
        check(a.ended() == 0, a.logged)
        finish(b)


def test_migrate_cancel_slowed_down(rig):
    """Called off while it is slowed down, the guest has all its time again."""
    with source(rig, words="mib=8 renew") as a, destination(rig) as b:
        client = a.client()

        def progress():
            return wants(client, 200, "GET", "vm.migration-progress")

        def throttled():
            return wants(client, 200, "GET", "vm.counters")["_vcpu0"]["throttled_ns"]

        wants(client, 204, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "bandwidth_limit": 8 << 20})
        a.until(lambda: throttled() and progress()["state"]["Ongoing"]["vcpu_throttle_percent"],
                "not slowed down")
        wants(client, 204, "PUT", "vm.cancel-migration")
        a.until(lambda: "Cancelled" in progress()["state"], "not cancelled")
        check(not progress()["steps"][-1]["throttle_percent"], progress())
        events = wants(client, 200, "GET", "events")["events"]
        told = [e["properties"]["percent"] for e in events if e["event"] == "migration-throttling"]
        check(told == [step["throttle_percent"] for step in progress()["steps"]], told)
        check(progress()["throttled_us"][0], progress())
        a.beats()
        lost = throttled()
        a.beats()
        check(throttled() == lost, lost)
        check(b.ended() == 1, b.logged)
        finish(a)
