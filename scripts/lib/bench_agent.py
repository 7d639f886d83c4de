# SPDX-License-Identifier: Apache-2.0
"""The part of scripts/bench on the agent of a host whose VMs sit still: processor and memory.

The agent starts them from specs, and looks at them as often as its policy says if nobody changed
it: every ten seconds.
"""
import os
import re
import sys
import tempfile
import time

from bench_report import LOWER, SUBJECT, Failed, Row

TOP = os.path.realpath(f"{os.path.dirname(__file__)}/../..")
sys.path.insert(0, f"{TOP}/tests/agent")

# pylint: disable=wrong-import-position
from cluster import Agent, Failed as AgentFailed

VMS = 50
MIB = 64
SETTLE = 20                     # seconds: it has looked at all of them twice
WATCHED = 60                    # seconds
USED = Row(f"processor, of a core, in {WATCHED} s", "%", LOWER)
RESIDENT = Row("resident memory", "MiB", LOWER)
SHARE = Row("its share of it: what others have, too, counts in equal parts", "MiB", LOWER)


class Place:
    """Where the agent's files are; what tests/agent's Agent wants to know."""

    def __init__(self, programs, folder):
        self.build = os.path.abspath(f"{programs.guests}/../..")
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)


def spec(programs, number):
    return {"name": f"v{number}",
            "vm": {"payload": {"kernel": os.path.abspath(programs.elf("hello")), "cmdline": "stay"},
                   "cpus": {"boot_vcpus": 1}, "memory": {"size": MIB << 20},
                   "serial": {"mode": "Null"}}}


def cpu_seconds(pid):
    """Of all its threads, also those that have ended."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    """Rss and Pss."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        text = f.read()
    return [int(re.search(rf"^{name}: +(\d+) kB", text, re.M)[1]) / 1024 for name in ("Rss", "Pss")]


def at_rest(programs, folder):
    """Percent of a core, and MiB: all and shared."""
    agent = Agent(Place(programs, folder), "bench")
    try:
        for i in range(VMS):
            agent.does("apply", **spec(programs, i))
        agent.until(lambda: sum("resident" in vm for vm in agent.status()["vms"]) == VMS,
                    f"does not know {VMS} VMs")
        time.sleep(SETTLE)
        pid = agent.process.pid
        before, began = cpu_seconds(pid), time.monotonic()
        time.sleep(WATCHED)
        used = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        return (used * 100, *memory_mib(pid))
    except AgentFailed as e:
        raise Failed(str(e)) from None
    finally:
        end(agent)


def end(agent):
    """With its VMs."""
    for pid in agent_vms(agent):
        os.kill(pid, 9)
    agent.killed()


def agent_vms(agent):
    """Its children."""
    with open(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children",
              encoding="ascii") as f:
        return map(int, f.read().split())


def agents(n, programs):
    measured = {row: {SUBJECT: []} for row in (USED, RESIDENT, SHARE)}
    for _ in range(n):
        with tempfile.TemporaryDirectory() as folder:
            for row, value in zip(measured, at_rest(programs, folder), strict=True):
                measured[row][SUBJECT].append(value)
    return measured
