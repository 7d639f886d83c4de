/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of this process that are named like those of vCPUs. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "check_main.h"
#include "pins.h"

static unsigned cpu[2]; /* that this process may use; the same one if there are no two */
static pthread_t thread[2];
static int end[2];
static json_t *affinity;

static void *run(void *arg)
{
	char byte;

	(void)arg;
	return read(end[0], &byte, 1) ? NULL : arg;
}

static void setup(void)
{
	cpu_set_t all;
	char name[16];
	unsigned n = 0;

	ck_assert(!sched_getaffinity(0, sizeof(all), &all) && !pipe(end));
	for (unsigned i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &all))
			cpu[n++] = i;
	if (n < 2)
		cpu[1] = cpu[0];
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(!pthread_create(&thread[i], NULL, run, NULL));
		snprintf(name, sizeof(name), "vcpu%u", 7 * i);
		ck_assert(!pthread_setname_np(thread[i], name));
	}
	affinity = json_pack("[{s:i, s:[i]}]", "vcpu", 7, "host_cpus", (int)cpu[0]);
}

static void teardown(void)
{
	close(end[1]);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	close(end[0]);
	json_decref(affinity);
}

static cpu_set_t set(unsigned only)
{
	cpu_set_t s;

	CPU_ZERO(&s);
	CPU_SET(only, &s);
	return s;
}

static cpu_set_t now(unsigned i)
{
	cpu_set_t s;

	CPU_ZERO(&s);
	ck_assert(!pthread_getaffinity_np(thread[i], sizeof(s), &s));
	return s;
}

START_TEST(lend)
{
	cpu_set_t own = set(cpu[0]), lent = set(cpu[1]), none, both, before = now(0), is;
	struct pins pins;

	if (cpu[0] == cpu[1]) {
		printf("skipped: there is one CPU\n");
		return;
	}
	CPU_ZERO(&none);
	CPU_OR(&both, &own, &lent);
	pthread_setaffinity_np(thread[1], sizeof(own), &own);
	ck_assert(pins_read(getpid(), affinity, &pins));
	ck_assert_uint_eq(pins.vcpus, 1);
	ck_assert(CPU_EQUAL(&pins.lent, &none));
	ck_assert(pins_lend(getpid(), affinity, &lent));
	is = now(1);
	ck_assert(CPU_EQUAL(&is, &both));
	ck_assert(pins_read(getpid(), affinity, &pins));
	ck_assert(CPU_EQUAL(&pins.lent, &lent));
	ck_assert(pins_lend(getpid(), affinity, &none));
	is = now(1);
	ck_assert(CPU_EQUAL(&is, &own));
	is = now(0); /* nothing is said of that one */
	ck_assert(CPU_EQUAL(&is, &before));
	/* It runs elsewhere: somebody else has pinned it. */
	pthread_setaffinity_np(thread[1], sizeof(lent), &lent);
	ck_assert(!pins_read(getpid(), affinity, &pins));
}
END_TEST

START_TEST(not_there)
{
	json_t *others = json_pack("[{s:i, s:[i]}, {s:i, s:[i]}]", "vcpu", 7, "host_cpus",
				   (int)cpu[0], "vcpu", 1, "host_cpus", (int)cpu[0]);
	cpu_set_t own, wanted = set(cpu[0]);
	struct pins pins;

	ck_assert(pins_read(getpid(), affinity, &pins));
	ck_assert(!pins_read(getpid(), others, &pins));
	ck_assert(!pins_read(getpid(), NULL, &pins));
	ck_assert(!pins_read(-1, affinity, &pins));
	CPU_ZERO(&own);
	pins_add(others, &own);
	pins_add(NULL, &own);
	ck_assert(CPU_EQUAL(&own, &wanted));
	json_decref(others);
}
END_TEST

static Suite *pins_suite(void)
{
	Suite *suite = suite_create("pins");
	TCase *tcase = tcase_create("pins");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, lend);
	tcase_add_test(tcase, not_there);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(pins_suite)
