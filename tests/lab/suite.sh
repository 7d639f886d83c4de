#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# suite.sh NAME...: the test scripts of these names, one after another, inside the lab's host.
cd "$LAB" || exit
for name; do bash "$name.sh" || echo "not ok - $name.sh ended with status $?"; done
