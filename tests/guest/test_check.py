# SPDX-License-Identifier: Apache-2.0
"""What is looked at before a VM moves: both hosts, the connection, the guest."""
import contextlib
import json
import os
import socket
import struct
import subprocess
import time

from api_client import Connection, wants
from framing import section
from rig import LIMIT, check
from test_migrate import Side, destination, finish, source
from test_migrate_tls import certificates

MAGIC = b"godwitVM" + struct.pack("<II", 1, 0)
SECTION_HELLO = 48


def take(peer, size):
    data = b""
    while len(data) < size:
        piece = peer.recv(size - len(data))
        check(piece, "the connection ended")
        data += piece
    return data


def take_hello(peer):
    kind, _, size = struct.unpack("<IIQ", take(peer, 16))
    check(kind == SECTION_HELLO, kind)
    return json.loads(take(peer, size))


def overheard(side):
    """The first words of a source, which finds nobody behind them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wants(side.client(), 204, "PUT", "vm.send-migration",
              {"destination_url": f"tcp:127.0.0.1:{listener.getsockname()[1]}"})
        peer, _ = listener.accept()
        with contextlib.closing(peer):
            peer.settimeout(LIMIT)
            check(take(peer, 16) == MAGIC, "no magic")
            hello = take_hello(peer)
            peer.sendall(section(SECTION_HELLO, b'{"refused": "it is a test"}'))
    side.until(lambda: "Failed" in wants(side.client(), 200, "GET", "vm.migration-progress")["state"],
               "goes on")
    return hello


def says(url, hello):
    """What a destination answers to these words."""
    host, port = url.removeprefix("tcp:").rsplit(":", 1)
    with socket.create_connection((host, int(port)), LIMIT) as peer:
        peer.sendall(MAGIC + section(SECTION_HELLO, json.dumps(hello).encode()))
        return take_hello(peer)


def checked(rig, side, url, *options, status):
    done = subprocess.run([rig.godwit, "migrate", "--check", *options, side.name, url],
                          capture_output=True, text=True, timeout=LIMIT, check=False)
    check(done.returncode == status, f"status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def test_check(rig):
    """The guest runs on, the destination waits on, and then the guest moves there."""
    with source(rig, "--disk", "path=" + rig.disk()) as a, destination(rig) as b:
        url = b.url()
        said = checked(rig, a, url, status=0)
        check(f"would move to {url}" in said and "in about" in said, said)
        check("the guest writes" in said and "the connection carries" in said, said)
        answer = json.loads(checked(rig, a, url, "--json", status=0))
        check(answer["migratable"] and not answer["blockers"] and answer["total_us"], answer)
        check(answer["memory_dirty_bps"] and answer["memory_transmission_bps"], answer)
        check(answer["blackout_us"] <= 50000, answer)
        info = wants(a.client(), 200, "GET", "vm.info")
        check(info["state"] == "Running" and info["migratable"], info)
        check(not info["migration_blockers"], info)
        a.beats()
        said = checked(rig, a, url, "--bandwidth", "16k", status=1)
        check("would not move" in said and "will not converge because the guest writes" in said,
              said)
        wants(a.client(), 200, "PUT", "vm.send-migration", {"destination_url": url, "wait": True})
        check(a.ended() == 0, a.logged)
        finish(b)


def test_check_sentences(rig):
    done = subprocess.run([rig.godwit, "migrate", "--check", "--max-blackout", "soon", "a", "b"],
                          capture_output=True, text=True, timeout=LIMIT, check=False)
    check(done.returncode == 2 and "--max-blackout" in done.stderr, done.stderr)
    with source(rig) as a:
        wants(a.client(), 400, "PUT", "vm.check-migration", {"destination_url": 1})
        wants(a.client(), 500, "PUT", "vm.check-migration", {"destination_url": "tcp:127.0.0.1:1"})
        finish(a)


def test_check_tls(rig):
    """With certificates, or not at all."""
    good = certificates(rig)("good")
    with source(rig) as a, destination(rig, "--tls", good) as b:
        said = checked(rig, a, b.url(), "--tls", good, status=0)
        check(f"would move to {b.url()}" in said, said)
        done = subprocess.run([rig.godwit, "migrate", "--check", a.name, b.url()],
                              capture_output=True, text=True, timeout=LIMIT, check=False)
        check(done.returncode == 1 and "TLS is wanted here" in done.stderr, done.stderr)
        wants(a.client(), 200, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "tls_dir": good, "wait": True})
        check(a.ended() == 0, a.logged)
        finish(b)


def begins(rig, b, hello):
    """Refused, and nothing was written of it; the other side ends."""
    answer = says(b.url(), hello | {"role": "begin"})
    check(b.ended() == 1 and answer["refused"] in b.logged, b.logged)
    check(not [name for name in os.listdir(rig.path("there")) if name.endswith(".json")]
          if os.path.exists(rig.path("there")) else True, "a journal")
    return answer["refused"]


def test_check_identity(rig):
    """Nobody writes under the name of another VM than the one that comes."""
    with source(rig) as a:
        hello = overheard(a)
        lie = hello | {"vm": "6ba7b810-9dad-41d1-80b4-00c04fd430c8"}
        with destination(rig, state="there") as b:
            found = says(b.url(), lie | {"role": "check"})["blockers"]
            check(len(found) == 1 and "another uuid" in found[0], found)
            check("another uuid" in begins(rig, b, lie), b.logged)
        finish(a)


def test_check_versions(rig):
    """A state that one side writes and the other does not read is named, before anything moves."""
    with source(rig) as a:
        hello = overheard(a)
        check(hello["records"]["uart"] == [1, 1], hello["records"])
        hello["records"]["uart"] = [99, 99]
        with destination(rig, state="there") as b:
            check(begins(rig, b, hello) == 'destination knows "uart" up to version 1, and the VM '
                  "needs version 99; update godwit there", b.logged)
        finish(a)


def test_check_needs(rig):
    """A feature that no host has, and more that is missing, in one answer."""
    with source(rig, "--disk", "path=" + rig.disk()) as a, destination(rig) as b:
        hello = overheard(a)
        for entry in hello["needs"]["cpuid"]:
            if entry[0] == 7 and entry[1] == 0:
                entry[6] |= 1 << 2  # avx512_4vnniw, of a processor that was never sold to many
        hello["config"]["payload"]["kernel"] = rig.path("no-kernel")
        hello["role"] = "check"
        check(len(says(b.url(), hello)["blockers"]) >= 2, "too few")
        silent = {key: value for key, value in hello.items() if key != "needs"}
        check("the source does not say what its guest needs" in
              says(b.url(), silent)["blockers"], "taken for what this host is")
        hello["role"] = "begin"
        answer = says(b.url(), hello)
        for word in "destination lacks avx512_4vnniw", "no-kernel", "; ":
            check(word in answer["refused"], answer)
        check(len(answer["blockers"]) >= 2, answer)
        check(b.ended() == 1 and "avx512_4vnniw" in b.logged, b.logged)
        a.beats()
        finish(a)


def test_check_destination(rig):
    """What is not there is named, and given it is all right."""
    disk, kernel = rig.disk(), rig.path("kernel.elf")
    small, other = rig.disk(32, "small.img"), rig.disk(name="other.img")
    with open(rig.elf("dirty"), "rb") as f, open(kernel, "wb") as copy:
        copy.write(f.read())
    with Side(rig, "source", "--kernel", kernel, "--memory", "128M", "--serial", "tty",
              "--append", "mib=8", "--disk", "path=" + disk) as a:
        a.until(lambda: "running" in a.said, "the guest does not run")
        def blockers(*options):
            with destination(rig, *options) as b:
                found = wants(a.client(), 200, "PUT", "vm.check-migration",
                              {"destination_url": b.url()})["blockers"]
            return found

        check(not blockers(), "something is in the way")
        os.rename(kernel, kernel + ".new")
        found = blockers()
        check(len(found) == 1 and kernel in found[0] and "--kernel" in found[0], found)
        there = "--kernel", kernel + ".new"
        check(not blockers(*there), "something is in the way of another kernel")
        for options, words in (
                (("--disk", "id=disk0,path=" + rig.path("no.img")), ("no.img", "--disk")),
                (("--disk", "id=disk0,path=" + small), ("disk0", "small.img", "bytes", "--disk")),
                (("--disk", "id=disk0,path=" + other), ("other.img is not the disk of this VM",))):
            found = blockers(*there, *options)
            check(len(found) == 1 and all(word in found[0] for word in words), found)
        finish(a)


def shut_down(path, process):
    """Once it answers there; a process that has ended needs none of it."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            wants(Connection(path), 204, "PUT", "vmm.shutdown")
            return
        time.sleep(0.01)


