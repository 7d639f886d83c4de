# SPDX-License-Identifier: Apache-2.0
"""What the tests with guest programs share."""
import os
import subprocess

LIMIT = 120  # seconds any program may take; none needs a tenth of it


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(true, why):
    if not true:
        raise Failed(why)


def own_name():
    """Of the VM of a test: tests run in several processes."""
    return f"test-{os.getpid()}"


class Rig:
    """Where the programs are, and a folder for one test."""

    def __init__(self, build, folder):
        self.godwit = os.path.join(build, "godwit")
        self.stage_host = os.path.join(build, "tests/guest/stage-host")
        self.hotplug_host = os.path.join(build, "tests/guest/hotplug-host")
        self.programs = os.path.join(build, "tests/guest")
        self.folder = folder
        self.said = ""

    def watches_threads(self):
        """Is this a build with the thread sanitizer, which has addresses and files of its own?"""
        with open(self.godwit, "rb") as f:
            return b"__tsan_init" in f.read()

    def path(self, name):
        return os.path.join(self.folder, name)

    def elf(self, name):
        return os.path.join(self.programs, name + ".elf")

    def disk(self, mib=64, name="disk.img"):
        with open(self.path(name), "wb") as f:
            f.truncate(mib << 20)
        return self.path(name)

    def command(self, program, *options):
        return [self.godwit, "run", "--name", own_name(), "--kernel", self.elf(program),
                *options]

    def run(self, program, *options, status=0):
        """Run to the end; returns what the guest wrote, and keeps what the monitor did."""
        done = subprocess.run(self.command(program, *options), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT, check=False)
        check(done.returncode == status,
              f"status {done.returncode}, wanted {status}\n{done.stdout}{done.stderr}")
        self.said = done.stderr
        return done.stdout
