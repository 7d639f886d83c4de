#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""metrics.py TEST_METRICS: the text of every counter there is, read as strictly as it is specified.

Prometheus text format 0.0.4 and OpenMetrics 1.0. Both must say the same; and what is damaged must
be refused here, or this reader is none.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

NAME, LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*"
VALUE = r'(?:[^"\\\n]|\\["\\n])*'
PAIR = re.compile(f'({LABEL})="({VALUE})"')
SAMPLE = re.compile(f'({NAME})(?:{{({LABEL}="{VALUE}"(?:,{LABEL}="{VALUE}")*)}})? (-?[0-9.]+)')
HEAD = re.compile(f"# (HELP|TYPE|UNIT) ({NAME}) (.+)")
SUFFIXES = {"gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


class Bad(Exception):
    pass


def need(holds, line, why):
    if not holds:
        raise Bad(f"{line!r}: {why}")


class Family:
    def __init__(self, name, is_open):
        self.name, self.open = name, is_open
        self.head, self.samples = {}, []

    def suffixes(self):
        if self.head["TYPE"] == "counter":
            return ["_total"] if self.open else [""]
        return SUFFIXES[self.head["TYPE"]]

    def add_head(self, key, text, line):
        need(not self.samples, line, "stands behind its samples")
        need(key not in self.head, line, "is there twice")
        need(key != "UNIT" or self.open, line, "is OpenMetrics")
        self.head[key] = text

    def add_sample(self, name, pairs, number, line):
        need(name in [self.name + s for s in self.suffixes()], line, "is not of its family")
        need(len(dict(pairs)) == len(pairs), line, "has a label twice")
        sign = "-?" if self.head["TYPE"] == "gauge" else ""
        need(re.fullmatch(sign + r"[0-9]+(\.[0-9]+)?", number), line, "is no number")
        need((name, pairs) not in [s[:2] for s in self.samples], line, "is there twice")
        self.samples.append((name, pairs, float(number)))

    def check(self):
        kind = self.head.get("TYPE")
        need(kind in ("counter", "gauge", "histogram"), self.name, "has no type")
        need("HELP" in self.head and self.samples, self.name, "has no help or no samples")
        total = self.name.endswith("_total")
        need(total == (kind == "counter" and not self.open), self.name, "_total is misplaced")
        unit = re.search(r"_(bytes|seconds|ratio)(_total)?$", self.name)
        if self.open:
            need(self.head.get("UNIT") == (unit and unit[1]), self.name, "has another unit")
        if kind == "histogram":
            self.check_histogram()

    def check_histogram(self):
        rest = list(self.samples)
        while rest:
            device = [p for p in rest[0][1] if p[0] != "le"]
            last_bound, last = -1.0, 0.0
            while rest and rest[0][0].endswith("_bucket"):
                _, pairs, count = rest.pop(0)
                bound = float(dict(pairs)["le"].replace("+Inf", "inf"))
                need([p for p in pairs if p[0] != "le"] == device, self.name, "buckets are mixed")
                need(bound > last_bound and count >= last, self.name, "buckets do not grow")
                last_bound, last = bound, count
            need(last_bound == float("inf"), self.name, "has no last bucket")
            need([r[:2] for r in rest[:2]] ==
                 [(self.name + "_sum", device), (self.name + "_count", device)],
                 self.name, "lacks _sum or _count")
            need(rest[1][2] == last, self.name, "_count is not the last bucket")
            del rest[:2]


def parse(text, is_open):
    """The families of a text, or Bad."""
    need(text.endswith("# EOF\n" if is_open else "\n"), text[-20:], "is no end")
    lines = text[:-1].split("\n")[:-1 if is_open else None]
    families = []
    for line in lines:
        head, sample = HEAD.fullmatch(line), SAMPLE.fullmatch(line)
        need(head or sample, line, "is neither a sample nor a description")
        if head and (not families or families[-1].name != head[2]):
            need(head[2] not in [f.name for f in families], line, "its family was there before")
            families.append(Family(head[2], is_open))
        if head:
            families[-1].add_head(head[1], head[3], line)
        else:
            need(families and "TYPE" in families[-1].head, line, "has no family")
            families[-1].add_sample(sample[1], PAIR.findall(sample[2] or ""), sample[3], line)
    for family in families:
        family.check()
    return families


# What to replace, by what, in which of the two.
DAMAGES = [
    ("# EOF\n", "", True), ("# EOF\n", "# EOF\n# EOF\n", True),
    ("# TYPE godwit_block_reads counter\n", "", True),
    ("# TYPE godwit_block_reads counter", "# TYPE godwit_block_reads gauge", True),
    ("# UNIT godwit_rng_bytes bytes\n", "", True),
    ("# UNIT godwit_rng_bytes bytes", "# UNIT godwit_rng_bytes seconds", True),
    ("godwit_rng_bytes_total{", "godwit_rng_bytes{", True),
    ("# HELP godwit_rng_bytes ", "# HELP godwit_block_reads ", True),
    ("# TYPE godwit_block_reads_total counter", "# TYPE godwit_block_reads counter", False),
    ("# HELP godwit_rng_bytes_total", "# UNIT godwit_rng_bytes_total bytes\n# HELP", False),
    (r"\"\n", r"\"" + "\n", False), (r"\"\n", r'"\n', False), (r"id \\", "id \\", False),
    ("godwit_rng_bytes_total{device=", "godwit_rng_bytes_total{device=\"1\",device=", False),
    ('le="+Inf"', 'le="11.0"', False), ('le="0.0002"', 'le="0.0001"', False),
    ("godwit_block_read_latency_seconds_sum", "godwit_block_read_latency_seconds_count", False),
    ("} ", "}  ", False), ("} ", "} -", False), ("\n# HELP", "\n\n# HELP", False),
]


def check_reader(texts):
    for old, new, is_open in DAMAGES:
        damaged = texts[is_open].replace(old, new, 1)
        need(damaged != texts[is_open], old, "is not in the text")
        try:
            parse(damaged, is_open)
        except Bad:
            continue
        raise Bad(f"{old!r} became {new!r} and nobody saw it")


def check_by_promtool(text):
    """A second opinion, where there is one: its package is too big to be asked for."""
    if not shutil.which("promtool"):
        print("skipped: promtool is not installed")
        return
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          text=True, check=False)
    need(done.returncode == 0 and not done.stderr, "promtool", done.stderr or done.stdout)


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1]], env=os.environ | {"METRICS_DUMP": folder}, check=True,
                       stdout=subprocess.DEVNULL)
        texts = {}
        for name, is_open in (("prometheus", False), ("openmetrics", True)):
            with open(f"{folder}/{name}", encoding="utf-8", newline="") as f:
                texts[is_open] = f.read()
    plain, opened = parse(texts[False], False), parse(texts[True], True)
    need([f.samples for f in plain] == [f.samples for f in opened], "the formats", "differ")
    check_reader(texts)
    check_by_promtool(texts[False])
    print(f"metrics.py: {len(plain)} families are in order")


if __name__ == "__main__":
    try:
        main()
    except Bad as bad:
        sys.exit(f"metrics.py: {bad}")
