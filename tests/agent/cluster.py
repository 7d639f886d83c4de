# SPDX-License-Identifier: Apache-2.0
"""Agents of several hosts on this one: each has a state directory and a run directory of its own."""
import contextlib
import functools
import glob
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

LIMIT = 100  # seconds that anything may take; little needs a tenth of it


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(true, why):
    if not true:
        raise Failed(why)


def wait_for(what, why):
    """What is true in the end, whenever that is; why: a sentence, or what gives one."""
    deadline = time.monotonic() + LIMIT
    while True:
        seen = what()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise Failed(why() if callable(why) else f"never: {why}")
        time.sleep(0.05)


class Connection(http.client.HTTPConnection):
    """With the API of an agent."""

    def __init__(self, path):
        super().__init__("agent", timeout=LIMIT)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(self.path)


class Host:
    """Directories of its own, and what runs there."""

    def __init__(self, cluster, name, key=None):
        self.cluster, self.name = cluster, name
        self.log = cluster.path(f"{key or name}.log")
        self.runtime = cluster.path(f"run-{key or name}")
        self.state = cluster.path(f"state-{key or name}")
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": self.runtime,
                            "GODWIT_STATE_DIR": self.state}
        os.makedirs(self.runtime, exist_ok=True)
        self.begin = 0

    def run(self, program, *words):
        """A process; what it says is in the log."""
        with open(self.log, "ab") as log:
            self.begin = log.tell()
            return subprocess.Popen(self.command(program, *words), stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, env=self.environment)

    def command(self, program, *words):
        """Root has its run directory where all processes have it."""
        command = [os.path.join(self.cluster.build, program), *words]
        if os.geteuid() == 0:
            command = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /run && exec "$@"',
                       self.runtime, *command]
        return command

    def call(self, *words, program="godwit", **more):
        return subprocess.run(self.command(program, *words), env=self.environment,
                              stdin=None if "input" in more else subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT, check=False, **more)

    def pids(self):
        """Of the processes of VMs, and of those that wait for one, by name."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.runtime + "/godwit"):
                with contextlib.suppress(OSError, ValueError):
                    with open(f"{self.runtime}/godwit/{name}/pid", encoding="ascii") as f:
                        pid = int(f.read())
                    os.kill(pid, 0)
                    found[name] = pid
        return found

    def pid_of(self, name):
        return self.pids().get(name)

    def kill(self):
        for pid in self.pids().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Agent(Host):
    """A process of "godwit-agent run", which may be killed and started anew."""

    def __init__(self, cluster, name, *options, key=None):
        super().__init__(cluster, name, key)
        self.options = list(options)
        self.start()

    def start(self):
        self.process = self.run("godwit-agent", "run", "--id", self.name, *self.options)

    def said(self):
        """Since it was started the last time."""
        with open(self.log, "rb") as f:
            f.seek(self.begin)
            return f.read().decode(errors="replace")

    def says(self, *parts):
        self.until(lambda: all(part in self.said() for part in parts), f"does not say {parts}")

    def until(self, true, why):
        """Until it is so, and what it is then; the agent runs until then."""
        def seen():
            value = true()
            check(value or self.process.poll() is None, f"{self.name} ended:\n{self.said()}")
            return value
        return wait_for(seen, lambda: f"{self.name} {why}; its log:\n{self.said()}")

    def address(self):
        """Where others reach it."""
        pattern = re.compile(r"other agents reach this one at (\S+)\n")
        self.until(lambda: pattern.search(self.said()), "does not listen")
        return pattern.search(self.said())[1]

    def ask(self, method, what, body=None):
        """The status and what was answered."""
        self.says(f'agent "{self.name}" runs')
        path = self.runtime + "/godwit/.agent.sock"
        with contextlib.closing(Connection(path)) as connection:
            where = what if what.startswith("/") else "/api/v1/" + what
            connection.request(method, where, body and json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            is_json = answer.getheader("Content-Type") == "application/json"
        return answer.status, json.loads(text) if text and is_json else text.decode()

    def gives(self, what):
        status, said = self.ask("GET", what)
        check(status == 200, f"{what}: {status} {said}")
        return said

    def does(self, what, **body):
        status, said = self.ask("PUT", what, body)
        check(status in (200, 204), f"{what} of {body}: {status} {said}")
        return said

    def refuses(self, with_status, what, **body):
        """With that sentence."""
        status, said = self.ask("PUT", what, body)
        check(status == with_status, f"{what} of {body}: {status} {said}")
        return said[0]

    def status(self):
        return self.gives("status")

    def hosts(self):
        """The states of all hosts."""
        return {host["id"]: host["state"] for host in self.status()["hosts"]}

    def sees(self, planner, **hosts):
        """These hosts and no others, and who plans."""
        def is_so():
            return self.status()["planner"] == planner and self.hosts() == hosts
        self.until(is_so, f"does not come to {planner} of {hosts}")

    def vm(self, name):
        """What status says of it, as this host has it, or None."""
        found = [vm for vm in self.status()["vms"]
                 if vm["name"] == name and vm["host"] == self.name]
        check(len(found) <= 1, f"twice: {found}")
        return found[0] if found else None

    def waits_for(self, name, **wanted):
        def seen():
            vm = self.vm(name)
            return vm if vm and all(vm.get(k) == v for k, v in wanted.items()) else None
        return self.until(seen, f"does not have a {name} that is {wanted}")

    def spec(self, name, program="service", cmdline="nodriver", **more):
        vm = {"payload": {"kernel": f"{self.cluster.build}/tests/guest/{program}.elf",
                          "cmdline": cmdline},
              "memory": {"size": "64M"}, **more.pop("vm", {})}
        return {"name": name, "vm": vm, **more}

    def killed(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT)

    def kill(self):
        self.killed()
        super().kill()

    def ended(self):
        """Ends it as a person would; a sanitizer that has complained gives another status."""
        self.process.terminate()
        try:
            status = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.killed()
            raise Failed(f"{self.name} does not end:\n{self.said()}") from None
        check(status == 0, f"{self.name} ended with {status}:\n{self.said()}")


class Cluster:
    """The agents of one test, and certificates for them."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.agents, self.peers = {}, {}
        if os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode:
            raise Skipped("a mount namespace is not permitted")

    @functools.cached_property
    def certificates(self):
        """The folder in which each host has one."""
        subprocess.run([os.path.join(self.build, "tests/guest/certificates"), self.folder, *"abcd"],
                       check=True, stdout=subprocess.DEVNULL, timeout=LIMIT)
        return self.folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def tls(self, name):
        return os.path.join(self.certificates, name)

    def add(self, name, *options, key=None):
        agent = Agent(self, name, *options, key=key)
        self.agents[key or name] = agent
        return agent

    def start(self, name, peers="", *more, tls=None, key=None):
        """One of that id; tls: "" for none; key: for one that has the id of another."""
        options = ["--listen", "tcp:127.0.0.1:0", *more]
        if tls != "":
            options += ["--tls", self.tls(tls or name)]
        if peers:
            options += ["--peers", peers]
        return self.add(name, *options, key=key)

    def three(self):
        """a, b and c have come to know each other, and look at each other every second."""
        a = self.start("a")
        found = [a, self.start("b", a.address()), self.start("c", a.address())]
        for agent in found:
            agent.sees("a", a="up", b="up", c="up")
        a.does("policy", window_s=6)
        return found

    def hosts(self, names, of_one=None, **size):
        """Hosts that VMs may come to, and that look every second; of_one: {name: {size}}."""
        found = []
        for name in names:
            its = {"memory": "1G", "cores": "2", **size, **(of_one or {}).get(name, {})}
            options = [word for key, value in its.items() for word in ("--" + key, value)]
            found.append(self.start(name, found[0].address() if found else "",
                                    "--address", "127.0.0.1", *options))
        for agent in found:
            agent.sees(names[0], **{name: "up" for name in names})
        found[0].does("policy", window_s=6, interval_s=1)
        return found

    def where(self, vm):
        """The hosts with a process of that VM, or of one that waits for it."""
        return [agent.name for agent in (*self.agents.values(), *self.peers.values())
                if vm in agent.pids()]

    def runs_at(self, vm, agent):
        """There and nowhere else; what its agent says of it."""
        def so():
            told = agent.vm(vm)
            return told and told["state"] == "Running" and self.where(vm) == [agent.name] and told
        return agent.until(so, f"does not come to run {vm} alone")

    def again(self, agent):
        """The same host, after the process was killed, with what it knew."""
        agent.options[agent.options.index("--listen") + 1] = "tcp:" + agent.address()
        agent.start()

    def end(self):
        """All that run, and what they say of it."""
        running = [a for a in self.agents.values() if a.process.poll() is None]
        for agent in running:
            agent.ended()
        for agent in self.agents.values():
            for log in [agent.log, *glob.glob(agent.state + "/agent/processes/*.log*")]:
                with open(log, encoding="utf-8", errors="replace") as f:
                    said = f.read()
                check("Sanitizer" not in said, said)

    def kill(self):
        for host in (*self.agents.values(), *self.peers.values()):
            host.kill()
