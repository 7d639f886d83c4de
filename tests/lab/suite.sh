#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# suite.sh NAME...: the test scripts of these names, one after another, inside the lab's host; ends
# with status 125 if that, or another one, has died.
cd "$LAB" || exit
for name; do
	status=0
	bash "$name.sh" || status=$?
	[[ $status != 125 ]] || exit 125
	[[ $status == 0 ]] || echo "not ok - $name.sh ended with status $status"
done
