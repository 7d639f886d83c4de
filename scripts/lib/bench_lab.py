# SPDX-License-Identifier: Apache-2.0
"""The parts of scripts/bench that need stock kernels: scripts of tests/lab measure there."""
import re
import subprocess
import sys

from bench_report import HIGHER, LOWER, Failed, Row

ATTEMPTS = 3                    # an emulated host may die of a fault of the emulator, or stand still
HOST_DIED = (124, 125)
BOOTS_LIMIT = 600               # seconds
ROUND_LIMIT = 150               # twice what it takes on a quiet machine
SHOWN = {"host": "no guest", "godwit": "godwit", "qemu-microvm": "QEMU microvm",
         "qemu-q35": "QEMU q35"}
ROW_SECONDS = 1                 # how long fio, iperf3 or ping-pong runs


def run(top, limit, script, *args):
    """What the script wrote in the lab."""
    for attempt in range(ATTEMPTS):
        done = subprocess.run([f"{top}/scripts/lab", "run", "--timeout", str(limit), "--memory",
                               "2048", f"tests/lab/{script}", *args], cwd=top, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if done.returncode not in HOST_DIED:
            break
        print(f"bench: {script}: the lab's host died, attempt {attempt + 1}", file=sys.stderr)
    if done.returncode:
        raise Failed(f"{script}: the lab's status is {done.returncode}; it wrote\n{done.stdout}")
    return done.stdout.replace("\r", "")


def boots(top, series, form, n):
    """Milliseconds to the guest's init."""
    text = run(top, BOOTS_LIMIT, "bench-boot.sh", str(n), series, form)
    values = {}
    for name, ms in re.findall(r"^boot (\S+) ([0-9.]+)\s*$", text, re.M):
        values.setdefault(SHOWN[name], []).append(float(ms))
    if not values or len(set(map(len, values.values()))) != 1:
        raise Failed(f"bench-boot.sh: a monitor is missing; the lab wrote\n{text}")
    return {Row("start to init", "ms", LOWER): values}


class Job:
    """A command of the guest's, and two rows: what it measures, and what that costs."""

    def __init__(self, command, measured, cost, read):
        self.command = command
        self.measured = measured
        self.cost = Row(f"{measured.name}: monitor's CPU", *cost)
        self.read = read        # a function (what it said) -> value, amount that the cost is per


def fio_job(kind, size, depth, whole):
    def read(said):
        # KiB, KiB/s, I/Os/s and ms, of reads, then of writes
        f = [float(x) for x in re.search(r"^[0-9.]+(;[0-9.]+){7}$", said, re.M)[0].split(";")]
        kib, per_s, ios = f[0] + f[4], f[1] + f[5], (f[2] * f[3] + f[6] * f[7]) / 1000
        return (per_s / 1024, kib / (1 << 20)) if whole else (f[2] + f[6], ios / 10000)

    command = (f"fio --name=b --filename=/dev/vda --rw={kind} --bs={size} --iodepth={depth} "
               f"--ioengine=libaio --direct=1 --runtime={ROW_SECONDS} --time_based --minimal")
    name = f"{'seqread' if kind == 'read' else kind} {size}, depth {depth}"
    unit = "MiB/s" if whole else "I/Os/s"
    cost = ("ms per GiB" if whole else "ms per 10,000 I/Os", LOWER)
    return Job(command, Row(name, unit, HIGHER), cost, read)


def iperf_job(back, streams):
    def read(said):
        s, kbits = re.search(r"-([0-9.]+) +sec .* ([0-9.]+) Kbits/sec +receiver", said).groups()
        return float(kbits) / 1e6, float(kbits) * 1000 / 8 * float(s) / (1 << 30)

    command = (f"iperf3 --client 10.0.0.1 --interval 0 --time {ROW_SECONDS} --format k "
               f"--parallel {streams}{' --reverse' if back else ''}")
    name = f"{'host to guest' if back else 'guest to host'}, TCP streams: {streams}"
    return Job(command, Row(name, "Gbit/s", HIGHER), ("ms per GiB", LOWER), read)


def ping_pong_job():
    def read(said):
        trips, s = re.search(r"round trips: (\d+) in ([0-9.]+) s", said).groups()
        return float(s) / int(trips) * 1e6, int(trips) / 10000

    return Job(f"ping-pong 10.0.0.1 9000 {ROW_SECONDS}", Row("one byte to and fro", "µs", LOWER),
               ("ms per 10,000", LOWER), read)


JOBS = {
    "disk": [fio_job(kind, size, depth, whole)
             for kind, size, whole in (("randread", "4k", False), ("randwrite", "4k", False),
                                       ("read", "1M", True)) for depth in (1, 32)],
    "net": [*(iperf_job(back, streams) for back in (False, True) for streams in (1, 4)),
            ping_pong_job()],
}
JOBS["net-vhost"] = JOBS["net"]


def add_round(measured, jobs, text):
    """One round's values, from what bench-io.sh printed."""
    for monitor, number, status, cpu_ns, said in re.findall(
            r"^ran (\S+) (\d+) (\d+) (\d+)\n(.*?)^told$", text, re.M | re.S):
        job = jobs[int(number)]
        try:
            value, amount = job.read(said)
        except (TypeError, AttributeError):     # no match
            raise Failed(f"{monitor}: {job.command}: status {status}: {said}") from None
        measured[job.measured].setdefault(SHOWN[monitor], []).append(value)
        if monitor != "host":
            measured[job.cost].setdefault(SHOWN[monitor], []).append(int(cpu_ns) / 1e6 / amount)


def io_rounds(top, part, n):
    """A lab run for each round, in which every monitor has its turn; the first one changes."""
    jobs, monitors = JOBS[part], list(SHOWN)
    commands = [word for i, job in enumerate(jobs) for word in (str(i), job.command)]
    measured = {row: {} for job in jobs for row in (job.measured, job.cost)}
    for i in range(n):
        k = i % len(monitors)
        order = monitors[k:] + monitors[:k]
        text = run(top, ROUND_LIMIT, "bench-io.sh", part, *order, "--", *commands)
        add_round(measured, jobs, text)
        if any(len(values) != i + 1 for row in measured.values() for values in row.values()):
            raise Failed(f"bench-io.sh: a row is missing; the lab wrote\n{text}")
        print(f"bench: {part}: round {i + 1} of {n} is done", file=sys.stderr)
    # In the same order, whoever was first.
    return {row: {name: values[name] for name in SHOWN.values() if name in values}
            for row, values in measured.items()}
