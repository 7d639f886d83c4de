# SPDX-License-Identifier: Apache-2.0
"""What scripts/bench says of its measurements: ratios of pairs, verdicts, tables, their page.

A part's measurements are {Row: {monitor: [value of each round]}}.  A ratio is that of the two
values of one round, and above 1 where godwit is better, whichever way the row counts.
"""
import datetime
import os
import re
import statistics
import subprocess
from typing import NamedTuple

HIGHER, LOWER = "higher", "lower"
SUBJECT, OPPONENT = "godwit", "QEMU"


class Failed(Exception):
    """A monitor did not do what is measured."""


class Row(NamedTuple):
    name: str
    unit: str
    better: str                 # HIGHER or LOWER


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    q = statistics.quantiles(values, n=4, method="inclusive")
    return q[0], q[2]


def pair_ratios(row, ours, theirs):
    if row.better == HIGHER:
        ours, theirs = theirs, ours
    return [t / o for o, t in zip(ours, theirs)]


def verdict(ratios):
    """Only what the middle half of the pairs agrees on counts."""
    low, high = quartiles(ratios)
    return "worse" if high < 1 else "better" if low > 1 else "equal"


def against_opponents(measured):
    """The pairs' ratios of each row and opponent."""
    return [pair_ratios(row, values[SUBJECT], other) for row, values in measured.items()
            for name, other in values.items()
            if SUBJECT in values and name.startswith(OPPONENT)]


def summary(ratios):
    """One sentence on many lists of ratios."""
    if not ratios:
        return f"Nothing was compared with {OPPONENT}."
    verdicts = [verdict(r) for r in ratios]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("better", "equal", "worse"))
    median = statistics.median(statistics.median(r) for r in ratios)
    return f"Against {OPPONENT}: {counts}; the median is {median:.2f} ×."


def number(value):
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def with_spread(values, shown=number, word=""):
    median = f"{shown(statistics.median(values))}{word}"
    if len(values) < 2:
        return median
    low, high = quartiles(values)
    return f"{median} ({shown(low)}–{shown(high)})"


def table(measured):
    """Markdown: a line for each row, and behind each opponent how godwit compares with it."""
    names = list(dict.fromkeys(name for values in measured.values() for name in values))
    compared = {n for n in names if n.startswith(OPPONENT) and SUBJECT in names}
    head = [c for n in names for c in ([n, "godwit is"] if n in compared else [n])]
    lines = ["| | | " + " | ".join(head) + " |", "|---" * (len(head) + 2) + "|"]
    for row, values in measured.items():
        cells = [row.name, row.unit]
        for name in names:
            cells.append(with_spread(values[name]) if values.get(name) else "")
            if name in compared:
                ratios = pair_ratios(row, values[SUBJECT], values[name])
                cells.append(with_spread(ratios, "{:.2f}".format, f" × {verdict(ratios)}"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def section(title, rounds, measured, machine):
    return (f"### {title}\n\n{table(measured)}\n\nRounds: {rounds}. "
            f"{summary(against_opponents(measured))} Measured on {machine}.\n")


def machine(qemu):
    """Date, hardware, software."""
    def field(path, pattern):
        with open(path, encoding="utf-8") as f:
            found = re.search(pattern, f.read(), re.M)
        return found[1].strip() if found else "?"

    version = subprocess.run([qemu, "--version"], stdout=subprocess.PIPE, text=True,
                             check=False).stdout
    gib = int(field("/proc/meminfo", r"MemTotal: *(\d+)")) / (1 << 20)
    nested = {"svm", "vmx"} & set(field("/proc/cpuinfo", r"^flags\s*: (.*)").split())
    return (f"{datetime.date.today()}: {field('/proc/cpuinfo', r'^model name.*: (.*)')}, "
            f"{os.cpu_count()} CPUs, {gib:.0f} GiB, Linux {os.uname().release}, KVM "
            f"{'with ' + nested.pop().upper() if nested else 'without VMX or SVM'}, "
            f"{version.splitlines()[0] if version else 'no QEMU'}, "
            f"load {os.getloadavg()[0]:.1f}")


def write(page, part, text):
    """Put text between the page's two marks of that part."""
    begin, end = f"<!-- bench {part} -->\n", f"<!-- end of {part} -->\n"
    with open(page, encoding="utf-8") as f:
        old = f.read()
    if begin not in old or end not in old:
        raise Failed(f"{page} has no lines {begin.strip()} and {end.strip()} to write between")
    head, rest = old.split(begin, 1)
    with open(page, "w", encoding="utf-8") as f:
        f.write(head + begin + text + end + rest.split(end, 1)[1])
