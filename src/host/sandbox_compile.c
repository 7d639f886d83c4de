/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of the build: the lists as programs for the kernel, by libseccomp, in C.  A VM that starts
 * has no time for that.
 */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox_internal.h"

static int add_calls(scmp_filter_ctx c, uint64_t roles)
{
	int r = 0;

	for (unsigned i = 0; i < nsandbox_calls && !r; i++) {
		const struct sandbox_call *call = &sandbox_calls[i];
		const struct sandbox_argument *a = &call->if_;

		if (!(call->roles & roles))
			continue;
		if (a->mask)
			r = seccomp_rule_add(
				c, SCMP_ACT_ALLOW, call->number, 1,
				SCMP_CMP(a->index, SCMP_CMP_MASKED_EQ, a->mask, a->is));
		else
			r = seccomp_rule_add(c, SCMP_ACT_ALLOW, call->number, 0);
	}
	return r;
}

static bool is_allowed(int number, uint64_t roles)
{
	for (unsigned i = 0; i < nsandbox_calls; i++)
		if (sandbox_calls[i].number == number && sandbox_calls[i].roles & roles)
			return true;
	return false;
}

static int add_failing(scmp_filter_ctx c, uint64_t roles)
{
	int r = 0;

	for (unsigned i = 0; i < nsandbox_failing && !r; i++) {
		const struct sandbox_failing *f = &sandbox_failing[i];

		if (!is_allowed(f->number, roles))
			r = seccomp_rule_add(c, SCMP_ACT_ERRNO((uint32_t)f->error), f->number, 0);
	}
	return r;
}

/* Of a thread's program and the process's, the stricter is what the kernel does: showing. */
static int add_asked(scmp_filter_ctx c, enum sandbox_role role)
{
	const uint32_t action = role == SANDBOX_SPAWNER ? SCMP_ACT_NOTIFY : SCMP_ACT_ALLOW;
	int r = 0;

	if (role != SANDBOX_MAIN && role != SANDBOX_SPAWNER)
		return 0;
	for (unsigned i = 0; i < nsandbox_asked && !r; i++)
		r = seccomp_rule_add(c, action, sandbox_asked[i], 0);
	return r;
}

/* libseccomp 2.5 writes a program to a file, and nowhere else.  A pipe has room for the longest
 * there may be. */
static int print_program(scmp_filter_ctx c, enum sandbox_role role)
{
	struct sock_filter at;
	int fd[2], r;

	if (pipe2(fd, O_NONBLOCK))
		return -errno;
	r = seccomp_export_bpf(c, fd[1]);
	close(fd[1]);
	printf("static const struct sock_filter program%d[] = {\n", role);
	while (!r && read(fd[0], &at, sizeof(at)) == sizeof(at))
		printf("{ %#x, %u, %u, %#x },\n", at.code, at.jt, at.jf, at.k);
	printf("};\n");
	close(fd[0]);
	return r;
}

static int print_role(enum sandbox_role role)
{
	/* What makes threads has all their lists. */
	const uint64_t roles = role == SANDBOX_SPAWNER ? SANDBOX_ALL : BIT(role);
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_TRAP);
	int r = c ? seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2) : -ENOMEM;

	r = r ? r : add_calls(c, roles);
	r = r ? r : add_failing(c, roles);
	r = r ? r : add_asked(c, role);
	r = r ? r : print_program(c, role);
	if (c)
		seccomp_release(c);
	return r;
}

int main(void)
{
	int r = 0;

	printf("#include <linux/filter.h>\n");
	for (int role = 0; role < SANDBOX_ROLES && !r; role++)
		r = print_role((enum sandbox_role)role);
	if (r) {
		fprintf(stderr, "the lists are no programs: %s\n", strerror(-r));
		return 1;
	}
	printf("const struct sock_fprog sandbox_programs[%d] = {\n", SANDBOX_ROLES);
	for (int role = 0; role < SANDBOX_ROLES; role++)
		printf("[%d] = { sizeof(program%d) / 8, (struct sock_filter *)program%d },\n", role,
		       role, role);
	printf("};\n");
	return fflush(stdout) ? 1 : 0;
}
