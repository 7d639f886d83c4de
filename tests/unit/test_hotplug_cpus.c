/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that come to a VM and leave it, with a guest that does what the ACPI tables make it do;
 * nothing without /dev/kvm.  The first vCPU runs an endless loop all the while.
 */
#include <sys/ioctl.h>

#include "check_main.h"
#include "contract_rig.h"
#include "events.h"
#include "hotplug_cpus.h"
#include "log.h"
#include "platform.h"
#include "vcpu.h"

enum { CODE = 0x1000, MAPPED_BYTES = 0x8000, BOOT = 2, MAX = 5, NOT_YET = 1 };

static const uint8_t code[] = { 0xeb, 0xfe }; /* jmp to itself, in real mode */

static struct rig rig;
static struct hotplug_cpus cpus;
static struct work step;
static struct events *ev;
static struct device *registers;
static bool on;
static unsigned to_stop, counted, told;
/* What the last request came to */
static int result;
static char why[256];

static void take_step(void *arg)
{
	(void)arg;
	hotplug_cpus_settle(&cpus, on);
}

static void has_stopped(struct device *dev, void *arg)
{
	(void)dev;
	(void)arg;
	loop_post(rig.loop, &step);
}

static void on_event(void *arg, unsigned events)
{
	(void)arg;
	if (events & VM_HOTPLUG)
		hotplug_cpus_answered(&cpus);
}

static void on_changed(void *arg, unsigned count)
{
	ck_assert_ptr_eq(arg, &rig);
	counted = count;
}

static void on_done(void *arg, int r, const char *sentence)
{
	ck_assert_ptr_eq(arg, &rig);
	result = r;
	snprintf(why, sizeof(why), "%s", sentence ? sentence : "");
	told++;
}

static void one_stopped(struct device *dev, void *arg)
{
	(void)dev;
	(void)arg;
	to_stop--;
}

static void power(bool up)
{
	struct device *dev;

	pthread_mutex_lock(&rig.vm.lock);
	on = up;
	list_for_each (dev, &rig.vm.devices, node) {
		if (up) {
			device_start(dev);
		} else if (dev->phase == DEVICE_RUNNING) {
			to_stop++;
			device_stop(dev, one_stopped, NULL);
		}
	}
	pthread_mutex_unlock(&rig.vm.lock);
	while (to_stop)
		rig_pump(&rig);
}

static struct device *add(const struct device_class *class, const char *id, const char *options)
{
	json_auto_t *json = options ? json_loads(options, 0, NULL) : NULL;
	struct device *dev;
	struct err e;

	ck_assert_msg(!device_new(&dev, class, id, &rig.vm, json, &e), "%s", e.text);
	return dev;
}

static struct device *vcpu(unsigned cpu)
{
	char id[16];

	snprintf(id, sizeof(id), "vcpu%u", cpu);
	return vm_device(&rig.vm, id);
}

static void map_memory(void)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = MAPPED_BYTES,
		.userspace_addr = (uintptr_t)guest_mem_at(rig.vm.mem, 0, MAPPED_BYTES),
	};
	uint64_t identity_map = PLATFORM_KVM_IDENTITY_MAP;

	ck_assert_int_eq(ioctl(rig.vm.fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map), 0);
	ck_assert_int_eq(ioctl(rig.vm.fd, KVM_SET_TSS_ADDR, (unsigned long)PLATFORM_KVM_TSS), 0);
	ck_assert_int_eq(ioctl(rig.vm.fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	ck_assert_int_eq(guest_mem_write(rig.vm.mem, CODE, code, sizeof(code)), 0);
}

static void add_vcpus(void)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct err e;
	char id[16], options[64];

	for (unsigned cpu = 0; cpu < MAX; cpu++) {
		snprintf(id, sizeof(id), "vcpu%u", cpu);
		snprintf(options, sizeof(options),
			 "{\"index\": %u, \"apic_id\": %u, \"absent\": %s}", cpu, cpu,
			 cpu < BOOT ? "false" : "true");
		add(&vcpu_class, id, options);
	}
	ck_assert_int_eq(vcpu_get_registers(vcpu(0), &regs, &sregs, &e), 0);
	sregs.cs.base = sregs.cs.selector = 0;
	regs.rip = CODE;
	ck_assert_int_eq(vcpu_set_registers(vcpu(0), &regs, &sregs, &e), 0);
}

