# SPDX-License-Identifier: Apache-2.0
"""The control group that a VM runs in; what limits do is seen in the lab."""
import os
import signal
import subprocess
import time

from api_client import monitor, wants
from rig import LIMIT, Skipped, check


def own_group():
    """The folder of this process's, of version 2."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        mounts = [line.split()[4] for line in f if " - cgroup2 " in line]
    with open("/proc/self/cgroup", encoding="utf-8") as f:
        path, = [line.rstrip("\n")[3:] for line in f if line.startswith("0::")] or [None]
    folder = mounts[0] + path.rstrip("/") if mounts and path else None
    if not folder or not os.access(folder, os.W_OK):
        raise Skipped("no control group of version 2 that can be written to")
    return folder


def members(folder):
    with open(folder + "/cgroup.procs", encoding="ascii") as f:
        return set(map(int, f.read().split()))


def until(is_so, otherwise):
    deadline = time.monotonic() + LIMIT
    while not is_so():
        check(time.monotonic() < deadline, otherwise)
        time.sleep(0.001)


def test_cgroup(rig):
    """It holds all of the VM's processes, and is gone with it, however that ends if it has a broker."""
    parent = own_group()
    for sandbox, status in (("on", 0), ("on", -signal.SIGKILL), ("off", 0)):
        if status and rig.watches_threads():
            continue
        command = rig.command("echo", "--cgroup", "auto", "--sandbox", sandbox,
                              "--api-socket", rig.path("api.sock"))
        folder = f"{parent}/godwit-{command[command.index('--name') + 1]}"
        with monitor(rig, *command[1:], status=status) as (process, client):
            wants(client, 200, "GET", "vmm.ping")
            with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as f:
                children = set(map(int, f.read().split()))
            check(members(folder) == {process.pid} | children, (members(folder), children))
            if status:
                process.kill()
            else:
                wants(client, 204, "PUT", "vmm.shutdown")
            process.wait(LIMIT)
            until(lambda: not os.path.exists(folder), "the group is left")


def test_cgroup_killed_early(rig):
    """The broker removes the group also of who is killed before having said a word to it."""
    if rig.watches_threads():
        raise Skipped("under TSan there is no broker")
    parent = own_group()
    for _ in range(10):
        command = rig.command("echo", "--cgroup", "auto")
        folder = f"{parent}/godwit-{command[command.index('--name') + 1]}"
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            until(lambda: os.path.exists(folder) and len(members(folder)) == 2, "no broker")
            process.kill()
        until(lambda: not os.path.exists(folder), "the group is left")


def test_cgroup_words(rig):
    own_group()
    rig.run("hello", "--cgroup", "web", status=2)
    check('--cgroup: "web" is no path of a control group, such as /vms/web, nor auto' in rig.said,
          rig.said)
    rig.run("hello", "--cgroup", "/no/such/group")
    check("cannot be made" in rig.said and "the VM runs without" in rig.said, rig.said)
    check(len(rig.said.splitlines()) == 1, rig.said)
    rig.run("hello", "--cgroup", "/no/such/group,strict=on", status=1)
    check("cannot be made" in rig.said, rig.said)
