# SPDX-License-Identifier: Apache-2.0
# Hosts on this machine, for scripts that show or measure several agents: each has a network
# namespace on one bridge, a /run of its own, and as many cores as it is given, by a control group
# where the kernel has one. To be sourced, by root; hosts_end removes all of it.
#
#	hosts_begin DIR BUILD   DIR gets certificates, logs and what hosts must remember
#	host_new NAME N CORES MEMORY [OPTION...]
#	                        with address 10.77.0.N, and an agent
#	on NAME COMMAND...      there
#	hosts_end               hosts_ungrouped is set if a host has no control group
# shellcheck shell=bash disable=SC2034

hosts_net=10.77.0
hosts_bridge=gwdemo0

hosts_authority() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
		-subj /CN=hosts -keyout "$hosts/ca-key.pem" -out "$hosts/ca-cert.pem" 2>/dev/null
}

# One certificate for both sides of a connection.
host_certificate() { # NAME ADDRESS DIR
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
		-keyout "$3/server-key.pem" -out "$3/request.pem" 2>/dev/null &&
	openssl x509 -req -days 30 -in "$3/request.pem" -CA "$hosts/ca-cert.pem" \
		-CAkey "$hosts/ca-key.pem" -CAcreateserial -out "$3/server-cert.pem" \
		-extfile <(echo "subjectAltName=IP:$2") 2>/dev/null &&
	cp "$3/server-cert.pem" "$3/client-cert.pem" &&
	cp "$3/server-key.pem" "$3/client-key.pem" && cp "$hosts/ca-cert.pem" "$3"
}

hosts_begin() { # DIR BUILD
	hosts=$1 hosts_build=$2 hosts_names=() hosts_first=
	mkdir -p "$hosts"
	hosts_authority || return 1
	ip link add "$hosts_bridge" type bridge && ip link set "$hosts_bridge" up
}

# Both kinds of control group; without either the cores are only what the agent is told. What else
# runs on this machine comes behind the hosts, each of which has its cores for itself.
host_group() { # NAME CORES PID
	local period=100000 quota dir
	quota=$(awk "BEGIN { print int($2 * $period) }")
	if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
		dir=/sys/fs/cgroup/godwit-$1
		echo +cpu >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
		mkdir -p "$dir" && echo "$quota $period" >"$dir/cpu.max" &&
			echo 10000 >"$dir/cpu.weight"
	else
		dir=/sys/fs/cgroup/cpu/godwit-$1
		mkdir -p "$dir" && echo "$period" >"$dir/cpu.cfs_period_us" &&
			echo "$quota" >"$dir/cpu.cfs_quota_us" &&
			echo 262144 >"$dir/cpu.shares"
	fi 2>/dev/null && echo "$3" >"$dir/cgroup.procs"
}

host_new() { # NAME N CORES MEMORY [OPTION...]
	local name=$1 address=$hosts_net.$2 cores=$3 memory=$4 dir=$hosts/$1
	shift 4
	mkdir -p "$dir/tls" && host_certificate "$name" "$address" "$dir/tls" || return 1
	ip netns add "gw-$name"
	ip link add "gw-$name" type veth peer name eth0 netns "gw-$name"
	ip link set "gw-$name" master "$hosts_bridge" up
	ip -n "gw-$name" addr add "$address/24" dev eth0
	ip -n "gw-$name" link set eth0 up
	ip -n "gw-$name" link set lo up
	# shellcheck disable=SC2016 # that shell's
	ip netns exec "gw-$name" unshare -m sh -c 'mount -t tmpfs none /run
		while [ ! -e "$1" ]; do sleep 0.05; done; shift; exec "$@"' sh "$dir/go" \
		env GODWIT_STATE_DIR="$dir/state" "$hosts_build/godwit-agent" run --id "$name" \
		--cores "$cores" --memory "$memory" --address "$address" \
		--listen "tcp:$address:7400" --tls "$dir/tls" \
		${hosts_first:+--peers "$hosts_first:7400"} "$@" >"$dir/agent.log" 2>&1 &
	echo $! >"$dir/pid"
	host_group "$name" "$cores" $! || hosts_ungrouped=1
	: >"$dir/go"
	hosts_names+=("$name")
	: "${hosts_first:=$address}"
}

on() { # NAME COMMAND...
	local name=$1
	shift
	nsenter --net --mount -t "$(cat "$hosts/$name/pid")" env GODWIT_STATE_DIR="$hosts/$name/state" "$@"
}

hosts_end() {
	local name
	for name in "${hosts_names[@]}"; do
		ip netns pids "gw-$name" 2>/dev/null | xargs -r kill -9
		ip link del "gw-$name"; ip netns del "gw-$name"
	done 2>/dev/null
	ip link del "$hosts_bridge" 2>/dev/null
	sleep 0.2
	rmdir /sys/fs/cgroup/godwit-* /sys/fs/cgroup/cpu/godwit-* 2>/dev/null
	return 0
}
