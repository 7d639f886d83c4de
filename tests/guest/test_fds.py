# SPDX-License-Identifier: Apache-2.0
"""Network cards whose taps come as open files with vm.add-net, from another network namespace."""
import concurrent.futures
import contextlib
import ctypes
import fcntl
import json
import os
import re
import socket
import struct
import time

from clients import vcpu_threads
from rig import LIMIT, Skipped, check
from test_api import Connection, config, monitor, wants

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x1, 0x2, 0x100, 0x1000, 0x4000
TAP = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP, IFF_RUNNING = 0x1, 0x40
EXPERIMENTAL = 0x88B5  # an EtherType (IEEE 802, 9.2.4)
ADDRESSES = b"\x52\x54\x00\x00\x00\x02" + b"\x52\x54\x00\x00\x00\x01"


class Network:
    """A network namespace of the test's own, and what is done in it."""

    def __init__(self):
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK) or \
                self.inside(ctypes.CDLL(None).unshare, CLONE_NEWNET):
            raise Skipped("taps and network namespaces are not permitted here")
        self.socket = self.inside(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)

    def inside(self, function, *arguments):
        return self.thread.submit(function, *arguments).result(LIMIT)

    def tap(self, name, flags=TAP):
        """One more queue of an interface, which is up then; with the last one it goes."""
        fd = self.inside(os.open, "/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH14x", name.encode(), flags))
        fcntl.ioctl(self.socket, SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), IFF_UP))
        return fd

    def is_up(self, name):
        """False: there is no such interface."""
        try:
            ifreq = fcntl.ioctl(self.socket, SIOCGIFFLAGS, struct.pack("16s16x", name.encode()))
        except OSError:
            return False
        flags = struct.unpack_from("H", ifreq, 16)[0]
        check(flags & IFF_UP and flags & IFF_RUNNING, f"{name} has the flags {flags:#x}")
        return True

    def packets(self, name):
        wire = self.inside(socket.socket, socket.AF_PACKET, socket.SOCK_RAW,
                           socket.htons(EXPERIMENTAL))
        wire.bind((name, EXPERIMENTAL))
        wire.settimeout(0.2)
        return wire


def comes_back(wire, word):
    """The guest answers; what it was sent while it began anew is lost."""
    frame = ADDRESSES + struct.pack("!H", EXPERIMENTAL) + word.encode().ljust(60)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        wire.send(frame)
        with contextlib.suppress(socket.timeout):
            while True:
                if wire.recv(2048) == frame:
                    return
    check(False, f"{word}: the frame did not come back")


def passes(client, fds, status, name="vm.add-net", body=None):
    """The files with the first bytes, the body later.  They are no longer the test's."""
    method = "GET" if body is None else "PUT"
    socket.send_fds(client.socket, [f"{method} /api/v1/{name} HTTP/1.1\r\n".encode()], fds)
    for fd in set(fds):
        os.close(fd)
    text = b"" if body is None else json.dumps(body).encode()
    client.send(b"Host: localhost\r\n", f"Content-Length: {len(text)}\r\n\r\n".encode(), text)
    got, answer = client.answer()
    check(got == status, f"{name} with {len(fds)} files: {got} {answer}, wanted {status}")
    return answer


def files(process):
    """Those that stay open; to look at memory takes one, for a moment."""
    links = []
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/{process.pid}/fd/{fd}"))
    with open(f"/proc/{process.pid}/exe", "rb") as f:
        # What watches threads has pipes to what names functions.
        passing = "pipe:" if b"__tsan_init" in f.read() else "/proc/"
    return sum(not link.endswith("/pagemap") and not link.startswith(passing) for link in links)


def files_booted(process, client):
    """With what a VM has open from when it was first asked how it is."""
    wants(client, 200, "GET", "vm.counters")
    return files(process)


def close_on_exec(process):
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        if os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/net/tun":
            with open(f"/proc/{process.pid}/fdinfo/{fd}", encoding="ascii") as f:
                flags = int(re.search(r"flags:\s+(\d+)", f.read())[1], 8)
            check(flags & os.O_CLOEXEC, f"fd {fd} has the flags {flags:#o}")


def until_files(process, before):
    deadline = time.monotonic() + LIMIT
    while files(process) != before:
        check(time.monotonic() < deadline, f"{files(process)} files are open, not {before}")


