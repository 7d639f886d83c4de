# SPDX-License-Identifier: Apache-2.0
"""The audit log: who asked for what, and what became of it."""
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess

from api_client import Connection, config, monitor, wants
from rig import LIMIT, Skipped, check
from test_migrate import destination, finish, source
from test_migrate_ends import terminate_twice
from test_migrate_outcomes import TOKEN, Move, kill
from test_migrate_tls import certificates, move

SECRET = "verySecret"


def lines(path):
    with open(path, encoding="ascii") as f:
        return [json.loads(line) for line in f]


def asked(entries):
    return [(e["method"], e["path"], e["status"]) for e in entries if "path" in e]


def test_audit_requests(rig):
    """Each request that changes something, with its sender; what is asked again is counted."""
    log, path = rig.path("audit"), rig.path("api.sock")
    with monitor(rig, "--api-socket", path, "--audit", log) as (process, client):
        wants(client, 204, "PUT", "vm.create", config(rig, payload={
            "kernel": rig.elf("echo"), "cmdline": "password=" + SECRET}))
        wants(client, 204, "PUT", "vm.boot")
        wants(client, 204, "PUT", "vm.pause")
        for _ in range(3):
            wants(client, 200, "GET", "vmm.ping")
            said, = wants(client, 500, "PUT", "vm.pause")
        wants(client, 400, "PUT", "vm.resize", f'{{"{SECRET}" {SECRET}'.encode())
        wants(client, 404, "GET", "/nothing")
        wants(client, 204, "PUT", "vm.resume")
        metrics = wants(client, 200, "GET", "/metrics")
        written = re.search(r'^godwit_audit_written_total{device="audit"} (\d+)$', metrics, re.M)
        check(written and int(written[1]) >= 8, metrics)
        check('\ngodwit_audit_failed_total{device="audit"} 0\n' in metrics, metrics)
        wants(client, 400, "GET", "events?since=" + SECRET)
        other = Connection(path)
        other.send(f"GET {SECRET}\r\n\r\n".encode())
        check(other.answer()[0] == 400, "no request at all")
        wants(client, 204, "PUT", "vmm.shutdown")
    check(stat.S_IMODE(os.stat(log).st_mode) == 0o600, "others may read it")
    # `godwit list` asks every VM of this host, and tests run beside this one.
    found = [e for e in lines(log) if e["pid"] == os.getpid()]
    first = [e for e in found if "count" not in e]
    check(asked(first) == [
        ("PUT", "/api/v1/vm.create", 204), ("PUT", "/api/v1/vm.boot", 204),
        ("PUT", "/api/v1/vm.pause", 204), ("GET", "/api/v1/vmm.ping", 200),
        ("PUT", "/api/v1/vm.pause", 500), ("PUT", "/api/v1/vm.resize", 400),
        ("GET", "/nothing", 404), ("PUT", "/api/v1/vm.resume", 204),
        ("GET", "/metrics", 200), ("GET", "/api/v1/events", 400),
        ("PUT", "/api/v1/vmm.shutdown", 204)], asked(first))
    check([(e["path"], e["count"]) for e in found if "count" in e] ==
          [("/api/v1/vmm.ping", 2), ("/api/v1/vm.pause", 2)], found)
    for e in found:
        check((e["uid"], e["gid"]) == (os.geteuid(), os.getegid()), e)
        check(e["monitor"] == process.pid and e["event"] == "request", e)
        check(("error" in e) == (e["status"] >= 400), e)
        check("path" in e or e["status"] == 400, e)
    check(found[1]["vm"] == f"test-{os.getpid()}" and found[4]["error"] == said, found)
    with open(log, encoding="ascii") as f:
        check(SECRET not in f.read(), "what a body or a query holds is in the log")


def test_audit_refused(rig):
    """What cannot be a log, before anything runs."""
    for where, why in ((rig.folder, "cannot be opened"), ("/dev/null", "no plain file"),
                       (rig.path("link"), "symbolic link"), (rig.path("no/log"), "No such file")):
        if not os.path.islink(rig.path("link")):
            os.symlink(rig.path("target"), rig.path("link"))
        rig.run("hello", "--audit", where, status=1)
        check(why in rig.said, rig.said)
    check(not os.path.exists(rig.path("target")), "the link was followed")


