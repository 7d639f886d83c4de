# SPDX-License-Identifier: Apache-2.0
"""Agents of several hosts on this one: each has a state directory and a run directory of its own."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

LIMIT = 60  # seconds that anything may take; little needs a tenth of it


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(true, why):
    if not true:
        raise Failed(why)


class Connection(http.client.HTTPConnection):
    """With the API of an agent."""

    def __init__(self, path):
        super().__init__("agent", timeout=LIMIT)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(self.path)


class Agent:
    """A process of "godwit-agent run"."""

    def __init__(self, cluster, name, *options, key=None):
        self.cluster, self.name = cluster, name
        self.log = cluster.path(f"{key or name}.log")
        self.runtime = cluster.path(f"run-{key or name}")
        self.state = cluster.path(f"state-{key or name}")
        os.makedirs(self.runtime, exist_ok=True)
        command = [cluster.program, "run", "--id", name, *options]
        if os.geteuid() == 0:  # whose run directory is the same for all
            command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh",
                       *command]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "XDG_RUNTIME_DIR": self.runtime,
                     "GODWIT_STATE_DIR": self.state})

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def says(self, *parts):
        self.until(lambda: all(part in self.said() for part in parts), f"does not say {parts}")

    def until(self, true, why):
        """Until it is so; the agent runs all the time."""
        deadline = time.monotonic() + LIMIT
        while not true():
            check(self.process.poll() is None, f"{self.name} ended:\n{self.said()}")
            check(time.monotonic() < deadline, f"{self.name} {why}; its log:\n{self.said()}")
            time.sleep(0.05)

    def address(self):
        """Where others reach it."""
        pattern = re.compile(r"other agents reach this one at (\S+)\n")
        self.until(lambda: pattern.search(self.said()), "does not listen")
        return pattern.search(self.said())[1]

    def ask(self, method, what, body=None):
        self.says(f'agent "{self.name}" runs')
        root = f"/proc/{self.process.pid}/root/run" if os.geteuid() == 0 else self.runtime
        with contextlib.closing(Connection(root + "/godwit/.agent.sock")) as connection:
            connection.request(method, "/api/v1/" + what, body and json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
        check(answer.status in (200, 204), f"{method} {what}: {answer.status} {text}")
        return json.loads(text) if what == "status" and text else text.decode()

    def set(self, what, **body):
        self.ask("PUT", what, body)

    def status(self):
        return self.ask("GET", "status")

    def hosts(self):
        """The states of all hosts."""
        return {host["id"]: host["state"] for host in self.status()["hosts"]}

    def sees(self, planner, **hosts):
        """These hosts and no others, and who plans."""
        def is_so():
            return self.status()["planner"] == planner and self.hosts() == hosts
        self.until(is_so, f"does not come to {planner} of {hosts}")

    def killed(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT)

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
        self.program = os.path.join(build, "godwit-agent")
        self.folder = folder
        self.agents = {}
        if os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode:
            raise Skipped("a mount namespace is not permitted")
        subprocess.run([os.path.join(build, "tests/guest/certificates"), folder, *"abcd"],
                       check=True, stdout=subprocess.DEVNULL, timeout=LIMIT)

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, name, peers="", listen="tcp:127.0.0.1:0", tls=None, key=None):
        """One of that id; tls: "" for none; key: for one that has the id of another."""
        options = ["--listen", listen]
        if tls != "":
            options += ["--tls", self.path(tls or name)]
        if peers:
            options += ["--peers", peers]
        agent = Agent(self, name, *options, key=key)
        self.agents[key or name] = agent
        return agent

    def three(self):
        """a, b and c have come to know each other, and look at each other every second."""
        a = self.start("a")
        found = [a, self.start("b", a.address()), self.start("c", a.address())]
        for agent in found:
            agent.sees("a", a="up", b="up", c="up")
        a.set("policy", window_s=6)
        return found

    def again(self, agent):
        """The same host, after the process was killed, with what it knew."""
        listen = "tcp:" + agent.address()
        return self.start(agent.name, listen=listen)

    def end(self):
        """All that run, and what they say of it."""
        running = [a for a in self.agents.values() if a.process.poll() is None]
        for agent in running:
            agent.ended()
        for agent in self.agents.values():
            check("Sanitizer" not in agent.said(), agent.said())

    def kill(self):
        for agent in self.agents.values():
            agent.killed()
