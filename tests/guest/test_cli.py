# SPDX-License-Identifier: Apache-2.0
"""The command beside a VM that runs: what it shows, and how it presses the power button."""
import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import time

from rig import LIMIT, check, own_name



def verb(rig, *words, status=0):
    done = subprocess.run([rig.godwit, *words], capture_output=True, text=True, timeout=LIMIT,
                          check=False)
    check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
    return done.stdout if status == 0 else done.stderr


def events(rig):
    return [json.loads(line)["event"] for line in verb(rig, "events", "--json", own_name()).splitlines()]


@contextlib.contextmanager
def guest(rig, append, *options, limit=1):
    """A guest that has come far enough to say its first byte; its output is collected."""
    command = rig.command("hello", "--append", append, "--memory", "64M", "--stop-timeout", str(limit),
                          *options)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as vm:
        try:
            check(vm.stdout.read(1) == "G", "no first byte")
            yield vm
        finally:
            vm.send_signal(signal.SIGKILL)


def until_booted_again(rig):
    deadline = time.monotonic() + LIMIT
    while "rebooted" not in events(rig):
        check(time.monotonic() < deadline, "it does not boot again")
        time.sleep(0.01)


def test_cli_reboot(rig):
    """The guest is asked, and the process stays; a power-off after that is one."""
    with guest(rig, "button", limit=LIMIT) as vm:
        check(verb(rig, "reboot", own_name()) == "", "reboot prints something")
        check(vm.stdout.read(1) == "G", "it did not boot again")
        check(events(rig).count("rebooted") == 1, events(rig))
        check(verb(rig, "reboot", own_name()) == "", "a second time")
        check(vm.stdout.read(1) == "G", "it did not boot a third time")
        verb(rig, "shutdown", own_name())
        check(vm.wait(LIMIT) == 0, "it did not end well")


def test_cli_reboot_late(rig):
    """A guest that does not answer in time; it boots again when it does, once."""
    with guest(rig, "button") as vm:
        verb(rig, "pause", own_name())
        said = verb(rig, "reboot", own_name(), status=1)
        check("did not power off within 1 s" in said and f"godwit reset {own_name()}" in said, said)
        check("rebooted" not in events(rig), events(rig))
        verb(rig, "resume", own_name())
        until_booted_again(rig)
        verb(rig, "shutdown", own_name())
        check(vm.wait(LIMIT) == 0, "it did not end well")


def test_cli_shutdown_after_reboot(rig):
    """Who presses the button last decides what follows."""
    with guest(rig, "button") as vm:
        verb(rig, "pause", own_name())
        verb(rig, "reboot", own_name(), status=1)
        said = verb(rig, "shutdown", own_name(), status=1)
        check("did not power off within 1 s" in said, said)
        verb(rig, "resume", own_name())
        check(vm.wait(LIMIT) == 0, "it did not end well")
        check(vm.stdout.read() == "", "it booted again")


def test_cli_shows(rig):
    """For people aligned, for scripts JSON; what was done says nothing."""
    with guest(rig, "stay", "--disk", "path=" + rig.disk()):
        page = verb(rig, "info", own_name())
        for line in (f"name +{own_name()}", "state +Running", "vcpus +1",
                     "memory +64 MiB, [0-9]+ MiB on the host", r"disk0 +0000:00:\w\w\.0 +" + rig.disk(), "serial +Tty",
                     rf"socket +\S+/{own_name()}/api\.sock"):
            check(re.search(f"^{line}$", page, re.M), f"no {line} in:\n{page}")
        place = re.search(r"^socket +(\S+)$", page, re.M)[1]
        check(stat.S_IMODE(os.stat(place).st_mode) == 0o600, "others may connect")
        disk = rig.disk(name="second.img")
        added = json.loads(verb(rig, "add-disk", "--json", own_name(), f"path={disk},readonly=on"))
        check(added["name"] == own_name() and added["id"] == "disk1", added)
        check(re.search(rf"^disk1 +{added['bdf']} +{disk}, readonly$", verb(rig, "info", own_name()),
                        re.M), "the disk is not shown")
        lines = verb(rig, "events", own_name()).splitlines()
        check(len(lines) >= 3 and re.fullmatch(r" *\d+\.\d{6}  vm +booting", lines[1]), lines)
        offered = verb(rig, "complete", "--", "remove", own_name(), "")
        check(offered == "disk0\ndisk1\n", offered)
        for word in ("pause", "resume", "reset", "nmi"):
            check(verb(rig, word, own_name()) == "", f"{word} prints something")


def test_cli_card(rig):
    """Comes and goes while the guest runs, which is asked to give it up."""
    folder = os.path.join(os.path.dirname(rig.godwit), "tests")  # there is a passt of the tests' own
    command = rig.command("mirror", "--memory", "64M", "--serial", "null")
    environment = {**os.environ, "PATH": folder + ":" + os.environ["PATH"], "FAKE_PASST": "echo"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment) as vm:
        try:
            deadline = time.monotonic() + LIMIT
            while not re.search(rf"^{own_name()} +Running", verb(rig, "list"), re.M):
                check(time.monotonic() < deadline, "the VM does not run")
            for _ in range(2):
                said = verb(rig, "add-net", own_name(), "backend=passt,id=card")
                check(re.fullmatch(r"card at 0000:00:[01][0-9a-f]\.0\n", said), said)
                check(re.search("^card +0000:", verb(rig, "info", own_name()), re.M), "not there")
                check("card" in verb(rig, "add-net", own_name(), "id=card", status=1), "two")
                check(verb(rig, "remove", own_name(), "card") == "", "remove prints something")
                check("card: there is no device" in verb(rig, "remove", own_name(), "card", status=1),
                      "removed twice")
                check("card" not in verb(rig, "info", own_name()), "it is still there")
            verb(rig, "shutdown", "--now", own_name())
            check(vm.wait(LIMIT) == 0, "it did not end well")
        finally:
            vm.kill()


def test_cli_nmi(rig):
    """It reaches the guest, which has nothing to do with one."""
    command = rig.command("echo", "--memory", "64M")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as vm:
        try:
            check(vm.stdout.readline() == "echo: ready\n", "the guest is not ready")
            verb(rig, "nmi", own_name())
            said, _ = vm.communicate(timeout=LIMIT)
            check("exception 2," in said, f"it said {said!r}")
        finally:
            vm.kill()


def test_cli_list_and_a_hung_vm(rig):
    """It is listed, and what cannot be asked of it is not made up."""
    with guest(rig, "stay") as vm:
        vm.send_signal(signal.SIGSTOP)
        try:
            listed, = [v for v in json.loads(verb(rig, "list", "--json")) if v["name"] == own_name()]
            check(listed["pid"] == vm.pid and listed["state"] is None, listed)
            check(re.search(rf"^{own_name()} +\? ", verb(rig, "list"), re.M), "the table")
        finally:
            vm.send_signal(signal.SIGCONT)
