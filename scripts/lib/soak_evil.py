#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""soak_evil.py BUILD ROUNDS SEEDS: how a guest fares beside one that does all the harm it can.

A line of TAP for each seed: what tests/guest/test_evil.py looks at holds for so many rounds.
"""
import os
import sys
import tempfile
import time

TOP = os.path.realpath(f"{os.path.dirname(__file__)}/../..")
sys.dont_write_bytecode = True
sys.path.insert(0, f"{TOP}/tests/guest")

# pylint: disable=wrong-import-position
from rig import Failed, Rig
from test_evil import evil_beside


def main():
    rounds, failed = int(sys.argv[2]), False
    for seed in range(1, int(sys.argv[3]) + 1):
        begin, name = time.monotonic(), f"evil: {rounds} rounds, seed {seed}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                said = evil_beside(Rig(os.path.abspath(sys.argv[1]), folder), seed, rounds)
                print(f"ok - {name}: {said} # {time.monotonic() - begin:.0f} s", flush=True)
            except (Failed, OSError) as e:
                failed = True
                print(f"not ok - {name} # {time.monotonic() - begin:.0f} s\n# {str(e)[:2000]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
