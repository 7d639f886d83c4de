#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What scripts/bench makes of measurements: ratios, verdicts, its page, the lab's words."""
import importlib.machinery
import itertools
import mmap
import os
import sys
import tempfile
import unittest

SCRIPTS = f"{os.path.dirname(os.path.abspath(__file__))}/../../scripts"
sys.path.insert(0, f"{SCRIPTS}/lib")
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import bench_answer
import bench_lab
import bench_migrate
import bench_report
from bench_report import HIGHER, LOWER, Failed, Row

bench = importlib.machinery.SourceFileLoader("bench_program", f"{SCRIPTS}/bench").load_module()
RATE, COST = Row("rate", "I/Os/s", HIGHER), Row("cost", "ms", LOWER)


class Report(unittest.TestCase):
    def test_ratio_is_above_one_where_godwit_is_better(self):
        self.assertEqual(bench_report.pair_ratios(RATE, [20, 30], [10, 10]), [2, 3])
        self.assertEqual(bench_report.pair_ratios(COST, [20, 30], [10, 15]), [0.5, 0.5])

    def test_verdict_needs_the_middle_half(self):
        for ratios, verdict in (([0.9, 1.1, 1.2, 1.3, 1.4], "better"),
                                ([0.8, 0.9, 1.2, 1.3, 1.4], "equal"),
                                ([0.6, 0.7, 0.8, 0.9, 1.1], "worse"), ([1.0], "equal")):
            self.assertEqual(bench_report.verdict(ratios), verdict, ratios)

    def test_summary_counts_opponents_only(self):
        measured = {RATE: {"no guest": [99], "godwit": [4], "QEMU a": [2], "QEMU b": [8]}}
        text = bench_report.summary(bench_report.against_opponents(measured))
        self.assertIn("Against QEMU: 1 better, 0 equal, 1 worse", text)
        self.assertIn("1.25 ×", text)

    def test_table_has_a_line_for_each_row(self):
        lines = bench_report.table({RATE: {"godwit": [4], "QEMU a": [2]},
                                    COST: {"godwit": [4], "QEMU a": [2]}}).split("\n")
        self.assertEqual(lines[0], "| | | godwit | QEMU a | godwit is |")
        self.assertEqual(lines[2], "| rate | I/Os/s | 4.00 | 2.00 | 2.00 × better |")
        self.assertEqual(lines[3], "| cost | ms | 4.00 | 2.00 | 0.50 × worse |")

    def test_table_leaves_out_what_was_not_measured(self):
        lines = bench_report.table({COST: {"bare": [], "godwit": [4]},
                                    RATE: {"bare": [8], "godwit": [4]}}).split("\n")
        self.assertEqual(lines[2], "| cost | ms |  | 4.00 |")
        self.assertEqual(lines[3], "| rate | I/Os/s | 8.00 | 4.00 |")

    def test_page_is_written_between_its_marks(self):
        with tempfile.NamedTemporaryFile("w+", suffix=".md") as page:
            page.write("a\n<!-- bench x -->\nold\n<!-- end of x -->\nz\n")
            page.flush()
            bench_report.write(page.name, "x", "new\n")
            with open(page.name, encoding="utf-8") as f:
                self.assertEqual(f.read(), "a\n<!-- bench x -->\nnew\n<!-- end of x -->\nz\n")
            self.assertRaises(Failed, bench_report.write, page.name, "y", "new\n")


