# SPDX-License-Identifier: Apache-2.0
"""Clients of the control API that nobody here wrote, each from the start of the monitor to its end,
and the traps that lie between them."""
import contextlib
import fcntl
import os
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import threading
import time

from clients import (ChRemote, EventReader, KataGo, Libvirt, chain, check_strictly,
                     cloud_hypervisor, refused, vcpu_threads)
from rig import LIMIT, Skipped, check

MIB = 1 << 20
TUNSETIFF = 0x400454ca
TAP_FLAGS = 0x2 | 0x100 | 0x1000 | 0x4000  # tap, multi_queue, no_pi, vnet_hdr


def config(rig, program="echo", **more):
    return {"payload": {"kernel": rig.elf(program)}, "memory": {"size": 64 * MIB},
            "serial": {"mode": "Null"}, "console": {"mode": "Off"}, **more}


def test_client_version(rig):
    """Clients run it first, and cut its text at the last slash."""
    with cloud_hypervisor(rig, "--version", stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "LC_ALL": "C"}) as process:
        said = process.stdout.read()
    check(re.fullmatch(r"cloud-hypervisor v\d+\.\d+\.\d+\n", said), said)
    check(int(said.split("v")[-1].split(".")[0]) >= 40, "too old for what it can do")
    path = rig.path("api.sock")
    with cloud_hypervisor(rig, "--api-socket", path) as process:
        ping = ChRemote(path).get("vmm.ping")
        check(said == f"cloud-hypervisor {ping['build_version']}\n", ping)
        check(ping["build_version"] == "v" + ping["version"], ping)
        process.send_signal(signal.SIGTERM)
    check(not os.path.exists(path), "the socket is left")


def test_client_command_line(rig):
    """A sentence for what it does not take."""
    def said(*options):
        done = subprocess.run([name, *options], capture_output=True, text=True, timeout=LIMIT,
                              check=False)
        check(done.returncode == 2 and not done.stdout, f"{options}: status {done.returncode}")
        check(len(done.stderr.splitlines()) == 1, done.stderr)
        return done.stderr

    name = rig.path("cloud-hypervisor")
    os.symlink(rig.godwit, name)
    check('unknown option "--kernel"' in said("--kernel", "k"), "--kernel")
    check('unknown option "-vx"' in said("-vx"), "-vx")
    check("--seccomp must be true, false or log" in said("--seccomp", "off"), "--seccomp off")
    check("--api-socket needs a value" in said("-v", "--api-socket"), "--api-socket")
    check("--api-socket is given twice" in said("--api-socket=a", "--api-socket", "b"), "twice")
    check("no control socket is given" in said("--seccomp", "log"), "nothing to do")


def test_client_ch_remote(rig):
    """Every command that it has for what this version does, and those that it does not do."""
    path = rig.path("api.sock")
    remote = ChRemote(path)
    with cloud_hypervisor(rig, "--api-socket", "path=" + path, "-vv"):
        ping = remote.get("vmm.ping")
        check({"hotplug-disk", "hotplug-net", "resize-disk", "set-rate-limit", "events", "metrics"}
              <= set(ping["features"]), ping)
        said = chain(refused(404, remote.put, "vm.boot"))
        check(said == "0: no VM was created; vm.create makes one", said)
        remote.put("vm.create", config(rig, "hotplug"))
        check(remote.put("vm.add-net", {"backend": "Passt", "id": "n"}) is None, "not cold")
        remote.put("vm.remove-device", {"id": "n"})
        remote.put("vm.boot")
        check(remote.get("vm.info")["state"] == "Running", "not running")
        place = remote.put("vm.add-disk", {"path": rig.disk(), "id": "d"})
        check(place["id"] == "d", place)
        check(set(remote.get("vm.counters")["d"]) >= {"read_bytes", "write_ops"}, "no counters")
        remote.put("vm.resize-disk", {"id": "d", "desired_size": 80 * MIB})
        check(os.stat(rig.path("disk.img")).st_size == 80 * MIB, "not resized")
        refused(409, remote.put, "vm.add-disk", {"path": rig.path("disk.img"), "id": "d"})
        remote.put("vm.remove-device", {"id": "d"})
        refused(404, remote.put, "vm.remove-device", {"id": "d"})
        remote.put("vm.pause")
        check(remote.get("vm.info")["state"] == "Paused", "not paused")
        refused(500, remote.put, "vm.pause")
        remote.put("vm.resume")
        for name in ("vm.reboot", "vm.pause", "vm.nmi", "vm.power-button", "vm.shutdown"):
            remote.put(name)
        check(remote.get("vm.info")["state"] == "Created", "not as created")
        remote.put("vm.boot")
        for name, body in (("vm.resize-zone", {"id": "z"}), ("vm.add-fs", {"tag": "t"}),
                           ("vm.coredump", {"destination_url": "file:///nowhere"})):
            check("vmm.ping lists its features" in chain(refused(501, remote.put, name, body)), name)
        remote.put("vm.delete")
        refused(404, remote.get, "vm.info")
        remote.put("vmm.shutdown")


