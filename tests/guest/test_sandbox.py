# SPDX-License-Identifier: Apache-2.0
"""What threads of a monitor may ask of the kernel, and what becomes of those that ask for more."""
import errno
import os
import signal
import subprocess
import tempfile
import time

from api_client import monitor, wants
from rig import LIMIT, Skipped, check


def confines(rig):
    if rig.watches_threads():
        raise Skipped("nothing is confined with a sanitizer")


def escapes(rig, *words):
    return subprocess.run([os.path.join(rig.programs, "escapes"), *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LIMIT, check=False)


def test_sandbox_escapes(rig):
    """All attempts of all roles: made without a sandbox, refused and said in it, said if only logged."""
    confines(rig)
    done = escapes(rig)
    lines = done.stdout.splitlines()
    check(not done.returncode and not done.stderr and all(line.startswith("ok ") for line in lines),
          done.stdout + done.stderr)
    names = {line.split(" ", 2)[2] for line in lines}
    check(len(names) >= 60 and len({line.split()[1] for line in lines}) == 6, done.stdout)
    print(f"# {len(names)} attempts, {len(lines)} with all roles")


def test_sandbox_table(rig):
    """The manual says how many calls there are."""
    page = os.path.join(os.path.dirname(__file__), "../../docs/threat-model.md")
    with open(page, encoding="utf-8") as f:
        check(escapes(rig, "--calls").stdout in f.read(), escapes(rig, "--calls").stdout)


def modes(process):
    """Of each thread: whether it has a filter, and whether it gets no more rights."""
    found = {}
    for task in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{task}/status", encoding="ascii") as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        found[fields["Name"]] = fields["Seccomp"], fields["NoNewPrivs"]
    return found


def test_sandbox_threads(rig):
    """All threads are confined, by default and if asked for, or none is."""
    confines(rig)
    for words, wanted in ((), ("2", "1")), (("--sandbox", "log"), ("2", "1")), \
            (("--sandbox", "off"), ("0", "0")):
        command = rig.command("echo", "--cpus", "2", "--disk", f"path={rig.disk()}", *words,
                              "--api-socket", rig.path("api.sock"))
        with monitor(rig, *command[1:]) as (process, client):
            deadline = time.monotonic() + LIMIT
            while "vcpu1" not in (found := modes(process)) and time.monotonic() < deadline:
                time.sleep(0.01)
            wants(client, 204, "PUT", "vmm.shutdown")
            check(len(found) >= 5 and set(found.values()) == {wanted}, found)


def test_sandbox_words(rig):
    rig.run("hello", "--sandbox", "strict", status=2)
    check('--sandbox must be on, off or log, not "strict"' in rig.said, rig.said)


def test_sandbox_log(rig):
    """Nothing is said of a guest that uses all devices: no more is asked than there is."""
    rig.run("devices", "--sandbox", "log", "--memory", "256M", "--disk", f"path={rig.disk()}",
            "--balloon", "size=0", "--rng", "src=/dev/urandom")
    check("sandbox" not in rig.said, rig.said)


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_sandbox_process(rig):
    """What the process has left, as the manual's second table says it."""
    confines(rig)
    command = rig.command("echo", "--api-socket", rig.path("api.sock"))
    with monitor(rig, *command[1:]) as (process, client):
        wants(client, 200, "GET", "vmm.ping")
        where = f"/proc/{process.pid}"
        with open(where + "/status", encoding="ascii") as f:
            caps = [int(line.split()[1], 16) for line in f if line.startswith("Cap")]
        check(len(caps) == 5 and not any(caps), caps)
        check(os.listdir(where + "/root") == [] and os.listdir(where + "/cwd") == [], "files")
        for name in ("mnt", "net", "ipc"):
            check(os.readlink(f"{where}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"), name)
        check(os.stat(where + "/mem").st_uid == 0, "others of its user may read its memory")
        try:
            os.mkdir(where + "/root/x")
            check(False, "its root can be written to")
        except OSError as e:
            check(e.errno in (errno.EROFS, errno.EACCES), e)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_sandbox_broker(rig):
    """It is the monitor's only child, and does not outlive it, however that ends."""
    confines(rig)
    for status in (0, -signal.SIGKILL):
        command = rig.command("echo", "--api-socket", rig.path("api.sock"))
        with monitor(rig, *command[1:], status=status) as (process, client):
            wants(client, 200, "GET", "vmm.ping")
            with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as f:
                broker, = f.read().split()
            with open(f"/proc/{broker}/comm", encoding="ascii") as f:
                check(f.read() == "broker\n", "it is no broker")
            if status:
                process.kill()
            else:
                wants(client, 204, "PUT", "vmm.shutdown")
            process.wait(LIMIT)
            deadline = time.monotonic() + LIMIT
            while state_of(broker) not in ("", "Z", "X"):
                check(time.monotonic() < deadline, "the broker lives on")
                time.sleep(0.01)


def ids_of(pid):
    """Of each thread: user, group, other groups."""
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as f:
            fields = dict(line.split(":", 1) for line in f)
        found.add(tuple(" ".join(fields[name].split()) for name in ("Uid", "Gid", "Groups")))
    return found


def test_sandbox_user(rig):
    """Another user: of what a client names it has what that user may, what is configured it has."""
    confines(rig)
    if os.geteuid():
        raise Skipped("only root becomes another user")
    command = rig.command("echo", "--user", "65534:65533", "--disk", f"path={rig.disk()}",
                          "--api-socket", rig.path("api.sock"))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, \
            monitor(rig, *command[1:]) as (process, client):
        os.chmod(folder, 0o711)
        os.mkdir(f"{folder}/place")
        disks = {f"{folder}/place/his": 200, f"{folder}/place/root's": 500}
        for path in disks:
            with open(path, "wb") as f:
                f.truncate(1 << 20)
            os.chmod(path, 0o600)
        os.chown(f"{folder}/place", 65534, 65533)
        os.chown(f"{folder}/place/his", 65534, 65533)
        wants(client, 200, "GET", "vmm.ping")
        check(ids_of(process.pid) == {(" ".join(["65534"] * 4), " ".join(["65533"] * 4), "")},
              ids_of(process.pid))
        for path, status in disks.items():
            wants(client, status, "PUT", "vm.add-disk", {"path": path})
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.snapshot", {"destination_url": f"file://{folder}/place/a"})
        check(os.stat(f"{folder}/place/a").st_uid == 65534, "the snapshot is not the user's")
        wants(client, 500, "PUT", "vm.snapshot", {"destination_url": f"file://{folder}/b"})
        wants(client, 204, "PUT", "vmm.shutdown")


def test_sandbox_user_words(rig):
    for words, said in ((("--user", "no such"), 'there is no user "no such" on this host'),
                        (("--user", "4000000"), "user 4000000 has no group of its own here: "
                         "4000000:GROUP"),
                        (("--user", "nobody:no such"), 'there is no group "no such"'),
                        (("--user", "nobody", "--sandbox", "off"), "--user is for root")):
        rig.run("hello", *words, status=2)
        check(said in rig.said, rig.said)
