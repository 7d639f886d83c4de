/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For targets whose input is a program (actions.h): most of what is made up is a change to one of
 * its actions, actions that are added, copied, moved or left out, or parts of two programs joined.
 */
#include <stdbool.h>
#include <string.h>

#include "actions.h"
#include "mutator.h"

enum { ACTIONS_MAX = 1024, RUN_MAX = 8, INPUT_MAX = 1 << 16 };

struct program {
	uint8_t options;
	struct action action[ACTIONS_MAX + RUN_MAX];
	size_t n;
};

static uint64_t any_number(uint64_t old, uint32_t *seed)
{
	const unsigned bit = any(seed) % 64;

	switch (any(seed) % 8) {
	case 0:
		return old + 1;
	case 1:
		return old - 1;
	case 2:
		return old ^ UINT64_C(1) << bit;
	case 3:
		return old ^ UINT64_C(1) << bit % 16;
	case 4:
		return any(seed) % 16;
	case 5:
		return (UINT64_C(1) << bit) - any(seed) % 2;
	case 6:
		return 0 - (uint64_t)(any(seed) % 3);
	default:
		return (uint64_t)any(seed) << 32 | any(seed);
	}
}

static struct action any_action(uint32_t *seed)
{
	return (struct action){ .what = any(seed) % nactions,
				.a = (uint8_t)any(seed),
				.b = (uint8_t)any(seed),
				.offset = (uint16_t)any_number(any(seed) % 64, seed),
				.value = any_number(0, seed) };
}

/* One of the fields that it has. */
static void change(struct action *action, uint32_t *seed)
{
	static uint8_t bytes[ACTION_BYTES_MAX];
	const unsigned has = action_fields[action->what], first = any(seed);
	unsigned field = 0;

	if (!has)
		return;
	for (unsigned i = first; !field; i++)
		field = has & 1U << i % 5;
	if (field == A)
		action->a = (uint8_t)any_number(action->a, seed);
	if (field == B)
		action->b = (uint8_t)any_number(action->b, seed);
	if (field == OFFSET)
		action->offset = (uint16_t)any_number(action->offset, seed);
	if (field == VALUE)
		action->value = any_number(action->value, seed);
	if (field == BYTES) {
		memcpy(bytes, action->bytes, action->nbytes);
		action->nbytes = LLVMFuzzerMutate(bytes, action->nbytes, sizeof(bytes));
		action->bytes = bytes;
	}
}

/* Actions of p make room for n. */
static struct action *open_gap(struct program *p, size_t n, uint32_t *seed)
{
	size_t at = any(seed) % (p->n + 1);

	memmove(&p->action[at + n], &p->action[at], (p->n - at) * sizeof(*p->action));
	p->n += n;
	return &p->action[at];
}

static void leave_out(struct program *p, size_t at, size_t n)
{
	p->n -= n;
	memmove(&p->action[at], &p->action[at + n], (p->n - at) * sizeof(*p->action));
}

static void change_program(struct program *p, uint32_t *seed)
{
	struct action run[RUN_MAX];
	const unsigned how = p->n ? any(seed) % 8 : 0;
	size_t at, n;

	if (how == 0) {
		*open_gap(p, 1, seed) = any_action(seed);
		return;
	}
	at = any(seed) % p->n;
	n = 1 + any(seed) % MIN(p->n - at, (size_t)RUN_MAX);
	memcpy(run, &p->action[at], n * sizeof(*run));
	if (how == 1 || how == 2)
		leave_out(p, at, n);
	if (how == 2 || how == 3)
		memcpy(open_gap(p, n, seed), run, n * sizeof(*run));
	if (how > 3)
		change(&p->action[at], seed);
}

/* A program's actions point into its input. */
static void read_program(struct program *p, const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;

	p->n = 0;
	p->options = (uint8_t)action_number(&data, end, 1);
	while (data < end && p->n < ACTIONS_MAX)
		p->action[p->n++] = action_take(&data, end);
}

static void put_number(uint8_t **at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		*(*at)++ = (uint8_t)(value >> 8 * i);
}

static size_t action_size(const struct action *action)
{
	const unsigned has = action_fields[action->what];

	return 1 + !!(has & A) + !!(has & B) + (has & OFFSET ? 2 : 0) + (has & VALUE ? 8 : 0) +
	       (has & BYTES ? 2 + action->nbytes : 0);
}

static void put_action(uint8_t **at, const struct action *action)
{
	const unsigned has = action_fields[action->what];

	put_number(at, action->what, 1);
	if (has & A)
		put_number(at, action->a, 1);
	if (has & B)
		put_number(at, action->b, 1);
	if (has & OFFSET)
		put_number(at, action->offset, 2);
	if (has & VALUE)
		put_number(at, action->value, 8);
	if (!(has & BYTES))
		return;
	put_number(at, action->nbytes, 2);
	if (action->nbytes)
		memcpy(*at, action->bytes, action->nbytes);
	*at += action->nbytes;
}

/* As many actions as there is room for; returns their bytes. */
static size_t write_program(const struct program *p, uint8_t *out, size_t max_size)
{
	uint8_t *at = out;

	put_number(&at, p->options, 1);
	for (size_t i = 0; i < p->n; i++)
		if (action_size(&p->action[i]) <= max_size - (size_t)(at - out))
			put_action(&at, &p->action[i]);
	return (size_t)(at - out);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	static struct program program;
	static uint8_t copy[INPUT_MAX];
	uint32_t state = seed * 2654435761U | 1;

	if (any(&state) % 8 == 0 || size > sizeof(copy))
		return LLVMFuzzerMutate(data, size, max_size);
	memcpy(copy, data, size);
	read_program(&program, copy, size);
	if (any(&state) % 32 == 0)
		program.options = (uint8_t)any(&state);
	else
		change_program(&program, &state);
	return write_program(&program, data, max_size);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *other,
				 size_t other_size, uint8_t *out, size_t max_size, unsigned seed)
{
	static struct program program, second;
	uint32_t state = seed * 2654435761U | 1;
	size_t from, n;

	read_program(&program, one, one_size);
	read_program(&second, other, other_size);
	program.n = any(&state) % (program.n + 1);
	from = any(&state) % (second.n + 1);
	n = MIN(second.n - from, ACTIONS_MAX - program.n);
	memcpy(&program.action[program.n], &second.action[from], n * sizeof(*program.action));
	program.n += n;
	return write_program(&program, out, max_size);
}
