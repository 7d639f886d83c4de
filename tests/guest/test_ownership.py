# SPDX-License-Identifier: Apache-2.0
"""Whether a VM may begin to run: owner records beside its disks, and what the host promised."""
import contextlib
import json
import os
import subprocess
import uuid

from rig import LIMIT, check, own_name



class Host:
    """A host's state directory, and a disk with the uuid of a VM."""

    def __init__(self, rig):
        self.rig = rig
        self.state = rig.path("state")
        self.vm = str(uuid.uuid4())
        self.disk = rig.disk()
        self.config = rig.path("vm.json")
        with open(self.config, "w", encoding="ascii") as f:
            json.dump({"platform": {"uuid": self.vm}}, f)

    def run(self, *words, status=0):
        done = subprocess.run([self.rig.godwit, *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT, check=False,
                              env=os.environ | {"GODWIT_STATE_DIR": self.state})
        check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout if status == 0 else done.stderr

    def boot(self, *options, status=0):
        return self.run("run", "--config", self.config, "--name", own_name(), "--memory", "64M",
                        "--kernel", self.rig.elf("hello"), "--disk", "path=" + self.disk, *options,
                        status=status)

    def record(self):
        with open(self.disk + ".owner", encoding="ascii") as f:
            return json.load(f)

    def change(self, **fields):
        record = self.record() | fields
        with open(self.disk + ".owner", "w", encoding="ascii") as f:
            json.dump(record, f)

    def promise(self, role, state, generation):
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        entry = {"state": state, "session": "", "generation": generation, "peer": "beta:4444",
                 "arbiter": "none"}
        with open(f"{self.state}/{self.vm}-{role}.json", "w", encoding="ascii") as f:
            json.dump({"last": entry, "accepted": []}, f)

    def last(self, role):
        with open(f"{self.state}/{self.vm}-{role}.json", encoding="ascii") as f:
            return json.load(f)["last"]


@contextlib.contextmanager
def running(host, *options):
    command = host.rig.command("hello", "--config", host.config, "--memory", "64M", "--disk",
                               "path=" + host.disk, "--stop-timeout", str(LIMIT), *options)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          env=os.environ | {"GODWIT_STATE_DIR": host.state}, text=True) as vm:
        try:
            check(vm.stdout.read(1) == "G", "no first byte")
            yield vm
        finally:
            vm.kill()


def test_ownership_generations(rig):
    """Each cold start counts one, a guest's reboot none; who only reads leaves no record."""
    host = Host(rig)
    for generation in (1, 2):
        host.boot()
        record = host.record()
        check(record["vm"] == host.vm and record["generation"] == generation, record)
        check(record["state"] == "running" and record["session"] == "", record)
    with running(host, "--append", "button") as vm:
        host.run("reboot", own_name())
        check(vm.stdout.read(1) == "G", "it did not boot again")
        check(host.record()["generation"] == 3, host.record())
    os.remove(host.disk + ".owner")
    readonly = rig.disk(name="readonly.img")
    host.boot("--disk", f"path={readonly},readonly=on")
    check(sorted(os.listdir(rig.folder)) == ["disk.img", "disk.img.owner", "readonly.img",
                                             "vm.json"], os.listdir(rig.folder))


def test_ownership_hotplug(rig):
    """A disk that is added has a record, and one that is being handed over is refused."""
    host = Host(rig)
    with running(host, "--append", "stay"):
        second = rig.disk(name="second.img")
        host.run("add-disk", own_name(), f"path={second}")
        with open(second + ".owner", encoding="ascii") as f:
            check(json.load(f)["vm"] == host.vm, "another VM's")
        third = rig.disk(name="third.img")
        with open(third + ".owner", "w", encoding="ascii") as f:
            json.dump(host.record() | {"state": "offered", "host": "alpha"}, f)
        said = host.run("add-disk", own_name(), f"path={third}", status=1)
        check("which host alpha is handing over" in said, said)
        devices = json.loads(host.run("info", "--json", own_name()))["config"]["disks"]
        check(len(devices) == 2, devices)


