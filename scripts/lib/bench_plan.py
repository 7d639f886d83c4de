# SPDX-License-Identifier: Apache-2.0
"""The part of scripts/bench on planning: hbal of Ganeti, and a cluster as large as we plan for.

hbal and tests/unit/plan_hbal.c, which is the planner's search with hbal's score, get the same
cluster files; both results are scored by hbal. A round is another cluster.
"""
import os
import random
import re
import subprocess
import tempfile
import time

from bench_migrate import need_packages
from bench_report import HIGHER, LOWER, SUBJECT, Failed, Row

HOSTS, VMS = 20, 160
LARGE_HOSTS, LARGE_VMS = 10000, 100000
KNEE_MOVES = max(5, HOSTS // 5)  # as the policy has it
LIMIT = 300                     # seconds
GROUP = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
# How many of a large provider's VMs use up to this share of their CPUs.
USE = [(0, 0), (.02, .30), (.05, .45), (.10, .58), (.15, .68), (.20, .75), (.25, .80), (.30, .84),
       (.40, .90), (.50, .94), (.60, .96), (.80, .98), (1, 1)]
# The planner's own first guess: the share of time that a vCPU waits at use 0, 0.1, ...
DELAY = [0, .001, .003, .004, .013, .055, .132, .238, .349, .464, .594, .722, .742, .76, .776, .792,
         .808]
NOW = 1700000000
BEFORE = Row("hbal's score at first", "", LOWER)
AFTER = Row("hbal's score at the end", "", LOWER)
MOVES = Row("moves", "", LOWER)
TIME = Row("time", "ms", LOWER)
FIFTH = Row("of hbal's gain, won by a fifth as many moves", "%", HIGHER)
KNEE = Row("moves up to the knee", "", LOWER)
AT_KNEE = Row("of hbal's gain, won by then", "%", HIGHER)
LARGE_TIME = Row(f"{LARGE_HOSTS:,} hosts, {LARGE_VMS:,} VMs: time, reading included", "ms", LOWER)
LARGE_MEMORY = Row(f"{LARGE_HOSTS:,} hosts, {LARGE_VMS:,} VMs: memory", "MiB", LOWER)


def curve(points, x):
    """The line through (x, y) pairs."""
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def used_share(rng):
    return curve([(p, use) for use, p in USE], rng.random())


def write_cluster(path, seed):
    """hbal's text format: group, nodes, instances; and what each instance uses."""
    rng = random.Random(seed)
    total, own = 262144, 4096
    free = [total - own] * HOSTS
    instances = []
    for i in range(VMS):
        cpus = rng.choices([1, 2, 4, 8, 16], [30, 28, 23, 12, 7])[0]
        memory = cpus * rng.choice([1024, 2048, 4096])
        host = rng.choice([h for h in range(HOSTS) if free[h] >= memory])
        free[host] -= memory
        instances.append((f"i{i:05}", memory, cpus, host, cpus * used_share(rng)))
    with open(path, "w", encoding="ascii") as f:
        f.write(f"g|{GROUP}|preferred|\n\n")
        for h in range(HOSTS):
            f.write(f"n{h:05}|{total}|{own}|{free[h]}|4000000|4000000|64|N|{GROUP}|1\n")
        f.write("\n")
        for name, memory, cpus, host, _ in instances:
            f.write(f"{name}|{memory}|1024|{cpus}|running|Y|n{host:05}||sharedfile||1\n")
        f.write("\n\n")
    with open(f"{path}.use", "w", encoding="ascii") as f:
        f.writelines(f"{name} {use:.6f} 0 0 0\n" for name, _, _, _, use in instances)


def timed(*argv):
    began = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT)
    return done.stdout, (time.monotonic() - began) * 1000


def hbal(path, use):
    """The scores from the first to the last, and milliseconds."""
    text, took = timed("hbal", "-t", path, "-U", use)
    first = re.search(r"^Initial (?:cluster )?score: ([0-9.]+)", text, re.M)
    if not first:
        raise Failed(f"hbal says no score:\n{text}")
    steps = re.findall(r"^ +\d+\. \S+ +\S+ +=> +\S+ +([0-9.]+) ", text, re.M)
    return [float(first[1]), *map(float, steps)], took


