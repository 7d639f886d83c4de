# SPDX-License-Identifier: Apache-2.0
"""How much memory a VM has, as one number."""
import os
import shutil

from api_client import wants
from rig import check, own_name
from test_balloon import MIB, Guest, ballooned, events
from test_migrate import Side
from test_snapshot import Vm, dirty, godwit, restored


def memory(guest):
    return wants(guest.client, 200, "GET", "vm.info")["memory"]


def resize(guest, mib, status=204, **more):
    return wants(guest.client, status, "PUT", "vm.resize", {"desired_ram": mib * MIB, **more})


def has(guest, mib):
    guest.side.until(lambda: memory(guest).get("given") == mib * MIB, f"not {mib} MiB")
    now = memory(guest)
    check(now["asked"] == mib * MIB and "why" not in now and now["resident"] > MIB, now)


def test_memory(rig):
    """Without statistics: those of this guest say each time that one more was killed for want of
    memory, and the dial would go back."""
    with ballooned(rig, "size=0", words="nostats") as side:
        guest = Guest(side)
        guest.says("balloon: 0 pages")
        has(guest, 128)
        resize(guest, 100)
        guest.says("balloon: 7168 pages")
        has(guest, 100)
        config = wants(guest.client, 200, "GET", "vm.info")["config"]
        check(config["balloon"]["size"] == 28 * MIB, config)
        check("up to 128 MiB" in str(resize(guest, 129, 500)), "no sentence")
        resize(guest, 0, 400)
        resize(guest, 120, 400, desired_balloon=MIB)
        has(guest, 100)
        guest.told("b", "balloon: 7168 pages")
        has(guest, 100)
        resize(guest, 128)
        has(guest, 128)
        check([e["target"] for e in events(guest, "target")] == [28 * MIB, 0],
              events(guest, "target"))
        guest.quit()


def test_memory_of_no_balloon(rig):
    with Side(rig, "source", "--kernel", rig.elf("echo"), "--memory", "64M,hotplug_size=64M",
              "--serial", "tty") as side:
        guest = Guest(side)
        check("--balloon" in str(resize(guest, 32, 404)), "no sentence")
        resize(guest, 96)
        now = memory(guest)
        check((now["asked"], now["given"]) == (96 * MIB, 64 * MIB), now)
        check("no driver" in now["why"], now)
        config = wants(guest.client, 200, "GET", "vm.info")["config"]["memory"]
        check(config["hotplugged_size"] == 32 * MIB, config)


def test_memory_verb(rig):
    vm = Vm(rig, "run", "--name", own_name(), "--kernel", rig.elf("echo"), "--memory",
            "64M,hotplug_size=64M")
    try:
        said = godwit(rig, "resize", own_name(), "--memory", "96M", "--deadline", "200ms", status=1)
        check("no driver" in said and "goes on" in said, said)
        godwit(rig, "resize", own_name(), "--memory", "64M")
        check("such as 50ms" in godwit(rig, "resize", own_name(), "--memory", "64M", "--deadline",
                                       "soon", status=2), "no sentence")
        check("must be a number" in godwit(rig, "resize", own_name(), "--memory", "much", status=2),
              "no sentence")
        check("to what size" in godwit(rig, "resize", own_name(), status=2), "no sentence")
    finally:
        vm.process.kill()
        vm.process.wait()


def test_memory_snapshot(rig):
    """What nobody has plugged takes no room, and is asked for where the VM goes on."""
    directory, copy = rig.path("made"), rig.path("copy")
    with dirty(rig, memory="128M,hotplug_size=1G,hotplugged_size=512M") as vm:
        godwit(rig, "snapshot", own_name(), directory)
        size = os.stat(os.path.join(directory, "memory-ranges"))
        check(size.st_size == 1152 * MIB and size.st_blocks * 512 < 64 * MIB, size)
        shutil.copyfile(rig.path("disk.img"), copy)
        vm.looks_at_everything()
    with restored(rig, directory, "--resume", "--disk", "id=disk0,path=" + copy) as vm:
        vm.hears(b"....")
        check("no driver" in godwit(rig, "resize", own_name(), "--memory", "256M", "--deadline",
                                    "200ms", status=1), "no sentence")
        vm.looks_at_everything()
