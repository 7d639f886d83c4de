# SPDX-License-Identifier: Apache-2.0
"""Agents that find each other, agree, lose each other, and send strangers away."""
import json
import os

from cluster import LIMIT, check
from peer import connect

UP = {"a": "up", "b": "up", "c": "up"}


def test_agree(cluster):
    """One plans; what is set at one is so at all."""
    a, b, c = cluster.three()
    c.does("mode", mode="auto")
    b.does("host", id="c", state="draining")
    for agent in (a, b, c):
        agent.until(lambda one=agent: one.status()["mode"] == "auto", "does not hear the mode")
        agent.sees("a", **{**UP, "c": "draining"})
        check(agent.status()["why"] == "", agent.status())
        hosts = [json.loads(line)["host"]["id"] for line in agent.gives("snapshot").split("\n")
                 if line.startswith('{"host"')]
        check(hosts == [agent.name] + [n for n in "abc" if n != agent.name], hosts)


def test_lost(cluster):
    """One is dead: nobody plans until a person says so, or it is back."""
    a, b, c = cluster.three()
    c.killed()
    for agent in (a, b):
        agent.sees(None, **{**UP, "c": "dead"})
        why = agent.status()["why"]
        check(why.startswith("nobody plans: ") and f"{agent.name} does not hear c" in why, why)
        check('"godwit-agent maintenance c on"' in why, why)
        agent.says("peer-lost c: ")
    b.does("host", id="c", state="maintenance")
    for agent in (a, b):
        agent.sees("a", **{**UP, "c": "dead"})
    cluster.again(c)
    for agent in (a, b, c):
        agent.sees("a", **{**UP, "c": "maintenance"})
    c.does("host", id="c", state="up")
    for agent in (a, b, c):
        agent.sees("a", **UP)


def test_lowest_is_lost(cluster):
    """Another plans in its place, and gives it back."""
    a, b, c = cluster.three()
    a.killed()
    for agent in (b, c):
        agent.sees(None, **{**UP, "a": "dead"})
    b.does("host", id="a", state="maintenance")
    for agent in (b, c):
        agent.sees("b", **{**UP, "a": "dead"})
    cluster.again(a)
    a.does("host", id="a", state="up")
    for agent in (a, b, c):
        agent.sees("a", **UP)


def test_joins(cluster):
    """A new one that knows the address of one; those that were there remember it."""
    found = cluster.three()
    d = cluster.start("d", found[1].address())
    for agent in (*found, d):
        agent.sees("a", d="up", **UP)
    a = found[0]
    with open(os.path.join(a.state, "agent/peers.json"), encoding="ascii") as f:
        known = json.load(f)
    check(known == {agent.name: agent.address() for agent in (*found[1:], d)}, known)
    for agent in (*found, d):
        agent.killed()
    cluster.again(a)
    a.sees(None, a="up", b="dead", c="dead", d="dead")
    for agent in (*found[1:], d):
        cluster.again(agent)
    for agent in (*found, d):
        agent.sees("a", d="up", **UP)


def test_alone(cluster):
    """An agent that knows no other plans; one that has met none of those it was told does not."""
    a = cluster.start("a")
    a.sees("a", a="up")
    b = cluster.start("b", "127.0.0.1:1")
    b.sees(None, b="up")
    check("no agent was met at 127.0.0.1:1 yet" in b.status()["why"], b.status())
    b.says("no agent is reached at 127.0.0.1:1: cannot connect")
    # One list for all hosts: it finds itself there by an address that it does not say.
    address = a.address()
    a.ended()
    a = cluster.add("a", "--listen", "tcp:" + address, "--address", "h.example", "--peers",
                    address, "--tls", cluster.tls("a"))
    a.sees("a", a="up")


def test_wrong_name(cluster):
    """Who has the certificate of another host, or of no authority that is known."""
    a, b, c = cluster.three()
    e = cluster.start("e", a.address(), tls="good")
    a.says('it says that it is "e", and its certificate is for "CN=host1"')
    e.says('it refuses: it says that it is "e"')
    d = cluster.start("d", a.address(), tls="strange")
    d.says("no agent is reached at " + a.address())
    a.says("was sent away: ", "certificate")
    for agent in (a, b, c):
        agent.sees("a", **UP)