def nothing_left(net, name, process, before):
    check(not net.is_up(name), f"{name} was left open")
    until_files(process, before)


def test_fds_cold(rig):
    """Between vm.create and vm.boot, on a second connection, and through all lives of the VM."""
    net = Network()
    with monitor(rig) as (process, client):
        wants(client, 204, "PUT", "vm.create", config(rig, "mirror"))
        before = files(process)
        second = Connection(rig.path("api.sock"))
        passes(second, [net.tap("t0", TAP | IFF_MULTI_QUEUE) for _ in range(2)], 204,
               body={"id": "net_0", "num_queues": 4, "ip": "10.0.0.1", "mask": "255.0.0.0",
                     "tap": None, "mac": "52:54:00:00:00:02"})
        second.close()
        card, = wants(client, 200, "GET", "vm.info")["config"]["net"]
        check(card["num_queues"] == 4 and card["id"] == "net_0", card)
        check(card["ip"] == "0.0.0.0" and not {"fd", "fds", "tap"} & set(card), card)
        wire = net.packets("t0")
        wants(client, 204, "PUT", "vm.boot")
        comes_back(wire, "booted")
        wants(client, 204, "PUT", "vm.reboot")
        comes_back(wire, "rebooted")
        close_on_exec(process)
        for n in range(2):
            wants(client, 204, "PUT", "vm.shutdown")
            check(net.is_up("t0"), "the tap did not outlive the machine")
            wants(client, 204, "PUT", "vm.boot")
            comes_back(wire, f"booted again {n}")
        wants(client, 204, "PUT", "vm.shutdown")
        wants(client, 204, "PUT", "vm.remove-device", {"id": "net_0"})
        nothing_left(net, "t0", process, before)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_fds_hot(rig):
    """After vm.boot; removed with the guest's help, and by the end of the VM."""
    net = Network()
    with monitor(rig) as (process, client):
        wants(client, 204, "PUT", "vm.create", config(rig, "mirror"))
        wants(client, 204, "PUT", "vm.boot")
        before = files_booted(process, client)
        for name, body in (("t0", {}),
                           ("t1", {"vhost": "off", "mtu": 1500, "rate_limiter_config": {
                               "ops": {"size": 1000, "refill_time": 100}}})):
            tap = net.tap(name)
            wire = net.packets(name)
            hot = passes(client, [tap], 200, body=body)
            check(re.fullmatch(r"0000:00:[01][0-9a-f]\.0", hot["bdf"]), hot)
            comes_back(wire, "hot")
            wants(client, 204, "PUT", "vm.reboot")
            comes_back(wire, "rebooted")
            wants(client, 204, "PUT", "vm.remove-device", {"id": hot["id"]})
            nothing_left(net, name, process, before)
        passes(client, [net.tap("t2")], 200, body={"id": "last"})
        wants(client, 204, "PUT", "vm.delete")
        check(not net.is_up("t2"), "the deleted VM left its tap open")
        wants(client, 204, "PUT", "vmm.shutdown")


def pipes(n):
    ends = os.pipe()
    return [*ends, *(os.dup(ends[0]) for _ in range(n - 2))]