static void setup(void)
{
	struct err e;

	log_set_level(LOG_ERROR);
	rig_new(&rig, &vcpu_class);
	map_memory();
	ck_assert_int_eq(events_new(&ev, &e), 0);
	rig.vm.events = ev;
	rig.vm.on_event = on_event;
	add(&acpi_pm_class, "acpi", NULL);
	registers = add(&cpu_hotplug_class, "cpu-hotplug", "{\"boot\": 2, \"max\": 5}");
	add_vcpus();
	step = (struct work){ .run = take_step };
	hotplug_cpus_init(&cpus, &rig.vm, &step, has_stopped, NULL);
	cpus.changed = on_changed;
	cpus.changed_arg = &rig;
	told = 0;
	counted = BOOT;
	power(true);
}

static void teardown(void)
{
	power(false);
	hotplug_cpus_cancel(&cpus);
	ck_assert_str_eq(rig.vm.failure.text, "");
	rig_free(&rig);
	events_free(ev);
}

/* Main has had its turns. */
static void pass(void)
{
	for (int i = 0; i < 10; i++)
		rig_pump(&rig);
}

static int try_resize(unsigned want, struct err *e)
{
	int r;

	pthread_mutex_lock(&rig.vm.lock);
	r = hotplug_cpus_resize(&cpus, want, on_done, &rig, e);
	pthread_mutex_unlock(&rig.vm.lock);
	return r;
}

static void resize(unsigned want)
{
	struct err e;

	result = NOT_YET;
	ck_assert_msg(!try_resize(want, &e), "%s", e.text);
}

static void wait_until_told(void)
{
	while (result == NOT_YET)
		rig_pump(&rig);
}

static void has(unsigned present)
{
	unsigned n = 0;

	for (unsigned cpu = 0; cpu < MAX; cpu++) {
		bool is = present >> cpu & 1;

		n += is;
		ck_assert_int_eq(vcpu_is_present(vcpu(cpu)), is);
		ck_assert_int_eq(cpu_hotplug_is_present(registers, cpu), is);
		ck_assert_int_eq(vcpu(cpu)->phase, on ? DEVICE_RUNNING : DEVICE_STOPPED);
	}
	ck_assert_uint_eq(counted, n);
}

/* How often others were told this of a vCPU. */
static unsigned count(const char *event, unsigned cpu)
{
	char line[EVENT_BYTES_MAX], id[16];
	uint64_t seq = 0;
	unsigned n = 0;

	snprintf(id, sizeof(id), "vcpu%u", cpu);
	while (events_next(ev, &seq, line)) {
		json_auto_t *it = json_loads(line, 0, NULL);
		const char *of = "", *name, *source;

		ck_assert_int_eq(json_unpack(it, "{s:s, s:s, s?{s?s}}", "source", &source, "event",
					     &name, "properties", "id", &of),
				 0);
		n += !strcmp(source, "vcpu") && !strcmp(name, event) && !strcmp(of, id);
	}
	return n;
}

/* The guest */

static uint32_t in32(unsigned reg)
{
	uint32_t value;

	pthread_mutex_lock(&rig.vm.lock);
	value = (uint32_t)bus_read(&rig.vm.pio, PLATFORM_CPU_HOTPLUG + reg, 4);
	pthread_mutex_unlock(&rig.vm.lock);
	return value;
}

static void out32(unsigned reg, uint32_t value)
{
	pthread_mutex_lock(&rig.vm.lock);
	bus_write(&rig.vm.pio, PLATFORM_CPU_HOTPLUG + reg, 4, value);
	pthread_mutex_unlock(&rig.vm.lock);
}

static uint32_t take(unsigned reg)
{
	pthread_mutex_lock(&rig.vm.lock);
	ck_assert_uint_eq(bus_read(&rig.vm.pio, PLATFORM_ACPI_EVENT, 1), PLATFORM_ACPI_EVENT_CPU);
	pthread_mutex_unlock(&rig.vm.lock);
	return in32(reg);
}

