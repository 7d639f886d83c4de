#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""soak_requests.py BUILD SECONDS: how long others wait for an answer beside clients that do harm.

A line of TAP for each kind of harm; a ping and the VM are asked for over connections that stay, and
a ping over new ones. An answer that took longer than LONGEST_MS fails. Runs a guest on /dev/kvm.
"""
import contextlib
import os
import sys
import tempfile
import time

TOP = os.path.realpath(f"{os.path.dirname(__file__)}/../..")
sys.dont_write_bytecode = True
sys.path.insert(0, f"{TOP}/tests/guest")

# pylint: disable=wrong-import-position
from rig import Failed, Rig, check
from test_api import Connection, config, monitor, wants
from test_flood import REQUESTS, SEED, Asker, flood, odd_disks, start


LONGEST_MS = 50


def ask_at_random(path, disks):
    seed = SEED
    while True:
        flood(path, disks, seed, REQUESTS)
        seed += 1


def stay_half_open(path, _):
    clients = []
    for _ in range(60):
        clients.append(Connection(path))
        clients[-1].send(b"PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    time.sleep(3600)


def come_and_go(path, _):
    while True:
        with contextlib.suppress(BlockingIOError):
            Connection(path).close()


def read_slowly(path, _):
    clients = [Connection(path) for _ in range(60)]
    for client in clients:
        client.send(b"GET /metrics HTTP/1.1\r\n\r\n" * 100)
    while True:
        time.sleep(1)
        for client in clients:
            with contextlib.suppress(OSError):
                client.socket.recv(1)


def send_slowly(path, _):
    request = b"PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000
    clients = [Connection(path) for _ in range(60)]
    for byte in request:
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(bytes([byte]))
        time.sleep(1)


HARMS = {"nobody": (None, 0),
         "5 clients with random requests": (ask_at_random, 5),
         "60 half-open connections": (stay_half_open, 1),
         "2 clients that connect and close": (come_and_go, 2),
         "60 connections that read a byte a second": (read_slowly, 1),
         "60 connections that send a byte a second": (send_slowly, 1)}


class Newcomer(Asker):
    def ask(self):
        begin, client = time.monotonic(), None
        while not client:
            with contextlib.suppress(BlockingIOError):  # too many wait already
                client = Connection(self.path)
        wants(client, 200, "GET", "vmm.ping")
        client.close()
        self.times.append(time.monotonic() - begin)


def beside(rig, harm, number, seconds):
    path, disks = rig.path("api.sock"), odd_disks(rig)
    with open(rig.path("said"), "wb") as said, monitor(rig, stderr=said) as (_, client):
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 204, "PUT", "vm.boot")
        askers = [Asker(path, "vmm.ping", "pid"), Asker(path, "vm.info", "config"),
                  Newcomer(path, "by newcomers", "pid")]
        bad = [start(harm, path, disks) for _ in range(number)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for asker in askers:
                asker.ask()
            time.sleep(0.001)
        for p in bad:
            check(p.is_alive(), "one that does harm has ended")
            p.terminate()
            p.join()
        wants(Connection(path), 204, "PUT", "vmm.shutdown")
        said = "; ".join(asker.said() for asker in askers)
        longest = max(max(asker.times) for asker in askers)
        check(longest * 1000 <= LONGEST_MS, f"longer than {LONGEST_MS} ms: {said}")
        return said


def main():
    seconds, failed = int(sys.argv[2]), False
    for name, (harm, number) in HARMS.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                said = beside(Rig(os.path.abspath(sys.argv[1]), folder), harm, number, seconds)
                print(f"ok - requests: beside {name}: {said} # {seconds} s", flush=True)
            except (Failed, OSError) as e:
                failed = True
                print(f"not ok - requests: beside {name} # {seconds} s\n# {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
