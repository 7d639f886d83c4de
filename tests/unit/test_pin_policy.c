/* SPDX-License-Identifier: Apache-2.0 */
/* Which idle CPUs a VM is let onto, and when it has to leave them. */
#include "check_main.h"
#include "pin_policy.h"

enum { BEAT_S = 2, PATIENCE_BEATS = 15, BACK_BEATS = 3 };

static struct pin_cpu cpus[CPU_SETSIZE];
static struct pin_host host;

/* CPUs 0 to 7, idle but for the first, of two nodes; the others are no CPUs. */
static void setup(void)
{
	host = (struct pin_host){ .seconds = BEAT_S, .cpu = cpus };
	CPU_ZERO(&host.may);
	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		cpus[i] = (struct pin_cpu){ .busy = 1 };
	for (unsigned i = 1; i < 8; i++) {
		cpus[i] = (struct pin_cpu){ .busy = 0.1, .node = i / 4 };
		CPU_SET(i, &host.may);
	}
}

static cpu_set_t set(unsigned first, unsigned last)
{
	cpu_set_t s;

	CPU_ZERO(&s);
	for (unsigned i = first; i <= last; i++)
		CPU_SET(i, &s);
	return s;
}

/* One with a vCPU on CPU 0, where it has only a half. */
static struct pin_guest guest(void)
{
	struct pin_guest g = { .own = set(0, 0), .vcpus = 1, .run = 0.5, .waits = true };

	return g;
}

static void beats(unsigned n, struct pin_guest *a, struct pin_guest *b)
{
	struct pin_guest *const guests[] = { a, b };

	while (n--)
		pin_policy(&host, guests, b ? 2 : 1);
}

static void is(const struct pin_guest *g, enum pin_why why, cpu_set_t target)
{
	ck_assert_int_eq(g->why, why);
	ck_assert(CPU_EQUAL(&g->target, &target));
}

static void stays(unsigned n, struct pin_guest *g, cpu_set_t lent)
{
	while (n--) {
		beats(1, g, NULL);
		is(g, PIN_STAYS, lent);
	}
}

static cpu_set_t none(void)
{
	return set(1, 0);
}

START_TEST(lends)
{
	struct pin_guest g = guest();

	stays(PATIENCE_BEATS - 1, &g, none());
	beats(1, &g, NULL);
	is(&g, PIN_LENT, set(1, 1));
	g.lent = g.target;
	g.waits = false;
	g.run = 0.9;
	cpus[1].busy = 0.9;
	stays(5 * PATIENCE_BEATS, &g, set(1, 1)); /* as long as that lasts */
}
END_TEST

START_TEST(does_not_lend)
{
	struct pin_guest g = guest();

	g.waits = false;
	stays(2 * PATIENCE_BEATS, &g, none());
	g.waits = true;
	g.run = 0.95; /* nobody but itself is there */
	stays(2 * PATIENCE_BEATS, &g, none());
	g.run = 0.5;
	beats(PATIENCE_BEATS - 1, &g, NULL);
	g.waits = false;
	beats(1, &g, NULL);
	g.waits = true;
	stays(PATIENCE_BEATS - 1, &g, none());
	/* None is idle, for long enough. */
	for (unsigned i = 1; i < 8; i++)
		cpus[i].busy = 0.3;
	stays(2 * PATIENCE_BEATS, &g, none());
	cpus[3].busy = 0.1;
	stays(PATIENCE_BEATS - 1, &g, none());
	beats(1, &g, NULL);
	is(&g, PIN_LENT, set(3, 3));
	/* Those that others are pinned to are not given. */
	host.may = none();
	stays(2 * PATIENCE_BEATS, &g, none());
}
END_TEST

/* Of its node first, one for each vCPU, and none twice. */
START_TEST(which)
{
	struct pin_guest a = guest(), b = guest();
	cpu_set_t wanted = set(5, 7);

	CPU_SET(1, &wanted);
	a.own = set(4, 4);
	cpus[4].busy = 1;
	CPU_CLR(4, &host.may);
	a.vcpus = 4;
	b.vcpus = 9;
	beats(PATIENCE_BEATS, &a, &b);
	is(&a, PIN_LENT, wanted);
	is(&b, PIN_LENT, set(2, 3));
	a.lent = a.target;
	b = guest();
	b.vcpus = 9;
	beats(PATIENCE_BEATS, &a, &b);
	is(&b, PIN_LENT, set(2, 3));
}
END_TEST

START_TEST(goes_back)
{
	struct pin_guest g = guest();

	g.lent = set(1, 1);
	cpus[1].busy = 1;
	stays(BACK_BEATS - 1, &g, set(1, 1));
	beats(1, &g, NULL);
	is(&g, PIN_WAIT, none());
	/* VMs that may run there wait. */
	g = guest();
	g.lent = set(1, 1);
	g.waits = false;
	host.wait = true;
	beats(BACK_BEATS, &g, NULL);
	is(&g, PIN_WAIT, none());
	/* All of it has room on its own. */
	host.wait = false;
	g = guest();
	g.lent = set(1, 1);
	g.waits = false;
	cpus[0].busy = 0.3;
	cpus[1].busy = 0.4;
	stays(PATIENCE_BEATS - 1, &g, set(1, 1));
	cpus[1].busy = 0.6;
	beats(1, &g, NULL);
	cpus[1].busy = 0.4;
	stays(PATIENCE_BEATS - 1, &g, set(1, 1));
	beats(1, &g, NULL);
	is(&g, PIN_FREE, none());
}
END_TEST

static Suite *pin_policy_suite(void)
{
	Suite *suite = suite_create("pin_policy");
	TCase *tcase = tcase_create("pin_policy");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, lends);
	tcase_add_test(tcase, does_not_lend);
	tcase_add_test(tcase, which);
	tcase_add_test(tcase, goes_back);
	suite_add_tcase(suite, tcase);
	return suite;
}

CHECK_MAIN(pin_policy_suite)
