# SPDX-License-Identifier: Apache-2.0
"""Hosts of hosts.sh, and what their agents answer, for scripts that measure several of them."""
import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.realpath(__file__))
LIMIT = 60                      # seconds that an answer, or anything that is not measured, may take
MIB = 1 << 20


class Failed(Exception):
    """What should be measured did not come about."""


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("agent", timeout=LIMIT)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(self.path)


class Hosts:
    """Up to nine, each with an agent; all end with it."""

    def __init__(self, build, folder):
        self.build, self.folder, self.names = build, folder, []
        self.shell = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True)
        self.run(f". {HERE}/hosts.sh; trap hosts_end EXIT; hosts_begin {folder} {build}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shell.stdin.close()
        self.shell.wait(LIMIT)

    def run(self, command):
        self.shell.stdin.write(f"{{ {command}; }} >&2; echo $?\n")
        self.shell.stdin.flush()
        status = self.shell.stdout.readline().strip()
        if status != "0":
            raise Failed(f"{command}: status {status}")

    def add(self, cores, memory, *options):
        """Its name; it may still begin."""
        n = len(self.names) + 1
        self.names.append(f"s{n}")
        self.run(f"host_new s{n} {n} {cores} {memory} {' '.join(options)}")
        return f"s{n}"

    def ready(self):
        """All agents know their hosts and each other, and one plans."""
        for name in self.names:
            until(lambda n=name: self.is_ready(n), f"{name} is not ready")

    def is_ready(self, name):
        with contextlib.suppress(OSError):
            status = self.status(name)
            return status["planner"] and sum("cores" in h for h in status["hosts"]) == len(
                self.names)
        return False

    def ask(self, name, method, what, body=None):
        with open(f"{self.folder}/{name}/pid", encoding="ascii") as f:
            socket_path = f"/proc/{f.read().strip()}/root/run/godwit/.agent.sock"
        with contextlib.closing(Connection(socket_path)) as connection:
            connection.request(method, f"/api/v1/{what}",
                               None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 300:
            raise Failed(f"{name}: {method} {what}: {answer.status} {text}")
        return text

    def put(self, host, what, **body):
        self.ask(host, "PUT", what, body)

    def status(self, name=None):
        return json.loads(self.ask(name or self.names[0], "GET", "status"))

    def vm(self, vm, name=None):
        """What the agent says of it; {}: nothing."""
        return next((v for v in self.status(name)["vms"] if v["name"] == vm), {})

    def start(self, host, vm, program, words, mib):
        """A guest there, until it runs; what it says is in said()."""
        self.put(host, "apply", name=vm, vm={
            "payload": {"kernel": f"{self.build}/tests/guest/{program}.elf", "cmdline": words},
            "cpus": {"boot_vcpus": 1, "max_vcpus": 1}, "memory": {"size": mib * MIB},
            "serial": {"mode": "File", "file": f"{self.folder}/{vm}.said"},
            "console": {"mode": "Off"}})

    def said(self, vm):
        with open(f"{self.folder}/{vm}.said", encoding="utf-8", errors="replace") as f:
            return f.read()

    def log(self, name):
        with open(f"{self.folder}/{name}/agent.log", encoding="utf-8", errors="replace") as f:
            return f.read()


def until(is_so, why, limit=LIMIT, pause=0.1):
    """Seconds until it was so."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > limit:
            raise Failed(f"{why}, after {limit} s")
        time.sleep(pause)
    return time.monotonic() - began


def percentile(values, percent):
    """What only so many percent of the values are above, nearest rank."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def machine_load():
    with open("/proc/loadavg", encoding="ascii") as f:
        return re.match(r"\S+", f.read())[0]
