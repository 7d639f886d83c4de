# SPDX-License-Identifier: Apache-2.0
"""Snapshots: guests that check themselves go on from a directory, and damaged ones are refused."""
import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import time

from api_client import Connection, config, monitor, wants
from rig import LIMIT, Failed, Skipped, check, own_name
from test_migrate import source
from test_migrate_outcomes import small

FILES = {"config.json", "devices", "memory-ranges", "state.json"}
DIRTY = "mib=16 cpus=2 blk rate=200"


def godwit(rig, *arguments, status=0):
    """What the command says on standard error."""
    done = subprocess.run([rig.godwit, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=LIMIT, check=False)
    check(done.returncode == status, f"{arguments}: status {done.returncode}: {done.stderr}")
    return done.stderr


class Vm:
    """A VM with its serial port on a socket, from a kernel or from a snapshot."""

    def __init__(self, rig, verb, *arguments):
        path = rig.path(f"serial{time.monotonic_ns()}")
        self.process = subprocess.Popen([rig.godwit, verb, *arguments, "--serial",
                                         "socket=" + path],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.serial = socket.socket(socket.AF_UNIX)
        self.serial.settimeout(LIMIT)
        self.heard = b""
        deadline = time.monotonic() + LIMIT
        while True:
            with contextlib.suppress(OSError):
                self.serial.connect(path)
                break
            check(self.process.poll() is None, "it did not start")
            check(time.monotonic() < deadline, "no serial port")
            time.sleep(0.01)

    def hears(self, text):
        while text not in self.heard:
            piece = self.serial.recv(1 << 16)
            check(piece, f"the port ended after {self.heard[-200:]}")
            self.heard += piece
        self.heard = self.heard.partition(text)[2]

    def ends(self, status=0):
        check(self.process.wait(LIMIT) == status,
              f"status {self.process.returncode}: {self.process.stderr.read()}")
        self.serial.close()
        self.process.stderr.close()

    def looks_at_everything(self):
        """The guest of dirty.c checks its memory and disk a last time, and ends."""
        self.hears(b"." * 200)
        self.serial.sendall(b"q")
        self.hears(b" passes, ")
        self.ends()


@contextlib.contextmanager
def dirty(rig, append=DIRTY, memory="128M"):
    vm = Vm(rig, "run", "--name", own_name(), "--kernel", rig.elf("dirty"), "--cpus", "2", "--memory",
            memory, "--disk", "path=" + rig.disk(), "--append", append)
    try:
        vm.hears(b"dirty: running")
        yield vm
    finally:
        vm.process.kill()


@contextlib.contextmanager
def restored(rig, directory, *options):
    vm = Vm(rig, "restore", directory, *options)
    try:
        yield vm
    finally:
        vm.process.kill()


def test_snapshot(rig):
    """The guest goes on, and so do two more that are made from the snapshot, side by side."""
    directory = rig.path("made/by it")
    os.mkdir(rig.path("made"))
    with dirty(rig) as vm:
        godwit(rig, "snapshot", own_name(), directory)
        check(set(os.listdir(directory)) == FILES, os.listdir(directory))
        check(all(not os.stat(os.path.join(directory, f)).st_mode & 0o077 for f in FILES),
              "others may read it")
        memory = os.stat(os.path.join(directory, "memory-ranges"))
        check(memory.st_size == 128 << 20 and memory.st_blocks * 512 < 64 << 20, "no holes")
        said = godwit(rig, "snapshot", own_name(), directory, status=1)
        check("already" in said and "another directory" in said, said)
        copies = [rig.path(f"copy{i}") for i in range(2)]
        for copy in copies:
            shutil.copyfile(rig.path("disk.img"), copy)
        check("choose another --name" in godwit(rig, "restore", directory, status=1), "same name")
        vm.looks_at_everything()
    for _ in range(2):
        with restored(rig, directory, "--resume", "--disk", "id=disk0,path=" + copies[0]) as first:
            with restored(rig, directory, "--name", own_name() + "-2", "--resume", "--disk",
                          "id=disk0,path=" + copies[1]) as second:
                check(subprocess.run(["flock", "-n", "-x",
                                      os.path.join(directory, "memory-ranges"), "true"],
                                     check=False).returncode == 1, "the file is not locked")
                first.looks_at_everything()
                second.looks_at_everything()


def test_snapshot_stop(rig):
    """Put aside and taken up again, paused or not; the disk is known by its generation."""
    first, second = rig.path("first"), rig.path("second")
    with dirty(rig) as vm:
        godwit(rig, "snapshot", "--stop", own_name(), first)
        vm.ends()
    with restored(rig, first) as vm:
        check(not select.select([vm.serial], [], [], 0.2)[0], "it is not paused")
        # Not yet run: another snapshot is as good as the first.
        godwit(rig, "snapshot", "--stop", own_name(), second)
        vm.ends()
    for memory in ("shared", "prefault"):
        shutil.copytree(second, rig.path(memory))
        shutil.copyfile(rig.path("disk.img"), rig.path("copy"))
        with open(rig.path(memory + "/config.json"), "r+", encoding="ascii") as f:
            edited = json.load(f)
            edited["memory"][memory] = True
            f.seek(0)
            json.dump(edited, f)
            f.truncate()
        with restored(rig, rig.path(memory), "--name", own_name() + "-" + memory, "--resume",
                      "--disk", "id=disk0,path=" + rig.path("copy")) as vm:
            vm.looks_at_everything()
    with restored(rig, second) as vm:
        godwit(rig, "resume", own_name())
        vm.looks_at_everything()
    for directory in (first, second):
        said = godwit(rig, "restore", directory, status=1)
        check("disk0 was run since this snapshot was taken" in said and "--disk id=disk0" in said,
              said)
    with dirty(rig) as vm:
        godwit(rig, "snapshot", own_name(), rig.path("third"))
        vm.looks_at_everything()
    check("disk0 was run" in godwit(rig, "restore", rig.path("third"), status=1), "it went on")


def echo(rig, **more):
    return config(rig, disks=[{"path": rig.disk()}], name=own_name(),
                  serial={"mode": "Socket", "socket": rig.path("port")}, **more)


def echoes(rig, limit=LIMIT):
    with socket.socket(socket.AF_UNIX) as port:
        port.settimeout(limit)
        port.connect(rig.path("port"))
        heard = b""
        port.sendall(b"hello\n")
        while b"got hello" not in heard:
            piece = port.recv(4096)
            check(piece, f"the guest said {heard}")
            heard += piece


def wait_for(rig):
    """It does not hear what is said before it listens."""
    deadline = time.monotonic() + LIMIT
    while True:
        with contextlib.suppress(Failed, OSError):
            echoes(rig, 0.5)
            return
        check(time.monotonic() < deadline, "the guest does not answer")
        time.sleep(0.01)


def make_snapshot(rig, directory):
    with monitor(rig) as (_, client):
        wants(client, 204, "PUT", "vm.create", echo(rig))
        wants(client, 500, "PUT", "vm.snapshot", {"destination_url": directory})
        wants(client, 204, "PUT", "vm.boot")
        wait_for(rig)
        said = wants(client, 500, "PUT", "vm.snapshot", {"destination_url": directory})
        check("pause it first" in said[0] and not os.path.exists(directory), said)
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 500, "PUT", "vm.snapshot", {"destination_url": rig.path("no/such")})
        wants(client, 400, "PUT", "vm.snapshot", {"destination_url": "http://host/x"})
        wants(client, 204, "PUT", "vm.snapshot", {"destination_url": "file://" + directory})
        wants(client, 204, "PUT", "vmm.shutdown")


def test_snapshot_api(rig):
    """As clients of the API do it, and every step at the wrong time."""
    make_snapshot(rig, rig.path("d"))
    with monitor(rig) as (process, client):
        source = {"source_url": "file://" + rig.path("d"), "prefault": False}
        wants(client, 500, "PUT", "vm.restore", {**source, "source_url": rig.path("")})
        wants(client, 400, "PUT", "vm.restore", {**source, "net_fds": [{"id": "a", "num_fds": 1}]})
        wants(client, 404, "GET", "vm.info")
        wants(client, 204, "PUT", "vm.restore", source)
        check(wants(client, 200, "GET", "vm.info")["state"] == "Paused", "not paused")
        with open(f"/proc/{process.pid}/maps", encoding="ascii") as f:
            check(rig.path("d/memory-ranges") in f.read(), "the memory is not mapped")
        wants(client, 500, "PUT", "vm.restore", source)
        wants(client, 204, "PUT", "vm.resume")
        echoes(rig)
        events = [e["event"] for e in wants(client, 200, "GET", "events")["events"]]
        check(events[-5:] == ["restoring", "paused", "restored", "resuming", "resumed"] and
              "booted" not in events, events)
        wants(client, 204, "PUT", "vm.reboot")
        wait_for(rig)
        wants(client, 204, "PUT", "vm.delete")
        local = {"disks": [{"id": "disk0", "path": rig.path("disk.img")}], "name": own_name() + "-x"}
        for mode in ("Copy", "OnDemand"):
            wants(client, 204, "PUT", "vm.restore", {**source, "config": local, "resume": True,
                                                     "memory_restore_mode": mode})
            check(wants(client, 200, "GET", "vm.info")["config"]["name"] == own_name() + "-x", "name")
            echoes(rig)
            wants(client, 204, "PUT", "vm.delete")
        wants(client, 400, "PUT", "vm.restore", {**source, "config": {"disks": [{"id": "d9"}]}})
        wants(client, 400, "PUT", "vm.restore", {
            **source, "config": {"memory": {"shared": True}}, "memory_restore_mode": "OnDemand"})
        wants(client, 204, "PUT", "vmm.shutdown")


def test_snapshot_meanwhile(rig):
    """While memory is written the socket answers; what would change the VM waits."""
    append = "mib=16 fill=700"
    with monitor(rig) as (_, client):
        wants(client, 204, "PUT", "vm.create",
              config(rig, "dirty", serial={"mode": "Socket", "socket": rig.path("port")},
                     memory={"size": 1 << 30},
                     payload={"kernel": rig.elf("dirty"), "cmdline": append}))
        wants(client, 204, "PUT", "vm.boot")
        with socket.socket(socket.AF_UNIX) as port:
            port.connect(rig.path("port"))
            while b"." not in port.recv(4096):
                pass
        wants(client, 204, "PUT", "vm.pause")
        writer, waiter = Connection(rig.path("api.sock")), Connection(rig.path("api.sock"))
        body = json.dumps({"destination_url": rig.path("d")}).encode()
        writer.send(b"PUT /api/v1/vm.snapshot HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body),
                    body)
        looks = 0
        sent = False
        while not select.select([writer.socket], [], [], 0)[0]:
            info = wants(client, 200, "GET", "vm.info")
            if not select.select([writer.socket], [], [], 0)[0]:
                looks += info["state"] == "Paused"
                if not sent:
                    waiter.send(b"PUT /api/v1/vm.resume HTTP/1.1\r\n\r\n")
                    sent = True
        check(looks > 1, f"{looks} looks meanwhile")
        check(writer.answer()[0] == 204, "no snapshot")
        check(waiter.answer()[0] == 204, "not resumed")
        events = [e["event"] for e in wants(client, 200, "GET", "events")["events"]]
        check(events.index("snapshotted") < events.index("resuming"), events)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_snapshot_given_up(rig):
    """The process ends in the middle of it: nothing is left."""
    with dirty(rig, "mib=16 fill=700", "1G") as vm:
        godwit(rig, "pause", own_name())
        with subprocess.Popen([rig.godwit, "snapshot", own_name(), rig.path("d")],
                              stderr=subprocess.DEVNULL) as command:
            while not os.path.exists(rig.path("d/.memory-ranges.new")):
                check(command.poll() is None, "it was too fast")
            vm.process.terminate()
            vm.process.terminate()
            vm.process.wait(LIMIT)
            command.wait(LIMIT)
        check(not os.path.exists(rig.path("d")) or FILES == set(os.listdir(rig.path("d"))),
              "something is left")


def test_snapshot_disk_full(rig):
    """A small file system: nothing is left there, and the guest goes on."""
    os.mkdir(rig.path("small"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", rig.path("small")],
                      stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skipped("no file system can be mounted")
    try:
        with dirty(rig) as vm:
            said = godwit(rig, "snapshot", own_name(), rig.path("small/d"), status=1)
            check("No space left" in said, said)
            os.mkdir(rig.path("small/e"))
            godwit(rig, "snapshot", own_name(), rig.path("small/e"), status=1)
            check(os.listdir(rig.path("small")) == ["e"], os.listdir(rig.path("small")))
            check(not os.listdir(rig.path("small/e")), "something is left")
            vm.looks_at_everything()
    finally:
        subprocess.run(["umount", rig.path("small")], check=True)


def damages(directory):
    """(what, status or None for any) once for each damage, done to a copy that is then undone."""
    def of(name):
        return os.path.join(directory, name)

    def change(name, text):
        with open(of(name), "rb") as f:
            before = f.read()
        with open(of(name), "wb") as f:
            f.write(text(before))
        return before

    def flip(at):
        return lambda b: b[:at] + bytes([b[at] ^ 0x10]) + b[at + 1:]

    def edit(**more):
        return lambda b: json.dumps({**json.loads(b), **more}).encode()

    cases = [("devices", flip(i * 997), 500) for i in range(12)]
    cases += [("state.json", flip(i * 7), None) for i in range(40)]
    cases += [("config.json", flip(i * 41), None) for i in range(20)]
    cases += [(n, lambda b: b[:-1], 500) for n in ("devices", "memory-ranges", "state.json")]
    cases += [(n, lambda b: b"", 500) for n in FILES]
    cases += [(n, lambda b: b + b"x", 500) for n in FILES - {"config.json"}]
    cases += [("config.json", edit(memory={"size": 128 << 20}), 500),
              ("config.json", edit(memory={"size": 32 << 20}), 500),
              ("config.json", edit(cpus={"boot_vcpus": 2}), 500),
              ("config.json", edit(disks=[]), 400),
              ("config.json", edit(name="../x"), 400),
              ("state.json", edit(format=2), 500),
              ("state.json", edit(regions=[{"base": 0, "bytes": 32 << 20, "offset": 0}]), 500)]
    for name, text, status in cases:
        before = change(name, text)
        yield name, status
        with open(of(name), "wb") as f:
            f.write(before)
    for name in FILES:
        os.rename(of(name), of("away"))
        yield "without " + name, 500
        os.mkfifo(of(name))
        yield name + " as a FIFO", 500
        os.unlink(of(name))
        os.rename(of("away"), of(name))


def test_snapshot_damaged(rig):
    """Every file in every way: refused as a whole, and the monitor goes on."""
    make_snapshot(rig, rig.path("d"))
    request = {"source_url": rig.path("d"), "config": {
        "disks": [{"id": "disk0", "path": rig.path("disk.img")}]}}
    with monitor(rig) as (_, client):
        for what, status in damages(rig.path("d")):
            got, said = client.ask("PUT", "vm.restore", request)
            check(got == status or (not status and got in (204, 400, 500)),
                  f"{what}: {got} {said}")
            if got == 204:
                wants(client, 204, "PUT", "vm.delete")
            wants(client, 404, "GET", "vm.info")
        with open(rig.path("d/memory-ranges"), "r+b") as f:
            f.seek(0x100000)
            byte = f.read(1)[0]
            f.seek(0x100000)
            f.write(bytes([byte ^ 1]))
            f.flush()
            said = wants(client, 500, "PUT", "vm.restore",
                         {**request, "memory_restore_mode": "Copy"})
            check("checksum" in said[0], said)
            f.seek(0x100000)
            f.write(bytes([byte]))
        wants(client, 204, "PUT", "vm.restore",
              {**request, "memory_restore_mode": "Copy", "resume": True})
        echoes(rig)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_snapshot_goes_on(rig):
    """A guest that was paused for it goes on: also without room, or without who asked for it."""
    with source(rig) as vm, small(rig.path("small")):
        client = vm.client()
        said = wants(client, 500, "PUT", "vm.snapshot",
                     {"destination_url": rig.path("small/all"), "pause": True})
        check("No space left" in said[0], said)
        vm.beats()
        body = json.dumps({"destination_url": rig.path("alone"), "pause": True}).encode()
        client.send(b"PUT /api/v1/vm.snapshot HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body), body)
        client.close()
        vm.until(lambda: os.path.exists(rig.path("alone/state.json")), "no snapshot")
        vm.beats()
        client = vm.client()
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.snapshot",
              {"destination_url": rig.path("paused"), "pause": True})
        check(wants(client, 200, "GET", "vm.info")["state"] == "Paused", "it goes on")
        wants(client, 204, "PUT", "vm.delete")
