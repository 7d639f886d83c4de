# SPDX-License-Identifier: Apache-2.0
"""The control API over raw sockets, as clients that exist speak it, and what they must not do."""
import json
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time

from api_client import Connection, config, monitor, wants
from rig import LIMIT, Skipped, check, own_name


def test_api_life(rig):
    """Everything a VM goes through, and every step at the wrong time."""
    with monitor(rig) as (process, client):
        ping = wants(client, 200, "GET", "vmm.ping")
        check(ping["pid"] == process.pid and ping["product"] == "godwit", ping)
        for verb, name in (("GET", "vm.info"), ("PUT", "vm.boot"), ("PUT", "vm.pause"),
                           ("PUT", "vm.resume"), ("PUT", "vm.shutdown"), ("PUT", "vm.reboot"),
                           ("PUT", "vm.power-button"), ("PUT", "vm.nmi"), ("GET", "vm.counters")):
            wants(client, 404, verb, name)
        wants(client, 204, "PUT", "vm.delete")
        wants(client, 400, "PUT", "vm.create", {"payload": {}})
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 500, "PUT", "vm.create", config(rig))
        check(wants(client, 200, "GET", "vm.info")["state"] == "Created", "not created")
        wants(client, 500, "PUT", "vm.pause")
        wants(client, 204, "PUT", "vm.boot")
        threads = {open(f"/proc/{process.pid}/task/{t}/comm", encoding="ascii").read().strip()
                   for t in os.listdir(f"/proc/{process.pid}/task")}
        check({"vcpu0", "_api"} <= threads, threads)
        wants(client, 500, "PUT", "vm.boot")
        check(wants(client, 200, "GET", "vm.info")["state"] == "Running", "not running")
        wants(client, 204, "PUT", "vm.pause")
        wants(client, 500, "PUT", "vm.pause")
        check(wants(client, 200, "GET", "vm.info")["state"] == "Paused", "not paused")
        wants(client, 204, "PUT", "vm.resume")
        wants(client, 500, "PUT", "vm.resume")
        wants(client, 204, "PUT", "vm.reboot")
        wants(client, 204, "PUT", "vm.shutdown")
        check(wants(client, 200, "GET", "vm.info")["state"] == "Created", "not created again")
        for _ in range(3):
            wants(client, 204, "PUT", "vm.boot")
            wants(client, 204, "PUT", "vm.shutdown")
        wants(client, 204, "PUT", "vm.boot")
        wants(client, 204, "PUT", "vm.delete")
        wants(client, 404, "GET", "vm.info")
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 204, "PUT", "vm.boot")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_api_guest_ends(rig):
    """The process ends with the guest; a kernel that is not there does not end it."""
    with monitor(rig) as (_, client):
        wants(client, 204, "PUT", "vm.create", config(rig, "nosuch"))
        wants(client, 500, "PUT", "vm.boot")
        wants(client, 204, "PUT", "vm.delete")
        wants(client, 204, "PUT", "vm.create", config(rig, "hello"))
        wants(client, 204, "PUT", "vm.boot")


def test_api_requests(rig):
    """What is no request is refused with a sentence."""
    with monitor(rig) as (_, client):
        wants(client, 404, "GET", "vm.nothing")
        wants(client, 404, "GET", "/api/v2/vm.info")
        wants(client, 400, "PUT", "vm.info")
        wants(client, 400, "GET", "vm.boot")
        wants(client, 400, "PUT", "vm.boot", {"a": 1})
        wants(client, 400, "PUT", "vm.create")
        wants(client, 400, "PUT", "vm.create", b"{")
        wants(client, 400, "PUT", "vm.create", [])
        wants(client, 501, "PUT", "vm.resize-zone", {"id": None})
        wants(client, 404, "PUT", "vm.resize", {"desired_balloon": None})
        check("features" in wants(client, 200, "GET", "vmm.ping"), "no features")
        wants(client, 204, "PUT", "vm.delete", b"")
        client.send(b"PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n")
        check(client.answer()[0] == 413, "a body of more than 4 MiB")
        other = Connection(rig.path("api.sock"))
        other.send(b"GET /api/v1/vmm.ping HTTP/1.1\r\n", b"X: " + b"y" * 20000)
        check(other.answer()[0] in (400, 431), "a head without end")
        last = Connection(rig.path("api.sock"))
        wants(last, 204, "PUT", "vmm.shutdown")


