# SPDX-License-Identifier: Apache-2.0
"""What "godwit migrate" shows on a terminal while a VM moves."""
import contextlib
import os
import pty
import re
import select
import subprocess

from api_client import wants
from rig import LIMIT, check
from test_migrate import destination, finish, source

TIME = r"[\d.]+ (us|ms|s|min|h)"
LINE = re.compile(rf"\r\x1b\[K\x1b\[\?7lcopy: round ([2-9]|1\d), there in about {TIME}, "
                  rf"[\d.]+ \w+/s, the guest writes [\d.]+ \w+/s, would stand still for {TIME}")


def seen_on(terminal, pattern):
    """Reads until that is there."""
    seen = ""
    while not pattern.search(seen):
        check(select.select([terminal], [], [], LIMIT)[0], f"no progress: {seen[-300:]!r}")
        seen += os.read(terminal, 4096).decode()
    return seen


def test_migrate_progress(rig):
    """Round, time left, rate, what the guest writes, and the blackout: one line, again and again."""
    with source(rig) as a, destination(rig) as b:
        near, far = pty.openpty()
        with subprocess.Popen([rig.godwit, "migrate", "--bandwidth", "4M", "--compress", "none",
                               "--deadline", "1h", a.name, b.url()], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=far, text=True) as p:
            os.close(far)
            seen = seen_on(near, LINE)
            check("\n" not in seen and "stand still for 0" not in seen, repr(seen))
            client = a.client()
            a.until(lambda: wants(client, 200, "GET", "vm.migration-progress").get("left_us"),
                    "not known how long it takes")
            wants(client, 204, "PUT", "vm.set-migration-parameters", {"bandwidth_limit": 0})
            while p.poll() is None:  # what nobody reads would hold it up
                with contextlib.suppress(OSError):  # it has ended
                    if select.select([near], [], [], 0.1)[0]:
                        os.read(near, 4096)
            said = p.stdout.read()
        os.close(near)
        check(p.returncode == 0 and "runs at" in said and "\x1b" not in said, said)
        check("left_us" not in wants(b.client(), 200, "GET", "vm.migration-progress"), "a time left")
        check(a.ended() == 0, a.logged)
        finish(b)
