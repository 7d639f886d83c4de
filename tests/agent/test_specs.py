# SPDX-License-Identifier: Apache-2.0
"""VMs that specs say: started, started again, stopped, and found again by another agent."""
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time

from rig import LIMIT, check


def run_directory():
    return "/run/godwit" if os.geteuid() == 0 else os.environ["XDG_RUNTIME_DIR"] + "/godwit"


def wait_for(what, why):
    """What is true in the end, whenever that is."""
    deadline = time.monotonic() + LIMIT
    while True:
        seen = what()
        if seen:
            return seen
        check(time.monotonic() < deadline, f"never: {why}")
        time.sleep(0.02)


class Control(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(run_directory() + "/.agent.sock")


class Agent:
    """One host's, which may be killed and started anew."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.log = os.path.join(folder, "agent.log")
        self.environment = dict(os.environ, GODWIT_STATE_DIR=os.path.join(folder, "state"))
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.build + "/godwit-agent", "run"], stderr=log,
                                            stdin=subprocess.DEVNULL, env=self.environment)
        wait_for(self.answers, "the agent answers")

    def answers(self):
        check(self.process.poll() is None, self.said())
        try:
            return bool(self.status())
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def said(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def ask(self, method, path, body=None):
        """The status and what was answered, as JSON."""
        control = Control("localhost")
        with contextlib.closing(control):
            control.request(method, "/api/v1/" + path, body and json.dumps(body))
            answer = control.getresponse()
            text = answer.read()
        return answer.status, json.loads(text) if text else None

    def does(self, path, body):
        status, said = self.ask("PUT", path, body)
        check(status < 300, f"{path} is refused: {said}")
        return said

    def refuses(self, path, body, with_status):
        status, said = self.ask("PUT", path, body)
        check(status == with_status, f"{path}: status {status}, {said}")
        return said[0]

    def status(self):
        return self.ask("GET", "status")[1]

    def vm(self, name):
        """What status says of it, or None."""
        found = [vm for vm in self.status()["vms"] if vm["name"] == name]
        check(len(found) <= 1, f"twice: {found}")
        return found[0] if found else None

    def waits_for(self, name, **wanted):
        def seen():
            vm = self.vm(name)
            return vm if vm and all(vm.get(k) == v for k, v in wanted.items()) else None

        try:
            return wait_for(seen, f"{name} is {wanted}")
        except Exception:
            print(self.said())
            raise

    def says(self, words):
        wait_for(lambda: words in self.said(), f"it says {words!r}:\n{self.said()}")

    def spec(self, name, program="service", cmdline="nodriver", **more):
        vm = {"payload": {"kernel": f"{self.build}/tests/guest/{program}.elf",
                          "cmdline": cmdline},
              "memory": {"size": "64M"}, **more.pop("vm", {})}
        return {"name": name, "vm": vm, **more}

    def godwit(self, *words):
        return subprocess.run([self.build + "/godwit", *words], env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=LIMIT, check=False)


def pid_of(name):
    """Of the process that runs the VM now; None: none does."""
    try:
        with open(f"{run_directory()}/{name}/pid", encoding="ascii") as f:
            pid = int(f.read())
        os.kill(pid, 0)
        return pid
    except (OSError, ValueError):
        return None


def end(pid):
    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def agent_of(build, folder):
    agent = Agent(build, folder)
    agent.start()
    try:
        yield agent
    finally:
        agent.kill()
        if os.path.isdir(run_directory()):
            for name in os.listdir(run_directory()):
                if pid_of(name):
                    end(pid_of(name))


def test_specs_restart(build, folder):
    """A killed VM is started again, one whose guest powers off is not."""
    with agent_of(build, folder) as agent:
        said = agent.does("apply", agent.spec("web"))
        check(said == ["The spec is new."], said)
        check(agent.does("apply", agent.spec("web")) == ["The spec is as it was."], "again")
        vm = agent.waits_for("web", state="Running", spec=True, restarts=0, why="")
        first = pid_of("web")
        status = os.readlink(f"/proc/{first}/fd/0")
        check(status == "/dev/null", f"standard input is {status}")
        check(os.getsid(first) == first, "no session of its own")
        end(first)
        agent.says("its process was ended by SIGKILL; it is started again in 1 s")
        again = agent.waits_for("web", state="Running", restarts=1, why="")
        check(again["uuid"] == vm["uuid"], "another uuid")
        check(pid_of("web") != first, "the same process")
        check(agent.godwit("shutdown", "web").returncode == 0, "shutdown")
        agent.waits_for("web", state="stopped", restarts=1, why="it was powered off")
        agent.says("it was powered off; it is not started again")
        agent.does("start", {"name": "web"})
        agent.waits_for("web", state="Running", why="")


def test_specs_fail(build, folder):
    """A guest that panics is one that failed; what is done then is the spec's to say."""
    with agent_of(build, folder) as agent:
        agent.ask("PUT", "apply", agent.spec("once", cmdline="panic", restart="no"))
        vm = agent.waits_for("once", state="failed", restarts=0)
        check("panicked" in vm["why"], vm)
        agent.ask("PUT", "apply", agent.spec("often", cmdline="panic"))
        why = "the guest's kernel panicked; --on-panic says what to do then"
        agent.says(f"vm-down often: {why}; it is started again in 1 s")
        agent.says(f"vm-down often: {why}; it is started again in 2 s")
        agent.does("stop", {"name": "often"})
        agent.waits_for("often", state="stopped", why="")
        agent.does("apply", agent.spec("always", restart="always"))
        check(agent.godwit("shutdown", "always").returncode == 0, "shutdown")
        agent.says("it was powered off; it is started again in 1 s")
        agent.waits_for("always", state="Running", restarts=1)
        check(agent.vm("once")["state"] == "failed", agent.vm("once"))


def test_specs_another_agent(build, folder):
    """VMs go on without an agent, and the next one knows how they were, and how they ended."""
    with agent_of(build, folder) as agent:
        for name in ("stays", "off", "killed", "panics"):
            agent.does("apply", agent.spec(name, **({"program": "dirty", "cmdline": "mib=1"}
                                                    if name == "panics" else {})))
        pids = {name: pid_of(name) for name in ("stays", "off", "killed", "panics")}
        agent.kill()
        check(agent.godwit("shutdown", "off").returncode == 0, "shutdown")
        end(pids["killed"])
        subprocess.run([build + "/godwit", "console", "panics"], input=b"p",
                       env=agent.environment, capture_output=True, timeout=LIMIT, check=False)
        for name in ("off", "killed", "panics"):
            wait_for(lambda gone=name: not pid_of(gone), f"{name} is over")
        agent.start()
        agent.waits_for("off", state="stopped", why="it was powered off")
        agent.waits_for("killed", state="Running", restarts=1)
        agent.says("vm-down killed: its process is gone, and nothing tells why")
        agent.waits_for("panics", state="Running", restarts=1)
        agent.says("vm-down panics: the guest's kernel panicked")
        agent.waits_for("stays", state="Running", restarts=0)
        check(pid_of("stays") == pids["stays"], "another process")
        # It did not start that one, and looks after it all the same.
        end(pids["stays"])
        agent.waits_for("stays", state="Running", restarts=1)
        # The host lost its power: nothing failed.
        agent.kill()
        for name in ("stays", "killed"):
            end(pid_of(name))
            wait_for(lambda gone=name: not pid_of(gone), f"{name} is over")
            with open(f"{folder}/state/agent/processes/{name}.pid", "r+", encoding="ascii") as f:
                record = json.load(f)
                record["boot"] = record["boot"][::-1]
                f.seek(0)
                f.write(json.dumps(record) + "\n")
        agent.start()
        agent.waits_for("stays", state="Running", restarts=0)
        agent.waits_for("killed", state="Running", restarts=0)
        agent.waits_for("off", state="stopped", why="it was powered off")


def test_specs_stop(build, folder):
    """What is stopped stays so, what is deleted is nobody's."""
    with agent_of(build, folder) as agent:
        # One has no ear for its power button.
        agent.does("apply", agent.spec("deaf", program="echo", vm={"stop_timeout_s": 1}))
        agent.does("apply", agent.spec("web"))
        for name in ("deaf", "web"):
            check(pid_of(name), f"{name} does not run")
            agent.does("stop", {"name": name})
            check(not pid_of(name), f"{name} runs")
            check(agent.vm(name)["state"] == "stopped", agent.vm(name))
        agent.kill()
        agent.start()
        agent.does("start", {"name": "web"})
        check(agent.vm("web")["state"] == "Running", agent.vm("web"))
        check(agent.vm("deaf")["state"] == "stopped", agent.vm("deaf"))
        agent.does("delete", {"name": "web"})
        check(pid_of("web"), "deleting a spec ended its VM")
        check(agent.vm("web")["spec"] is False, agent.vm("web"))
        end(pid_of("web"))
        wait_for(lambda: agent.vm("web") is None, "it is gone")
        agent.does("delete", {"name": "deaf"})
        check(not agent.status()["vms"], agent.status())
        check(not os.listdir(folder + "/state/agent/specs"), "a file is left")
        said = agent.refuses("start", {"name": "web"}, 404)
        check(said == 'there is no spec "web"', said)


def test_specs_refused(build, folder):
    """Why a VM does not run is said, and one spec's trouble is not another's."""
    disk = os.path.join(folder, "disk.img")
    with open(disk, "wb") as f:
        f.truncate(16 << 20)
    with agent_of(build, folder) as agent:
        disks = {"disks": [{"path": disk}]}
        agent.does("apply", agent.spec("first", vm=disks))
        said = agent.refuses("apply", agent.spec("second", vm=disks), 500)
        check(said.startswith("the spec is kept, but: ") and "disk.img" in said, said)
        vm = agent.waits_for("second", state="failed", restarts=0)
        check("in use" in vm["why"] and vm["why"] in said, vm)
        agent.says(f"vm-down second: {vm['why']}; it is started again in 300 s")
        agent.does("stop", {"name": "first"})
        agent.does("start", {"name": "second"})
        agent.waits_for("second", state="Running", why="")
        said = agent.refuses("apply", {"name": "third", "vm": {}, "colour": "red"}, 400)
        check(said == 'a spec has no "colour"', said)
        said = agent.refuses("apply", {"name": "third", "vm": {}}, 500)
        check("no kernel is given" in said, said)
        check(agent.vm("third")["state"] == "failed", agent.vm("third"))


def test_specs_change(build, folder):
    """The planner knows at once, the VM when it is started the next time."""
    with agent_of(build, folder) as agent:
        agent.does("apply", agent.spec("web"))
        said = agent.does("apply", agent.spec("web", weight=3, pinned=True, apart=["db"],
                                              vm={"memory": {"size": "32M"}}))
        check(len(said) == 2 and "next time" in said[1], said)
        vm = agent.vm("web")
        check(vm["weight"] == 3 and vm["pinned"] and vm["apart"] == ["db"], vm)
        check(vm["memory"] == 64 << 20, vm)
        said = agent.does("apply", agent.spec("web", state="stopped",
                                              vm={"memory": {"size": "32M"}}))
        check(agent.vm("web")["state"] == "stopped", said)
        agent.does("start", {"name": "web"})
        check(agent.vm("web")["memory"] == 32 << 20, agent.vm("web"))


@contextlib.contextmanager
def destination(agent, url):
    """A process that waits for a VM as if it were another host's."""
    command = [agent.build + "/godwit", "run", "--name", "there", "--incoming", url]
    environment = dict(agent.environment, GODWIT_STATE_DIR=agent.folder + "/there")
    with open(agent.folder + "/there.log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=log)
    try:
        wait_for(lambda: pid_of("there"), "it waits for a VM")
        yield
    finally:
        process.kill()
        process.wait()


def test_specs_moved(build, folder):
    """Whoever moved it: what runs on another host is not started here, whatever its policy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = "tcp:127.0.0.1:%d" % free.getsockname()[1]
    with agent_of(build, folder) as agent, destination(agent, url):
        agent.does("apply", agent.spec("web", program="dirty", cmdline="mib=1", restart="always"))
        moved = agent.godwit("migrate", "web", url)
        check(moved.returncode == 0, moved.stderr)
        vm = agent.waits_for("web", state="stopped", restarts=0)
        check(vm["why"].startswith(f"it was given to {url} and may run there"), vm)
        said = agent.refuses("start", {"name": "web"}, 409)
        check(said == vm["why"], said)
        agent.kill()
        agent.start()
        agent.waits_for("web", state="stopped", restarts=0, why=said)
        agent.waits_for("there", state="Running", spec=False)
