# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/embedding.md as they stand there, and what a service manager is told."""
import contextlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys

from rig import LIMIT, Skipped, check, own_name

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(TOP, "docs", "embedding.md")

BOOTS, PAUSED = "STATUS=The guest boots.", "STATUS=The guest is paused."
RUNS = "READY=1\nSTATUS=The guest runs."
ASKED = "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\nSTATUS=The guest is asked to power off."
ENDED = "STOPPING=1\nSTATUS=The VM has ended."


def examples(language):
    with open(PAGE, encoding="utf-8") as f:
        found = re.findall(rf"^```{language}\n(.*?)^```$", f.read(), re.M | re.S)
    check(found, f"the page has no {language}")
    return found


def place(rig):
    """The folder that the page speaks of: a kernel and a disk."""
    shutil.copy(rig.elf("service"), rig.path("vmlinuz"))
    rig.disk()


def run_example(rig, program):
    place(rig)
    path = os.path.dirname(rig.godwit) + ":" + os.environ["PATH"]
    done = subprocess.run(program, cwd=rig.folder, env={**os.environ, "PATH": path},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
                          check=False)
    check(done.returncode == 0, f"status {done.returncode}\n{done.stdout}{done.stderr}")
    logs = [name for name in os.listdir(rig.folder) if name.endswith(".log")]
    check(len(logs) == 1, f"the logs are {logs}")
    with open(rig.path(logs[0]), encoding="ascii") as f:
        check(f.read() == "service: ready\nservice: ok\n", "the guest was not asked to power off")
    return done.stdout


def test_embedding_languages(_rig):
    """Nothing stands on the page that no test knows."""
    with open(PAGE, encoding="utf-8") as f:
        languages = re.findall(r"^```(.*)$", f.read(), re.M)[::2]
    check(languages == ["sh", "python", "json", "ini", "ini"], languages)


def test_embedding_shell(rig):
    run_example(rig, ["sh", "-c", *examples("sh")])
    with open(rig.path("disk.img"), "rb") as disk, open(rig.path("backup.img"), "rb") as backup:
        check(disk.read() == backup.read(), "the backup is not the disk")


def test_embedding_shell_without_a_kernel(rig):
    """The script ends with the monitor's status."""
    done = subprocess.run(["sh", "-c", *examples("sh")], cwd=rig.folder, capture_output=True,
                          env={**os.environ, "PATH": os.path.dirname(rig.godwit) + ":"
                               + os.environ["PATH"]}, text=True, timeout=LIMIT, check=False)
    check(done.returncode == 1 and "vmlinuz" in done.stderr, f"{done.returncode}: {done.stderr}")


def test_embedding_python(rig):
    said = run_example(rig, [sys.executable, "-c", *examples("python")])
    check(said == "Running\n0\n", f"it printed {said!r}")


class Manager:
    """A service manager's side of NOTIFY_SOCKET."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)

    def start(self, command, **popen):
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True,
                                env={**os.environ, **popen.pop("env", {}),
                                     "NOTIFY_SOCKET": self.name}, **popen)

    def hears(self, *wanted):
        for words in wanted:
            check(select.select([self.socket], [], [], LIMIT)[0], f"nobody said {words!r}")
            said = self.socket.recv(4096).decode()
            check(said == words, f"{said!r} instead of {words!r}")

    def fill(self):
        """Nothing more goes in until something is read; returns how much that is."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            other.connect(self.socket.getsockname())
            for n in range(1 << 20):
                try:
                    other.send(b"other")
                except BlockingIOError:
                    return n
        return None


@contextlib.contextmanager
def watched(manager, command, status=0, **popen):
    """A VM of that manager; it must end with that status."""
    with manager.start(command, stdout=subprocess.PIPE, **popen) as vm:
        try:
            yield vm
            check(vm.wait(LIMIT) == status, f"it ended with {vm.returncode}")
        finally:
            vm.kill()


@contextlib.contextmanager
def managed(rig, *options, program="service", name=None, status=0, **popen):
    """A VM whose service manager listens."""
    manager = Manager(name or rig.path("notify"))
    command = rig.command(program, "--memory", "64M", "--disk", "path=" + rig.disk(), *options)
    with watched(manager, command, status, **popen) as vm:
        yield manager, vm


def test_notify(rig):
    """Each sentence once, on an abstract socket; the guest has two disks."""
    name = f"test-{os.getpid()}"
    with managed(rig, "--disk", "path=" + rig.disk(name="other.img"),
                 name=f"@godwit-{name}") as (manager, vm):
        manager.hears(BOOTS, RUNS)
        check(vm.stdout.readline() == "service: ready\n", "the guest is not ready")
        for verb, sentence in (("pause", PAUSED), ("resume", "STATUS=The guest goes on."),
                               ("reset", "STATUS=The guest boots again.")):
            subprocess.run([rig.godwit, verb, name], timeout=LIMIT, check=True)
            manager.hears(sentence)
        manager.hears(RUNS)
        vm.send_signal(signal.SIGTERM)
        manager.hears(ASKED, ENDED)


