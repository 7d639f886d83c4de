# SPDX-License-Identifier: Apache-2.0
"""VMs that specs say: started, started again, stopped, and found again by another agent."""
import contextlib
import json
import os
import signal
import socket
import subprocess

from cluster import check, wait_for


def end(pid):
    os.kill(pid, signal.SIGKILL)


def test_specs_restart(cluster):
    """A killed VM is started again, one whose guest powers off is not."""
    agent = cluster.add("h")
    said = agent.does("apply", **agent.spec("web"))
    check(said == ["The spec is new."], said)
    check(agent.does("apply", **agent.spec("web")) == ["The spec is as it was."], "again")
    vm = agent.waits_for("web", state="Running", spec=True, restarts=0, why="")
    first = agent.pid_of("web")
    status = os.readlink(f"/proc/{first}/fd/0")
    check(status == "/dev/null", f"standard input is {status}")
    check(os.getsid(first) == first, "no session of its own")
    end(first)
    agent.says("its process was ended by SIGKILL; it is started again in 1 s")
    again = agent.waits_for("web", state="Running", restarts=1, why="")
    check(again["uuid"] == vm["uuid"], "another uuid")
    check(agent.pid_of("web") != first, "the same process")
    check(agent.call("shutdown", "web").returncode == 0, "shutdown")
    agent.waits_for("web", state="stopped", restarts=1, why="it was powered off")
    agent.says("it was powered off; it is not started again")
    agent.does("start", name="web")
    agent.waits_for("web", state="Running", why="")


def test_specs_fail(cluster):
    """A guest that panics is one that failed; what is done then is the spec's to say."""
    agent = cluster.add("h")
    agent.ask("PUT", "apply", agent.spec("once", cmdline="panic", restart="no"))
    vm = agent.waits_for("once", state="failed", restarts=0)
    check("panicked" in vm["why"], vm)
    agent.ask("PUT", "apply", agent.spec("often", cmdline="panic"))
    why = "the guest's kernel panicked; --on-panic says what to do then"
    agent.says(f"vm-down often: {why}; it is started again in 1 s")
    agent.says(f"vm-down often: {why}; it is started again in 2 s")
    agent.does("stop", name="often")
    agent.waits_for("often", state="stopped", why="")
    agent.does("apply", **agent.spec("always", restart="always"))
    check(agent.call("shutdown", "always").returncode == 0, "shutdown")
    agent.says("it was powered off; it is started again in 1 s")
    agent.waits_for("always", state="Running", restarts=1)
    check(agent.vm("once")["state"] == "failed", agent.vm("once"))


def test_specs_another_agent(cluster):
    """VMs go on without an agent, and the next one knows how they were, and how they ended."""
    agent = cluster.add("h")
    for name in ("stays", "off", "killed", "panics"):
        agent.does("apply", **agent.spec(name, **({"program": "dirty", "cmdline": "mib=1"}
                                                if name == "panics" else {})))
    pids = {name: agent.pid_of(name) for name in ("stays", "off", "killed", "panics")}
    agent.killed()
    check(agent.call("shutdown", "off").returncode == 0, "shutdown")
    end(pids["killed"])
    agent.call("console", "panics", input="p")
    for name in ("off", "killed", "panics"):
        wait_for(lambda gone=name: not agent.pid_of(gone), f"{name} is over")
    agent.start()
    agent.waits_for("off", state="stopped", why="it was powered off")
    agent.waits_for("killed", state="Running", restarts=1)
    agent.says("vm-down killed: its process is gone, and nothing tells why")
    agent.waits_for("panics", state="Running", restarts=1)
    agent.says("vm-down panics: the guest's kernel panicked")
    agent.waits_for("stays", state="Running", restarts=0)
    check(agent.pid_of("stays") == pids["stays"], "another process")
    # It did not start that one, and looks after it all the same.
    end(pids["stays"])
    agent.waits_for("stays", state="Running", restarts=1)
    # The host lost its power: nothing failed.
    agent.killed()
    for name in ("stays", "killed"):
        end(agent.pid_of(name))
        wait_for(lambda gone=name: not agent.pid_of(gone), f"{name} is over")
        with open(f"{agent.state}/agent/processes/{name}.pid", "r+", encoding="ascii") as f:
            record = json.load(f)
            record["boot"] = record["boot"][::-1]
            f.seek(0)
            f.write(json.dumps(record) + "\n")
    agent.start()
    agent.waits_for("stays", state="Running", restarts=0)
    agent.waits_for("killed", state="Running", restarts=0)
    agent.waits_for("off", state="stopped", why="it was powered off")


