/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel offers beside KVM and memory. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "facts_internal.h"

static json_t *limit(rlim_t value)
{
	return value == RLIM_INFINITY ? json_string("unlimited") : json_integer((json_int_t)value);
}

json_t *facts_limits(const struct facts_host *host)
{
	static const struct {
		const char *now, *highest; /* as it is, and up to where this user may put it */
		int resource;
	} resources[] = {
		{ "open_files", "max_open_files", RLIMIT_NOFILE },
		{ "processes", "max_processes", RLIMIT_NPROC },
		{ "locked_bytes", "max_locked_bytes", RLIMIT_MEMLOCK },
		{ "address_space_bytes", "max_address_space_bytes", RLIMIT_AS },
	};
	json_t *limits = json_object();
	struct rlimit r;

	(void)host;
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		if (getrlimit(resources[i].resource, &r))
			continue;
		json_object_set_new(limits, resources[i].now, limit(r.rlim_cur));
		json_object_set_new(limits, resources[i].highest, limit(r.rlim_max));
	}
	return limits;
}

static json_t *io_uring(const struct facts_host *host)
{
	struct io_uring ring;
	char disabled[16];
	int rc = io_uring_queue_init(1, &ring, 0);

	if (!rc) {
		io_uring_queue_exit(&ring);
		return json_true();
	}
	if (!facts_read(host, disabled, sizeof(disabled), "/proc/sys/kernel/io_uring_disabled") &&
	    strcmp(disabled, "0"))
		return json_sprintf("turned off on this host; root turns it on with \"sysctl "
				    "kernel.io_uring_disabled=0\"");
	return json_sprintf("io_uring_setup fails: %s", strerror(-rc));
}

/* Faults that KVM takes for a guest: without those of the kernel userfaultfd is no use here.
 * Who may not make the system call may still have the device.  -errno. */
static int open_userfaultfd(void)
{
	int rc, fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	CLEANUP(fd) int device = -1;

	if (fd >= 0)
		return fd;
	rc = -errno;
	device = rc == -EPERM ? open("/dev/userfaultfd", O_RDWR | O_CLOEXEC) : -1;
	if (device >= 0)
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
	return fd < 0 ? rc : fd;
}

static json_t *userfaultfd(void)
{
	CLEANUP(fd) int fd = open_userfaultfd();

	if (fd >= 0)
		return json_true();
	if (fd == -EPERM)
		return json_sprintf("not allowed to this user; root allows it with \"sysctl "
				    "vm.unprivileged_userfaultfd=1\", or by access to "
				    "/dev/userfaultfd");
	return json_sprintf("userfaultfd fails: %s", strerror(-fd));
}

static json_t *userfaultfd_features(void)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} features[] = {
		{ UFFD_FEATURE_PAGEFAULT_FLAG_WP, "write_protect" },
		{ UFFD_FEATURE_WP_HUGETLBFS_SHMEM, "write_protect_shared" },
		{ UFFD_FEATURE_MISSING_HUGETLBFS, "missing_huge_pages" },
		{ UFFD_FEATURE_MISSING_SHMEM, "missing_shared" },
		{ UFFD_FEATURE_MINOR_HUGETLBFS, "minor_huge_pages" },
		{ UFFD_FEATURE_MINOR_SHMEM, "minor_shared" },
		{ UFFD_FEATURE_THREAD_ID, "thread_id" },
	};
	struct uffdio_api api = { .api = UFFD_API };
	CLEANUP(fd) int fd = open_userfaultfd();
	json_t *names;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		return NULL;
	names = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (api.features & features[i].bit)
			json_array_append_new(names, json_string(features[i].name));
	return names;
}

json_t *facts_kernel(const struct facts_host *host)
{
	json_t *kernel = json_object();

	json_object_set_new(kernel, "release", facts_text(host, "proc/sys/kernel/osrelease"));
	json_object_set_new(kernel, "io_uring", io_uring(host));
	json_object_set_new(kernel, "userfaultfd", userfaultfd());
	json_object_set_new(kernel, "userfaultfd_features", userfaultfd_features());
	return kernel;
}

static json_t *device_opens(const char *path, const char *module)
{
	CLEANUP(fd) int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return json_true();
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return json_sprintf("%s is missing; load the kernel's module %s", path, module);
	if (errno == EACCES || errno == EPERM)
		return json_sprintf("%s may not be opened by this user", path);
	return json_sprintf("%s cannot be opened: %s", path, strerror(errno));
}

static json_t *makes_taps(const struct facts_host *host)
{
	char effective[32];

	if (facts_find(host, effective, sizeof(effective), "/proc/self/status", "CapEff:"))
		return NULL;
	if (strtoull(effective, NULL, 16) & BIT(CAP_NET_ADMIN))
		return json_true();
	return json_sprintf("not allowed to this user; have root make taps with \"ip tuntap add "
			    "dev tap0 mode tap user USER\"");
}

json_t *facts_network(const struct facts_host *host)
{
	json_t *network = json_object();

	json_object_set_new(network, "tap", device_opens("/dev/net/tun", "tun"));
	json_object_set_new(network, "new_taps", makes_taps(host));
	json_object_set_new(network, "vhost_net", device_opens("/dev/vhost-net", "vhost_net"));
	json_object_set_new(network, "vhost_vsock",
			    device_opens("/dev/vhost-vsock", "vhost_vsock"));
	return network;
}

/* Where version 2 is mounted: on /sys/fs/cgroup, or below it beside version 1. */
static const char *cgroup_mount(const struct facts_host *host)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	char path[512];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "%s%s/cgroup.controllers", host->root, places[i]);
		if (!access(path, F_OK))
			return places[i];
	}
	return NULL;
}

json_t *facts_cgroup(const struct facts_host *host)
{
	const char *mount = cgroup_mount(host);
	json_t *cgroup = json_object();
	char path[200], folder[512], controllers[256];

	if (!mount) {
		json_object_set_new(cgroup, "v2", json_string("cgroup version 2 is not mounted"));
		return cgroup;
	}
	json_object_set_new(cgroup, "v2", json_true());
	if (facts_find(host, path, sizeof(path), "/proc/self/cgroup", "0::"))
		return cgroup;
	snprintf(folder, sizeof(folder), "%s%s%s", host->root, mount, path);
	json_object_set_new(cgroup, "path", json_string(path));
	json_object_set_new(cgroup, "writable", json_boolean(!access(folder, W_OK)));
	if (!facts_read(host, controllers, sizeof(controllers), "%s%s/cgroup.controllers", mount,
			path))
		json_object_set_new(cgroup, "controllers", facts_words(controllers));
	return cgroup;
}

json_t *facts_pressure(const struct facts_host *host)
{
	static const char *const kinds[] = { "cpu", "memory", "io" };
	json_t *pressure = json_object();
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		json_t *can = json_true();

		if (facts_read(host, text, sizeof(text), "/proc/pressure/%s", kinds[i]))
			can = json_string("not counted; boot the host with psi=1");
		json_object_set_new(pressure, kinds[i], can);
	}
	return pressure;
}
