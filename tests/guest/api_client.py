# SPDX-License-Identifier: Apache-2.0
"""A client of the control API that believes nothing: every answer must be as it is described."""
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time

import openapi
from rig import LIMIT, check

WITNESS = openapi.Witness(openapi.Description(openapi.load()))
REQUEST_LINE = re.compile(rb"(GET|PUT) (/\S*) HTTP/1\.[01]\r\n")


class Recorder(socket.socket):
    """Keeps what is sent, with files or without, until that is answered."""

    sent = b""

    def sendall(self, data, *flags):
        self.sent += data
        super().sendall(data, *flags)

    def sendmsg(self, buffers, *rest):
        n = super().sendmsg(buffers, *rest)
        self.sent += b"".join(buffers)[:n]
        return n

    def request(self):
        """(method, target) of the oldest request without an answer; empty: it has no such line."""
        line = REQUEST_LINE.search(self.sent)
        if not line:
            return "", ""
        self.sent = self.sent[line.end():]
        return line[1].decode(), line[2].decode("latin-1")


class Connection:
    """One connection; every answer is taken apart by the byte."""

    def __init__(self, path):
        self.socket = Recorder(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)

    def until(self, end):
        while end not in self.buffer:
            more = self.socket.recv(256)
            check(more, f"the connection ended after {self.buffer!r}")
            self.buffer += more
        head, _, self.buffer = self.buffer.partition(end)
        return head

    def body(self, status, fields):
        """(Content-Type, body): None and None if there is none."""
        length = [int(f[16:]) for f in fields if f.startswith("Content-Length: ")]
        if not length:
            check(status in (100, 204), f"{status} has no length")
            return None, None
        check(status != 204 and len(length) == 1, f"{status} has the lengths {length}")
        while len(self.buffer) < length[0]:
            self.buffer += self.socket.recv(256)
        body, self.buffer = self.buffer[:length[0]], self.buffer[length[0]:]
        text = body.decode("ascii")
        media = [f[14:] for f in fields if f.startswith("Content-Type: ")]
        check(len(media) == 1, f"{status} has the types {media}")
        if media[0] != "application/json":
            return media[0], text
        check(text.endswith("\n"), "the JSON is no line")
        return media[0], json.loads(text)

    def answer(self):
        """(status, body): all of it as strict clients want it, and as it is described."""
        head = self.until(b"\r\n\r\n")
        check(len(head) < 1019, f"the head has {len(head)} bytes")
        line, *fields = head.decode("ascii").split("\r\n")
        check(re.fullmatch(r"HTTP/1\.1 \d\d\d ", line), f"status line {line!r}")
        status = int(line[9:12])
        media, body = self.body(status, fields)
        if status != 100:
            fault = WITNESS.judge(*self.socket.request(), status, media, body)
            check(not fault, fault)
        return status, body

    def begin(self, method, name, body=None):
        """In pieces, the body last."""
        path = name if name.startswith("/") else "/api/v1/" + name
        self.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n".encode())
        if body is not None:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send(f"Content-Length: {len(text)}\r\n".encode(), b"\r\n", text)
        else:
            self.send(b"\r\n")

    def ask(self, method, name, body=None):
        self.begin(method, name, body)
        return self.answer()

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def monitor(rig, *options, status=0, **popen):
    """An empty monitor; it must end by itself, with that status."""
    path = rig.path("api.sock")
    options = options or ("--api-socket", path)
    with subprocess.Popen([rig.godwit, *options], stdin=subprocess.DEVNULL, **popen) as process:
        try:
            deadline = time.monotonic() + LIMIT
            while True:
                with contextlib.suppress(OSError):
                    client = Connection(path)
                    break
                check(time.monotonic() < deadline, "there is no socket")
                time.sleep(0.01)
            yield process, client
            check(process.wait(LIMIT) == status, f"it ended with {process.returncode}")
        finally:
            if process.poll() not in (None, status):
                print(f"the monitor ended with {process.returncode}", file=sys.stderr, flush=True)
            process.kill()


def config(rig, program="echo", **more):
    return {"payload": {"kernel": rig.elf(program)}, "memory": {"size": 64 << 20},
            "serial": {"mode": "Null"}, "platform": {"uuid": None}, "disks": None,
            "name": f"test-{os.getpid()}", "nobody_knows_this": 1, **more}


def wants(client, status, method, name, body=None):
    got, answer = client.ask(method, name, body)
    check(got == status, f"{method} {name}: {got} {answer}, wanted {status}")
    if status >= 400:
        check(isinstance(answer, list) and answer and all(isinstance(s, str) for s in answer),
              f"{method} {name}: the error is {answer}")
    return answer
