#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A guest writes to the host's second disk, flushes, and says what the disk has promised, until the
# host has no power any more. tests/lab/run cuts it, and looks at what is on the disk.
exec "$GODWIT" run --name powercut --kernel "$LAB/ledger.elf" --memory 64M --serial tty --append auto \
	--disk path=/dev/vdb </dev/null
