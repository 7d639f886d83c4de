# SPDX-License-Identifier: Apache-2.0
"""Other sides of agents that are these tests: what they say is up to them."""
import contextlib
import json
import os
import re
import socket
import ssl
import threading
import time

from cluster import LIMIT, Host, check, wait_for

TELL_S = 0.5


def connect(cluster, agent, certificate):
    """A stranger with a good certificate, or with none."""
    host, port = agent.address().split(":")
    plain = socket.create_connection((host, int(port)), LIMIT)
    if not certificate:
        return plain
    folder = cluster.tls(certificate)
    context = ssl.create_default_context(cafile=os.path.join(folder, "ca-cert.pem"))
    context.load_cert_chain(os.path.join(folder, "client-cert.pem"),
                            os.path.join(folder, "client-key.pem"))
    wrapped = context.wrap_socket(plain, server_hostname=host)
    check(wrapped.recv(1) == b"\1", "no welcome")
    return wrapped


class Line:
    """A connection, with one JSON object in each line."""

    def __init__(self, sock):
        self.sock, self.file = sock, sock.makefile("rb")
        self.lock = threading.Lock()

    def say(self, message):
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def hear(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("it hung up")
        return json.loads(line)

    def ask(self, message):
        with self.lock:
            self.say(message)
            return self.hear()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Peer(Host):
    """A host without an agent, whose part this plays: it tells "told" of itself all the time,
    answers questions with what "answers" has for their kind, and keeps them in "asked"."""

    def __init__(self, cluster, name, tls=True):
        super().__init__(cluster, name)
        self.tls, self.ends = tls, False
        self.told = {"id": name, "vms": [], "flights": [], "reservations": []}
        self.answers, self.asked, self.lines = {}, [], {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        cluster.peers[name] = self
        for work in (self.accept, self.tell):
            threading.Thread(target=work, daemon=True).start()

    def hello(self):
        listen = "127.0.0.1:%d" % self.listener.getsockname()[1]
        return {"hello": {"id": self.name, "version": 1, "listen": listen}}

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def welcome(self, sock):
        folder = self.cluster.tls(self.name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(folder, "server-cert.pem"),
                                os.path.join(folder, "server-key.pem"))
        context.load_verify_locations(os.path.join(folder, "ca-cert.pem"))
        context.verify_mode = ssl.CERT_OPTIONAL
        wrapped = context.wrap_socket(sock, server_side=True)
        wrapped.sendall(b"\1")
        return wrapped

    def serve(self, sock):
        with contextlib.suppress(OSError, ValueError):
            line = Line(self.welcome(sock) if self.tls else sock)
            line.hear()
            line.say(self.hello())
            while not self.ends:
                (kind, body), = line.hear().items()
                answer = self.answers.get(kind, lambda _: {"ok": {}})(body)
                if kind != "state":
                    self.asked.append((kind, body))
                if isinstance(answer, bytes):  # all it says
                    line.sock.sendall(answer)
                    break
                line.say(answer)
            line.close()

    def join(self, *agents):
        """They hear it from now on, and reach it."""
        for agent in agents:
            line = Line(connect(self.cluster, agent, self.tls and self.name))
            check("hello" in line.ask(self.hello()), "no hello")
            self.lines[agent.name] = line
        for agent in agents:
            agent.says(f"the agent of {self.name} is reached at")
            agent.until(lambda one=agent: one.hosts().get(self.name) == "up",
                        f"does not hear {self.name}")

    def tell(self):
        while not self.ends:
            for name, line in list(self.lines.items()):
                hears = self.told.get("hears", list(self.lines))
                with contextlib.suppress(OSError, ValueError):
                    self.ask(name, "state", **{**self.told, "hears": hears})
            time.sleep(TELL_S)

    def ask(self, name, kind, **body):
        return self.lines[name].ask({kind: body})

    def is_asked(self, kind):
        return wait_for(lambda: [body for of, body in self.asked if of == kind],
                        lambda: f"{self.name} is not asked {kind}, but {self.asked}")

    def waits(self, vm):
        """A process that waits for that VM; its address."""
        self.run("godwit", "run", "--name", vm, "--incoming", "tcp:127.0.0.1:0")
        pattern = re.compile(rb"waits for a migration at (\S+)\n")

        def seen():
            with open(self.log, "rb") as f:
                f.seek(self.begin)
                return pattern.search(f.read())
        return wait_for(seen, f"nothing waits for {vm}")[1].decode()

    def kill(self):
        self.ends = True
        for line in self.lines.values():
            line.close()
        self.listener.close()
        super().kill()
