#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""soak_moves.py BUILD MOVES CANCELS FAULTS: one guest goes from process to process.

A line of TAP for each kind: moves in a row, called off at random moments, a fault of the network at
a random byte. Runs a guest on /dev/kvm.
"""
import collections
import os
import sys
import tempfile
import time

TOP = os.path.realpath(f"{os.path.dirname(__file__)}/../..")
sys.dont_write_bytecode = True
sys.path.insert(0, f"{TOP}/tests/guest")

# pylint: disable=wrong-import-position
from moves import Traveller, new_chance, random_fault
from rig import Failed, Rig

# Each takes its share of the rounds: processors, MiB, a writable disk
GUESTS = ((1, 64, True), (1, 128, False), (2, 128, True), (4, 256, False))

KINDS = {"moves in a row": lambda t, _: t.move(),
         "called off at random moments": lambda t, chance: t.cancel(chance),
         "a fault at a random byte": lambda t, chance: t.through(random_fault(chance))}


def rounds(build, kind, n, chance, outcomes):
    for i, (cpus, memory, disk) in enumerate(GUESTS):
        with tempfile.TemporaryDirectory() as folder, \
             Traveller(Rig(build, folder), cpus=cpus, memory=memory, disk=disk) as t:
            for _ in range(n // len(GUESTS) + (i < n % len(GUESTS))):
                KINDS[kind](t, chance)
            t.end()
            outcomes.update(t.outcomes)


def main():
    build, chance, failed = os.path.abspath(sys.argv[1]), new_chance(int(time.time())), False
    for kind, n in zip(KINDS, map(int, sys.argv[2:])):
        begin, counted, why = time.monotonic(), collections.Counter(), None
        try:
            rounds(build, kind, n, chance, counted)
        except (Failed, OSError) as e:
            failed, why = True, e
        outcomes = ", ".join(f"{many} {what}" for what, many in sorted(counted.items()))
        print(f"{'not ok' if why else 'ok'} - moves: {n} {kind}: {outcomes or 'none'} "
              f"# {time.monotonic() - begin:.0f} s", *([f"\n# {why}"] if why else []), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