def test_notify_waits_for_room(rig):
    """A manager that does not read stops nobody, and misses nothing."""
    manager = Manager(rig.path("notify"))
    full = manager.fill()
    command = rig.command("service", "--memory", "64M", "--disk", "path=" + rig.disk())
    with manager.start(command, stdout=subprocess.PIPE) as vm:
        try:
            check(vm.stdout.readline() == "service: ready\n", "the guest waits")
            manager.hears(*["other"] * full, BOOTS, RUNS)
            vm.send_signal(signal.SIGTERM)
            manager.hears(ASKED, ENDED)
            check(vm.wait(LIMIT) == 0, f"it ended with {vm.returncode}")
        finally:
            vm.kill()


def test_notify_never_ready(rig):
    """No driver, a panic, a kernel that is not there."""
    with managed(rig, "--append", "nodriver", "--serial", "file=" + rig.path("log")) as (manager,
                                                                                         vm):
        manager.hears(BOOTS)
        vm.send_signal(signal.SIGTERM)
        manager.hears(ASKED, ENDED)
    os.remove(rig.path("notify"))
    why = "the guest's kernel panicked; --on-panic says what to do then"
    with managed(rig, "--append", "panic", status=1, stderr=subprocess.DEVNULL) as (manager, _):
        manager.hears(BOOTS, "STATUS=The guest's kernel panicked.", "STOPPING=1\nSTATUS=" + why)
    os.remove(rig.path("notify"))
    with managed(rig, program="nothing", status=1, stderr=subprocess.PIPE) as (manager, vm):
        said = vm.stderr.read().removeprefix("godwit: ").strip()
        check("nothing.elf" in said, said)
        manager.hears("STOPPING=1\nSTATUS=" + said)


def test_notify_empty_monitor(rig):
    """It listens, so it is ready; what its VM does it says as well."""
    manager = Manager(rig.path("notify"))
    with manager.start([rig.godwit, "--api-socket", rig.path("api.sock")]) as monitor:
        manager.hears("READY=1\nSTATUS=Waiting for vm.create.")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(rig.path("api.sock"))
        monitor.send_signal(signal.SIGTERM)
        manager.hears(ENDED)
        check(monitor.wait(LIMIT) == 0, f"it ended with {monitor.returncode}")


def test_notify_restored(rig):
    """Its driver is at work already, and activates nothing."""
    with managed(rig) as (manager, _):
        manager.hears(BOOTS, RUNS)
        subprocess.run([rig.godwit, "snapshot", "--stop", own_name(), rig.path("d")],
                       timeout=LIMIT, check=True)
        manager.hears(PAUSED, "STATUS=The VM is off.", ENDED)
    manager = Manager(rig.path("other"))
    with watched(manager, [rig.godwit, "restore", "--resume", rig.path("d")]) as vm:
        manager.hears("READY=1\nSTATUS=The guest is restored.")
        vm.send_signal(signal.SIGTERM)
        manager.hears(ASKED, ENDED)


def test_notify_moves(rig):
    """Whoever waits for a VM is ready for it; both sides say what becomes of theirs."""
    other = Manager(rig.path("other"))
    command = [rig.godwit, "run", "--name", own_name() + "-2", "--incoming", "tcp:127.0.0.1:0"]
    with managed(rig) as (manager, _), watched(other, command, stderr=subprocess.PIPE) as vm:
        manager.hears(BOOTS, RUNS)
        other.hears("READY=1\nSTATUS=Waiting for a VM from another host.")
        subprocess.run([rig.godwit, "migrate", own_name(), vm.stderr.readline().split()[-1]],
                       stdout=subprocess.DEVNULL, timeout=LIMIT, check=True)
        manager.hears("STATUS=The VM moves to another host.", ENDED)
        other.hears("STATUS=The VM has come from another host.")
        vm.send_signal(signal.SIGTERM)
        other.hears(ASKED, ENDED)


def test_notify_helpers(rig):
    """Whatever the monitor starts cannot speak for it."""
    with open(rig.path("passt"), "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\nenv >{rig.path('env')}\nexit 1\n")
    os.chmod(rig.path("passt"), 0o755)
    with managed(rig, "--net", "passt", status=1, stderr=subprocess.DEVNULL,
                 env={"PATH": rig.folder + ":" + os.environ["PATH"], "PASSED": "on"}):
        pass
    with open(rig.path("env"), encoding="utf-8") as f:
        environment = f.read()
    check("PASSED=on" in environment, "the helper did not start")
    check("NOTIFY_SOCKET" not in environment, "NOTIFY_SOCKET was passed on")


