/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bits.h"
#include "facts_internal.h"
#include "kvm.h"
#include "kvm_caps.h"
#include "kvm_ring0.h"

static json_t *loaded_modules(const struct facts_host *host)
{
	static const char *const names[] = { "kvm", "kvm_intel", "kvm_amd", "kvm_pvm" };
	json_t *loaded = json_array();
	char path[256];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/sys/module/%s", host->root, names[i]);
		if (!access(path, F_OK))
			json_array_append_new(loaded, json_string(names[i]));
	}
	return loaded;
}

static json_t *capabilities(int kvm_fd)
{
	json_t *values = json_object();

	for (size_t i = 0; i < nkvm_caps; i++) {
		int value = ioctl(kvm_fd, KVM_CHECK_EXTENSION, kvm_caps[i].cap);

		if (value >= 0)
			json_object_set_new(values, kvm_caps[i].name, json_integer(value));
	}
	return values;
}

static void put_ioctl(json_t *kvm, const char *key, int kvm_fd, unsigned long request)
{
	int value = ioctl(kvm_fd, request, 0);

	if (value >= 0)
		json_object_set_new(kvm, key, json_integer(value));
}

/* The first thing that is in the way, with ring 0 last: it needs all the others. */
static int find_ring0(const struct facts_host *host, enum kvm_ring0 *ring0, struct err *e)
{
	int rc = host->kvm_fd < 0 ? -ENODEV : kvm_check(host->kvm_fd, e);

	return rc ? rc : kvm_ring0(host->kvm_fd, ring0, e);
}

json_t *facts_kvm(const struct facts_host *host)
{
	static const char *const names[] = {
		[KVM_RING0_HARDWARE] = "hardware", [KVM_RING0_EMULATOR] = "emulator"
	};
	json_t *kvm = json_object();
	struct err e = host->kvm_error;
	enum kvm_ring0 ring0;

	if (find_ring0(host, &ring0, &e)) {
		json_object_set_new(kvm, "usable", json_string(e.text));
	} else {
		json_object_set_new(kvm, "usable", json_true());
		json_object_set_new(kvm, "ring0", json_string(names[ring0]));
	}
	json_object_set_new(kvm, "modules", loaded_modules(host));
	if (host->kvm_fd < 0)
		return kvm;
	put_ioctl(kvm, "api_version", host->kvm_fd, KVM_GET_API_VERSION);
	put_ioctl(kvm, "vcpu_mmap_bytes", host->kvm_fd, KVM_GET_VCPU_MMAP_SIZE);
	json_object_set_new(kvm, "capabilities", capabilities(host->kvm_fd));
	return kvm;
}