def ours(program, path, knee, out):
    """The same by the planner's search, and the score that hbal gives its result."""
    text, took = timed(program, path, f"{path}.use", str(knee), out)
    scores = [float(line) for line in text.split()]
    theirs = hbal(out, f"{path}.use")[0][0]
    if abs(theirs - scores[-1]) > 1e-6:
        raise Failed(f"hbal scores {theirs}, not {scores[-1]}")
    return scores, took


def compare(program, folder, seed):
    path = f"{folder}/cluster"
    write_cluster(path, seed)
    scores, took = ours(program, path, 0, f"{folder}/planned")
    knee, _ = ours(program, path, KNEE_MOVES, f"{folder}/planned")
    theirs, their_time = hbal(path, f"{path}.use")
    moves = len(theirs) - 1

    def won(trace, n):
        return 100 * (theirs[0] - trace[n]) / (theirs[0] - theirs[-1])

    return {BEFORE: (scores[0], theirs[0]), AFTER: (scores[-1], theirs[-1]),
            MOVES: (len(scores) - 1, moves), TIME: (took, their_time),
            FIFTH: (won(scores, moves // 5), won(theirs, moves // 5)),
            KNEE: (len(knee) - 1, None), AT_KNEE: (won(knee, len(knee) - 1), None)}


def write_large(path):
    """A snapshot of many hosts, of which some are hot."""
    rng = random.Random(1)
    gib = 1 << 30
    load, memory, vms = [0.0] * LARGE_HOSTS, [0] * LARGE_HOSTS, []
    while len(vms) < LARGE_VMS:
        cpus = rng.choices([2, 4, 8, 16, 32], [40, 30, 18, 9, 3])[0]
        size = cpus * rng.choice([1, 2, 4]) * gib
        host = int(LARGE_HOSTS * rng.random() ** 1.3)
        if memory[host] + size > 240 * gib:
            continue
        use = cpus * min(1, 1.6 * used_share(rng))
        memory[host] += size
        load[host] += use
        vms.append((host, cpus, size, use))
    with open(path, "w", encoding="ascii") as f:
        f.write(f'{{"snapshot":{{"version":1,"time":{NOW},"mode":"auto"}}}}\n')
        for h in range(LARGE_HOSTS):
            f.write(f'{{"host":{{"id":"h{h:05}","at":{NOW},"cores":64,"memory":{256 * gib},'
                    f'"reserve":{8 * gib},"available":{256 * gib - memory[h] * 3 // 4},'
                    f'"link":1250000000,"use":[{min(1, load[h] / 64):.4f}]}}}}\n')
        for i, (h, cpus, size, use) in enumerate(vms):
            waits = curve([(n / 10, y) for n, y in enumerate(DELAY)], load[h] / 64)
            run, delay = (",".join([f"{use / cpus * share:.4f}"] * 5)
                          for share in (1 - waits, waits))
            f.write(f'{{"vm":{{"id":"v{i:06}","host":"h{h:05}","at":{NOW},"vcpus":{cpus},'
                    f'"memory":{size},"resident":{size * 3 // 4},"run":[{run}],'
                    f'"delay":[{delay}],"cpu_mean":{use * min(1, 64 / load[h]):.4f},'
                    f'"cpu_deviation":{use * .3:.4f},"dirty_rate":20000000,'
                    f'"write_set":{size // 20}}}}}\n')


def plan_large(agent, path):
    """Milliseconds, and MiB at most."""
    began = time.monotonic()
    process = os.posix_spawn(agent, [agent, "plan", "--snapshot", path], os.environ,
                             file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, used = os.wait4(process, 0)
    took = (time.monotonic() - began) * 1000
    if status:
        raise Failed(f"{agent} plan: status {status}")
    return took, used.ru_maxrss / 1024


def plans(n, programs):
    need_packages("ganeti-htools")
    build = os.path.dirname(programs.guests)
    program, agent = f"{build}/plan_hbal", f"{os.path.dirname(build)}/godwit-agent"
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        write_large(f"{folder}/large")
        for seed in range(1, n + 1):
            rows = compare(program, folder, seed)
            took, mib = plan_large(agent, f"{folder}/large")
            rows |= {LARGE_TIME: (took, None), LARGE_MEMORY: (mib, None)}
            for row, values in rows.items():
                of = measured.setdefault(row, {})
                for name, value in zip((SUBJECT, "hbal"), values):
                    of.setdefault(name, [])
                    of[name] += [] if value is None else [value]
    return measured
