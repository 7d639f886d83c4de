/* SPDX-License-Identifier: Apache-2.0 */
/* Lists become programs by libseccomp, once for all threads of a role. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox_internal.h"

enum { GATE = 5 }; /* instructions */

static void free_context(scmp_filter_ctx *c)
{
	if (*c)
		seccomp_release(*c);
}

static int add_calls(scmp_filter_ctx c, uint64_t roles)
{
	/* Its flags are in memory, where no filter looks: what makes threads asks clone() then. */
	int r = seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SYS_clone3, 0);

	for (unsigned i = 0; i < nsandbox_calls && !r; i++) {
		const struct sandbox_call *call = &sandbox_calls[i];
		const struct sandbox_argument *a = &call->if_;

		if (!(call->roles & roles))
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

/* Of a thread's filter and the process's, the stricter is what the kernel does: showing. */
static int add_asked(scmp_filter_ctx c, uint64_t roles)
{
	const uint32_t action = roles == SANDBOX_ALL ? SCMP_ACT_NOTIFY : SCMP_ACT_ALLOW;
	int r = 0;

	for (unsigned i = 0; i < nsandbox_asked && !r && roles & ROLE(MAIN); i++)
		r = seccomp_rule_add(c, action, sandbox_asked[i], 0);
	return r;
}

/* A call from the gate is allowed before anything else is asked. */
static size_t put_gate(struct sock_filter *at)
{
	const uint64_t address = (uintptr_t)sandbox_gate_end;
	const uint32_t offset = offsetof(struct seccomp_data, instruction_pointer);
	const struct sock_filter gate[GATE] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)address, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(address >> 32), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	memcpy(at, gate, sizeof(gate));
	return GATE;
}

/* libseccomp 2.5 writes a program to a file, and nowhere else.  A pipe has no limit of bytes that a
 * process may have (RLIMIT_FSIZE), and room for the longest program there may be. */
static int read_program(struct sock_fprog *out, scmp_filter_ctx c, bool log)
{
	struct sock_filter program[BPF_MAXINSNS + GATE];
	size_t n = log ? put_gate(program) : 0;
	int r, fd[2];
	ssize_t got;

	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	r = seccomp_export_bpf(c, fd[1]);
	got = r ? 0 : read(fd[0], program + n, BPF_MAXINSNS * sizeof(*program));
	r = got < 0 ? -errno : r;
	close(fd[0]);
	close(fd[1]);
	if (r)
		return r;
	n += (size_t)got / sizeof(*program);
	out->filter = malloc(n * sizeof(*program));
	if (!out->filter)
		return -ENOMEM;
	memcpy(out->filter, program, n * sizeof(*program));
	out->len = (unsigned short)n;
	return 0;
}

int sandbox_filter_new(struct sock_fprog *out, uint64_t roles, bool log, struct err *e)
{
	__attribute__((cleanup(free_context))) scmp_filter_ctx c = seccomp_init(SCMP_ACT_TRAP);
	int r = c ? seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2) : -ENOMEM;

	r = r ? r : add_calls(c, roles);
	r = r ? r : add_asked(c, roles);
	r = r ? r : read_program(out, c, log);
	return r ? err_set(e, r, "a filter of system calls cannot be made: %s", strerror(-r)) : 0;
}

void sandbox_filter_free(struct sock_fprog *f)
{
	free(f->filter);
	*f = (struct sock_fprog){ 0 };
}