def all_refused(net, client):
    def refused(sentence, fds, **body):
        answer = passes(client, fds, 400, body=body)
        check(sentence in answer[0], f"{body}: {answer}")

    refused("open file 1 of 2 is no open tap", pipes(2))
    refused("open file 2 of 3 is no open tap", [net.tap("t0"), *pipes(2)])
    refused("64 open files", pipes(64))
    refused("must be opened with IFF_VNET_HDR", [net.tap("t0", IFF_TAP | IFF_NO_PI)])
    refused("no open tap", [net.tap("t0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)])
    refused("make it 2", [net.tap("t0")], num_queues=4)
    refused("make it 4", pipes(2), num_queues=2)
    refused("num_queues", [net.tap("t0")], num_queues="2")
    refused("tap says something else", [net.tap("t0")], tap="t9")
    refused("backend says something else", [net.tap("t0")], backend="Passt")
    passes(client, [net.tap("t0")], 409, body={"id": "disk0"})
    passes(client, [net.tap("t0")], 400, "vm.add-disk", {})
    passes(client, [net.tap("t0")], 500, "vm.create", {})
    passes(client, [net.tap("t0")], 200, "vmm.ping")


def test_fds_refused(rig):
    """Wrong files, wrong numbers of them, and too many: a sentence each, and nothing is left."""
    net = Network()
    with monitor(rig) as (process, client):
        passes(client, [net.tap("t0")], 404, body={})
        wants(client, 204, "PUT", "vm.create", config(rig, "mirror",
                                                      disks=[{"path": rig.disk()}]))
        before = files(process)
        all_refused(net, client)
        many = Connection(rig.path("api.sock"))
        tap = net.tap("t0")
        socket.send_fds(many.socket, [b"PUT /api/v1/vm.add-net HTTP/1.1\r\n"], [tap] * 253)
        socket.send_fds(many.socket, [b"Content-Length: 2\r\n"], [tap])
        os.close(tap)
        check(many.answer()[0] == 400, "254 files")
        many.close()
        until_files(process, before)  # the server sees it go
        nothing_left(net, "t0", process, before)
        wants(client, 204, "PUT", "vm.boot")
        before = files_booted(process, client)
        all_refused(net, client)
        # Only the card itself can tell that this one is not to be.
        passes(client, [net.tap("t0")], 500, body={"mac": "x"})
        nothing_left(net, "t0", process, before)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_fds_inherited(rig):
    """Those of the command line are the process's, which every machine finds as they are."""
    net = Network()
    taps = [net.tap("t0", TAP | IFF_MULTI_QUEUE) for _ in range(2)]
    wire = net.packets("t0")
    with monitor(rig, "--api-socket", rig.path("api.sock"), "--name", f"test-{os.getpid()}",
                 "--kernel", rig.elf("mirror"), "--serial", "null", "--net",
                 f"fd={taps[1]}:{taps[0]},num_queues=4", pass_fds=taps) as (process, client):
        for tap in taps:
            os.close(tap)
        comes_back(wire, "booted")
        wants(client, 204, "PUT", "vm.shutdown")
        wants(client, 204, "PUT", "vm.boot")
        comes_back(wire, "booted again")
        close_on_exec(process)
        wants(client, 204, "PUT", "vmm.shutdown")
    check(not net.is_up("t0"), "somebody else has the tap")


def test_fds_restored(rig):
    """Those of vm.restore go to the cards that net_fds names, in its order and no other."""
    net = Network()
    cards, source = ("a", "b"), {"source_url": "file://" + rig.path("snapshot")}

    def asked(*order, **more):
        return {**source, "net_fds": [{"id": n, "num_fds": 1} for n in order], **more}

    with monitor(rig) as (process, client):
        wants(client, 404, "GET", "vm.info")
        before = files(process)
        wants(client, 204, "PUT", "vm.create", config(rig, "mirror"))
        for name in cards:
            passes(client, [net.tap("old-" + name)], 204, body={"id": name})
        wants(client, 204, "PUT", "vm.boot")
        comes_back(net.packets("old-a"), "booted")
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.snapshot", {"destination_url": source["source_url"]})
        wants(client, 204, "PUT", "vm.delete")
        for body, taps in ((source, 1), (asked("a"), 2), (asked("a", "b"), 1), (asked("a", "a"), 2),
                           (asked("a", "c"), 2), (asked("a", "b", net_fds=[{"id": "a"}]), 1)):
            passes(client, [net.tap(f"t{n}") for n in range(taps)], 400, "vm.restore", body)
            wants(client, 404, "GET", "vm.info")
            nothing_left(net, "t0", process, before)
        passes(client, [net.tap("new-b"), net.tap("new-a")], 204, "vm.restore", asked("b", "a"))
        check(vcpu_threads(process.pid) == [0], vcpu_threads(process.pid))
        check(wants(client, 200, "GET", "vm.info")["state"] == "Paused", "not paused")
        wants(client, 204, "PUT", "vm.resume")
        comes_back(net.packets("new-a"), "restored")
        wants(client, 204, "PUT", "vm.reboot")
        comes_back(net.packets("new-a"), "rebooted")
        wants(client, 204, "PUT", "vm.delete")
        nothing_left(net, "new-a", process, before)
        nothing_left(net, "new-b", process, before)
        wants(client, 204, "PUT", "vmm.shutdown")
