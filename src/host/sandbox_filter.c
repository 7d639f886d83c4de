/* SPDX-License-Identifier: Apache-2.0 */
/* Lists become programs by libseccomp, once for all threads of a role. */
#include <errno.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "sandbox_internal.h"

static void free_context(scmp_filter_ctx *c)
{
	if (*c)
		seccomp_release(*c);
}

static int add_calls(scmp_filter_ctx c, enum sandbox_role role)
{
	/* Its flags are in memory, where no filter looks: what makes threads asks clone() then. */
	int r = seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SYS_clone3, 0);

	for (unsigned i = 0; i < nsandbox_calls && !r; i++) {
		const struct sandbox_call *call = &sandbox_calls[i];
		const struct sandbox_argument *a = &call->if_;

		if (!(call->roles & BIT(role)))
			continue;
		if (a->mask)
			r = seccomp_rule_add(c, SCMP_ACT_ALLOW, call->number, 1,
					     SCMP_CMP(a->index, SCMP_CMP_MASKED_EQ, a->mask,
						      a->is_self ? (uint32_t)getpid() : a->is));
		else
			r = seccomp_rule_add(c, SCMP_ACT_ALLOW, call->number, 0);
	}
	return r;
}

/* A call from the gate is allowed before anything else is asked. */
static size_t put_gate(struct sock_filter *at)
{
	const uint64_t address = (uintptr_t)sandbox_gate_end;
	const uint32_t offset = offsetof(struct seccomp_data, instruction_pointer);
	const struct sock_filter gate[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)address, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(address >> 32), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	memcpy(at, gate, sizeof(gate));
	return ARRAY_SIZE(gate);
}

/* libseccomp 2.5 writes a program to a file, and nowhere else. */
static int read_program(struct sock_fprog *out, scmp_filter_ctx c, bool log)
{
	CLEANUP(fd) int fd = memfd_create("filter", MFD_CLOEXEC);
	struct sock_filter *program;
	struct stat st;
	size_t n;
	int r = fd < 0 ? -errno : seccomp_export_bpf(c, fd);

	if (r || fstat(fd, &st))
		return r ? r : -errno;
	program = malloc((size_t)st.st_size + 8 * sizeof(*program));
	if (!program)
		return -ENOMEM;
	n = log ? put_gate(program) : 0;
	if (pread(fd, program + n, (size_t)st.st_size, 0) != st.st_size) {
		free(program);
		return -EIO;
	}
	n += (size_t)st.st_size / sizeof(*program);
	*out = (struct sock_fprog){ .len = (unsigned short)n, .filter = program };
	return 0;
}

int sandbox_filter_new(struct sock_fprog *out, enum sandbox_role role, bool log, struct err *e)
{
	__attribute__((cleanup(free_context))) scmp_filter_ctx c = seccomp_init(SCMP_ACT_TRAP);
	int r = c ? seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2) : -ENOMEM;

	r = r ? r : add_calls(c, role);
	r = r ? r : read_program(out, c, log);
	return r ? err_set(e, r, "a filter of system calls cannot be made: %s", strerror(-r)) : 0;
}

void sandbox_filter_free(struct sock_fprog *f)
{
	free(f->filter);
	*f = (struct sock_fprog){ 0 };
}
