# SPDX-License-Identifier: Apache-2.0
"""A network between agents that can come apart: what they say to each other goes through it, and
where it is cut nothing passes, nor ends, until it is mended."""
import contextlib
import json
import socket
import threading

ADDRESS = "127.0.0.2"  # at which agents say that they are; they listen at 127.0.0.1
PIECE = 1 << 16


class Net:
    """Between agents that have no certificates, so that each connection says in its first line who
    has dialled."""

    def __init__(self):
        self.cut_off = set()
        self.changed = threading.Condition()
        self.open = []

    def lead_to(self, agent):
        """Whoever dials its address from now on."""
        port = int(agent.address().rpartition(":")[2])
        listener = socket.create_server((ADDRESS, port))
        self.open.append(listener)
        self.start(self.accept, listener, agent.name, port)

    def start(self, target, *args):
        threading.Thread(target=target, args=args, daemon=True).start()

    def accept(self, listener, to, port):
        with contextlib.suppress(OSError):
            while True:
                self.start(self.serve, listener.accept()[0], to, port)

    def serve(self, source, to, port):
        with contextlib.suppress(OSError, ValueError), source:
            first = b""
            while not first.endswith(b"\n"):
                more = source.recv(1)
                if not more:
                    return
                first += more
            pair = frozenset([json.loads(first)["hello"]["id"], to])
            self.passes(pair)
            with socket.create_connection(("127.0.0.1", port)) as sink:
                self.open += [source, sink]
                sink.sendall(first)
                self.start(self.carry, pair, sink, source)
                self.carry(pair, source, sink)

    def carry(self, pair, source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                self.passes(pair)
                sink.sendall(piece)
            self.passes(pair)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def passes(self, pair):
        """Waits until something does between these two."""
        with self.changed:
            self.changed.wait_for(lambda: pair not in self.cut_off)

    def cut(self, some, others):
        """None of the first hears, or is heard by, any of the others."""
        with self.changed:
            self.cut_off |= {frozenset([a, b]) for a in some for b in others}

    def mend(self):
        with self.changed:
            self.cut_off.clear()
            self.changed.notify_all()

    def close(self):
        self.mend()
        for one in self.open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
