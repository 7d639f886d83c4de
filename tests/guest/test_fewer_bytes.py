# SPDX-License-Identifier: Apache-2.0
"""Moves of guests whose pages go over in fewer bytes than they have."""
import os

from api_client import wants
from proxy import Fault, Proxy
from rig import check
from test_migrate import destination, source

PAGE, MIB = 4096, 1 << 20
SLOW = 32 * MIB  # bytes a second: slower than anything that is done to save some


def looks_at_all(side):
    """The guest goes on, and then finds every byte of its memory right."""
    side.beats()
    os.write(side.process.stdin.fileno(), b"q")
    check(side.ended() == 0 and " passes, " in side.said, side.logged + side.said[-300:])


def moved(rig, words, **goals):
    """How a move went; then the guest has looked at every byte of its pages."""
    with source(rig, words=words) as a, destination(rig) as b:
        answer = wants(a.client(), 200, "PUT", "vm.send-migration",
                       {"destination_url": b.url(), "wait": True, **goals})
        check(a.ended() == 0, a.logged)
        looks_at_all(b)
        return answer


def test_differences(rig):
    """Pages full of noise in which two words change again and again, on one stream and on more.

    Each stream finds for itself whether that is worth its time, which is another under a sanitizer.
    """
    for streams in (1, 3):
        progress = moved(rig, "mib=8 noise", bandwidth_limit=SLOW, connections=streams)
        rounds = [r for r in progress["rounds"] + [progress["last_round"]] if r["diff_pages"]]
        pages = sum(r["diff_pages"] for r in rounds)
        check(pages == progress["differences"]["pages"] > 100, progress)
        check(progress["differences"]["bytes"] < pages * 64, progress)
        for r in rounds:
            check(r["bytes"] < r["pages"] * PAGE + r["diff_pages"] * 64 + PAGE * streams, r)


def test_differences_lost(rig):
    """A connection that is lost while its pages are kept: they go whole once more, and none is wrong."""
    fault = Fault("reset", 1, True, 12 * MIB)  # in the second round
    with source(rig, words="mib=8 noise") as a, destination(rig) as b, \
         Proxy(b.url(), fault) as proxy:
        answer = wants(a.client(), 200, "PUT", "vm.send-migration",
                       {"destination_url": proxy.url, "wait": True, "bandwidth_limit": SLOW})
        check(a.ended() == 0 and answer["reconnects"] == 1, a.logged)
        check(answer["differences"]["pages"] > 100, answer)
        looks_at_all(b)


def compressed(rig, words, why, *used, **goals):
    progress = moved(rig, words, **goals)
    compression = progress["compression"]
    check(compression["why"] == why and compression["used"] in used, compression)
    check(compression["wanted"] == goals.get("compress", "auto"), compression)
    return compression


def test_compression(rig):
    """As asked; by itself over a slow link; and not where it gains nothing."""
    for name in ("lz4", "zstd"):
        said = compressed(rig, "mib=1 fill=16", "asked", name, compress=name, connections=2)
        check(said["pages"] >= 4000 and said["bytes"] * 8 < said["pages"] * PAGE, said)
    said = compressed(rig, "mib=1 fill=32 rate=1", "gain", "lz4", "zstd", bandwidth_limit=SLOW)
    check(said["pages"] >= 2000 and said["bytes"] * 8 < said["pages"] * PAGE, said)
    said = compressed(rig, "mib=1 noise fill=16 rate=1", "no-gain", "none", bandwidth_limit=SLOW)
    check(said["pages"] < 300, said)
    check(not compressed(rig, "fill=16", "asked", "none", compress="none")["pages"], "compressed")


def test_compression_changes(rig):
    """While it goes on; what is no compressor is refused."""
    with source(rig, words="mib=1 fill=48 rate=1") as a, destination(rig) as b:
        client = a.client()

        def compression():
            return wants(client, 200, "GET", "vm.migration-progress")["compression"]

        wants(client, 400, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "compress": "gzip"})
        wants(client, 204, "PUT", "vm.send-migration",
              {"destination_url": b.url(), "bandwidth_limit": 4 * MIB, "compress": "none"})
        check(not compression()["pages"], compression())
        wants(client, 204, "PUT", "vm.set-migration-parameters", {"compress": "zstd"})
        a.until(lambda: compression()["pages"], "is not compressed")
        check(compression()["used"] == "zstd", compression())
        wants(client, 204, "PUT", "vm.set-migration-parameters", {"bandwidth_limit": 0})
        check(a.ended() == 0, a.logged)
        looks_at_all(b)