static void eject(uint32_t bits)
{
	out32(PLATFORM_CPU_HOTPLUG_EJECT, bits);
}

static void refuse(unsigned cpu, unsigned status)
{
	out32(PLATFORM_CPU_HOTPLUG_OST, cpu << 16 | 3 << 8 | status);
}

/* The tests */

START_TEST(more_and_fewer)
{
	has(0x3);
	for (unsigned round = 0; round < 100; round++) {
		resize(5);
		has(0x1f);
		pass();
		ck_assert_int_eq(result, NOT_YET);
		ck_assert_uint_eq(take(PLATFORM_CPU_HOTPLUG_INSERTED), 0x1c);
		wait_until_told();
		ck_assert_msg(!result, "%s", why);
		ck_assert_uint_eq(count("found", 3), round + 1);
		resize(1);
		has(0x1f);
		ck_assert_uint_eq(take(PLATFORM_CPU_HOTPLUG_WANTED), 0x1e);
		eject(0x14);
		ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_PRESENT), 0xb);
		while (counted != 3)
			rig_pump(&rig);
		has(0xb);
		ck_assert_int_eq(result, NOT_YET);
		eject(0xa);
		wait_until_told();
		ck_assert_msg(!result, "%s", why);
		has(0x1);
		resize(2);
		has(0x3);
		take(PLATFORM_CPU_HOTPLUG_INSERTED);
		wait_until_told();
	}
	ck_assert_uint_eq(told, 300);
	ck_assert_uint_eq(count("not-found", 3), 0);
}
END_TEST

START_TEST(the_same_number)
{
	resize(2);
	wait_until_told();
	ck_assert_int_eq(result, 0);
	has(0x3);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_WANTED), 0);
}
END_TEST

START_TEST(numbers_that_cannot_be)
{
	struct err e;

	ck_assert_int_eq(try_resize(0, &e), -EINVAL);
	ck_assert_int_eq(try_resize(6, &e), -EINVAL);
	ck_assert_str_eq(e.text, "the VM can have 1 to 5 vCPUs (max_vcpus), not 6");
	resize(3);
	ck_assert_int_eq(try_resize(4, &e), -EBUSY);
	ck_assert_ptr_nonnull(strstr(e.text, "being given 3 vCPUs"));
	has(0x7);
	ck_assert_uint_eq(told, 0);
}
END_TEST

/* One of three: the others go, and leave a gap that the next one fills. */
START_TEST(a_refusal)
{
	resize(4);
	take(PLATFORM_CPU_HOTPLUG_INSERTED);
	wait_until_told();
	resize(1);
	ck_assert_uint_eq(take(PLATFORM_CPU_HOTPLUG_WANTED), 0xe);
	refuse(2, 0x84);
	pass();
	ck_assert_int_eq(result, NOT_YET);
	refuse(2, 0x82);
	eject(0x2);
	pass();
	ck_assert_int_eq(result, NOT_YET);
	eject(0x8);
	wait_until_told();
	ck_assert_int_lt(result, 0);
	ck_assert_str_eq(why,
			 "vcpu2: the guest refuses to give it up (_OST 0x82); the VM has 2 vCPUs "
			 "now, not 1; its kernel's log may say why");
	has(0x5);
	resize(3);
	has(0x7);
	take(PLATFORM_CPU_HOTPLUG_INSERTED);
	wait_until_told();
	ck_assert_int_eq(result, 0);
}
END_TEST

/* It stays, and should the guest give it up later, it is told that it is there. */
START_TEST(no_answer)
{
	cpus.limit_ns = 1;
	resize(1);
	wait_until_told();
	ck_assert_int_lt(result, 0);
	ck_assert_ptr_nonnull(strstr(why,
				     "vcpu1: the guest did not give it up within 30 s; the VM has "
				     "2 vCPUs now, not 1"));
	has(0x3);
	ck_assert_uint_eq(take(PLATFORM_CPU_HOTPLUG_WANTED), 0);
	eject(0x2);
	pass();
	has(0x3);
	ck_assert_uint_eq(take(PLATFORM_CPU_HOTPLUG_INSERTED), 0x2);
	pass();
	ck_assert_uint_eq(told, 1);
	cpus.limit_ns = UINT64_C(30000000000);
	resize(1);
	ck_assert_uint_eq(take(PLATFORM_CPU_HOTPLUG_WANTED), 0x2);
	eject(0x2);
	wait_until_told();
	ck_assert_int_eq(result, 0);
	has(0x1);
}
END_TEST

