# SPDX-License-Identifier: Apache-2.0
"""Disks that the host cannot read or write: the guest is told, or the VM pauses until they are
repaired, here, in a snapshot or elsewhere."""
import contextlib
import os
import resource
import shutil
import signal
import subprocess

from api_client import wants
from rig import LIMIT, Skipped, check
from test_migrate import Side, destination

MIB = 1 << 20
BLOCK = 4096
PAGE = 8  # blocks that the guest writes at once
ROOM = 32  # blocks for which the host has room at first
ENODATA, ENOSPC, EFBIG, EIO = 61, 28, 27, 5


class Ledger(Side):
    """The guest of ledger.c."""

    def __init__(self, rig, disk, *options, name="ledger", **popen):
        super().__init__(rig, name, "--kernel", rig.elf("ledger"), "--memory", "32M", "--serial",
                         "tty", "--disk", disk, *options, **popen)
        self.at = 0
        self.api = self.client()
        self.hears("ledger: running")

    def types(self, letter):
        self.process.stdin.write(letter.encode())
        self.process.stdin.flush()

    def hears(self, text):
        self.until(lambda: text in self.said[self.at:], f"does not say {text}")
        self.at = self.said.index(text, self.at) + len(text)

    def keeps(self, count):
        """It writes until the disk has promised so many blocks, one page after another."""
        for number in range(PAGE, count + 1, PAGE):
            self.types("w")
            self.hears(f"ledger: kept {number}\n")

    def fills(self):
        """It writes until the disk refuses; returns how many blocks were promised till then."""
        kept = 0
        while kept < MIB // BLOCK:
            self.types("w")
            wanted = f"ledger: kept {kept + PAGE}\n"
            self.until(lambda: wanted in self.said or self.failures(1) or  # pylint: disable=W0640
                       "ledger: failed" in self.said, "says nothing")
            if wanted not in self.said:
                break
            kept += PAGE
        check(0 < kept < MIB // BLOCK, f"kept {kept}")
        self.at = len(self.said) if self.failures(1) else self.said.index("ledger: failed")
        return kept

    def events(self):
        return [(e["event"], e["properties"]) for e in
                wants(self.api, 200, "GET", "events")["events"] if e["source"] == "vm"]

    def fails(self, number, operation, times=1):
        """The VM pauses for that, and says so everywhere."""
        failures = self.until(lambda: self.failures(times), "no error is told")
        self.until(lambda: self.events()[-1][0] == "paused", "it does not pause")
        check(failures[-1]["id"] == "disk0" and failures[-1]["errno"] == number and
              failures[-1]["operation"] == operation, failures)
        info = wants(self.api, 200, "GET", "vm.info")
        check(info["state"] == "Paused" and info["io_error"] == failures[-1], info)
        self.logs("the VM pauses", times)
        check(self.logged.count("the VM pauses") == times, self.logged)

    def failures(self, times):
        found = [p for event, p in self.events() if event == "io-error"]
        return found if len(found) == times else None

    def goes_on(self):
        wants(self.api, 204, "PUT", "vm.resume")

    def is_well(self):
        """All that was ever promised is there."""
        info = wants(self.api, 200, "GET", "vm.info")
        check("io_error" not in info, info)
        self.types("c")
        self.hears("ledger: checked ")
        self.types("q")
        self.hears("ledger: ok")
        check(self.ended() == 0, self.logged)


def kept_in(path, count):
    with open(path, "rb") as f:
        for number in range(count):
            check(f.read(BLOCK) == (number + 1).to_bytes(8, "little") * (BLOCK // 8),
                  f"block {number} is not what was promised")


def shell(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=LIMIT,
                          check=False)
    check(done.returncode == 0, f"{command}: {done.stderr}")


@contextlib.contextmanager
def full_host(rig):
    """A file system of the host's with room for ROOM blocks; what makes room.  Whole pages of the
    guest's: Linux's loop device takes a write that is done in part for one that is done."""
    path = rig.path("small")
    os.mkdir(path)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM * BLOCK}", "small",
                       path], capture_output=True, check=False).returncode:
        raise Skipped("only root mounts a file system")
    try:
        with open(path + "/disk.img", "wb") as f:
            f.truncate(MIB)
        yield path + "/disk.img", lambda: shell(f"mount -o remount,size=4M {path}")
    finally:
        subprocess.run(["umount", "-l", path], check=False)


