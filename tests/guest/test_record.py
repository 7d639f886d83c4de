# SPDX-License-Identifier: Apache-2.0
"""What is left of a migration: a file of each side, metrics, and a line."""
import glob
import json
import os
import re

from api_client import wants
from moves import Traveller
from rig import check
from test_fds import Network, comes_back
from test_migrate import Side, destination, finish, source
from test_top import verb

OUTGOING = ["connect", "hello", "first-pass", "rounds", "offer", "stop", "last-pages", "devices",
            "seal", "hand-over", "end"]
INCOMING = ["wait", "hello", "receive", "load", "await-token", "take-disks", "accept", "run", "end"]


def records(rig, side="*"):
    """All of that side that are there, oldest first; each is whole whenever it is looked at."""
    found = []
    for path in sorted(glob.glob(rig.path(f"state/migrations/*-{side}.json"))):
        with open(path, encoding="ascii") as f:
            found.append(json.load(f))
    return found


def move(a, b):
    answer = wants(a.client(), 200, "PUT", "vm.send-migration",
                   {"destination_url": b.url(), "wait": True})
    check(a.ended() == 0, a.logged)
    return answer


def check_phases(record, wanted):
    check(list(record["phases_us"]) == wanted, record["phases_us"])
    check(sum(record["phases_us"].values()) <= record["total_us"], record)
    check(record["timestamp_begin_ms"] <= record["timestamp_end_ms"], record)


def check_rounds(record):
    """All pages are in one of them."""
    rounds, memory = record["rounds"], record["memory_transmission_info"]
    check(len(rounds) == memory["memory_iteration"] - 1 >= 1, record)
    for key, total in (("pages", "memory_pages_4k_transmitted"),
                       ("zero_pages", "memory_pages_constant_count"),
                       ("bytes", "memory_bytes_transmitted")):
        check(sum(r[key] for r in rounds + [record["last_round"]]) == memory[total], (key, record))
    check(all("dirty_rate_pps" in r for r in rounds), rounds)


def check_time_lost(record, cpus):
    lost = [throttled + record["blackout_us"] for throttled in record["throttled_us"]]
    check(len(lost) == cpus, record)
    check(all(abs(a - b) <= 1 for a, b in zip(record["lost_us"], lost)), record)


def samples(text):
    return {name: float(number) for name, number in
            re.findall(r"^(godwit_migration_[^ ]+) (\S+)$", text, re.M)}


def check_metrics(rig, side, record):
    """They say the same as the record."""
    numbers = samples(verb(rig, "stats", "--prometheus", side.name))
    state = list(record["state"])[0].lower()
    for name, wanted in {
            f'state{{device="migration",state="{state}"}}': 1,
            'incoming{device="migration"}': record["incoming"],
            'rounds{device="migration"}': len(record["rounds"]),
            'sent_bytes{device="migration"}':
                record["memory_transmission_info"]["memory_bytes_transmitted"]}.items():
        check(numbers["godwit_migration_" + name] == wanted, (name, numbers))
    times = {"blackout": "blackout_us", "duration": "total_us",
             "first_disk_request": "first_disk_us", "first_packet": "first_packet_us"}
    for name, key in times.items():
        seconds = numbers[f'godwit_migration_{name}_seconds{{device="migration"}}']
        check(abs(seconds - record.get(key, 0) / 1e6) < 2e-6, (name, seconds, record))
    for name, us in record["phases_us"].items():
        seconds = numbers[f'godwit_migration_phase_seconds{{device="migration",phase="{name}"}}']
        check(abs(seconds - us / 1e6) < 2e-6, (name, seconds, us))


