# SPDX-License-Identifier: Apache-2.0
"""What has tripped other monitors: files that come with requests, pipes that nobody empties, fields
that mean nothing or more than can be done."""
import contextlib
import fcntl
import json
import os
import re
import socket
import stat
import subprocess
import time

from clients import (ChRemote, EventReader, cloud_hypervisor, connect, has_null, refused,
                     send)
from rig import LIMIT, check
from test_clients import config

OPTIONAL = {
    "cpus": "topology kvm_hyperv max_phys_bits nested affinity features core_scheduling",
    "memory": "hotplug_size hotplugged_size mergeable hotplug_method shared hugepages "
              "hugepage_size prefault reserve thp zones",
    "payload": "firmware cmdline initramfs igvm host_data",
    "rng": "iommu",
    "serial": "file socket",
    "console": "file socket iommu id pci_segment pci_device_id",
    "platform": "num_pci_segments iommu_segments iommu_address_width_bits serial_number uuid "
                "system_serial_number system_uuid system_manufacturer system_product_name "
                "system_version system_family system_sku_number chassis_asset_tag oem_strings tdx "
                "sev_snp iommufd vfio_p2p_dma",
}
OPTIONAL_AT_TOP = ("cpus memory rate_limit_groups disks net rng balloon fs generic_vhost_user pmem "
                   "serial console debug_console devices user_devices vdpa vsock numa iommu "
                   "watchdog rtc pvpanic pci_segments platform tpm landlock_enable landlock_rules "
                   "kernel initramfs")
OPTIONAL_OF_DISK = ("readonly direct iommu num_queues queue_size vhost_user vhost_socket "
                    "rate_limiter_config rate_limit_group pci_segment pci_device_id id serial "
                    "queue_affinity backing_files sparse image_type lock_granularity")
OPTIONAL_OF_NET = ("tap ip mask mac host_mac mtu iommu num_queues queue_size vhost_user "
                   "vhost_socket vhost_mode id pci_segment pci_device_id rate_limiter_config "
                   "offload_tso offload_ufo offload_csum fds")


def absent(keys):
    return dict.fromkeys(keys.split())


@contextlib.contextmanager
def monitor(rig, *options, **popen):
    path = rig.path("api.sock")
    with cloud_hypervisor(rig, "--api-socket", path, *options, **popen) as process:
        remote = ChRemote(path)
        remote.get("vmm.ping")
        yield process, remote
        remote.put("vmm.shutdown")


def test_trap_nulls(rig):
    """null is as good as absent, wherever something may be absent, and is not shown."""
    kernel = {"kernel": rig.elf("echo")}
    with monitor(rig) as (_, remote):
        for more in (absent(OPTIONAL_AT_TOP), {
                **{section: absent(keys) for section, keys in OPTIONAL.items()},
                "disks": [{"path": rig.disk(), **absent(OPTIONAL_OF_DISK)}],
                "net": [absent(OPTIONAL_OF_NET)]}):
            more["payload"] = {**absent(OPTIONAL["payload"]), **kernel}
            remote.put("vm.create", more)
            check(not has_null(remote.get("vm.info")), "null is shown")
            remote.put("vm.delete")
        remote.put("vm.create", config(rig))
        remote.put("vm.add-disk", {"path": rig.disk(), **absent(OPTIONAL_OF_DISK)})
        remote.put("vm.add-net", absent(OPTIONAL_OF_NET))
        check(not has_null(remote.get("vm.info")), "null is shown")


def test_trap_unknown_fields(rig):
    """Those of an API yet to come, at every level: ignored and not shown."""
    news = {"from_tomorrow": {"a": [1, None]}}
    sections = {key: dict(news) for key in ("cpus", "platform", "rng", "serial", "console")}
    with monitor(rig, stderr=subprocess.DEVNULL) as (_, remote):
        remote.put("vm.create", {
            **news, **sections, "payload": {"kernel": rig.elf("echo"), **news},
            "memory": {"size": 64 << 20, **news}, "disks": [{"path": rig.disk(), **news}],
            "net": [news]})
        remote.put("vm.add-net", news)
        check("from_tomorrow" not in json.dumps(remote.get("vm.info")), "shown")


def test_trap_fields_not_honoured(rig):
    """Wherever one comes, the answer is 400 and names it."""
    asked = [("vm.create", config(rig, platform={"sev_snp": True}), "sev_snp"),
             ("vm.create", config(rig, iommu=True), "iommu"),
             ("vm.create", config(rig, disks=[{"path": rig.disk(), "iommu": True}]), "iommu"),
             ("vm.create", config(rig, console={"mode": "Pty", "iommu": True}), "iommu"),
             ("vm.create", config(rig, payload={"kernel": "k", "igvm": "f"}), "igvm"),
             ("vm.add-disk", {"path": rig.disk(), "vhost_user": True}, "vhost_user"),
             ("vm.add-disk", {"path": rig.disk(), "image_type": "Qcow2"}, "image_type"),
             ("vm.add-net", {"pci_segment": 1}, "pci_segment")]
    with monitor(rig) as (_, remote):
        created = False
        for name, body, field in asked:
            if name != "vm.create" and not created:
                remote.put("vm.create", config(rig))
                created = True
            said = refused(400, remote.put, name, body)
            check(re.search(rf"\b{field}\b", said[-1]), f"{field}: {said}")
        check(not remote.get("vm.info")["config"]["disks"], "a disk that was refused is there")