def test_notify_nobody(rig):
    """A VM runs although nobody can be told."""
    for name, sentence in (("notify", "no path"), (rig.path("gone"), "No such file"),
                           ("/" + "x" * 200, "no path"), ("", "")):
        os.environ["NOTIFY_SOCKET"] = name
        try:
            check(rig.run("hello") == "G", "no first byte")
        finally:
            del os.environ["NOTIFY_SOCKET"]
        check(sentence in rig.said and bool(rig.said) == bool(sentence), rig.said)


def unit(rig, program):
    """The unit's text as it is installed, but with that program."""
    with open(os.path.join(os.path.dirname(rig.godwit), "godwit@.service"), encoding="ascii") as f:
        return re.sub(r"^ExecStart=\S+/bin/godwit ", f"ExecStart={program} ", f.read(), flags=re.M)


def test_unit_is_valid(rig):
    """By itself and with each of the page's additions."""
    if not shutil.which("systemd-analyze"):
        raise Skipped("systemd-analyze is not installed")
    for number, more in enumerate(["", *examples("ini")]):
        units = rig.path(f"units{number}")
        os.makedirs(units + "/godwit@.service.d")
        with open(units + "/godwit@.service", "w", encoding="ascii") as f:
            f.write(unit(rig, rig.godwit))
        with open(units + "/godwit@.service.d/override.conf", "w", encoding="ascii") as f:
            f.write(more)
        done = subprocess.run(["systemd-analyze", "verify", units + "/godwit@.service"],
                              stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
        check(done.returncode == 0 and units not in done.stderr, done.stderr)


class Service:
    """What systemd makes of the unit before it runs ExecStart=: directories and words."""

    def __init__(self, rig, config):
        self.name = f"unit-{os.getpid()}"
        known = {"i": self.name, "E": rig.path("etc"), "S": rig.path("lib"), "t": rig.path("run")}
        self.settings = {}
        for line in unit(rig, rig.godwit).splitlines():
            key, equals, value = line.partition("=")
            if equals and key[0] != "#":
                self.settings[key] = re.sub("%(.)", lambda m: known[m[1]], value)
        self.folder = os.path.join(known["S"], self.settings["StateDirectory"])
        for path in (self.folder, known["E"] + "/godwit",
                     known["t"] + "/" + self.settings["RuntimeDirectory"]):
            os.makedirs(path)
        with open(f"{known['E']}/godwit/{self.name}.json", "w", encoding="ascii") as f:
            f.write(config)
        variable, _, value = self.settings["Environment"].partition("=")
        self.environment = {variable: value}

    def start(self, manager, **popen):
        return manager.start(shlex.split(self.settings["ExecStart"]), env=self.environment,
                             cwd=self.settings["WorkingDirectory"], **popen)


def test_unit_service(rig):
    """The page's configuration, from the start to the stop."""
    service, manager = Service(rig, *examples("json")), Manager(rig.path("notify"))
    check(service.settings["Type"] == "notify", service.settings)
    os.rename(rig.disk(), service.folder + "/disk.img")
    shutil.copy(rig.elf("service"), service.folder + "/vmlinuz")
    with service.start(manager, stdout=subprocess.PIPE) as vm:
        try:
            manager.hears(BOOTS, RUNS)
            check(vm.stdout.readline() == "service: ready\n", "nothing for the journal")
            vms = json.loads(subprocess.run([rig.godwit, "list", "--json"], check=True,
                                            env={**os.environ, **service.environment},
                                            stdout=subprocess.PIPE, timeout=LIMIT).stdout)
            check(service.name in [v["name"] for v in vms], vms)
            vm.send_signal(signal.SIGTERM)
            manager.hears(ASKED, ENDED)
            check(vm.wait(LIMIT) == 0, f"it ended with {vm.returncode}")
        finally:
            vm.kill()


def test_unit_is_not_restarted(rig):
    """A configuration that is wrong: in its file, in what it says."""
    for config in "{", '{"payload": {"kernel": "k"}, "memory": {"size": 1}}':
        service, manager = Service(rig, config), Manager(rig.path("notify"))
        with service.start(manager, stderr=subprocess.PIPE) as vm:
            said = vm.stderr.read()
            status = str(vm.wait(LIMIT))
        check(status == service.settings["RestartPreventExitStatus"], f"{status}: {said}")
        for name in "etc", "lib", "run":
            shutil.rmtree(rig.path(name))
        os.remove(rig.path("notify"))
