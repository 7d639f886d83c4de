# SPDX-License-Identifier: Apache-2.0
"""What the sandbox costs a VM: the same start with it and without."""
import time

from bench_monitor import Guest, Monitor, Process, disk, rounds
from bench_report import LOWER, Row

ON, OFF = "godwit", "without sandbox"
START = Row("start to the first byte", "ms", LOWER)
END = Row("start to the end", "ms", LOWER)
COST = [Row("of the start, the sandbox", "ms", LOWER), Row("of start and end", "ms", LOWER)]


def measure(monitor, folder):
    p = Process(monitor.command(Guest("hello", disk(folder))))
    try:
        first = p.first_byte()
    finally:
        p.end(kill=False)
    return first, (time.monotonic_ns() - p.started) / 1e6


def starts(n, programs):
    """What it costs is that of each round."""
    without = Monitor(OFF, lambda guest: [*programs.run(guest), "--sandbox", "off"])
    measured = rounds([START, END], measure, [Monitor(ON, programs.run), without], n)
    for row, cost in zip([START, END], COST):
        measured[cost] = {ON: [a - b for a, b in zip(*measured[row].values())], OFF: []}
    return measured
