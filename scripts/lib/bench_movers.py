# SPDX-License-Identifier: Apache-2.0
"""How each monitor is told to start a guest, to move it, to save it and to run it again."""
import contextlib
import json
import os
import select
import socket
import subprocess
import time

import bench_answer
from bench_monitor import MICROVM, QEMU_OPTIONS, running
from bench_report import SUBJECT, Failed

LIMIT = 60                      # seconds that anything here may take
PORT = 4444                     # in the network of our own
RUNNING = b"dirty: running\n"


def ended(process):
    """How, as waitid() says it, or None; who started it can still wait for it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def wait_for(process, condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        if ended(process):
            process.fail(f"it has ended: no {what}")
        if time.monotonic() > deadline:
            process.fail(f"no {what} after {LIMIT} s")
        time.sleep(0.001)


def hear(process, text):
    """What the guest says up to it."""
    heard = b""
    while not heard.endswith(text):
        ready, _, _ = select.select([process.out], [], [], LIMIT)
        byte = os.read(process.out, 1) if ready else b""
        if not byte or b"FAIL" in heard:
            process.fail(f"the guest said {heard.decode()[-300:]!r}, not {text.decode()!r}")
        heard += byte
    return heard


class Godwit:
    name = SUBJECT

    def __init__(self, programs, wire, folder, tls):
        self.godwit, self.elf = programs.godwit, programs.elf("dirty")
        self.wire, self.folder = wire, folder
        self.tls = ["--tls", tls] if tls else []
        self.names = [f"bench-{os.getpid()}-{role}" for role in ("source", "destination")]

    def command(self, *argv):
        state = f"{self.folder}/state"
        os.makedirs(state, exist_ok=True)
        return self.wire.inside("env", f"GODWIT_STATE_DIR={state}", self.godwit, *argv)

    def source(self, case):
        return self.command("run", "--name", self.names[0], "--cpus", str(case.cpus), "--memory",
                            f"{case.gib}G", "--kernel", self.elf, "--append", case.append(),
                            "--serial", "tty")

    def destination(self, _case):
        return self.command("run", "--name", self.names[1], "--incoming", f"tcp:127.0.0.1:{PORT}",
                            "--serial", "tty", *self.tls)

    def prepare(self, _source, destination):
        wait_for(destination, lambda: "waits for a migration" in destination.said(), "destination")

    def begin(self):
        return subprocess.Popen(self.command("migrate", self.names[0], f"tcp:127.0.0.1:{PORT}",
                                             "--no-wait", *self.tls), stdout=subprocess.DEVNULL)

    def finish(self, source, begun):
        """The verb has ended well, and so has the source's process: its VM is elsewhere."""
        if begun.wait(LIMIT):
            source.fail(f"godwit migrate ended with status {begun.returncode}")
        wait_for(source, lambda: ended(source), "end of the source")
        status = ended(source).si_status
        if status:
            source.fail(f"the source ended with status {status}")

    def save(self, case, path):
        with running(self.source(case)) as (p,):
            hear(p, RUNNING)
            done = subprocess.run(self.command("snapshot", self.names[0], path, "--stop"),
                                  stdout=subprocess.DEVNULL, timeout=LIMIT, check=False)
            if done.returncode:
                p.fail(f"godwit snapshot ended with status {done.returncode}")

    def restore(self, _case, path):
        return self.command("restore", path, "--name", self.names[1], "--resume")

    def restoring(self, process, path):
        """Nothing is left to do."""


