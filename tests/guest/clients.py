# SPDX-License-Identifier: Apache-2.0
"""Clients of the control API as others wrote them: each sends the bytes that its original sends,
reads them as its original reads them, and is as easily upset."""
import array
import contextlib
import json
import os
import re
import select
import socket
import subprocess
import time

from api_client import WITNESS, Recorder
from rig import LIMIT, Failed, check

API = "/api/v1/"
EVENTS = {"vmm": ("starting", "shutdown"),
          "vm": ("booting", "booted", "rebooting", "rebooted", "shutdown", "deleted", "pausing",
                 "paused", "resuming", "resumed")}
STATES = {"Created", "Running", "Shutdown", "Paused"}


@contextlib.contextmanager
def cloud_hypervisor(rig, *options, **popen):
    """The program under the name by which they start it; it must end by itself, and well."""
    name = rig.path("cloud-hypervisor")
    if not os.path.lexists(name):
        os.symlink(rig.godwit, name)
    with subprocess.Popen([name, *options], stdin=subprocess.DEVNULL, **popen) as process:
        try:
            yield process
            check(process.wait(LIMIT) == 0, f"it ended with {process.returncode}")
        finally:
            process.kill()


def connect(path):
    """Once somebody listens there."""
    deadline = time.monotonic() + LIMIT
    while True:
        s = Recorder(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(LIMIT)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            check(time.monotonic() < deadline, "there is no socket")
            time.sleep(0.01)


def send(s, data, fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    check(s.sendmsg([data], rights) == len(data), "not all of it is sent")


def read_some(fd):
    """What there is, but not forever."""
    check(select.select([fd], [], [], LIMIT)[0], "nothing more comes")
    return os.read(fd, 4096)


def text_of(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise Failed(f"{data!r} is not text by itself") from e


def json_of(text):
    try:
        return json.loads(text)
    except ValueError as e:
        raise Failed(f"{text!r} is not JSON") from e


def described(s, number, media, text):
    """What the answer says, which must be in docs/openapi.yaml."""
    value = json_of(text) if text else None
    fault = WITNESS.judge(*s.request(), number, media, value)
    check(not fault, fault)
    return value


def vcpu_threads(pid):
    """The numbers of the threads named vcpuN."""
    names = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as f:
            names.append(f.read().strip())
    return sorted(int(n[4:]) for n in names if n.startswith("vcpu"))


class Refused(Failed):
    """The answer was an error: its status, and its sentences."""

    def __init__(self, status, sentences):
        super().__init__(f"{status}: {sentences}")
        self.status, self.sentences = status, sentences


def refused(status, ask, *arguments, **more):
    """The sentences of the error that this must be answered with."""
    try:
        answer = ask(*arguments, **more)
    except Refused as e:
        check(e.status == status, f"{arguments}: {e}, wanted {status}")
        return e.sentences
    raise Failed(f"{arguments}: {answer}, wanted {status}")


def sentences_of(errors):
    check(isinstance(errors, list) and errors and all(isinstance(e, str) for e in errors),
          f"the error is {errors}")
    return errors


class ChRemote:
    """ch-remote, and Kata's runtime-rs: a connection for each request, which goes out in pieces,
    files with the first of them; answers are read as text by 256 bytes, and end where they say."""

    def __init__(self, path):
        self.path = path

    def ask(self, method, name, body=None, fds=()):
        with connect(self.path) as s:
            send(s, f"{method} {API}{name} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n".encode(),
                 fds)
            text = json.dumps(body, ensure_ascii=False).encode() if body is not None else b""
            if text:
                send(s, f"Content-Length: {len(text)}\r\n".encode())
            send(s, b"\r\n")
            if text:
                send(s, text)
            return self.answer(s)

    @staticmethod
    def answer(s):
        text, length, body = "", None, None
        while body is None or (length is not None and len(text) != body + length):
            piece = s.recv(256)
            check(piece, f"the connection ended after {text!r}")
            text += text_of(piece)
            if length is None and "Content-Length: " in text:
                length = int(text.partition("Content-Length: ")[2].partition("\r")[0])
            if body is None and "\r\n\r\n" in text:
                body = text.index("\r\n\r\n") + 4
        number = text.partition("\r")[0].removeprefix("HTTP/1.1 ")
        check(number.strip().isdigit(), f"the status is {number!r}")
        media = re.search("\r\nContent-Type: (.*)\r\n", text[:body])
        value = described(s, int(number), media and media[1], text[body:])
        if int(number) not in (200, 204):
            raise Refused(int(number), sentences_of(value))
        check((int(number) == 204) == (length is None), f"{number} has a length of {length}")
        return value

    def get(self, name):
        return self.ask("GET", name)

    def put(self, name, body=None, fds=()):
        return self.ask("PUT", name, body, fds)


def chain(sentences):
    """How ch-remote shows an error to its user."""
    return "\n".join(f"{number}: {text}" for number, text in enumerate(sentences))


class Libvirt:
    """libvirt's ch driver: one connection that is kept; the first bytes that come are the head."""

    def __init__(self, path):
        self.socket = connect(path)

    def close(self):
        self.socket.close()

    def head(self):
        first = self.socket.recv(1023)
        head, end, body = first.partition(b"\r\n\r\n")
        check(end, f"the head does not come in one piece, but {first!r}")
        status, *fields = text_of(head).split("\r\n")
        return status, dict(f.split(": ", 1) for f in fields), body

    def answer(self):
        status, fields, body = self.head()
        number = int(status.split()[1])
        check("close" not in fields.values(), "the connection is not kept")
        while len(body) < int(fields.get("Content-Length", 0)):
            body += self.socket.recv(4096)
        value = described(self.socket, number, fields.get("Content-Type"), text_of(body))
        if number >= 300:
            raise Refused(number, sentences_of(value))
        return value

    def ask(self, method, name, *fields, body=b"", fds=()):
        head = [f"{method} {API}{name} HTTP/1.1", "Host: localhost", "Accept: */*", *fields]
        send(self.socket, "\r\n".join(head).encode() + b"\r\n\r\n" + body, fds)

    def get(self, name):
        self.ask("GET", name)
        return self.answer()

    def send_json(self, name, value, fds=()):
        body = json.dumps(value, ensure_ascii=False).encode()
        self.ask("PUT", name, "Content-Type: application/json", f"Content-Length: {len(body)}",
                 body=body, fds=fds)
        return self.answer()

    def put(self, name):
        """libvirt 11.3"""
        self.ask("PUT", name, "Content-Length: 0")
        return self.answer()

    def put_chunked(self, name):
        """libvirt 9.0: nothing is sent in chunks, and only when it was asked for."""
        self.ask("PUT", name, "Transfer-Encoding: chunked", "Expect: 100-continue")
        status, fields, rest = self.head()
        check(status.split()[1] == "100" and not fields and not rest, f"no 100 but {status}")
        send(self.socket, b"0\r\n\r\n")
        return self.answer()


class EventReader:
    """libvirt's: objects come back to back, and end where their braces are even; what it does not
    know it ignores."""

    def __init__(self, fd):
        self.fd, self.text = fd, ""

    def one(self):
        while True:
            depth = 0
            for at, c in enumerate(self.text):
                depth += {"{": 1, "}": -1}.get(c, 0)
                if c == "}" and not depth:
                    event, self.text = json_of(self.text[:at + 1]), self.text[at + 1:]
                    return event
            more = read_some(self.fd)
            check(more, "the event monitor has ended")
            self.text += text_of(more)

    def until(self, name):
        """Those it knows up to this one."""
        names = []
        while name not in names:
            event = self.one()
            check(isinstance(event["timestamp"]["secs"], int) and "nanos" in event["timestamp"]
                  and "properties" in event, event)
            if event["event"] in EVENTS.get(event["source"], ()):
                names.append(event["source"] + "/" + event["event"])
        return names


class KataGo:
    """Kata's runtime in Go: made from the OpenAPI text, it takes a body for JSON only if its type
    says so, whatever the status."""

    def __init__(self, path):
        self.socket = connect(path)

    def ask(self, method, name, body=None):
        text = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {API}{name} HTTP/1.1", "Host: localhost",
                "User-Agent: OpenAPI-Generator/1.0.0/go"]
        if method == "PUT":
            head.append(f"Content-Length: {len(text)}")
        head.append("Accept: application/json")
        if text:
            head.append("Content-Type: application/json")
        send(self.socket, "\r\n".join([*head, "Accept-Encoding: gzip", "", ""]).encode() + text)
        return self.answer()

    def answer(self):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.more(data)
        head, _, body = data.partition(b"\r\n\r\n")
        status, *fields = text_of(head).split("\r\n")
        fields = dict(f.split(": ", 1) for f in fields)
        while len(body) < int(fields.get("Content-Length", 0)):
            body += self.more(body)
        number = int(re.fullmatch(r"HTTP/1\.1 (\d\d\d) .*", status)[1])
        check(not body or fields.get("Content-Type") == "application/json",
              f"{number}: undefined response type {fields}")
        value = described(self.socket, number, fields.get("Content-Type"), text_of(body))
        if number >= 300:
            raise Refused(number, sentences_of(value))
        return value

    def more(self, before):
        data = self.socket.recv(4096)
        check(data, f"the connection ended after {before!r}")
        return data

    def get(self, name):
        return self.ask("GET", name)

    def put(self, name, body=None):
        return self.ask("PUT", name, body)

    def ended(self):
        check(self.socket.recv(1) == b"", "it says more than it was asked")
        self.socket.close()


# What Kata's runtime-rs has no Option for, and of which type; [] stands for each of an array.
STRICT = {
    "state": str, "memory_actual_size": int,
    "config.cpus.boot_vcpus": int, "config.cpus.max_vcpus": int, "config.cpus.max_phys_bits": int,
    "config.memory.size": int, "config.payload": dict, "config.rng.src": str,
    "config.serial.mode": str, "config.console.mode": str,
    "config.disks.[].num_queues": int, "config.disks.[].queue_size": int,
    "config.net.[].ip": str, "config.net.[].mask": str, "config.net.[].mac": str,
    "config.net.[].num_queues": int, "config.net.[].queue_size": int,
}


def at_path(value, path):
    """All that stand there."""
    if not path:
        return [value]
    if path[0] == "[]":
        return [found for item in value for found in at_path(item, path[1:])]
    check(path[0] in value, f"missing field {path[0]} in {value}")
    return at_path(value[path[0]], path[1:])


def has_null(value):
    if isinstance(value, dict):
        value = list(value.values())
    return value is None or (isinstance(value, list) and any(has_null(v) for v in value))


def check_strictly(info):
    """As a deserialiser that fails where one field is missing or has another type."""
    for path, kind in STRICT.items():
        for found in at_path(info, path.split(".")):
            # pylint: disable-next=unidiomatic-typecheck
            check(type(found) is kind, f"{path} is {found!r}")
    check(info["state"] in STATES, f"unknown variant {info['state']}")
    check(0 < info["config"]["cpus"]["max_phys_bits"] < 256, "not a u8")
    for net in info["config"]["net"]:
        for key in ("ip", "mask"):
            socket.inet_pton(socket.AF_INET, net[key])
    check(not has_null(info["config"]), "an optional that is not set is null")
    return info
