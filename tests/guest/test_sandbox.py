# SPDX-License-Identifier: Apache-2.0
"""What threads of a monitor may ask of the kernel, and what becomes of those that ask for more."""
import os
import subprocess
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
    check(len(names) >= 60 and len({line.split()[1] for line in lines}) == 5, done.stdout)
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
