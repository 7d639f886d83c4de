/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a source says of its VM, given to a destination that builds the VM and finds out what is in
 * the way. The first byte is a set of bits, JSON follows: what is laid over that which a source of
 * this very version says, or, with WHOLE, all of it; then, after a 0, what is said anew here.
 *
 * The destination is on a host of its own: an empty root directory, no network, and a KVM that is
 * made up. Where nothing is in the way, what was built must be what the source says.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../../src/api/vmm_compat.h"
#include "../../src/api/vmm_internal.h"
#include "cleanup.h"
#include "fake_kvm.h"
#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WHOLE = 1, TRIED = 2, KERNEL_BYTES = 2 << 10, DISK_BYTES = 64 << 10 };

static const char good_config[] =
	"{\"payload\": {\"kernel\": \"/kernel\"}, \"cpus\": {\"boot_vcpus\": 2, \"max_vcpus\": 3},"
	" \"memory\": {\"size\": 16777216, \"hotplug_size\": 134217728},"
	" \"disks\": [{\"id\": \"root\", \"path\": \"/disk\"},"
	" {\"id\": \"more\", \"path\": \"/more\", \"readonly\": true}],"
	" \"serial\": {\"mode\": \"Null\"}, \"console\": {\"mode\": \"Null\"}, \"rng\": {},"
	" \"balloon\": {\"size\": 0}, \"pvpanic\": true,"
	" \"platform\": {\"uuid\": \"6ba7b810-9dad-41d1-80b4-00c04fd430c8\"}}";

static char root[] = "/dev/shm/fuzz_compat.XXXXXX";
static struct loop *loop;
static struct events *events;
static json_t *good; /* what a source says */

static void require(bool what)
{
	if (!what)
		abort();
}

/* The host */

