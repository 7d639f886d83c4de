# SPDX-License-Identifier: Apache-2.0
"""The part of scripts/bench on the memory of one host's VMs: two policies for the same guests.

tests/unit/memory_worlds.c simulates them: the policy of godwit-agent, and rules as published for
another manager, which look every ten seconds, or as often as ours. A round is another world.
"""
import os
import subprocess

from bench_report import HIGHER, LOWER, SUBJECT, Row

LIMIT = 300                     # seconds
MIB_S_PER_GIB_H = 1024 * 3600
NAMES = {"ours": SUBJECT, "published": "published rules",
         "published-often": "published rules, as often as ours"}


def policies(n, programs):
    program = f"{os.path.dirname(programs.guests)}/memory_worlds"
    measured = {}
    for seed in range(1, n + 1):
        text = subprocess.run([program, str(seed)], stdout=subprocess.PIPE, text=True, check=True,
                              timeout=LIMIT).stdout
        for share, name, won, stalls in map(str.split, text.splitlines()):
            host = f"the host has {share} % of what they may have"
            for row, value in ((Row(f"{host}: taken, mean", "GiB", HIGHER),
                                float(won) / MIB_S_PER_GIB_H),
                               (Row(f"{host}: guests short of memory", "s", LOWER),
                                float(stalls))):
                measured.setdefault(row, {}).setdefault(NAMES[name], []).append(value)
    return measured