def test_audit_full(rig):
    """A log that cannot be written is said once and counted; the VM goes on."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))

    path = rig.path("api.sock")
    with monitor(rig, "--api-socket", path, "--audit", rig.path("audit"), preexec_fn=limit,
                 stderr=subprocess.PIPE, text=True) as (process, client):
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 204, "PUT", "vm.boot")
        for _ in range(5):
            wants(client, 204, "PUT", "vm.pause")
            wants(client, 204, "PUT", "vm.resume")
        count = wants(client, 200, "GET", "vm.counters")["_audit"]
        check(count["written"] + count["failed"] >= 12 and count["failed"] > 8, count)
        wants(client, 204, "PUT", "vmm.shutdown")
        said = process.communicate(timeout=LIMIT)[1]
    check(said.count("cannot be written to") == 1, said)


def migrations(path):
    keys = ("vm", "direction", "outcome", "identity", "peer", "url", "error")
    return [{k: e.get(k) for k in keys} for e in lines(path) if e["event"] == "migration"]


def test_audit_migration(rig):
    """Both sides of a move, and of one that does not come about, with who the other is."""
    path = certificates(rig)
    with source(rig, "--audit", path("out")) as a, \
            destination(rig, "--tls", path("good"), "--audit", path("in")) as b:
        url = b.url()
        status, said = move(rig, a, "tcp:127.0.0.1:1")
        check(status == 1, said)
        status, said = move(rig, a, url, "--tls", path("good"))
        check(status == 0, said)
        check(a.ended() == 0, a.logged)
        finish(b)
    failed, moved = migrations(path("out"))
    check(failed["outcome"] == "failed" and failed["identity"] == "none" and failed["error"] and
          failed["url"] == "tcp:127.0.0.1:1", failed)
    check(moved["direction"] == "out" and moved["outcome"] == "finished" and
          moved["identity"] == "127.0.0.1" and moved["url"] == url and not moved["error"], moved)
    came, = migrations(path("in"))
    check(came["direction"] == "in" and came["outcome"] == "finished" and
          came["identity"] == "CN=host1" and came["peer"].startswith("tcp:127.0.0.1:") and
          came["vm"] == b.name, came)
    sent = [e for e in lines(path("out")) if e.get("path") == "/api/v1/vm.send-migration"]
    check([e["status"] for e in sent] == [500, 200], sent)


def test_audit_migration_called_off(rig):
    """A monitor that waits for a VM, and for which none comes."""
    with destination(rig, "--audit", rig.path("in")) as b:
        b.url()
        b.process.terminate()
        check(b.ended() == 1, b.logged)
    one, = migrations(rig.path("in"))
    check((one["direction"], one["outcome"], one["identity"], one["peer"]) ==
          ("in", "cancelled", "none", "none"), one)


def test_audit_migration_undecided(rig):
    """A process that ends before it is known where the VM runs."""
    with Move(rig, "--audit", rig.path("out"), hold=TOKEN) as m:
        m.held()
        kill(m.b)
        m.a.until(lambda: m.progress()["undecided"], "not undecided")
        terminate_twice(m.a)
        check(m.a.ended() == 1, m.a.logged)
    one, = migrations(rig.path("out"))
    check(one["direction"] == "out" and one["outcome"] == "undecided" and one["error"], one)


def journal_at(path):
    if os.path.exists(path):
        os.unlink(path)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(LIMIT)
    return s


def test_audit_journal(rig):
    """A monitor in its sandbox reaches the journal, and again after that was started anew."""
    folder = rig.path("journal")
    os.mkdir(folder)
    program, own_run = rig.godwit, 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && ' \
        'mount --bind "$0" /run/systemd/journal && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", own_run, folder]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        raise Skipped("no mount namespace can be made")
    rig.godwit = command[0]
    journal = journal_at(folder + "/socket")
    with monitor(rig, *command[1:], program, "--api-socket", rig.path("api.sock"), "--audit",
                 "journal") as (_, client):
        for status, path in (404, "/nothing"), (200, "/api/v1/vmm.ping"):
            wants(client, status, "GET", path)
            said = journal.recv(4096).decode()
            check(said.startswith("SYSLOG_IDENTIFIER=godwit\n"), said)
            check(f'"path":"{path}"' in said, said)
            journal.close()
            journal = journal_at(folder + "/socket")
        wants(client, 204, "PUT", "vmm.shutdown")
    journal.close()