def talk(file):
    """To the guest behind a pty; it does not hear what is said before it listens."""
    fd = os.open(file, os.O_RDWR | os.O_NOCTTY)
    heard, deadline = b"", time.monotonic() + LIMIT
    while b"got hello" not in heard:
        check(time.monotonic() < deadline, f"the guest said {heard}")
        os.write(fd, b"hello\n")
        while select.select([fd], [], [], 0.1)[0]:
            heard += os.read(fd, 4096)
    os.close(fd)


def test_client_libvirt_9(rig):
    """A child of the driver: the payload at the top level, chunks of nothing after a 100."""
    path = rig.path("api.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        with cloud_hypervisor(rig, "--api-socket", f"fd={listening.fileno()}",
                              pass_fds=[listening.fileno()]) as process:
            driver = Libvirt(path)
            driver.send_json("vm.create", {
                "serial": {"mode": "Pty"}, "cpus": {"boot_vcpus": 3, "max_vcpus": 3},
                "memory": {"size": 64 * MIB}, "kernel": {"path": rig.elf("echo")},
                "cmdline": {"args": "é"}, "initramfs": {"path": rig.elf("echo")},
                "disks": [{"path": rig.disk()}], "net": [], "devices": []})
            driver.put_chunked("vm.boot")
            check(vcpu_threads(process.pid) == [0, 1, 2], vcpu_threads(process.pid))
            info = driver.get("vm.info")["config"]
            check(info["payload"]["cmdline"] == "é", info)
            check("file" not in info["console"], "a console that was not asked for")
            talk(info["serial"]["file"])
            for name in ("vm.pause", "vm.resume", "vm.reboot"):
                driver.put_chunked(name)
            talk(driver.get("vm.info")["config"]["serial"]["file"])
            driver.put_chunked("vm.shutdown")
            check(driver.get("vm.info")["state"] == "Created", "not off")
            driver.put_chunked("vm.boot")
            process.send_signal(signal.SIGTERM)
            driver.close()


@contextlib.contextmanager
def libvirt_11(rig):
    """The monitor as this one starts it: listening already, its reader of events first."""
    fifo, path, reader = rig.path("fifo"), rig.path("api.sock"), []
    os.mkfifo(fifo)
    opening = threading.Thread(target=lambda: reader.append(os.open(fifo, os.O_RDONLY)),
                               daemon=True)
    opening.start()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        driver = Libvirt(path)
        with cloud_hypervisor(rig, "--api-socket", f"fd={listening.fileno()}", "--event-monitor",
                              "path=" + fifo, pass_fds=[listening.fileno()]) as process:
            opening.join(LIMIT)
            check(reader, "the FIFO was not opened")
            yield process, driver, EventReader(reader[0])
    os.close(reader[0])
    driver.close()


