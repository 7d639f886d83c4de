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
        moves = 0
        # Memory first, then what was read into it, of which a good part is zero.  On a busy host a
        # guest may get to read nothing while it moves: then it moves again.
        while moves < 10 * len(WAYS) and pages(rig, "zero_pages") <= 100:
            for how in WAYS:
                t.move(**how)
            moves += len(WAYS)
        t.end()
        check(t.outcomes == {"moved": moves}, t.outcomes)
    check(pages(rig, "pages") > 1000 and pages(rig, "zero_pages") > 100,
          f'{moves} moves: {pages(rig, "pages")} pages, {pages(rig, "zero_pages")} zero')