def test_api_old_libvirt(rig):
    """libvirt 9.0: kernel and cmdline at the top, a chunked body of nothing after a 100."""
    with monitor(rig) as (_, client):
        old = config(rig, kernel={"path": rig.elf("echo")}, cmdline={"args": "x=é"})
        del old["payload"]
        wants(client, 204, "PUT", "vm.create", old)
        cmdline = wants(client, 200, "GET", "vm.info")["config"]["payload"]["cmdline"]
        check(cmdline == "x=é", cmdline)
        for name in ("vm.boot", "vm.pause", "vm.resume", "vmm.shutdown"):
            client.send(f"PUT /api/v1/{name} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n"
                        "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode())
            check(client.answer() == (100, None), "no 100")
            client.send(b"0\r\n\r\n")
            check(client.answer() == (204, None), name)


def test_api_stuck_clients(rig):
    """Ping is answered beside clients that stop in the middle, and while a VM is built."""
    with monitor(rig) as (_, client):
        stuck = [Connection(rig.path("api.sock")) for _ in range(20)]
        for other in stuck:
            other.send(b"PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        wants(client, 204, "PUT", "vm.create", config(rig, memory={"size": 4 << 30,
                                                                   "prefault": True}))
        builder = threading.Thread(target=wants, args=(client, 204, "PUT", "vm.boot"))
        builder.start()
        for _ in range(5):
            other = Connection(rig.path("api.sock"))
            wants(other, 200, "GET", "vmm.ping")
        builder.join()
        wants(client, 204, "PUT", "vmm.shutdown")


def test_api_files(rig):
    """Files that come with requests that want none are closed."""
    def count(process):
        return len(os.listdir(f"/proc/{process.pid}/fd"))

    with monitor(rig) as (process, client):
        wants(client, 200, "GET", "vmm.ping")
        before = count(process)
        for request in (b"GET /api/v1/vmm.ping HTTP/1.1\r\n", b"GET /api/v1/nothing HTTP/1.1\r\n"):
            socket.send_fds(client.socket, [request], [0] * 100)
            client.send(b"\r\n")
            client.answer()
        wants(client, 200, "GET", "vmm.ping")
        check(count(process) == before, f"{count(process)} files are open, not {before}")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_api_devices(rig):
    """Disks before and after the boot; names taken and unknown."""
    with monitor(rig) as (_, client):
        disk = {"path": rig.disk()}
        wants(client, 404, "PUT", "vm.add-disk", disk)
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 204, "PUT", "vm.add-disk", disk)
        wants(client, 409, "PUT", "vm.add-disk", {"id": "disk0", **disk})
        wants(client, 404, "PUT", "vm.remove-device", {"id": "disk1"})
        wants(client, 204, "PUT", "vm.remove-device", {"id": "disk0"})
        wants(client, 204, "PUT", "vm.boot")
        wants(client, 400, "PUT", "vm.add-disk", {})
        hot = wants(client, 200, "PUT", "vm.add-disk", disk)
        check(hot["id"] == "disk0", hot)
        check(re.fullmatch(r"0000:00:[01][0-9a-f]\.0", hot["bdf"]), hot)
        info = wants(client, 200, "GET", "vm.info")
        check([d["id"] for d in info["config"]["disks"]] == ["disk0"], info["config"]["disks"])
        check(info["device_tree"]["disk0"]["pci_bdf"] == hot["bdf"], info["device_tree"])
        wants(client, 409, "PUT", "vm.add-disk", {"id": "disk0", **disk})
        wants(client, 500, "PUT", "vm.add-disk", {"path": rig.path("nothing")})
        wants(client, 404, "PUT", "vm.remove-device", {"id": "disk1"})
        wants(client, 400, "PUT", "vm.remove-device", {})
        check("disk0" in wants(client, 200, "GET", "vm.counters"), "no counters of disk0")
        check('device="disk0"' in wants(client, 200, "GET", "/metrics"), "no metrics of disk0")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_api_events(rig):
    """A FIFO before and without a reader, and the same by GET."""
    fifo = rig.path("events")
    os.mkfifo(fifo)
    with monitor(rig, "--api-socket", "path=" + rig.path("api.sock"),
                 "--event-monitor", "path=" + fifo) as (_, client):
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 204, "PUT", "vm.boot")
        wants(client, 204, "PUT", "vm.pause")
        with open(fifo, encoding="ascii") as f:
            names = [json.loads(f.readline())["event"] for _ in range(5)]
        check(names == ["starting", "booting", "booted", "pausing", "paused"], names)
        answer = wants(client, 200, "GET", "events")
        check([e["event"] for e in answer["events"]] == names, answer)
        waiter = Connection(rig.path("api.sock"))
        waiter.send(f"GET /api/v1/events?since={answer['seq']}&wait=60 HTTP/1.1\r\n\r\n".encode())
        gone = Connection(rig.path("api.sock"))
        gone.send(f"GET /api/v1/events?since={answer['seq']}&wait=60 HTTP/1.1\r\n\r\n".encode())
        gone.close()
        wants(client, 204, "PUT", "vm.resume")
        news = waiter.answer()[1]["events"]
        check(news[0]["event"] == "resuming" and news[0]["seq"] == 6, news)
        wants(client, 400, "GET", "events?since=x")
        wants(client, 204, "PUT", "vmm.shutdown")