def test_client_libvirt_11(rig):
    """No card in vm.create, both ports, and what it learns from events."""
    with libvirt_11(rig) as (process, driver, events):
        driver.send_json("vm.create", {
            "cpus": {"boot_vcpus": 2, "max_vcpus": 2}, "memory": {"size": 64 * MIB},
            "payload": {"kernel": rig.elf("echo"), "cmdline": "console=ttyS0"},
            "serial": {"mode": "Pty"}, "console": {"mode": "Pty"}, "disks": [{"path": rig.disk()}],
            "platform": {"sev_snp": False}})
        driver.put("vm.boot")
        check(vcpu_threads(process.pid) == [0, 1], vcpu_threads(process.pid))
        ports = driver.get("vm.info")["config"]
        check(stat.S_ISCHR(os.stat(ports["console"]["file"]).st_mode), "no console")
        talk(ports["serial"]["file"])
        check(events.until("vm/booted") == ["vmm/starting", "vm/booting", "vm/booted"], "a boot")
        for name, heard in (("vm.pause", ["vm/pausing", "vm/paused"]),
                            ("vm.resume", ["vm/resuming", "vm/resumed"])):
            driver.put(name)
            check(events.until(heard[-1]) == heard, heard)
        driver.put("vm.reboot")
        check(events.until("vm/rebooted")[0] == "vm/rebooting", "events of a reboot")
        check(driver.get("vm.info")["state"] == "Running", "not running after a reboot")
        driver.put("vm.shutdown")
        events.until("vm/shutdown")
        check(process.poll() is None, "vm.shutdown ended the process")
        process.send_signal(signal.SIGTERM)
        events.until("vmm/shutdown")


def open_tap(pairs):
    """A file for each pair of queues of a tap that goes with the last of them."""
    fds, name = [], b"client%d"
    try:
        for _ in range(pairs):
            fds.append(os.open("/dev/net/tun", os.O_RDWR))
            made = fcntl.ioctl(fds[-1], TUNSETIFF, struct.pack("16sH22x", name, TAP_FLAGS))
            name = made[:16]
    except OSError as e:
        raise Skipped(f"no tap can be made: {e.strerror}") from e
    return fds


def taps_of(pid):
    """The names of those it has open."""
    names = set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(FileNotFoundError), \
                open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as f:
            names.update(re.findall(r"^iff:\s*(\S+)$", f.read(), re.M))
    return names


def test_client_libvirt_11_card(rig):
    """Each card comes by itself, on a connection of its own beside the driver's, with its files."""
    with libvirt_11(rig) as (process, driver, _):
        fds = open_tap(2)
        driver.send_json("vm.create", config(rig))
        second = Libvirt(rig.path("api.sock"))
        second.send_json("vm.add-net", {
            "id": "net_0", "mac": "52:54:00:00:00:01", "ip": "192.168.249.2",
            "mask": "255.255.255.0", "num_queues": 4, "queue_size": 512, "mtu": 1400}, fds)
        second.close()
        taps = taps_of(os.getpid())
        check(len(taps) == 1 and taps == taps_of(process.pid), f"{taps} are passed")
        for fd in fds:
            os.close(fd)
        driver.put("vm.boot")
        info = driver.get("vm.info")
        check([n["id"] for n in info["config"]["net"]] == ["net_0"], info["config"]["net"])
        check(info["config"]["net"][0]["ip"] == "0.0.0.0", "the opener's tap has another address")
        check("pci_bdf" in info["device_tree"]["net_0"], info["device_tree"])
        driver.put("vm.reboot")
        driver.put("vm.shutdown")
        driver.put("vm.boot")
        check(driver.get("vm.info")["state"] == "Running", "not running again")
        check(taps_of(process.pid) == taps, f"it has {taps_of(process.pid)}, not {taps}")
        process.send_signal(signal.SIGTERM)


