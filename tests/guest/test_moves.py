# SPDX-License-Identifier: Apache-2.0
"""A VM that moves many times is neither lost nor doubled nor damaged (moves.py)."""
import contextlib
import glob
import os

from moves import Traveller, all_cuts, moves_after_cut, new_chance, random_fault
from proxy import Cut
from rig import check

SEED = 1


def there_and_back(rig, n, **how):
    with Traveller(rig, **how) as t:
        for _ in range(n):
            t.move()
        t.end()
        check(t.outcomes == {"moved": n}, t.outcomes)


def test_moves(rig):
    there_and_back(rig, 8, cpus=1, disk=True)


def test_moves_two_cpus(rig):
    there_and_back(rig, 7, cpus=2, memory=128)


def left_open(rig, pid):
    """Files, and threads but for those that the kernel adds and removes as it likes.

    The thread sanitizer opens a pipe to a helper when it first names a place in the program.
    """
    names = []
    for path in glob.glob(f"/proc/{pid}/task/*/comm"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as f:
            names.append(f.read().strip())
    return (0 if rig.watches_threads() else len(os.listdir(f"/proc/{pid}/fd")),
            sorted(n for n in names if not n.startswith(("iou-", "kvm-"))))


def test_moves_cancelled(rig):
    """Called off at random moments, nothing of it stays in the process."""
    chance = new_chance(SEED)
    with Traveller(rig, disk=True) as t:
        before = None
        for _ in range(6):
            if t.cancel(chance):
                before = None
                continue
            pid = t.at.process.pid
            before = before or left_open(rig, pid)
            # Connections of clients that have just left are closed by another thread.
            t.at.until(lambda: left_open(rig, pid) <= before,  # pylint: disable=cell-var-from-loop
                       f"files and threads: {before}, then {left_open(rig, pid)}")
        t.end()
        check(t.outcomes["moved"] + t.outcomes["cancelled"] == 6, t.outcomes)


def cuts(rig, disk):
    with Traveller(rig, disk=disk) as t:
        for message, place in all_cuts(rig):
            moved = t.through(Cut(message, place))
            wanted = moves_after_cut(message, place, disk)
            check(wanted in (None, moved),
                  f"cut {place} {message}: moved is {moved}; {t.progress()['state']}")
        t.end()
        check(t.outcomes["harm done"] == len(all_cuts(rig)), t.outcomes)


def test_moves_cut_with_arbiter(rig):
    cuts(rig, True)


def test_moves_cut_without_arbiter(rig):
    cuts(rig, False)


def test_moves_faults(rig):
    chance = new_chance(SEED)
    with Traveller(rig) as t:
        for _ in range(6):
            t.through(random_fault(chance))
        t.end()