def test_api_socket(rig):
    """Its mode; a path that is taken, one that was left behind, and a socket that is inherited."""
    path = rig.path("api.sock")
    with monitor(rig) as (_, client):
        check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "others may connect")
        second = subprocess.run([rig.godwit, "--api-socket", path], capture_output=True, text=True,
                                timeout=LIMIT, check=False)
        check(second.returncode == 1 and path in second.stderr, second.stderr)
        wants(client, 204, "PUT", "vmm.shutdown")
    check(not os.path.exists(path), "the socket is left")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    with monitor(rig) as (_, client):
        wants(client, 204, "PUT", "vmm.shutdown")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        with monitor(rig, "--api-socket", f"fd={listening.fileno()}",
                     pass_fds=[listening.fileno()]) as (_, client):
            wants(client, 204, "PUT", "vmm.shutdown")


def test_api_long_sentences(rig):
    """One that is cut within a character is still text."""
    with monitor(rig) as (_, client):
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 204, "PUT", "vm.boot")
        for pad in ("", "x"):
            said, = wants(client, 500, "PUT", "vm.add-disk", {"path": "/" + pad + "é" * 400})
            check("é" * 100 in said, said)
        wants(client, 204, "PUT", "vmm.shutdown")


def test_verbs(rig):
    """The client: by name, with a sentence for each mistake."""
    name = f"test-{os.getpid()}"

    def verb(*words, status=0):
        done = subprocess.run([rig.godwit, *words], capture_output=True, text=True, timeout=LIMIT,
                              check=False)
        check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout if status == 0 else done.stderr

    with subprocess.Popen(rig.command("echo", "--memory", "64M", "--serial", "null"),
                          stdin=subprocess.DEVNULL) as vm:
        try:
            deadline = time.monotonic() + LIMIT
            while not any(v["name"] == name and v["state"] == "Running"
                          for v in json.loads(verb("list", "--json"))):
                check(time.monotonic() < deadline, "the VM is not listed")
            verb("pause", name)
            check(re.search(rf"^{name} +Paused +1 +64 MiB +{vm.pid}$", verb("list"), re.M), "list")
            check("paused already" in verb("pause", name, status=1), "paused twice")
            verb("resume", name)
            verb("reset", name)
            check(json.loads(verb("info", "--json", name))["config"]["name"] == name, "info")
            events = [json.loads(line)["event"]
                      for line in verb("events", "--json", name).splitlines()]
            check(events[:5] == ["starting", "booting", "booted", "pausing", "paused"], events)
            check(verb("add-disk", name, rig.disk()).startswith("disk0 at 0000:00:"), "add-disk")
            check(name in verb("pause", "nobody", status=1), "who is there")
            verb("pause", status=2)
            check('did you mean "--now"' in verb("shutdown", "--nwo", name, status=2), "--nwo")
            verb("shutdown", "--now", name)
            check(vm.wait(LIMIT) == 0, "it did not end well")
        finally:
            vm.send_signal(signal.SIGKILL)


def let_others_ask(rig):
    if os.geteuid():
        raise Skipped("only root can be other users")
    with open(rig.path("answer"), "w", encoding="ascii") as f:
        os.fchmod(f.fileno(), 0o666)
    os.chmod(rig.folder, 0o711)