def test_ownership_offered(rig):
    """A cold start refuses a disk that is being handed over, until somebody decides."""
    host = Host(rig)
    host.boot()
    host.change(state="offered", session=str(uuid.uuid4()), host="alpha")
    said = host.boot(status=1)
    check(f"belongs to VM {host.vm}, which host alpha is handing over" in said, said)
    advice = f"godwit resolve {host.vm} --run {host.disk}"
    check(said.endswith(f": {advice}\n"), said)
    check(host.record()["generation"] == 1, host.record())
    said = host.run(*advice.split()[1:])
    check(said == f"{host.disk}: was offered, is running\n", said)
    check(host.record()["generation"] == 2, host.record())
    host.boot()
    check(host.record()["generation"] == 3, host.record())


def test_ownership_given(rig):
    """A VM that was given away does not start again, unless it came back or is taken back."""
    host = Host(rig)
    host.promise("source", "given", 4)
    said = host.boot(status=1)
    check("was given to beta:4444 and may run there" in said, said)
    check(not os.path.exists(host.disk + ".owner"), "a record")
    host.promise("destination", "accepted", 6)
    host.boot()
    host.promise("source", "given", 6)
    advice = host.boot(status=1).strip().rpartition(": ")[2]
    check(advice == f"godwit resolve {host.vm} --run", advice)
    said = host.run(*advice.split()[1:])
    check(said == f"VM {host.vm}: was given, is running\n", said)
    check(host.last("source") == {"state": "running", "session": "", "generation": 6,
                                  "peer": "beta:4444", "arbiter": "none"}, host.last("source"))
    check(host.last("destination")["state"] == "accepted", "the other role changed")
    host.boot()


def test_ownership_resolve(rig):
    """What each state becomes; and what is refused."""
    host = Host(rig)
    for role, before, option, after in (("source", "offered", "--run", "running"),
                                        ("source", "answered", "--discard", "given"),
                                        ("destination", "proven", "--run", "accepted"),
                                        ("destination", "expects", "--discard", "refused")):
        host.promise(role, before, 4)
        said = host.run("resolve", host.vm, option)
        check(said == f"VM {host.vm}: was {before}, is {after}\n", said)
        check(host.last(role)["state"] == after, host.last(role))
        check(host.last(role)["generation"] == (5 if after == "accepted" else 4), host.last(role))
        check(host.run("resolve", host.vm, option) == "", "twice")
        os.remove(f"{host.state}/{host.vm}-{role}.json")
    said = host.run("resolve", host.vm, "--run", status=1)
    check("knows of no migration" in said, said)
    said = host.run("resolve", host.vm, "--run", host.disk, status=1)
    check("has no owner record" in said, said)
    said = host.run("resolve", "web", "--run", status=1)
    check('"web" is not the uuid of a VM' in said, said)
    for words in ((), ("--run", "--discard")):
        said = host.run("resolve", host.vm, *words, status=2)
        check("say one of --run and --discard" in said, said)
    host.run("resolve", host.vm, "--discard", host.disk, status=2)
    host.boot()
    said = host.run("resolve", str(uuid.uuid4()), "--run", host.disk, status=1)
    check(f"belongs to another VM: {host.vm}" in said, said)
    with running(host, "--append", "stay"):
        said = host.run("resolve", host.vm, "--run", host.disk, status=1)
        check(f"is in use by VM '{own_name()}'" in said, said)


def test_ownership_taken(rig):
    """A disk whose record shows that the VM arrived elsewhere is not this host's."""
    host = Host(rig)
    host.boot()
    host.promise("source", "answered", 1)
    host.change(generation=2, session=str(uuid.uuid4()), host="beta")
    said = host.run("resolve", host.vm, "--run", host.disk, status=1)
    check("host beta has run this VM since; say --discard" in said, said)
    check(host.last("source")["state"] == "answered", host.last("source"))
    host.run("resolve", host.vm, "--discard")
    # Whoever knows better, says so once more.
    host.run("resolve", host.vm, "--run", host.disk)
    host.boot()
    check(host.record()["generation"] == 3, host.record())


def test_ownership_without_record(rig):
    """Where no record can be written the VM runs without one."""
    host = Host(rig)
    os.mkdir(host.disk + ".owner.new")
    host.boot()
    check(not os.path.exists(host.disk + ".owner"), "a record")