static void answer(void *arg)
{
	(void)arg;
	bus_write(&rig.vm.pio, PLATFORM_CPU_HOTPLUG + PLATFORM_CPU_HOTPLUG_EJECT, 4, 0x2);
}

/* The time is over before main hears of it: what expires together runs before what is posted. */
START_TEST(an_answer_at_the_last_moment)
{
	struct timer before = { .expired = answer };

	cpus.limit_ns = 1;
	resize(1);
	loop_timer_set(rig.loop, &before, 1);
	wait_until_told();
	ck_assert_msg(!result, "%s", why);
	has(0x1);
}
END_TEST

START_TEST(a_guest_that_does_not_look)
{
	cpus.limit_ns = 1;
	resize(3);
	wait_until_told();
	ck_assert_int_eq(result, 0);
	has(0x7);
	ck_assert_uint_eq(count("not-found", 2), 1);
	/* Another request does not wait for that. */
	cpus.limit_ns = UINT64_C(30000000000);
	resize(4);
	ck_assert_uint_eq(take(PLATFORM_CPU_HOTPLUG_INSERTED), 0xc);
	wait_until_told();
	ck_assert_uint_eq(count("found", 2), 1);
	ck_assert_uint_eq(count("found", 3), 1);
	ck_assert_uint_eq(count("not-found", 2), 1);
}
END_TEST

START_TEST(a_paused_guest_has_time)
{
	power(false);
	cpus.limit_ns = 1;
	resize(1);
	pass();
	ck_assert_int_eq(result, NOT_YET);
	has(0x3);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_WANTED), 0x2);
	eject(0x2);
	wait_until_told();
	ck_assert_int_eq(result, 0);
	has(0x1);
	resize(5);
	pass();
	has(0x1f);
	ck_assert_int_eq(result, NOT_YET);
	power(true);
	take(PLATFORM_CPU_HOTPLUG_INSERTED);
	wait_until_told();
	ck_assert_int_eq(result, 0);
	has(0x1f);
}
END_TEST

/* There is nobody to ask, and whoever comes finds what there is. */
START_TEST(a_reset_meanwhile)
{
	struct device *dev;

	resize(1);
	pass();
	power(false);
	hotplug_cpus_guest_is_gone(&cpus);
	list_for_each (dev, &rig.vm.devices, node)
		device_reset(dev);
	ck_assert_int_eq(result, 0);
	has(0x1);
	resize(3);
	hotplug_cpus_guest_is_gone(&cpus);
	list_for_each (dev, &rig.vm.devices, node)
		device_reset(dev);
	ck_assert_int_eq(result, 0);
	has(0x7);
	ck_assert_uint_eq(in32(PLATFORM_CPU_HOTPLUG_INSERTED), 0);
}
END_TEST

START_TEST(the_end_meanwhile)
{
	resize(1);
	hotplug_cpus_cancel(&cpus);
	ck_assert_int_eq(result, -ECANCELED);
	pass();
	ck_assert_uint_eq(told, 1);
	has(0x3);
}
END_TEST

static bool kvm_opens(void)
{
	CLEANUP(fd) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

static Suite *suite(void)
{
	Suite *s = suite_create("hotplug_cpus");
	TCase *t = tcase_create("hotplug_cpus");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	if (kvm_opens()) {
		tcase_add_test(t, more_and_fewer);
		tcase_add_test(t, the_same_number);
		tcase_add_test(t, numbers_that_cannot_be);
		tcase_add_test(t, a_refusal);
		tcase_add_test(t, no_answer);
		tcase_add_test(t, an_answer_at_the_last_moment);
		tcase_add_test(t, a_guest_that_does_not_look);
		tcase_add_test(t, a_paused_guest_has_time);
		tcase_add_test(t, a_reset_meanwhile);
		tcase_add_test(t, the_end_meanwhile);
	} else {
		printf("skipped: vCPUs that come and go, as /dev/kvm does not open\n");
	}
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