def test_check_stays(rig):
    """What keeps a VM on its host is known without another one, and refused before it is asked."""
    disk = rig.disk()
    os.mkdir(disk + ".owner.new")
    with source(rig, "--disk", "path=" + disk) as a, destination(rig) as b:
        info = wants(a.client(), 200, "GET", "vm.info")
        check(not info["migratable"] and len(info["migration_blockers"]) == 1, info)
        check("disk0 has no owner record" in info["migration_blockers"][0], info)
        said = checked(rig, a, b.url(), status=1)
        check("would not move" in said and info["migration_blockers"][0] in said, said)
        said = wants(a.client(), 500, "PUT", "vm.send-migration", {"destination_url": b.url()})
        check(said[0] == info["migration_blockers"][0], said)
        check(b.process.poll() is None, b.logged)
        finish(a)


def test_check_memory(rig):
    """A VM that is larger than what is free there; none of it is taken to find that out."""
    with source(rig) as a, destination(rig) as b:
        hello = overheard(a)
        hello["needs"]["memory_bytes"] = 1 << 45
        hello["config"]["memory"]["prefault"] = True
        found = says(b.url(), hello | {"role": "check"})["blockers"]
        check("of memory free, the VM needs 33554432" in found[0], found)
        hello["config"]["memory"]["size"] = 1 << 30
        found = says(b.url(), hello | {"role": "begin"})["blockers"]
        check(len(found) == 1 and "of memory free" in found[0], found)
        _, status, used = os.wait4(b.process.pid, 0)
        b.process.returncode = os.waitstatus_to_exitcode(status)
        check(b.ended() == 1 and used.ru_maxrss < 512 << 10, f"it took {used.ru_maxrss} KiB")
        finish(a)