static void write_file(const char *path, const void *bytes, size_t len)
{
	CLEANUP(fd) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	require(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
}

/* A bzImage of a sector of code (Linux, Documentation/arch/x86/boot.rst). */
static void write_kernel(void)
{
	static const uint8_t header[] = { 1, 0,    0,    32,   0,    0,   0,   0,   0,   0,    0, 0,
					  0, 0x55, 0xaa, 0xeb, 0x66, 'H', 'd', 'r', 'S', 0x0f, 2 };
	uint8_t kernel[KERNEL_BYTES] = { 0 };

	memcpy(kernel + 0x1f1, header, sizeof(header));
	kernel[0x211] = 1; /* loadflags */
	kernel[0x236] = 1; /* xloadflags */
	write_file("/kernel", kernel, sizeof(kernel));
}

static void make_host(void)
{
	static const char memory[] = "MemTotal: 2097152 kB\nMemAvailable: 1048576 kB\n";
	static const char *const folders[] = { "/dev",          "/proc", "/proc/self",
					       "/proc/self/fd", "/run",  "/state" };

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		require(!mkdir(folders[i], 0700));
	write_file("/dev/kvm", "", 0);
	write_file("/dev/urandom", "", 0);
	write_file("/proc/meminfo", memory, strlen(memory));
	write_file("/disk", "", 0);
	write_file("/more", "", 0);
	require(!truncate("/disk", DISK_BYTES) && !truncate("/more", DISK_BYTES / 2));
	write_kernel();
}

static void set_map(const char *path, unsigned id)
{
	CLEANUP(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

	require(fd >= 0 && dprintf(fd, "0 %u 1", id) > 0);
}

/* What an ordinary user may not is allowed in a namespace, which takes no process with threads. */
__attribute__((constructor)) static void become_root(void)
{
	const unsigned uid = geteuid(), gid = getegid();

	if (!uid)
		return;
	require(!unshare(CLONE_NEWUSER));
	write_file("/proc/self/setgroups", "deny", 4);
	set_map("/proc/self/uid_map", uid);
	set_map("/proc/self/gid_map", gid);
}

static void remove_root(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", root);
	require(!system(command));
}

/* For this thread and those that it makes: the fuzzer's own files are elsewhere. */
static void enter_host(void)
{
	CLEANUP(fd) int fds = -1;

	require(!unshare(CLONE_FS | CLONE_NEWNS | CLONE_NEWNET));
	require(!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	require(fds >= 0 && !chroot(root) && !chdir("/"));
	make_host();
	require(!fchdir(fds) && !mount(".", "/proc/self/fd", NULL, MS_BIND, NULL) && !chdir("/"));
}

/* The monitor */

static int created(void *arg, const char *name, int dir_fd, struct err *e)
{
	(void)arg;
	(void)name;
	(void)dir_fd;
	(void)e;
	return 0;
}

static void away(void *arg, bool is_away)
{
	(void)arg;
	(void)is_away;
}

static struct vmm *make_vmm(void)
{
	const struct vmm_hooks hooks = {
		.loop = loop, .events = events, .created = created, .away = away
	};
	struct vmm *v;
	struct err e;

	require(!vmm_new(&v, &hooks, &e));
	return v;
}

static json_t *hello_of(struct vmm *v)
{
	CLEANUP(free) char *text = vmm_hello(v);
	json_t *hello = text ? json_loads(text, 0, NULL) : NULL;

	require(hello);
	return hello;
}

static void make_good(void)
{
	const struct machine_hooks how = { .loaded = true, .memory_fd = -1 };
	json_auto_t *config = json_loads(good_config, 0, NULL);
	struct vmm *v = make_vmm();
	struct err e;

	require(!vmm_take_config(v, config, &e) && !vmm_build(v, &how, &e));
	require(!machine_own_disks(v->machine, &e));
	good = hello_of(v);
	require(vmm_free(v));
}

/* Whoever is let in is what it says it is. */
static void check_built(struct vmm *v, const json_t *hello)
{
	json_auto_t *own = hello_of(v);
	const json_t *sizes = json_object_get(own, "disks"), *needs = json_object_get(own, "needs");
	const json_t *there = json_object_get(hello, "disks");
	const char *id;
	json_t *size;

	require(json_equal(json_object_get(own, "vm"), json_object_get(hello, "vm")));
	require(json_equal(json_object_get(needs, "cpuid"),
			   json_object_get(json_object_get(hello, "needs"), "cpuid")));
	json_object_foreach((json_t *)sizes, id, size)
		require(json_equal(size, json_object_get(there, id)));
}

/* How much is in the way. */
static size_t take(json_t *hello, const json_t *local, bool stays)
{
	json_auto_t *said = json_deep_copy(hello), *blockers = json_array(), *versions = NULL;
	struct vmm *v = make_vmm();
	const json_t *sentence;
	size_t i;

	/* All of this host's memory is not to be taken for it. */
	json_object_del(json_object_get(json_object_get(hello, "config"), "memory"), "prefault");
	vmm_take_hello(v, hello, local, stays, &versions, blockers);
	json_array_foreach(blockers, i, sentence) require(json_string_length(sentence));
	require(!v->machine || stays);
	require(!stays || v->machine || i);
	if (v->machine && !i)
		check_built(v, said);
	require(vmm_free(v));
	return i;
}

static void run_input(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data + 1, 0, size - 1);
	size_t len = end ? (size_t)(end - data) : size;
	json_auto_t *change = json_loadb((const char *)data + 1, len - 1, 0, NULL);
	json_auto_t *local = end ? json_loadb((const char *)end + 1, size - len - 1, 0, NULL)
				 : NULL;
	json_auto_t *hello = NULL;

	if (!json_is_object(change))
		return;
	hello = *data & WHOLE ? json_incref(change) : json_deep_copy(good);
	json_object_update_recursive(hello, change);
	take(hello, json_is_object(local) ? local : NULL, !(*data & TRIED));
}

/* Its thread */

static struct {
	pthread_t thread;
	pthread_barrier_t turn; /* of both: the host is made; an input is there, it is done */
	const uint8_t *data;
	size_t size;
} host;

static void *host_main(void *arg)
{
	struct err e;

	(void)arg;
	enter_host();
	require(!loop_new(&loop, &e) && !events_new(&events, &e));
	make_good();
	require(!take(good, NULL, true));
	pthread_barrier_wait(&host.turn);
	for (;;) {
		pthread_barrier_wait(&host.turn);
		run_input(host.data, host.size);
		pthread_barrier_wait(&host.turn);
	}
	return NULL;
}

static void start_host(void)
{
	log_set_level(LOG_ERROR);
	/* A terminal there is the fuzzer's. */
	require(freopen("/dev/null", "r", stdin));
	require(!setenv("XDG_RUNTIME_DIR", "/run", 1) && !setenv("GODWIT_STATE_DIR", "/state", 1));
	require(mkdtemp(root) && !atexit(remove_root));
	require(!pthread_barrier_init(&host.turn, NULL, 2));
	require(!pthread_create(&host.thread, NULL, host_main, NULL));
	pthread_barrier_wait(&host.turn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!host.thread)
		start_host();
	if (!size)
		return 0;
	host.data = data;
	host.size = size;
	pthread_barrier_wait(&host.turn);
	pthread_barrier_wait(&host.turn);
	return 0;
}