def ask_as(rig, path, uid, *groups, method="GET", url="/api/v1/vm.info"):
    """The status that a user hears who is in these groups; 0: it cannot even connect."""
    def become():
        os.setgroups(groups[1:])
        os.setgid(groups[0])
        os.setuid(uid)

    done = subprocess.run(["curl", "-s", "-X", method, "-o", rig.path("answer"), "-w",
                           "%{http_code}", "--unix-socket", path, "http://localhost" + url],
                          cwd="/", preexec_fn=become, stdout=subprocess.PIPE, timeout=LIMIT,
                          check=False)
    return int(done.stdout)


def test_api_group(rig):
    """Members of the group are served by the VM's name, others are not; also past the file."""
    let_others_ask(rig)
    path = f"/run/godwit/{own_name()}/api.sock"
    with subprocess.Popen(rig.command("echo", "--serial", "null", "--memory", "64M",
                                      "--api-group", "64001"),
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as vm:
        try:
            deadline = time.monotonic() + LIMIT
            while ask_as(rig, path, 0, 0) != 200:
                check(time.monotonic() < deadline, "there is no VM")
                time.sleep(0.01)
            where = os.stat(os.path.dirname(path))
            check((stat.S_IMODE(where.st_mode), where.st_gid) == (0o710, 64001), where)
            for groups in ((64001,), (64000, 64002, 64001)):
                check(ask_as(rig, path, 64000, *groups) == 200, f"{groups} is not served")
            check(ask_as(rig, path, 64000, 64000, 64002) == 0, "another user may connect")
            os.chmod(os.path.dirname(path), 0o711)
            os.chmod(path, 0o666)
            for _ in range(20):
                check(ask_as(rig, path, 64000, 64000, 64002) == 403, "another user is served")
            check(ask_as(rig, path, 64000, 64001) == 200, "the group is not served any more")
        finally:
            vm.terminate()
            vm.terminate()
            said = vm.communicate(timeout=LIMIT)[1]
        check(said.count("is not let in") == 1, said)


def test_api_passed_socket(rig):
    """One that anybody may connect to is still served to its owner and root only."""
    let_others_ask(rig)
    path = rig.path("api.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        os.chmod(path, 0o666)
        listening.listen(4)
        with monitor(rig, "--api-socket", f"fd={listening.fileno()}",
                     pass_fds=[listening.fileno()]) as (_, client):
            check(ask_as(rig, path, 64000, 64000) == 403, "another user is served")
            check(ask_as(rig, path, 0, 64000) == 404, "root is not served")
            wants(client, 204, "PUT", "vmm.shutdown")


def test_metrics_socket(rig):
    """It has /metrics and nothing else, for a group that has no other socket."""
    let_others_ask(rig)
    control, metrics, group = rig.path("api.sock"), rig.path("m,group.sock"), (64000, 64001)

    def status(uid=64000, groups=group, **more):
        return ask_as(rig, metrics, uid, *groups, **more)

    with monitor(rig, "--api-socket", control, "--metrics-socket",
                 metrics + ",group=64001") as (_, client):
        wants(client, 204, "PUT", "vm.create", config(rig))
        wants(client, 204, "PUT", "vm.boot")
        check(status(url="/metrics") == 200, "no metrics")
        with open(rig.path("answer"), encoding="ascii") as f:
            check("# TYPE godwit_" in f.read(), "these are none")
        check(status(url="/metrics", method="PUT") == 405, "/metrics is changed")
        for method, name in (("GET", "vm.info"), ("GET", "vm.counters"), ("PUT", "vm.pause"),
                             ("PUT", "vmm.shutdown"), ("GET", "events"), ("GET", "nothing")):
            check(status(method=method, url="/api/v1/" + name) == 404, name)
        check(wants(client, 200, "GET", "vm.info")["state"] == "Running", "the VM has changed")
        check(ask_as(rig, control, *group) == 0, "the group may control the VM")
        check(status(groups=(64000,), url="/metrics") == 0, "others may connect")
        os.chmod(metrics, 0o666)
        check(status(groups=(64000,), url="/metrics") == 403, "others are served")
        check(status(0, (0,), url="/metrics") == 200, "root is not served")
        wants(client, 204, "PUT", "vmm.shutdown")
    check(not os.path.exists(metrics), "the socket is left")
