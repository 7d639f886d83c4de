#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""api_page.py PRINT_TABLES: docs/api.md names every request and every feature that there is.

No more and no less; and what is taken from the page must be missed here, or this reader is none.
"""

import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../guest"))

import openapi  # pylint: disable=wrong-import-position

PAGE = os.path.join(os.path.dirname(__file__), "../../docs/api.md")
BASE = "/api/v1/"
ROWS = {"GET": ("GET", False), "PUT, no body": ("PUT", False), "PUT, JSON": ("PUT", True)}


def names(pattern, page):
    """Those in the part of the page that the pattern's group is."""
    part = re.search(pattern, page, re.M | re.S)
    return set(re.findall("`([^`]+)`", part[1])) if part else set()


def on_page(page):
    """{what: names}"""
    return {"features": names(r"^`vmm.ping` has a word in `features`(.*?)A client", page),
            **{row: names(rf"^\| {row} \|([^|]*)\|$", page) for row in ROWS}}


def in_tables(routes, operations):
    """The same of the monitor, without what it answers with 501."""
    return {"features": {r["feature"] for r in routes.values() if "feature" in r},
            **{row: {path[len(BASE):] for (method, path), operation in operations.items()
                     if path.startswith(BASE) and "x-not-supported" not in operation
                     and (method, "requestBody" in operation) == kind}
               for row, kind in ROWS.items()}}


def faults(page, wanted):
    for what, found in on_page(page).items():
        for name in sorted(found ^ wanted[what]):
            where = "in no table" if name in found else "not on the page"
            yield f"docs/api.md: {what}: {name} is {where}"


def main():
    tables = json.loads(subprocess.run([sys.argv[1]], stdout=subprocess.PIPE, check=True).stdout)
    wanted = in_tables(tables["routes"], openapi.Description(openapi.load()).operations)
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    found = list(faults(page, wanted))
    for what, known in wanted.items():
        for name in known:
            if not any(faults(page.replace(f"`{name}`", "`other`"), wanted)):
                found.append(f"nobody misses {name} of the {what}")
    print("\n".join(found) if found else f"api_page: {sum(map(len, wanted.values()))} names")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
