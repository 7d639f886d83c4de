# SPDX-License-Identifier: Apache-2.0
"""How soon a monitor answers on its control socket: HTTP for godwit, QMP for QEMU.

One connection, one question after the other; both sides are read in the same way, so that the
language of this program costs them the same.
"""
import json
import re
import socket
import statistics
import time

from bench_report import SUBJECT, Failed

QUESTIONS = 2000                # of each kind
PAUSE = 0.001                   # seconds before each: who is asked faster has no more to do
LIMIT = 20                      # seconds without an answer


def http_answer(received):
    """The body, or None: there is more to come."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    if not head.startswith(b"HTTP/1.1 200"):
        raise Failed(f"the API answers {head.decode()}")
    length = int(re.search(rb"\r\nContent-Length: (\d+)", head)[1])
    return body if len(body) >= length else None


def qmp_answer(received):
    """The line that is no event, or None: there is more to come."""
    for line in received.split(b"\n")[:-1]:
        if line.startswith(b'{"return"'):
            return line
        if line.startswith(b'{"error"'):
            raise Failed(f"QMP answers {line.decode()}")
    return None


def http(name):
    return f"GET /api/v1/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def qmp(name, **arguments):
    return json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n"


class Godwit:
    answer = staticmethod(http_answer)
    begin = []
    questions = [http("vmm.ping"), http("vm.info")]
    counters = http("vm.counters")

    @staticmethod
    def reads(answer):
        return json.loads(answer)["disk0"]["read_ops"]


class Qemu:
    answer = staticmethod(qmp_answer)
    begin = [qmp("qmp_capabilities")]
    questions = [qmp("query-status")] * 2
    counters = qmp("query-blockstats")

    @staticmethod
    def reads(answer):
        return json.loads(answer)["return"][0]["stats"]["rd_operations"]


def ask(connection, question, answer_of):
    connection.sendall(question)
    received, answer = b"", None
    while answer is None:
        more = connection.recv(1 << 16)
        if not more:
            raise Failed(f"no answer to {question!r}")
        received += more
        answer = answer_of(received)
    return answer


def one_in_hundred(values):
    """What only one value of a hundred is above."""
    return sorted(values)[len(values) * 99 // 100]


def measure(name, path):
    """Microseconds, the median and the worst but one in a hundred, of each question; reads/s."""
    side = Godwit if name == SUBJECT else Qemu
    values = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(path)
        for question in side.begin:
            ask(connection, question, side.answer)
        before, began = side.reads(ask(connection, side.counters, side.answer)), time.monotonic()
        for question in side.questions:
            times = []
            for _ in range(QUESTIONS):
                time.sleep(PAUSE)
                asked = time.monotonic_ns()
                ask(connection, question, side.answer)
                times.append((time.monotonic_ns() - asked) / 1000)
            values += [statistics.median(times), one_in_hundred(times)]
        after, ended = side.reads(ask(connection, side.counters, side.answer)), time.monotonic()
    if after == before:
        raise Failed(f"{name}: the guest does not read its disk")
    return (*values, (after - before) / (ended - began))
