# SPDX-License-Identifier: Apache-2.0
"""What VMs wait for counts, and not how busy their host is."""
import os

from cluster import Skipped, check
from test_metrics import metrics

CPUS = sorted(os.sched_getaffinity(0))[:2]


def test_waits(cluster):
    """Of five VMs on two cores, each with work for 27 % of one, one is to go; a fifth is idle."""
    if len(CPUS) < 2:
        raise Skipped("there is one processor")
    a, b = cluster.hosts("ab")
    a.does("policy", window_s=3, hold_windows=2, margin=0)
    cpus = {"boot_vcpus": 1, "affinity": [{"vcpu": 0, "host_cpus": CPUS}]}
    for name in ("v1", "v2", "v3", "v4", "v5"):
        a.does("apply", **a.spec(name, "work", "load=27", vm={"cpus": cpus}))
    seen = []

    def recommended():
        seen.append(metrics(a).get(("godwit_host_use_ratio",), 0))
        return "recommends v" in a.said()
    a.until(recommended, "lets them wait")
    check(0 < max(seen) < 0.8, max(seen))
    check(" to b (hot)" in a.said() and not b.pids(), a.said())
