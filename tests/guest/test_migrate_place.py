# SPDX-License-Identifier: Apache-2.0
"""A VM that moves to where files are elsewhere, or between versions of the format."""
import json
import os
import shutil

from api_client import wants
from rig import check
from test_migrate import Side, destination, finish, source
from test_migrate_outcomes import Move


def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def test_migrate_local_options(rig):
    """Kernel, disk, port and name are the destination's, the rest comes."""
    link, kernel, port = rig.path("link.img"), rig.path("kernel.elf"), rig.path("serial")
    os.symlink(rig.disk(), link)
    shutil.copy(rig.elf("dirty"), kernel)
    with source(rig, "--disk", "path=" + rig.path("disk.img"), words="mib=8 blk") as a, \
            destination(rig, "--kernel", kernel, "--disk", "id=disk0,path=" + link, "--serial",
                        "file=" + port) as b:
        wants(a.client(), 200, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "wait": True})
        check(a.ended() == 0, a.logged)
        before = size_of(port)
        b.until(lambda: size_of(port) > before + 3, "the guest stands still")
        client = b.client()
        config = wants(client, 200, "GET", "vm.info")["config"]
        check(config["name"] == b.name, config)
        check(config["payload"]["kernel"] == kernel, config)
        check(config["payload"]["cmdline"] == "mib=8 blk", config)
        check(config["disks"][0]["path"] == link and config["disks"][0]["id"] == "disk0", config)
        check(config["serial"] == {"mode": "File", "file": port}, config)
        with open(rig.path("disk.img.owner"), encoding="ascii") as f:
            check(json.load(f)["generation"] == 2, "not this disk")
        wants(client, 204, "PUT", "vm.delete")
        with open(port, encoding="ascii") as f:
            check("dirty:" not in f.read(), "the guest complains")


def test_migrate_older_version(rig):
    """From N by way of N-1 to N: what only N has is left out, and nothing is missed."""
    known = {}

    def older(payload):
        answer = json.loads(payload)
        known.update(answer["versions"])
        answer["versions"] = {name: max(1, newest - 1) for name, newest in known.items()}
        return json.dumps(answer).encode()

    with Move(rig, disk=True, change=older) as m:
        m.send()
        check(m.a.ended() == 0, m.a.logged)
        check({"clock", "pci", "vcpu"} <= {n for n, newest in known.items() if newest > 1}, known)
        m.b.beats()
        # The clock's version of before does not have what this is made of.
        came = wants(m.b.client(), 200, "GET", "vm.migration-progress")
        check("clock_step_ns" not in came, came)
        with Side(rig, "third", "--incoming", "tcp:127.0.0.1:0") as c:
            wants(m.b.client(), 200, "PUT", "vm.send-migration",
                  {"destination_url": c.url(), "wait": True})
            check(m.b.ended() == 0, m.b.logged)
            c.beats()
            came = wants(c.client(), 200, "GET", "vm.migration-progress")
            check("clock_step_ns" in came, came)
            finish(c)
