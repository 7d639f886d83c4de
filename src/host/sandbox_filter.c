/* SPDX-License-Identifier: Apache-2.0 */
/* What the build made of the lists (sandbox_compile.c), for this process. */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox_internal.h"

enum { GATE = 5 }; /* instructions */

/* A call from the gate is allowed before anything else is asked. */
static void put_gate(struct sock_filter *at)
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
}

/* A program that knows which process it is for. */
static void put_self(struct sock_filter *at, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (BPF_CLASS(at[i].code) == BPF_JMP && at[i].k == SANDBOX_SELF)
			at[i].k = (uint32_t)getpid();
}

int sandbox_filter_new(struct sock_fprog *out, enum sandbox_role role, bool log)
{
	const struct sock_fprog *in = &sandbox_programs[role];
	const size_t gate = log ? GATE : 0;
	struct sock_filter *program = malloc((gate + in->len) * sizeof(*program));

	if (!program)
		return -ENOMEM;
	if (log)
		put_gate(program);
	memcpy(program + gate, in->filter, in->len * sizeof(*program));
	put_self(program + gate, in->len);
	*out = (struct sock_fprog){ .len = (unsigned short)(gate + in->len), .filter = program };
	return 0;
}

void sandbox_filter_free(struct sock_fprog *f)
{
	free(f->filter);
	*f = (struct sock_fprog){ 0 };
}
