# SPDX-License-Identifier: Apache-2.0
"""What a disk reads into memory while the VM moves is there, in whatever way its pages go over."""
import glob
import json

from moves import Traveller
from rig import check

MIB = 1 << 20
# A slow link is worth differences; two streams have their pages apart.
WAYS = ({"compress": "none"}, {"compress": "lz4"}, {"compress": "zstd", "connections": 2},
        {"compress": "none", "bandwidth_limit": 64 * MIB},
        {"compress": "lz4", "bandwidth_limit": 64 * MIB, "connections": 2})


def pages(rig, kind):
    """How many went over as that, in all moves."""
    n = 0
    for path in glob.glob(rig.path("state/migrations/*-outgoing.json")):
        with open(path, encoding="ascii") as f:
            record = json.load(f)
        n += sum(r[kind] for r in record["rounds"] + [record["last_round"]])
    return n


def test_scatter(rig):
    with Traveller(rig, disk=True, program="scatter") as t:
        for how in WAYS:
            t.move(**how)
        t.end()
        check(t.outcomes == {"moved": len(WAYS)}, t.outcomes)
    # Memory first, then what was read into it: of that a good part is zero.
    check(pages(rig, "pages") > 1000 and pages(rig, "zero_pages") > 100,
          f'{pages(rig, "pages")} pages, {pages(rig, "zero_pages")} zero')
