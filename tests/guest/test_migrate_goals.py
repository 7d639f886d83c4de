# SPDX-License-Identifier: Apache-2.0
"""What a migration keeps to: a blackout that no guest can be stopped in, and a deadline."""
import subprocess

from api_client import wants
from rig import LIMIT, check
from test_migrate import destination, finish, source

NEVER = 1  # ms; stopping and handing over alone are expected to take longer


def migrate(rig, side, url, *options, status):
    """As a script has it; without a terminal it says one line."""
    done = subprocess.run([rig.godwit, "migrate", "--max-blackout", f"{NEVER}ms", *options,
                           side.name, url], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=LIMIT, check=False)
    check(done.returncode == status, f"status {done.returncode}: {done.stdout}{done.stderr}")
    check((done.stdout + done.stderr).count("\n") == 1, done)
    return done.stdout + done.stderr


def test_migrate_deadline(rig):
    """At the deadline it gives up, or with --late stops the guest for longer than was asked."""
    with source(rig) as a:
        with destination(rig) as b:
            said = migrate(rig, a, b.url(), "--deadline", "1s", status=1)
            check("the guest writes too much: after 1 s it would still stand still for" in said,
                  said)
            check(b.ended() == 1, b.logged)
        a.beats()
        with destination(rig) as b:
            said = migrate(rig, a, b.url(), "--deadline", "1s", "--late", status=0)
            check(f"runs at {b.url()} now" in said, said)
            check(a.ended() == 0, a.logged)
            finish(b)


def test_migrate_goals_change(rig):
    """Deadline, what happens then, and the blackout can be given while it goes on."""
    for goals, moves in (({"timeout_s": 1}, False), ({"downtime_ms": 2000}, True),
                         ({"timeout_s": 1, "timeout_strategy": "Ignore"}, True)):
        with source(rig) as a, destination(rig) as b:
            client = a.client()
            wants(client, 204, "PUT", "vm.send-migration",
                  {"destination_url": b.url(), "downtime_ms": NEVER})
            a.until(lambda c=client: len(wants(c, 200, "GET", "vm.migration-progress")["rounds"])
                    > 2, "no rounds")
            wants(client, 204, "PUT", "vm.set-migration-parameters", goals)
            if moves:
                check(a.ended() == 0, a.logged)
                finish(b)
            else:
                a.until(lambda c=client: "Failed" in wants(c, 200, "GET", "vm.migration-progress")
                        ["state"], "goes on")
                check(b.ended() == 1, b.logged)
                finish(a)


def test_migrate_connections_change(rig):
    """Memory goes over more connections, or fewer, from when that is asked for."""
    with source(rig) as a, destination(rig) as b:
        client = a.client()

        def progress():
            return wants(client, 200, "GET", "vm.migration-progress")

        def sent():
            return progress()["memory_transmission_info"]["memory_bytes_transmitted"]

        def connections():
            return progress()["transportation_mode"]["Tcp"]["connections"]

        wants(client, 204, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "bandwidth_limit": 4 << 20, "compress": "none"})
        a.until(lambda: progress()["phase"] == "copy", "does not copy")
        for n in (3, 16, 2):
            check(connections() != n, progress())
            wants(client, 204, "PUT", "vm.set-migration-parameters", {"connections": n})
            a.until(lambda n=n: connections() == n, f"not {n} connections")
            before = sent()
            a.until(lambda was=before: sent() > was, f"nothing goes over {n} connections")
        wants(client, 400, "PUT", "vm.set-migration-parameters", {"connections": 17})
        wants(client, 204, "PUT", "vm.set-migration-parameters", {"bandwidth_limit": 0})
        check(a.ended() == 0, a.logged)
        finish(b)


def test_migrate_deadline_first_pass(rig):
    """Not even all memory has gone over by then."""
    with source(rig) as a, destination(rig) as b:
        said = migrate(rig, a, b.url(), "--deadline", "1s", "--bandwidth", "1M", "--compress",
                       "none", status=1)
        check("MiB to be sent for the first time" in said, said)
        check(b.ended() == 1, b.logged)
        finish(a)