def test_record(rig):
    """Of a move, with a disk that the guest reads all the time."""
    with source(rig, "--disk", "path=" + rig.disk(), "--cpus", "2",
                words="mib=8 cpus=2 blk") as a, destination(rig) as b:
        answer = move(a, b)
        sent, = records(rig, "outgoing")
        check_phases(sent, OUTGOING)
        check_rounds(sent)
        check_time_lost(sent, 2)
        check(sent["state"] == answer["state"] == {"Finished": {}}, sent)
        check(sent["session"] == answer["session"] and not sent["incoming"], sent)
        check(sent["blackout_us"] == answer["blackout_us"] > 0, sent)
        b.until(lambda: "first_disk_us" in (records(rig, "incoming") or [{}])[0],
                "no first disk request")
        came, = records(rig, "incoming")
        check_phases(came, INCOMING)
        check(came["session"] == sent["session"] and came["incoming"], came)
        check(came["blackout_us"] > 0, came)
        check(isinstance(came["clock_step_ns"], int), came)
        check("first_packet_us" not in came, came)
        check_metrics(rig, b, came)
        said = verb(rig, "migration", b.name)
        check("stood still for" in said and "first disk request after" in said, said)
        check("would" not in said, said)
        check(json.loads(verb(rig, "migration", "--json", b.name)) == came, said)
        finish(b)


def test_record_of_many(rig):
    """Each has its own, in order."""
    with Traveller(rig) as traveller:
        for _ in range(3):
            traveller.move()
        sent, came = records(rig, "outgoing"), records(rig, "incoming")
        sessions = [record["session"] for record in sent]
        check(len(set(sessions)) == 3, sessions)
        check([record["session"] for record in came] == sessions, (sessions, came))
        traveller.end()


def test_record_cancelled(rig):
    """Both sides say that it was called off, and the guest lost no time."""
    with source(rig) as a, destination(rig) as b:
        client = a.client()
        wants(client, 204, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "bandwidth_limit": 8 << 20, "compress": "none"})
        a.until(lambda: wants(client, 200, "GET", "vm.migration-progress")["blackout_us"],
                "nothing is expected")
        wants(client, 204, "PUT", "vm.cancel-migration")
        a.until(lambda: records(rig, "outgoing"), "no record")
        record, = records(rig, "outgoing")
        check(record["state"] == {"Cancelled": {}}, record)
        check(not record["blackout_us"] and "timestamp_end_ms" in record, record)
        check_phases(record, OUTGOING[:4])
        check_time_lost(record, 1)
        check(b.ended() == 1, b.logged)
        other, = records(rig, "incoming")
        check(other["session"] == record["session"] and "Failed" in other["state"], other)
        check(other["state"]["Failed"]["error_msg"], other)
        check_metrics(rig, a, record)
        said = verb(rig, "migration", a.name)
        check(said.startswith("called off; stood still for 0"), said)
        finish(a)


def test_record_refused(rig):
    """The sentence is in it; of one that nobody came to there is none."""
    with source(rig) as a, destination(rig, "--disk", "id=disk9,path=none") as b:
        wants(a.client(), 500, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "wait": True})
        record, = records(rig, "outgoing")
        check("disk9" in record["state"]["Failed"]["error_msg"], record)
        said = verb(rig, "migration", a.name)
        check(said.startswith("failed: ") and "disk9" in said, said)
        check(b.ended() == 1 and len(records(rig)) == 2, b.logged)
        with destination(rig) as c:
            c.url()
            c.process.terminate()
            check(c.ended() == 1, c.logged)
        check(len(records(rig)) == 2, "a record of nothing")
        finish(a)


def test_record_packet(rig):
    """The first one is the guest's: what the card says by itself does not count."""
    net = Network()
    taps = [net.tap("t0"), net.tap("t1")]
    card = "id=net0,vhost=off,fd="
    with Side(rig, "source", "--kernel", rig.elf("mirror"), "--memory", "64M", "--serial", "null",
              "--net", card + str(taps[0]), pass_fds=taps) as a, \
            destination(rig, "--net", card + str(taps[1]), pass_fds=taps) as b:
        for tap in taps:
            os.close(tap)
        comes_back(net.packets("t0"), "before it moved")
        move(a, b)
        b.until(lambda: records(rig, "incoming"), "no record")
        comes_back(net.packets("t1"), "where it came to")
        b.until(lambda: "first_packet_us" in records(rig, "incoming")[0], "no first packet")
        came, = records(rig, "incoming")
        check(came["first_packet_us"] > 0 and "first_disk_us" not in came, came)
        check_metrics(rig, b, came)
        check("first packet after" in verb(rig, "migration", b.name), b.logged)
        wants(b.client(), 204, "PUT", "vm.delete")
