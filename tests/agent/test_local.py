# SPDX-License-Identifier: Apache-2.0
"""What an agent does inside its host: cores that are lent and go back, memory that is taken and
given back, weights that count while VMs wait, and CPUs beside those that a VM is pinned to."""
import contextlib
import os
import socket
import subprocess
import threading
import time

from cluster import LIMIT, Skipped, check

CPU = min(os.sched_getaffinity(0))


def vm(agent, name):
    """What status says of it."""
    return next((v for v in agent.status()["vms"] if v["name"] == name), {})


def spec(cluster, name, program, cmdline, config, **more):
    kernel = os.path.join(cluster.build, f"tests/guest/{program}.elf")
    return {"name": name, "restart": "no", "vm": {
        "payload": {"kernel": kernel, "cmdline": cmdline},
        "serial": {"mode": "Socket", "socket": cluster.path(f"{name}.serial")}, **config}, **more}


def tell(cluster, name, keys):
    """Its guest, over its serial port."""
    with socket.socket(socket.AF_UNIX) as port:
        port.settimeout(LIMIT)
        port.connect(cluster.path(f"{name}.serial"))
        port.sendall(keys)
        check(port.recv(1), "its guest says nothing")


@contextlib.contextmanager
def group_of(agent, name):
    """A cgroup of version 1 for its process, gone afterwards; its file of shares."""
    pid = agent.until(lambda: agent.pid_of(name), f"does not start {name}")
    group = f"/sys/fs/cgroup/cpu/godwit-test-{os.getpid()}-{name}"
    try:
        os.mkdir(group)
    except OSError as e:
        raise Skipped(f"no cgroup for shares can be made: {e.strerror}") from e
    try:
        write(group + "/cgroup.procs", str(pid))
        yield group + "/cpu.shares"
    finally:
        for each in read(group + "/cgroup.procs").split():
            write(group + "/../cgroup.procs", each)
        os.rmdir(group)


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def test_local_weights(cluster):
    """They count while VMs wait, for those with groups of their own, until the spec or the agent
    ends."""
    pinned = {"boot_vcpus": 1, "affinity": [{"vcpu": 0, "host_cpus": [CPU]}]}
    one = {"memory": {"size": "64M"}, "cpus": pinned}
    weighs = "weight-set web: its cpu.shares is 4096 in place of 1024: VMs wait for cores"
    agent = cluster.start("a", "")
    agent.does("apply", **spec(cluster, "web", "work", "load=90", one, weight=4))
    agent.does("apply", **spec(cluster, "rest", "work", "load=90", one))
    agent.does("apply", **spec(cluster, "none", "work", "load=90", one, weight=2))
    with group_of(agent, "web") as web, group_of(agent, "rest") as rest:
        agent.says(weighs)
        check(read(web) == "4096\n", read(web))
        check("in place of 1024" in vm(agent, "web")["local"], vm(agent, "web"))
        agent.does("apply", **spec(cluster, "web", "work", "load=90", one))
        agent.says("weight-back web: its cpu.shares is 1024 again: its spec has it so")
        check(read(web) == "1024\n", read(web))
        check("local" not in vm(agent, "web"), vm(agent, "web"))
        agent.does("apply", **spec(cluster, "web", "work", "load=90", one, weight=4))
        agent.until(lambda: agent.said().count(weighs) == 2, "does not weigh again")
        agent.ended()
        check("weight-back web: its cpu.shares is 1024 again: the agent ends" in agent.said(),
              agent.said())
        check(read(web) == "1024\n", read(web))
        check(read(rest) == "1024\n", read(rest))
        for name in ("rest", "none"):
            check(f"weight-set {name}" not in agent.said(), agent.said())


@contextlib.contextmanager
def idle_host(cluster, *agents):
    """These have a /proc/stat in which only the first of the CPUs is busy."""
    path, over = cluster.path("stat"), threading.Event()

    def update(f):
        while not over.is_set():
            now = int(time.monotonic() * 100)
            lines = [f"cpu{n} {now if n == CPU else 0:020} 0 0 {0 if n == CPU else now:020} 0 0 0 0\n"
                     for n in sorted(os.sched_getaffinity(0))]
            os.pwrite(f.fileno(), "".join(lines).encode(), 0)
            over.wait(0.2)

    with open(path, "wb") as f:
        thread = threading.Thread(target=update, args=[f])
        thread.start()
        try:
            for agent in agents:
                done = subprocess.run(["nsenter", "-m", "-t", str(agent.process.pid), "mount",
                                       "--bind", path, "/proc/stat"], check=False)
                if done.returncode:
                    raise Skipped("its /proc/stat cannot be another")
            yield
        finally:
            over.set()
            thread.join()