def test_specs_stop(cluster):
    """What is stopped stays so, what is deleted is nobody's."""
    agent = cluster.add("h")
    # One has no ear for its power button.
    agent.does("apply", **agent.spec("deaf", program="echo", vm={"stop_timeout_s": 1}))
    agent.does("apply", **agent.spec("web"))
    for name in ("deaf", "web"):
        check(agent.pid_of(name), f"{name} does not run")
        agent.does("stop", name=name)
        check(not agent.pid_of(name), f"{name} runs")
        check(agent.vm(name)["state"] == "stopped", agent.vm(name))
    agent.killed()
    agent.start()
    agent.does("start", name="web")
    check(agent.vm("web")["state"] == "Running", agent.vm("web"))
    check(agent.vm("deaf")["state"] == "stopped", agent.vm("deaf"))
    agent.does("delete", name="web")
    check(agent.pid_of("web"), "deleting a spec ended its VM")
    check(agent.vm("web")["spec"] is False, agent.vm("web"))
    end(agent.pid_of("web"))
    wait_for(lambda: agent.vm("web") is None, "it is gone")
    agent.does("delete", name="deaf")
    check(not agent.status()["vms"], agent.status())
    check(not os.listdir(agent.state + "/agent/specs"), "a file is left")
    said = agent.refuses(404, "start", name="web")
    check(said == 'there is no spec "web"', said)


def test_specs_refused(cluster):
    """Why a VM does not run is said, and one spec's trouble is not another's."""
    disk = cluster.path("disk.img")
    with open(disk, "wb") as f:
        f.truncate(16 << 20)
    agent = cluster.add("h")
    disks = {"disks": [{"path": disk}]}
    agent.does("apply", **agent.spec("first", vm=disks))
    said = agent.refuses(500, "apply", **agent.spec("second", vm=disks))
    check(said.startswith("the spec is kept, but: ") and "disk.img" in said, said)
    vm = agent.waits_for("second", state="failed", restarts=0)
    check("in use" in vm["why"] and vm["why"] in said, vm)
    agent.says(f"vm-down second: {vm['why']}; it is started again in 300 s")
    agent.does("stop", name="first")
    agent.does("start", name="second")
    agent.waits_for("second", state="Running", why="")
    said = agent.refuses(400, "apply", name="third", vm={}, colour="red")
    check(said == 'a spec has no "colour"', said)
    said = agent.refuses(500, "apply", name="third", vm={})
    check("no kernel is given" in said, said)
    check(agent.vm("third")["state"] == "failed", agent.vm("third"))


def test_specs_change(cluster):
    """The planner knows at once, the VM when it is started the next time."""
    agent = cluster.add("h")
    agent.does("apply", **agent.spec("web"))
    said = agent.does("apply", **agent.spec("web", weight=3, pinned=True, apart=["db"],
                                          vm={"memory": {"size": "32M"}}))
    check(len(said) == 2 and "next time" in said[1], said)
    vm = agent.vm("web")
    check(vm["weight"] == 3 and vm["pinned"] and vm["apart"] == ["db"], vm)
    check(vm["memory"] == 64 << 20, vm)
    said = agent.does("apply", **agent.spec("web", state="stopped",
                                          vm={"memory": {"size": "32M"}}))
    check(agent.vm("web")["state"] == "stopped", said)
    agent.does("start", name="web")
    check(agent.vm("web")["memory"] == 32 << 20, agent.vm("web"))


@contextlib.contextmanager
def destination(agent, url):
    """A process that waits for a VM as if it were another host's."""
    command = agent.command("godwit", "run", "--name", "there", "--incoming", url)
    environment = dict(agent.environment, GODWIT_STATE_DIR=agent.state + "/there")
    with open(agent.state + "/there.log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=log)
    try:
        wait_for(lambda: agent.pid_of("there"), "it waits for a VM")
        yield
    finally:
        process.kill()
        process.wait()


def test_specs_moved(cluster):
    """Whoever moved it: what runs on another host is not started here, whatever its policy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = "tcp:127.0.0.1:%d" % free.getsockname()[1]
    agent = cluster.add("h")
    agent.says('agent "h" runs')
    with destination(agent, url):
        agent.does("apply", **agent.spec("web", program="dirty", cmdline="mib=1", restart="always"))
        moved = agent.call("migrate", "web", url)
        check(moved.returncode == 0, moved.stderr)
        vm = agent.waits_for("web", state="stopped", restarts=0)
        check(vm["why"].startswith(f"it was given to {url} and may run there"), vm)
        said = agent.refuses(409, "start", name="web")
        check(said == vm["why"], said)
        agent.killed()
        agent.start()
        agent.waits_for("web", state="stopped", restarts=0, why=said)
        agent.waits_for("there", state="Running", spec=False)