def open_files(process):
    found = []
    for n in os.listdir(f"/proc/{process.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{process.pid}/fd/{n}"))
    return found


def test_trap_passed_files(rig):
    """Files that come with what is refused, or are too many, are closed."""
    path, passed = rig.path("api.sock"), rig.path("passed")
    with monitor(rig) as (process, remote), open(passed, "wb") as f:
        remote.put("vm.create", config(rig))
        files = [f.fileno()] * 8
        refused(400, remote.put, "vm.add-net", {"mac": "none", "mtu": 1}, files)
        refused(400, remote.put, "vm.add-disk", {"path": rig.disk(), "iommu": True}, files)
        refused(400, remote.ask, "PUT", "vm.add-disk", None, files)
        refused(404, remote.ask, "GET", "vm.nothing", None, files)
        remote.ask("GET", "vm.info", None, files)
        many = connect(path)
        for piece in (b"PUT /api/v1/vm.add-net HTTP/1.1\r\n", b"Content-Length: 2\r\n\r\n"):
            send(many, piece, [f.fileno()] * 200)
        refused(400, remote.answer, many)
        many.close()
        left = connect(path)
        send(left, b"PUT /api/v1/vm.add-net HTTP/1.1\r\n", files)
        check(remote.get("vmm.ping")["pid"] == process.pid, "another answers")
        check(open_files(process).count(passed) == 8, "they are not there")
        left.close()
        deadline = time.monotonic() + LIMIT
        while passed in open_files(process):
            check(time.monotonic() < deadline, f"they are kept: {open_files(process)}")


def test_trap_helpers_inherit_nothing(rig):
    """passt gets its own socket and none of the monitor's files, also those it was started with."""
    bin_dir, seen, disk = rig.path("bin"), rig.path("seen"), rig.disk()
    os.mkdir(bin_dir)
    with open(os.path.join(bin_dir, "passt"), "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\nreadlink /proc/$$/fd/* >{seen}\n")
    os.chmod(os.path.join(bin_dir, "passt"), stat.S_IRWXU)
    reader, writer = os.pipe()
    path = rig.path("given.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        fds = (listening.fileno(), writer)
        given = [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]
        with cloud_hypervisor(rig, "--api-socket", f"fd={fds[0]}", "--event-monitor",
                              f"fd={fds[1]}", pass_fds=fds,
                              env={**os.environ, "PATH": bin_dir + ":" + os.environ["PATH"]}):
            remote = ChRemote(path)
            remote.put("vm.create", config(rig, net=[{"backend": "Passt"}],
                                           disks=[{"path": disk}]))
            refused(500, remote.put, "vm.boot")
            remote.put("vmm.shutdown")
    os.close(reader)
    os.close(writer)
    with open(seen, encoding="utf-8") as f:
        links = f.read().split()
    sockets = [link for link in links if link.startswith("socket:")]
    check(len(sockets) == 1, f"passt has the sockets {links}")
    check(not any("kvm" in link or "event" in link or disk in link for link in links),
          f"passt has {links}")
    check(not any(link in given for link in links), f"passt has {links}, also of {given}")


def test_trap_event_monitor_without_reader(rig):
    """It goes away, and nobody else minds."""
    reader, writer = os.pipe()
    pipe = os.readlink(f"/proc/self/fd/{writer}")
    with monitor(rig, "--event-monitor", f"fd={writer}", pass_fds=[writer],
                 stderr=subprocess.DEVNULL) as (process, remote):
        os.close(writer)
        check(pipe in open_files(process), "there is no event monitor")
        os.close(reader)
        remote.put("vm.create", config(rig))
        for name in ("vm.boot", "vm.pause", "vm.resume", "vm.reboot"):
            remote.put(name)
        check(remote.get("vm.info")["state"] == "Running", "not running")
        check(pipe not in open_files(process), "the pipe is kept")


def test_trap_event_monitor_full(rig):
    """A reader that stands still holds up nobody, and then gets whole lines, in order."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with monitor(rig, "--event-monitor", f"fd={writer}", pass_fds=[writer]) as (_, remote):
        os.close(writer)
        remote.put("vm.create", config(rig))
        remote.put("vm.boot")
        for _ in range(200):
            remote.put("vm.pause")
            remote.put("vm.resume")
        newest = remote.get("events")["seq"]
        check(newest > 700, f"only {newest} events")
        events, seqs = EventReader(reader), [0]
        while seqs[-1] < newest:
            seqs.append(events.one()["seq"])
        check(seqs[:5] == [0, 1, 2, 3, 4] and seqs == sorted(set(seqs)), seqs)
        check(len(seqs) < newest, "none was lost")
        remote.put("vm.pause")
        events.until("vm/paused")
    os.close(reader)


def test_trap_half_a_request(rig):
    """One client stops in the middle of a body, another's boot and pause go on; then it goes on."""
    path = rig.path("api.sock")
    with monitor(rig) as (_, remote):
        body = json.dumps(config(rig)).encode()
        stuck = connect(path)
        send(stuck, f"PUT /api/v1/vm.create HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        send(stuck, body[:20])
        remote.put("vm.create", config(rig))
        for name in ("vm.boot", "vm.pause", "vm.delete"):
            remote.put(name)
        send(stuck, body[20:])
        check(remote.answer(stuck) is None, "the rest does not count")
        check(remote.get("vm.info")["state"] == "Created", "not created")
        stuck.close()