def may_use(agent, name):
    """The CPUs of its vCPU."""
    task = f"/proc/{agent.pid_of(name)}/task"
    tid, = [tid for tid in os.listdir(task) if read(f"{task}/{tid}/comm") == "vcpu0\n"]
    return os.sched_getaffinity(int(tid))


def test_local_pins(cluster):
    """A VM whose CPU others keep busy is let onto an idle one, until the spec or the agent ends."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Skipped("there is one CPU")
    other = sorted(os.sched_getaffinity(0))[1]
    one = {"memory": {"size": "64M"}, "cpus": {
        "boot_vcpus": 1, "affinity": [{"vcpu": 0, "host_cpus": [CPU]}]}}
    web = ("web", "work", "load=90", one)
    lent = f"cpus-lent web: beside its own it may use the CPUs {other}: these were idle"
    agent = cluster.start("a", "")
    agent.says("runs")
    with idle_host(cluster, agent):
        agent.does("apply", **spec(cluster, *web, borrow_cores=True))
        agent.does("apply", **spec(cluster, "hog", "work", "load=90", one))
        agent.says(lent)
        check(may_use(agent, "web") == {CPU, other}, may_use(agent, "web"))
        agent.does("apply", **spec(cluster, *web))
        agent.says("cpus-back web: it may use its own CPUs only: ")
        check(may_use(agent, "web") == {CPU}, may_use(agent, "web"))
        agent.does("apply", **spec(cluster, *web, borrow_cores=True))
        agent.until(lambda: agent.said().count(lent) == 2, "does not lend again")
    check("cpus-lent hog" not in agent.said(), agent.said())
    agent.killed()
    check(may_use(agent, "web") == {CPU, other}, may_use(agent, "web"))
    agent.start()
    agent.until(lambda: "beside its own" in vm(agent, "web").get("local", ""), "does not know")
    agent.ended()
    check("cpus-back web" in agent.said(), agent.said())
    check(may_use(agent, "web") == {CPU}, may_use(agent, "web"))


def test_local_cores(cluster):
    """Idle cores are lent to who is at its limit, until somebody waits."""
    pinned = {"boot_vcpus": 1, "affinity": [{"vcpu": 0, "host_cpus": [CPU]}]}
    web = ("web", "work", "load=90",
           {"memory": {"size": "64M"}, "cpus": {**pinned, "limit": 0.03}})
    hog = ("hog", "work", "load=90", {"memory": {"size": "64M"}, "cpus": pinned})
    agent = cluster.start("a", "", "--cores", "8")
    agent.does("apply", **spec(cluster, *web, borrow_cores=True))
    agent.says("cores-lent web: it may use 1 cores in place of its own 0.03")
    agent.until(lambda: "in place of its own" in vm(agent, "web").get("local", ""),
                "does not say that it lends")
    # On the same processor, which is not enough for both.
    agent.does("apply", **spec(cluster, *hog))
    agent.says("cores-back web: it may use its own 0.03 cores again: VMs wait for cores")
    agent.until(lambda: "local" not in vm(agent, "web"), "still lends")
    check("cores-lent hog" not in agent.said(), agent.said())


def test_local_memory(cluster):
    """A host that is short takes memory, and gives it back to who waits for it."""
    web = ("web", "balloon", "calm uses=40 mib=224",
           {"memory": {"size": "256M"}, "balloon": {"size": 0}})
    taken = "memory-taken web: it has 231 of 256 MiB: the host is short of it"
    agent = cluster.start("a", "", "--memory", "1000M", "--reserve", "990M")
    agent.does("apply", **spec(cluster, *web, memory_min="128M"))
    agent.says(taken)
    check("the host is short" in vm(agent, "web")["local"], vm(agent, "web"))
    agent.does("apply", **spec(cluster, *web))
    agent.says("memory-given web: it has 256 of 256 MiB: its spec has it so")
    check("local" not in vm(agent, "web"), vm(agent, "web"))
    agent.does("apply", **spec(cluster, *web, memory_min="128M"))
    agent.until(lambda: agent.said().count(taken) == 2, "does not take again")
    tell(cluster, "web", b"w")
    agent.says("memory-given web: it has ", "MiB: its guest waited for it")