class Qemu:
    """As it comes, but for the limit of 1 Gbit/s."""
    name = "QEMU microvm"
    capabilities = []
    parameters = {"max-bandwidth": 0}

    def __init__(self, programs, wire, folder, tls):
        self.qemu, self.elf = programs.qemu, programs.elf("dirty")
        self.wire, self.folder, self.tls = wire, folder, tls

    def command(self, case, role, *options):
        end = "server" if role == "destination" else "client"
        tls = ["-object", f"tls-creds-x509,id=tls,dir={self.tls},endpoint={end},verify-peer=on"]
        return self.wire.inside(
            self.qemu, "-M", MICROVM, *QEMU_OPTIONS, "-smp", str(case.cpus), "-m", f"{case.gib}G",
            "-kernel", self.elf, "-append", case.append(), *(tls if self.tls else []),
            "-qmp", f"unix:{self.folder}/{role},server=on,wait=off", *options)

    def source(self, case):
        return self.command(case, "source")

    def destination(self, case):
        return self.command(case, "destination", "-incoming", "defer")

    @contextlib.contextmanager
    def asks(self, process, role):
        """A function that asks QMP and returns the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT)
            wait_for(process, lambda: connection.connect_ex(f"{self.folder}/{role}") == 0, "QMP")

            def ask(name, **arguments):
                line = bench_answer.ask(connection, bench_answer.qmp(name, **arguments),
                                        bench_answer.qmp_answer)
                return json.loads(line)["return"]

            ask("qmp_capabilities")
            yield ask

    def set_up(self, ask):
        ask("migrate-set-capabilities", capabilities=[
            {"capability": name, "state": True} for name in self.capabilities])
        tls = {"tls-creds": "tls", "tls-hostname": "localhost"} if self.tls else {}
        ask("migrate-set-parameters", **self.parameters, **tls)

    def prepare(self, source, destination):
        with self.asks(source, "source") as ask:
            self.set_up(ask)
        with self.asks(destination, "destination") as ask:
            self.set_up(ask)
            ask("migrate-incoming", uri=f"tcp:127.0.0.1:{PORT}")

    def begin(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{self.folder}/source")
        connection.sendall(bench_answer.qmp("qmp_capabilities") +
                           bench_answer.qmp("migrate", uri=f"tcp:127.0.0.1:{PORT}"))
        return connection

    def completed(self, ask):
        status = ask("query-migrate").get("status")
        if status == "failed":
            raise Failed("QEMU's migration failed")
        return status == "completed"

    def finish(self, source, begun):
        begun.close()
        with self.asks(source, "source") as ask:
            wait_for(source, lambda: self.completed(ask), "end of the source's migration")

    def memory(self, _path, _share):
        """Options for where the guest's memory is."""
        return []

    def save(self, case, path):
        with running(self.command(case, "source", *self.memory(path, "on"))) as (p,):
            hear(p, RUNNING)
            with self.asks(p, "source") as ask:
                self.set_up(ask)
                ask("migrate", uri=f"exec:cat > {path}")
                wait_for(p, lambda: self.completed(ask), "snapshot")

    def restore(self, case, path):
        return ["sh", "-c", 'exec "$@" 3<"$0"', path,
                *self.command(case, "destination", "-incoming", "fd:3")]

    def restoring(self, process, path):
        """What is left to do once the process is there."""


class TunedQemu(Qemu):
    """With the fastest settings found, and godwit's goal."""
    name = "QEMU microvm, tuned"
    capabilities = ["multifd", "auto-converge"]
    parameters = {"max-bandwidth": 0, "multifd-channels": 2, "downtime-limit": 50}


class MappingQemu(Qemu):
    """Its snapshot's memory is a file that is mapped copy-on-write, as godwit's is."""
    name = "QEMU microvm, tuned"
    capabilities = ["x-ignore-shared"]

    def memory(self, path, share):
        return ["-machine", "memory-backend=ram", "-object",
                f"memory-backend-file,id=ram,size=1G,mem-path={path}-memory,share={share}"]

    def restore(self, case, path):
        return self.command(case, "destination", "-incoming", "defer", *self.memory(path, "off"))

    def restoring(self, process, path):
        with self.asks(process, "destination") as ask:
            self.set_up(ask)
            ask("migrate-incoming", uri=f"exec:cat {path}")
