# SPDX-License-Identifier: Apache-2.0
"""The command beside a VM that runs: what it shows, and how it presses the power button."""
import contextlib
import json
import os
import re
import signal
import subprocess
import time

from rig import LIMIT, check

NAME = f"test-{os.getpid()}"


def verb(rig, *words, status=0):
    done = subprocess.run([rig.godwit, *words], capture_output=True, text=True, timeout=LIMIT,
                          check=False)
    check(done.returncode == status, f"{words}: {done.returncode}: {done.stderr}")
    return done.stdout if status == 0 else done.stderr


def events(rig):
    return [json.loads(line)["event"] for line in verb(rig, "events", "--json", NAME).splitlines()]


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
        check(verb(rig, "reboot", NAME) == "", "reboot prints something")
        check(vm.stdout.read(1) == "G", "it did not boot again")
        check(events(rig).count("rebooted") == 1, events(rig))
        check(verb(rig, "reboot", NAME) == "", "a second time")
        check(vm.stdout.read(1) == "G", "it did not boot a third time")
        verb(rig, "shutdown", NAME)
        check(vm.wait(LIMIT) == 0, "it did not end well")


def test_cli_reboot_late(rig):
    """A guest that does not answer in time; it boots again when it does, once."""
    with guest(rig, "button") as vm:
        verb(rig, "pause", NAME)
        said = verb(rig, "reboot", NAME, status=1)
        check("did not power off within 1 s" in said and f"godwit reset {NAME}" in said, said)
        check("rebooted" not in events(rig), events(rig))
        verb(rig, "resume", NAME)
        until_booted_again(rig)
        verb(rig, "shutdown", NAME)
        check(vm.wait(LIMIT) == 0, "it did not end well")


def test_cli_shutdown_after_reboot(rig):
    """Who presses the button last decides what follows."""
    with guest(rig, "button") as vm:
        verb(rig, "pause", NAME)
        verb(rig, "reboot", NAME, status=1)
        said = verb(rig, "shutdown", NAME, status=1)
        check("did not power off within 1 s" in said, said)
        verb(rig, "resume", NAME)
        check(vm.wait(LIMIT) == 0, "it did not end well")
        check(vm.stdout.read() == "", "it booted again")


def test_cli_shows(rig):
    """For people aligned, for scripts JSON; what was done says nothing."""
    with guest(rig, "stay", "--disk", "path=" + rig.disk()):
        page = verb(rig, "info", NAME)
        for line in (f"name +{NAME}", "state +Running", "vcpus +1", "memory +64 MiB",
                     r"disk0 +0000:00:\w\w\.0 +" + rig.disk(), "serial +Tty",
                     rf"socket +\S+/{NAME}/api\.sock"):
            check(re.search(f"^{line}$", page, re.M), f"no {line} in:\n{page}")
        disk = rig.disk(name="second.img")
        added = json.loads(verb(rig, "add-disk", "--json", NAME, f"path={disk},readonly=on"))
        check(added["name"] == NAME and added["id"] == "disk1", added)
        check(re.search(rf"^disk1 +{added['bdf']} +{disk}, readonly$", verb(rig, "info", NAME),
                        re.M), "the disk is not shown")
        lines = verb(rig, "events", NAME).splitlines()
        check(len(lines) >= 3 and re.fullmatch(r" *\d+\.\d{6}  vm +booting", lines[1]), lines)
        offered = verb(rig, "complete", "--", "remove", NAME, "")
        check(offered == "disk0\ndisk1\n", offered)
        for word in ("pause", "resume", "reset", "nmi"):
            check(verb(rig, word, NAME) == "", f"{word} prints something")


def test_cli_list_and_a_hung_vm(rig):
    """It is listed, and what cannot be asked of it is not made up."""
    with guest(rig, "stay") as vm:
        vm.send_signal(signal.SIGSTOP)
        try:
            listed, = [v for v in json.loads(verb(rig, "list", "--json")) if v["name"] == NAME]
            check(listed["pid"] == vm.pid and listed["state"] is None, listed)
            check(re.search(rf"^{NAME} +\? ", verb(rig, "list"), re.M), "the table")
        finally:
            vm.send_signal(signal.SIGCONT)
