/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes over a data connection of a live migration, given to its receiver and, as
 * acknowledgements, to its sender. The input is a list of sections, u8 type, u16 length and
 * payload each, which are framed here with checksums that are right.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/migrate/ram_receive.h"
#include "../../src/migrate/ram_send.h"
#include "../../src/migrate/section.h"
#include "bits.h"
#include "cleanup.h"
#include "state_codec.h"
#include "vm.h"

enum { RAM_BYTES = 64 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool what)
{
	if (!what)
		abort();
}

/* The checksum ends where the pages begin. */
static size_t checked_bytes(uint64_t type, const uint8_t *payload, size_t len)
{
	uint64_t nruns = len < SECTION_RAM_HEAD_BYTES ? 0 : get_le(payload, 4);

	if (type != SECTION_PAGES || nruns > SECTION_RUNS_MAX)
		return len;
	return MIN(len, SECTION_RAM_HEAD_BYTES + nruns * SECTION_RUN_BYTES);
}

static void write_sections(int fd, struct state_view v)
{
	struct channel ch = channel_of(fd);
	const uint8_t *payload;
	uint64_t type, len;
	struct iovec iov[3];
	struct err e;
	size_t checked;

	while (state_view_take_le(&v, 1, &type) && state_view_take_le(&v, 2, &len)) {
		len = MIN(len, v.len);
		state_view_take(&v, len, &payload);
		checked = checked_bytes(type, payload, len);
		iov[1] = (struct iovec){ (void *)(uintptr_t)payload, checked };
		iov[2] = (struct iovec){ (void *)(uintptr_t)(payload + checked), len - checked };
		require(!section_write_pages(&ch, (enum section_type)type, iov, 3, &e));
	}
	shutdown(fd, SHUT_WR);
}

/* Room for every input that fits into 64 KiB, so that one thread can write and read. */
static void connect_pair(int fds[2])
{
	int room = 1 << 20;

	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
	require(!setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
}

static void receive(int fd, struct guest_mem *mem)
{
	struct channel ch = channel_of(fd);
	struct ram_receiver *r;
	struct err e;

	require(!ram_receiver_new(&r, mem, 1, &e));
	ram_receiver_run(r, 0, &ch, &e);
	ram_receiver_free(r);
}

static void attach(int fd, struct guest_mem *mem)
{
	struct vm vm = { .fd = -1, .kvm_fd = -1, .mem = mem };
	struct channel ch = channel_of(fd), *data[1] = { &ch };
	struct ram_sender *s;
	struct err e;

	require(!ram_sender_new(&s, &vm, &e));
	ram_sender_attach(s, data, 1, &e);
	ram_sender_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const sides[])(int, struct guest_mem *) = { receive, attach };
	const struct guest_mem_config c = { .size_bytes = RAM_BYTES };
	struct err e;

	if (len > 64 << 10)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		struct guest_mem *mem;
		int fds[2];

		require(!guest_mem_new(&mem, &c, &e));
		connect_pair(fds);
		write_sections(fds[0], (struct state_view){ data, len });
		sides[i](fds[1], mem);
		close(fds[0]);
		close(fds[1]);
		guest_mem_free(mem);
	}
	return 0;
}