def test_disk_full(rig):
    """No space is left on the host: the VM pauses, and goes on when there is."""
    with full_host(rig) as (path, make_room), \
         Ledger(rig, "path=" + path, "--on-io-error", "pause") as vm:
        kept = vm.fills()
        vm.fails(ENOSPC, "write")
        check("kept" not in vm.said[vm.at:] and "failed" not in vm.said, vm.said)
        vm.goes_on()  # in vain
        vm.fails(ENOSPC, "write", 2)
        make_room()
        vm.goes_on()
        vm.hears(f"ledger: kept {kept + PAGE}\n")
        check([e for e, _ in vm.events()][-3:] == ["paused", "resuming", "resumed"], vm.events())
        kept_in(path, kept + PAGE)
        vm.is_well()


def test_disk_full_reported(rig):
    """Or the guest is told, and may do it again."""
    with full_host(rig) as (path, make_room), Ledger(rig, "path=" + path) as vm:
        kept = vm.fills()
        check(wants(vm.api, 200, "GET", "vm.info")["state"] == "Running", "paused")
        check(not vm.failures(1), vm.events())
        vm.logs("the guest was told")
        make_room()
        vm.types("w")
        vm.hears(f"ledger: kept {kept + PAGE}\n")
        vm.is_well()


@contextlib.contextmanager
def thin_device(path):
    """A block device that finds out when it writes that there is no room."""
    done = subprocess.run(["losetup", "--show", "-f", path], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise Skipped("no loop device")
    try:
        yield done.stdout.strip()
    finally:
        subprocess.run(["losetup", "-d", done.stdout.strip()], check=False)


def test_disk_flush_fails(rig):
    """What the host's page cache lost is not promised by a later flush, room or not."""
    with full_host(rig) as (path, make_room), thin_device(path) as device, \
         Ledger(rig, "path=" + device, "--on-io-error", "pause") as vm:
        kept = vm.fills()
        vm.fails(EIO, "flush")
        vm.logs("may be lost")
        make_room()
        vm.goes_on()
        vm.hears("ledger: failed 1 of ")
        vm.types("w")
        vm.hears("ledger: failed 1 of ")
        check(vm.logged.count("may be lost") == 1, vm.logged)
        vm.is_well()
        kept_in(path, kept)


def test_disk_full_direct(rig):
    """With direct=on it is the write that fails, and can be done again."""
    with full_host(rig) as (path, make_room), thin_device(path) as device, \
         Ledger(rig, f"path={device},direct=on", "--on-io-error", "pause") as vm:
        kept = vm.fills()
        vm.fails(ENOSPC, "write")
        make_room()
        vm.goes_on()
        vm.hears(f"ledger: kept {kept + PAGE}\n")
        vm.is_well()
        kept_in(path, kept + PAGE)


def limit(vm, blocks):
    """No file of that process may become longer than that."""
    resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE,
                     (blocks * BLOCK if blocks else resource.RLIM_INFINITY,
                      resource.RLIM_INFINITY))


def ignore():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def waiting(rig, *options, disk=None):
    """A VM that pauses as its process may not write so much."""
    vm = Ledger(rig, disk or "path=" + rig.disk(1), "--on-io-error", "pause", *options,
                preexec_fn=ignore)
    vm.keeps(ROOM)
    limit(vm, ROOM + 1)
    vm.types("w")
    vm.fails(EFBIG, "write")
    return vm


def test_disk_error_migrates(rig):
    """What waits goes along, and is done at the destination when the guest goes on there."""
    for direct in ("", ",direct=on"):
        with waiting(rig, disk="path=" + rig.disk(1) + direct) as a, destination(rig) as b:
            wants(a.api, 204, "PUT", "vm.send-migration", {"destination_url": b.url()})
            check(a.ended() == 0, a.logged)
            b.until(lambda: wants(b.client(), 200, "GET", "vm.info")["state"] == "Paused", "state")
            check("io_error" not in wants(b.client(), 200, "GET", "vm.info"), "its error came, too")
            check(not b.said, b.said)
            wants(b.client(), 204, "PUT", "vm.resume")
            b.until(lambda: f"kept {ROOM + PAGE}\n" in b.said, "it does not go on")
            kept_in(rig.path("disk.img"), ROOM + PAGE)
            b.process.stdin.write(b"cq")
            b.process.stdin.flush()
            check(b.ended() == 0, b.logged)
            check(f"checked {ROOM + PAGE}\n" in b.said and "ledger: ok" in b.said, b.said)