def test_check_tap(rig):
    """One that somebody has to make is missed, also by who could make it."""
    with source(rig) as a, destination(rig) as b:
        hello = overheard(a)
        hello["config"]["net"] = [{"id": "net0", "tap": "nonesuch7"}]
        found = says(b.url(), hello | {"role": "check"})["blockers"]
        check("there is no tap nonesuch7 on this host" in found[0], found)
        finish(a)


def test_check_restore(rig):
    """A snapshot of a guest that could not go on here is refused; an old one says nothing."""
    folder = rig.path("snapshot")
    with source(rig) as a:
        client = a.client()
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.snapshot", {"destination_url": folder})
        wants(client, 204, "PUT", "vm.delete")
    path = os.path.join(folder, "state.json")
    with open(path, encoding="ascii") as f:
        state = json.load(f)

    def restored(change, status):
        changed = json.loads(json.dumps(state))
        change(changed)
        with open(path, "w", encoding="ascii") as f:
            json.dump(changed, f)
        command = [rig.godwit, "restore", folder, "--name", f"restored-{os.getpid()}", "--serial",
                   "null", "--api-socket", rig.path("restored.sock")]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True) as p:
            if not status:
                shut_down(rig.path("restored.sock"), p)
            said = p.communicate(timeout=LIMIT)[1]
            check(p.returncode == status, f"status {p.returncode}: {said}")
            return said

    def lacking(changed):
        changed["needs"]["vcpus"] = 100000

    said = restored(lacking, 1)
    check("vCPUs" in said, said)
    restored(lambda changed: changed.pop("needs"), 0)
    restored(lambda changed: None, 0)