class Rounds(unittest.TestCase):
    def test_every_row_gets_its_value_of_every_round(self):
        asked = []

        def measure(monitor, _folder):
            asked.append(monitor.name)
            return len(asked), -len(asked)

        monitors = [bench.Monitor(name, None) for name in "ab"]
        measured = bench.rounds([RATE, COST], measure, monitors, 2)
        self.assertEqual("".join(asked), "baabba")      # the first two are not counted
        self.assertEqual(measured, {RATE: {"a": [3, 6], "b": [4, 5]},
                                    COST: {"a": [-3, -6], "b": [-4, -5]}})

    def test_none_is_no_value(self):
        monitors = [bench.Monitor(name, None) for name in "ab"]
        measured = bench.rounds([RATE, COST], lambda m, _: (1, 2 if m.name == "a" else None),
                                monitors, 2)
        self.assertEqual(measured, {RATE: {"a": [1, 1], "b": [1, 1]}, COST: {"a": [2, 2], "b": []}})

    def test_the_guests_memory_is_apart(self):
        with mmap.mmap(-1, 256 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as ram:
            _, before = bench.memory_mib(os.getpid(), 256)
            ram.write(b"x" * (16 << 20))
            guest, other = bench.memory_mib(os.getpid(), 256)
            self.assertGreaterEqual(bench.private(guest), 16)
            self.assertLess(bench.private(other) - bench.private(before), 8)
        self.assertRaises(Failed, bench.memory_mib, os.getpid(), 1 << 20)


class Answer(unittest.TestCase):
    def test_http_is_whole_when_its_length_is_there(self):
        whole = b'HTTP/1.1 200 \r\nServer: x\r\nContent-Length: 3\r\n\r\n{}\n'
        for n in range(len(whole)):
            self.assertIsNone(bench_answer.http_answer(whole[:n]))
        self.assertEqual(bench_answer.http_answer(whole), b"{}\n")
        self.assertRaisesRegex(Failed, "404", bench_answer.http_answer, b"HTTP/1.1 404 \r\n\r\n")

    def test_qmp_is_a_line_that_is_no_event(self):
        event, answer = b'{"event": "STOP"}\r\n', b'{"return": {}}\r\n'
        self.assertIsNone(bench_answer.qmp_answer(event + answer[:-1]))
        self.assertEqual(bench_answer.qmp_answer(event + answer), answer[:-1])
        self.assertRaisesRegex(Failed, "class", bench_answer.qmp_answer, b'{"error": {"class"\n')

    def test_one_in_hundred_is_above(self):
        self.assertEqual(bench_answer.one_in_hundred(range(1000, 0, -1)), 991)


MS, MIB = 1000000, 1 << 20


class Migrate(unittest.TestCase):
    def test_silence_is_the_longest_gap_since_the_begin(self):
        # One of 9 ms before it moves; then 5 ms, and 3 ms at the new place.
        beats = [t * MS for t in (0, 1, 2, 11, 12, 13, 14, 19, 20, 23, 24)]
        self.assertEqual(bench_migrate.silence(beats, 13 * MS)[0], 4)
        self.assertEqual(bench_migrate.silence(beats[::-1], 13 * MS)[0], 4)

    def test_time_lost_is_that_of_beats_that_did_not_come(self):
        before = [t * MS for t in range(101)]
        slow = [t * MS for t in (103, 106, 109, 110)]
        self.assertEqual(bench_migrate.silence(before + slow, 100 * MS), (2, 6))
        # What is made up for does not count, and no more is lost than the longest silence.
        fast = [105 * MS + t * MS // 2 for t in range(20)]
        self.assertEqual(bench_migrate.silence(before + fast, 100 * MS), (4, 4))

    def test_rates_part_where_all_was_sent_once(self):
        sent = [(0, 100), (15 * MS, 100 + MIB), (20 * MS, 100 + 2 * MIB), (25 * MS, 100 + 3 * MIB),
                (90 * MS, 100 + 9 * MIB)]
        first, later = bench_migrate.rates(sent, 2 * MIB, 30 * MS)
        self.assertAlmostEqual(first, MIB * 8 / (5 * MS))  # greetings go before the first MiB
        self.assertAlmostEqual(later, MIB * 8 / (5 * MS))
        self.assertRaisesRegex(Failed, "3 MiB were sent", bench_migrate.rates, sent, 4 * MIB,
                               30 * MS)

    def test_every_row_has_a_name_of_its_own(self):
        rows = [row for case in bench_migrate.CASES for row in case.rows()]
        self.assertEqual(len(rows), len(set(rows)))
        for case in bench_migrate.CASES:
            self.assertIn(len(case.rows()), (6,) if case.rates else (4,))

    def test_each_place_is_heard(self):
        class Wire:
            sent = itertools.count(7).__next__

        listener, pipes = bench_migrate.Listener(Wire), [os.pipe() for _ in range(2)]
        (here, here_end), (there, there_end) = pipes
        os.write(here_end, b"\n..")
        os.close(here_end)      # the source has ended
        os.write(there_end, b"...")
        listener.listen([here, there], lambda: len(listener.heard(there)) == 3)
        self.assertEqual((len(listener.heard(here)), len(listener.heard(there))), (2, 3))
        self.assertEqual(listener.sent[0][1], 7)
        for fd in here, there, there_end:
            os.close(fd)


class Lab(unittest.TestCase):
    def read(self, part, command, said):
        """The values of the two rows of the job with that in its command."""
        jobs = bench_lab.JOBS[part]
        i = next(i for i, j in enumerate(jobs) if command in j.command)
        measured = {jobs[i].measured: {}, jobs[i].cost: {}}
        bench_lab.add_round(measured, jobs, f"ran godwit {i} 0 50000000\n{said}\ntold\n")
        return [values["godwit"][0] for values in measured.values()]

    def test_fio(self):
        rate, cost = self.read("disk", "randwrite --bs=4k --iodepth=32",
                               "0;0;0;0;20000;10000;2500;2000")
        self.assertEqual((rate, cost), (2500, 100))
        rate, cost = self.read("disk", "rw=read --bs=1M --iodepth=1 ",
                               "524288;262144;256;2000;0;0;0;0")
        self.assertEqual((rate, cost), (256, 100))

    def test_iperf(self):
        said = "[SUM]   0.00-2.00   sec   1 GBytes  4294967.296 Kbits/sec            receiver"
        rate, cost = self.read("net", "--parallel 4 --reverse", said)
        self.assertAlmostEqual(rate, 4.294967296)
        self.assertAlmostEqual(cost, 50)

    def test_ping_pong(self):
        trip, cost = self.read("net", "ping-pong", "round trips: 500 in 1.000000 s")
        self.assertAlmostEqual(trip, 2000)
        self.assertAlmostEqual(cost, 1000)

    def test_what_a_command_said_instead_is_in_the_error(self):
        with self.assertRaisesRegex(Failed, "no answer after 3"):
            self.read("net", "ping-pong", "ping-pong: no answer after 3 round trips")


if __name__ == "__main__":
    unittest.main()
