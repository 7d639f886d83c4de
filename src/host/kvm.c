/* SPDX-License-Identifier: Apache-2.0 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/kvm.h>

#include "bits.h"
#include "broker.h"
#include "cleanup.h"
#include "kvm.h"
#include "kvm_caps.h"

enum cpu { CPU_UNKNOWN, CPU_WITHOUT, CPU_INTEL, CPU_AMD };

static enum cpu cpu_virtualisation(void)
{
	CLEANUP(file) FILE *f = fopen("/proc/cpuinfo", "re");
	CLEANUP(free) char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		if (strncmp(line, "flags", 5))
			continue;
		if (strstr(line, " vmx"))
			return CPU_INTEL;
		return strstr(line, " svm") ? CPU_AMD : CPU_WITHOUT;
	}
	return CPU_UNKNOWN;
}

static int refuse_missing(int rc, struct err *e)
{
	switch (cpu_virtualisation()) {
	case CPU_INTEL:
		return err_set(e, rc, "/dev/kvm is missing: load KVM with \"modprobe kvm_intel\"");
	case CPU_AMD:
		return err_set(e, rc, "/dev/kvm is missing: load KVM with \"modprobe kvm_amd\"");
	case CPU_WITHOUT:
		return err_set(
			e, rc,
			"/dev/kvm is missing because the processor shows neither VT-x nor "
			"AMD-V: enable it in the firmware setup or, if this host is itself a "
			"virtual machine, nested virtualisation on the host below");
	default:
		return err_set(e, rc, "/dev/kvm is missing: load the kernel's KVM module");
	}
}

static int refuse_permission(int rc, struct err *e)
{
	struct stat st;
	struct group *group;

	if (stat("/dev/kvm", &st))
		return err_set(e, rc, "/dev/kvm may not be opened: %s", strerror(-rc));
	group = getgrgid(st.st_gid);
	if ((st.st_mode & 060) == 060 && st.st_gid && group)
		return err_set(e, rc,
			       "/dev/kvm may not be opened by this user: join its group with "
			       "\"usermod -aG %s USER\" as root and log in again",
			       group->gr_name);
	return err_set(e, rc,
		       "/dev/kvm may not be opened by this user: let the group kvm use it with "
		       "\"chgrp kvm /dev/kvm && chmod 660 /dev/kvm\" as root, and join that group");
}

static int refuse_open(int rc, struct err *e)
{
	switch (rc) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return refuse_missing(rc, e);
	case -EACCES:
	case -EPERM:
		return refuse_permission(rc, e);
	default:
		return err_set(e, rc, "/dev/kvm cannot be opened: %s", strerror(-rc));
	}
}

int kvm_check(int fd, struct err *e)
{
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return err_set(e, -ENODEV, "/dev/kvm is not KVM's device: %m");
	if (version != KVM_API_VERSION)
		return err_set(e, -ENODEV, "/dev/kvm speaks API version %d, not %d", version,
			       KVM_API_VERSION);
	for (size_t i = 0; i < nkvm_caps; i++)
		if (kvm_caps[i].needed && ioctl(fd, KVM_CHECK_EXTENSION, kvm_caps[i].cap) <= 0)
			return err_set(e, -ENOTSUP,
				       "this host's KVM lacks %s: run a newer host kernel (5.10 or "
				       "later)",
				       kvm_caps[i].name);
	return 0;
}

static int serve_open(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
		      struct err *e)
{
	int opened = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	(void)ask;
	(void)fd;
	(void)nfds;
	if (opened < 0)
		return refuse_open(-errno, e);
	out->fd[out->nfds++] = opened;
	return 0;
}

const struct broker_service kvm_service = { "kvm", false, serve_open };

int kvm_open_unchecked(int *fd, struct err *e)
{
	struct broker_answer a;
	int r = broker_ask(&kvm_service, json_object(), NULL, 0, &a, e);

	if (r)
		return r;
	*fd = a.nfds ? TAKE_FD(a.fd[0]) : -1;
	broker_answer_free(&a);
	return 0;
}

int kvm_open(int *fd, struct err *e)
{
	CLEANUP(fd) int opened = -1;
	int rc = kvm_open_unchecked(&opened, e);

	if (!rc)
		rc = kvm_check(opened, e);
	if (!rc)
		*fd = TAKE_FD(opened);
	return rc;
}

uint8_t kvm_phys_bits(void)
{
	unsigned eax, ebx, ecx, edx;

	/* SDM volume 3A, 4.1.4: 36 where the processor does not say. */
	return __get_cpuid(0x80000008, &eax, &ebx, &ecx, &edx) ? (uint8_t)eax : 36;
}

uint32_t kvm_tsc_khz(int fd)
{
	int khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint32_t)khz : 0;
}

int kvm_new_vm(int kvm_fd, int *fd, struct err *e)
{
	int made = kvm_ioctl(kvm_fd, KVM_CREATE_VM, "KVM_CREATE_VM", NULL, e);

	if (made == -EBUSY)
		return err_set(e, made,
			       "KVM cannot create a VM: another hypervisor, such as VirtualBox, "
			       "holds the processor's VT-x or AMD-V; stop it");
	if (made < 0)
		return err_set(e, made, "KVM cannot create a VM: %s", strerror(-made));
	*fd = made;
	return 0;
}

int kvm_ioctl(int fd, unsigned long req, const char *name, void *arg, struct err *e)
{
	int rc;

	do
		rc = ioctl(fd, req, arg);
	while (rc < 0 && errno == EINTR);
	if (rc >= 0)
		return rc;
	rc = -errno;
	return err_set(e, rc, "%s failed: %s", name, strerror(-rc));
}
