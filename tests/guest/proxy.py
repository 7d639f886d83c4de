# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy between the two sides of a migration that does harm once and is honest from then on."""
import contextlib
import select
import socket
import struct
import threading
import time

MAGIC_BYTES = 16
HEADER = struct.Struct("<IIQ")  # type, checksum, length
MESSAGES = {"OFFER": (32, True), "SEEN": (33, False), "SEAL": (34, True), "READY": (35, False),
            "TOKEN": (36, True), "ACCEPTED": (37, False)}  # number, comes from the source
PLACES = ("before", "middle", "after")
KINDS = ("drop", "reset", "delay", "truncate")
PIECE = 1 << 16
LOOK_S = 0.1


class Cut:
    """At a message of the hand-over: before its first byte, in its middle, or behind its last."""

    def __init__(self, message, place):
        self.number, self.from_source = MESSAGES[message]
        self.place, self.kind = place, "drop"

    def where(self, pipe, _, sections):
        """How many of the next bytes still pass; None: all do."""
        for at, kind, length in sections if pipe.from_source == self.from_source else ():
            if kind == self.number:
                end = at + HEADER.size + length
                return {"before": at, "middle": (at + end) // 2, "after": end}[self.place]
        return None


class Fault:
    """At one byte of one connection."""

    def __init__(self, kind, connection, from_source, byte):
        self.kind, self.connection = kind, connection
        self.from_source, self.byte = from_source, byte

    def where(self, pipe, size, _):
        if (pipe.connection, pipe.from_source) != (self.connection, self.from_source):
            return None
        at = self.byte - pipe.passed
        return at if 0 <= at < size else None


class Pipe:
    """One direction of a connection. Headers of sections come whole, so that they can be read."""

    def __init__(self, proxy, connection, from_source, source, sink):
        self.proxy, self.connection, self.from_source = proxy, connection, from_source
        self.source, self.sink = source, sink
        self.passed, self.data = 0, b""
        self.skip = MAGIC_BYTES if from_source else 0  # bytes before the next header

    def sections(self):
        """How many bytes can pass: no piece of a header or of a short section; and the sections
        that begin there: (offset, type, length)."""
        at, found = self.skip, []
        while at + HEADER.size <= len(self.data):
            kind, _, length = HEADER.unpack_from(self.data, at)
            if length < PIECE and at + HEADER.size + length > len(self.data):
                break
            found.append((at, kind, length))
            at += HEADER.size + length
        size = min(at, len(self.data))
        self.skip = at - size
        return size, found

    def take(self, size):
        self.sink.sendall(self.data[:size])
        self.data, self.passed = self.data[size:], self.passed + size

    def receive(self):
        """Not blocked in recv(): a socket that another thread is in sends no reset when closed."""
        while not select.select([self.source], [], [], LOOK_S)[0]:
            pass
        return self.source.recv(PIECE)

    def run(self):
        with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed
            while more := self.receive():
                self.data += more
                size, sections = self.sections()
                harm = self.proxy.harm
                stop = harm.where(self, size, sections) if harm else None
                if stop is not None:
                    with self.proxy.nothing_else():
                        self.take(stop)
                        size -= stop
                        if self.proxy.hurt(self):
                            return
                self.proxy.free.wait()
                self.take(size)
        self.proxy.end(self, reset=False)


class Proxy:
    """tcp:127.0.0.1:PORT, the url, leads to the given one."""

    def __init__(self, url, harm):
        self.to = ("127.0.0.1", int(url.rpartition(":")[2]))
        self.harm, self.done = harm, False
        self.lock, self.sockets, self.threads = threading.Lock(), [], []
        self.free = threading.Event()
        self.free.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        self.start(self.accept)

    def start(self, target):
        thread = threading.Thread(target=target, daemon=True)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        connection = 0
        with contextlib.suppress(OSError):
            while True:
                source, _ = self.listener.accept()
                self.sockets.append(source)
                try:
                    sink = socket.create_connection(self.to)
                except OSError:
                    source.close()
                    continue
                self.sockets.append(sink)
                for direction in ((True, source, sink), (False, sink, source)):
                    self.start(Pipe(self, connection, *direction).run)
                connection += 1

    @contextlib.contextmanager
    def nothing_else(self):
        """Nothing passes meanwhile: the answer to the last bytes does not overtake the harm."""
        self.free.clear()
        try:
            yield
        finally:
            self.free.set()

    def hurt(self, pipe):
        """Once; true: nothing more passes there."""
        with self.lock:
            harm, self.harm = self.harm, None
        if not harm:
            return False
        self.done = True
        if harm.kind == "delay":
            time.sleep(0.5)
            return False
        if harm.kind == "truncate":
            pipe.sink.shutdown(socket.SHUT_WR)
            return True
        self.end(pipe, reset=harm.kind == "reset")
        return True

    def end(self, pipe, reset):
        for s in (pipe.source, pipe.sink):
            with contextlib.suppress(OSError):
                if reset:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.close()
                s.shutdown(socket.SHUT_RDWR)

    def close(self):
        for s in [self.listener, *self.sockets]:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for s in [self.listener, *self.sockets]:
            s.close()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()