def test_client_libvirt_11_guest_ends(rig):
    """The guest powers off: the domain is off, and the process gone."""
    with libvirt_11(rig) as (_, driver, events):
        driver.send_json("vm.create", config(rig, "hello"))
        driver.put("vm.boot")
        check(events.until("vmm/shutdown") == ["vmm/starting", "vm/booting", "vm/booted",
                                               "vm/shutdown", "vmm/shutdown"], "events")


def test_client_kata_go(rig):
    """Everything by type; places on PCI in one form; gone after vmm.shutdown."""
    path = rig.path("api.sock")
    with cloud_hypervisor(rig, "-v", "--seccomp", "false", "--api-socket", path) as process:
        runtime = KataGo(path)
        check(runtime.get("vmm.ping")["version"], "no version")
        runtime.put("vm.create", config(
            rig, "hotplug", cpus={"boot_vcpus": 1, "max_vcpus": 1}, rng={"src": "/dev/urandom"},
            memory={"size": 64 * MIB, "shared": True, "hugepages": False}))
        runtime.put("vm.boot")
        check(vcpu_threads(process.pid) == [0], vcpu_threads(process.pid))
        check(runtime.get("vm.info")["state"] == "Running", "not running")
        place = runtime.put("vm.add-disk", {
            "path": rig.disk(), "id": "drive-1", "readonly": False, "direct": False,
            "num_queues": 1, "queue_size": 1024, "iommu": False})
        check(re.fullmatch(r"0000:00:[01][0-9a-f]\.0", place["bdf"]), place)
        runtime.put("vm.remove-device", {"id": "drive-1"})
        runtime.put("vm.pause")
        runtime.put("vm.resume")
        refused(400, runtime.put, "vm.add-disk", {})
        refused(404, runtime.put, "vm.nothing")
        refused(404, runtime.put, "vm.remove-device", {"id": "drive-1"})
        refused(500, runtime.put, "vm.boot")
        refused(500, runtime.put, "vm.resize", {"desired_vcpus": 2})
        runtime.put("vmm.shutdown")
        runtime.ended()


def test_client_kata_rs(rig):
    """Nothing may be missing from vm.info, in any state."""
    path = rig.path("api.sock")
    remote = ChRemote(path)
    with cloud_hypervisor(rig, "-v", "--api-socket", path):
        remote.put("vm.create", config(rig, disks=[{"path": rig.disk()}], net=[{}]))
        bits = check_strictly(remote.get("vm.info"))["config"]["cpus"]["max_phys_bits"]
        with open("/proc/cpuinfo", encoding="ascii") as f:
            host = int(re.search(r"address sizes\s*: (\d+) bits physical", f.read())[1])
        check(bits == min(host, 46), f"{bits} bits, and the host has {host}")
        remote.put("vm.remove-device", {"id": "net0"})
        for step, state in (("vm.boot", "Running"), ("vm.pause", "Paused"),
                            ("vm.resume", "Running"), ("vm.shutdown", "Created")):
            remote.put(step)
            info = check_strictly(remote.get("vm.info"))
            check(info["state"] == state, f"{step}: {info['state']}")
            check((step == "vm.shutdown") == (not info["device_tree"]), info["device_tree"])
        remote.put("vmm.shutdown")


def test_client_pieces_of_text(rig):
    """Whatever stands at the edge of a piece that a client reads, a piece is text."""
    path = rig.path("api.sock")
    remote = ChRemote(path)
    with cloud_hypervisor(rig, "--api-socket", path):
        for text in ("é" * 700, "x" + "é" * 700, "€" * 700, "\U0001f600" * 300, "\"\\\t{}" * 100):
            remote.put("vm.create", config(rig, payload={"kernel": "k", "cmdline": text}))
            check(remote.get("vm.info")["config"]["payload"]["cmdline"] == text, text[:2])
            said = chain(refused(500, remote.put, "vm.boot"))
            check("k" in said, said)
            remote.put("vm.delete")
        said = refused(404, remote.put, "vm.é" + "é" * 300)
        check("vm.é" in said[0], said)
        remote.put("vmm.shutdown")
