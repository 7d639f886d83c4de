/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole stream from anywhere, loaded into a small VM and printed.  Checksums would keep a
 * fuzzer out: the input is a list of sections, u8 type, u16 length and payload each, which
 * are framed here as they should be; input that begins with the stream's own magic is taken
 * as it is.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../src/migrate/section.h"
#include "bits.h"
#include "cleanup.h"
#include "classes.h"
#include "state_codec.h"
#include "stream.h"
#include "vm.h"

enum { RAM_BYTES = 64 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool what)
{
	if (!what)
		abort();
}

static void write_sections(int fd, struct state_view v)
{
	struct channel ch = channel_of(fd);
	struct iovec iov[2];
	const uint8_t *payload;
	uint64_t type, len;
	struct err e;

	require(!section_write_magic(&ch, &e));
	while (state_view_take_le(&v, 1, &type) && state_view_take_le(&v, 2, &len)) {
		len = MIN(len, v.len);
		state_view_take(&v, len, &payload);
		iov[1] = (struct iovec){ (void *)(uintptr_t)payload, len };
		require(!section_write(&ch, (enum section_type)type, iov, 2, &e));
	}
}

static void make_vm(struct vm *vm)
{
	static const struct device_class *const classes[] = { &cmos_class, &i8042_class,
							      &pvpanic_class };
	const struct guest_mem_config memory = { .size_bytes = RAM_BYTES };
	struct loop *loop;
	struct device *dev;
	struct err e;

	require(!loop_new(&loop, &e));
	require(!vm_init(vm, -1, loop, 0, &e));
	require(!guest_mem_new(&vm->mem, &memory, &e));
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		require(!device_new(&dev, classes[i], classes[i]->kind, vm, NULL, &e));
}

/* A VM that took a stream can be saved. */
static void load(int fd)
{
	static struct vm vm; /* made once: that takes a hundred times as long as a load */
	struct device *dev;
	struct err e;

	if (!vm.mem)
		make_vm(&vm);
	list_for_each (dev, &vm.devices, node)
		device_reset(dev);
	if (stream_load(&vm, fd, &e) == 0) {
		CLEANUP(fd) int copy = memfd_create("copy", MFD_CLOEXEC);

		require(!stream_save(&vm, copy, &e));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(fd) int fd = memfd_create("stream", MFD_CLOEXEC);
	CLEANUP(file) FILE *null = fopen("/dev/null", "we");
	struct err e;

	require(fd >= 0 && null);
	if (len >= 8 && !memcmp(data, "godwitVM", 8))
		require(write(fd, data, len) == (ssize_t)len);
	else
		write_sections(fd, (struct state_view){ data, len });
	lseek(fd, 0, SEEK_SET);
	stream_print(null, fd, &e);
	lseek(fd, 0, SEEK_SET);
	load(fd);
	return 0;
}