def test_disk_error_fails_migration(rig):
    """A disk that fails while its VM moves: it stays, and pauses."""
    with Ledger(rig, "path=" + rig.disk(1), "--on-io-error", "pause", preexec_fn=ignore) as a, \
         destination(rig) as b:
        a.keeps(ROOM)
        limit(a, ROOM + 1)
        wants(a.api, 204, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "bandwidth_limit": 1 << 16, "compress": "none"})
        a.types("w")
        a.fails(EFBIG, "write")
        wants(a.api, 204, "PUT", "vm.set-migration-parameters", {"bandwidth_limit": 0})
        a.until(lambda: "Failed" in str(wants(a.api, 200, "GET",
                                              "vm.migration-progress")["state"]), "goes on")
        check("disk0 failed meanwhile (File too large)" in
              str(wants(a.api, 200, "GET", "vm.migration-progress")), "does not say why")
        check(b.ended() == 1, b.logged)
        limit(a, 0)
        a.goes_on()
        a.hears(f"ledger: kept {ROOM + PAGE}\n")
        a.is_well()


def test_disk_error_snapshot(rig):
    """What waits is in a snapshot: it is done by the VM that goes on, and by one that is made from
    it."""
    directory, copy = rig.path("snapshot"), rig.path("copy.img")
    with full_host(rig) as (path, make_room), \
         Ledger(rig, "path=" + path, "--on-io-error", "pause") as vm:
        kept = vm.fills()
        vm.fails(ENOSPC, "write")
        wants(vm.api, 204, "PUT", "vm.snapshot", {"destination_url": "file://" + directory})
        shutil.copyfile(path, copy)
        dump = subprocess.run([rig.godwit, "dump", directory], capture_output=True, text=True,
                              timeout=LIMIT, check=True).stdout
        check("virtio-blk-parked" in dump, dump[:2000])
        make_room()
        vm.goes_on()
        vm.hears(f"ledger: kept {kept + PAGE}\n")
        vm.is_well()
    with subprocess.Popen([rig.godwit, "restore", directory, "--serial", "tty", "--resume",
                           "--disk", "id=disk0,path=" + copy],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as restored:
        said, _ = restored.communicate("cq", timeout=LIMIT)
        check(restored.returncode == 0, said)
    check(f"kept {kept + PAGE}\n" in said and f"checked {kept + PAGE}\n" in said, said)
    kept_in(copy, kept + PAGE)


def test_disk_error_reset(rig):
    """A reset forgets what waits."""
    with waiting(rig) as vm:
        wants(vm.api, 204, "PUT", "vm.reboot")
        vm.until(lambda: "io_error" not in wants(vm.api, 200, "GET", "vm.info"), "it is told")
        check(wants(vm.api, 200, "GET", "vm.info")["state"] == "Paused", "it goes on")
        vm.goes_on()
        vm.hears("ledger: running")
        vm.keeps(ROOM)
        vm.is_well()


def test_disk_cut_short(rig):
    """Somebody makes the file shorter: reads fail, or wait until it is whole again."""
    path, copy = rig.disk(1), rig.path("copy.img")
    for direct in ("", ",direct=on"):
        with Ledger(rig, "path=" + path + direct) as vm:
            vm.keeps(ROOM)
            shutil.copyfile(path, copy)
            os.truncate(path, 4 * BLOCK + 100)
            vm.types("c")
            vm.hears(f"ledger: {ROOM - 4} blocks cannot be read\n")
            vm.logs("No data available; the guest was told")
            put_back(copy, path)
            vm.is_well()
        with Ledger(rig, "path=" + path + direct, "--on-io-error", "pause") as vm:
            vm.keeps(ROOM)
            os.truncate(path, 4 * BLOCK)
            vm.types("c")
            vm.fails(ENODATA, "read")
            put_back(copy, path)
            vm.goes_on()
            vm.hears(f"ledger: checked {ROOM}\n")
            vm.is_well()


def put_back(copy, path):
    """Into the same file."""
    with open(copy, "rb") as source, open(path, "r+b") as target:
        shutil.copyfileobj(source, target)