def test_plain(cluster):
    """On loopback addresses no certificates are needed; who has some does not talk to them."""
    a = cluster.start("a", tls="")
    b = cluster.start("b", a.address(), tls="")
    c = cluster.start("c", a.address())
    c.says("no agent is reached at " + a.address())
    d = cluster.start("d", "192.0.2.1:7", tls="")
    d.says("no agent is reached at 192.0.2.1:7: it is another host, and nothing protects")
    for agent in (a, b):
        agent.sees("a", a="up", b="up")


def test_same_id(cluster):
    """Two of one id, and one of our own."""
    a, b, c = cluster.three()
    other = cluster.start("b", a.address() + "," + c.address(), key="other", tls="b")
    a.says('two agents have the id "b", at ' + b.address() + " and at " + other.address())
    other.says('it refuses: two agents have the id "b"')
    own = cluster.start("a", a.address(), key="own", tls="a")
    a.says("the agent that listens at " + own.address() + ' has the id of this one, "a"')
    own.says("has the id of this one")
    for agent in (a, b, c):
        agent.sees("a", **UP)


def sent(stranger, *messages):
    """Until it is hung up on."""
    with stranger:
        try:
            for message in messages:
                stranger.sendall(message)
            while stranger.recv(65536):
                pass
        except OSError:  # it may be hung up on before it has sent all
            pass


def sent_until(cluster, agent, why, *messages):
    """Again and again, for only some of what strangers do is said."""
    def is_said():
        sent(connect(cluster, agent, "b"), *messages)
        return why in agent.said()
    agent.until(is_said, f"does not say {why!r}")


def hello(agent):
    return json.dumps({"hello": {"id": agent.name, "version": 1,
                                 "listen": agent.address()}}).encode() + b"\n"


def test_strangers(cluster):
    """Garbage of those without a certificate, and of one that has one."""
    a, b, c = cluster.three()
    sent(connect(cluster, a, None), b"GET / HTTP/1.1\r\n\r\n")
    sent(connect(cluster, a, None), b"\x16\x03\x01\xff\xff" + bytes(70000))
    sent(connect(cluster, a, "b"), b"\xff\xfe\n")
    sent(connect(cluster, a, "b"), hello(b), b"\0\n")
    sent(connect(cluster, a, "b"), b"x" * (2 << 20))
    sent_until(cluster, a, "it sends a message of more than 1048576 bytes", hello(b),
               b" " * (2 << 20) + b"\n")
    sent_until(cluster, a, "it sends a message that is nested too deeply", hello(b),
               b'{"state":' + b"[" * 100000 + b"\n")
    sent_until(cluster, a, "speaks version 99, this one 1",
               hello(b).replace(b'"version": 1', b'"version": 99'))
    silent = [connect(cluster, a, None) for _ in range(20)]
    with connect(cluster, a, "b") as liar:
        liar.sendall(hello(b) + b'{"state":{"id":"c"}}\n{"dance":{}}\n{"state":{"id":"b","host":7}}\n')
        said = b""
        while said.count(b"\n") < 4:
            more = liar.recv(65536)
            check(more, f"{said}\n{a.said()}")
            said += more
        answers = [json.loads(line) for line in said.split(b"\n")[1:4]]
        check([list(answer) for answer in answers] == [["refused"], ["refused"], ["ok"]], answers)
    for agent in (a, b, c):
        agent.sees("a", **UP)
    for stranger in silent:
        stranger.close()


def test_refuses_to_begin(cluster):
    """Whoever could be reached by others without a certificate, or not at all."""
    def refused(why, *options):
        agent = cluster.add("x", *options)
        check(agent.process.wait(LIMIT) == 1 and why in agent.said(), agent.said())

    tls = ["--tls", cluster.tls("a")]
    refused("can be reached from other hosts", "--listen", "tcp:0.0.0.0:0")
    refused("say one with --address", "--listen", "tcp:0.0.0.0:0", *tls)
    refused("client-cert.pem is not in", "--listen", "tcp:127.0.0.1:0", "--tls",
            cluster.tls("receiver"))
    refused("say where it listens", "--peers", "127.0.0.1:1")
    refused("in --peers is no address", "--listen", "tcp:127.0.0.1:0", "--peers", "h")
    told = cluster.add("x", "--listen", "tcp:0.0.0.0:0", "--address", "h.example", *tls)
    check(told.address().startswith("h.example:"), told.address())
