/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check_main.h"
#include "cpu_host.h"
#include "cpu_profile.h"

/* What hosts of the fourth level have beside it, in no level. */
#define MORE                                                                                       \
	"aes pclmulqdq rdrand smep pku xsavec xsaves xss_cet_u pdcm svm intel_pt "                 \
	"kvm_msi_ext_dest_id "
/* Beside every level, for its own sake. */
#define KEPT "hypervisor x2apic tsc_deadline_timer nx spec_ctrl kvm_clocksource "

static void apply(struct cpuid *c, const char *profile)
{
	struct cpu_profile p;
	struct err e = { "" };

	ck_assert_msg(!cpu_profile_open(&p, profile, &e), "%s", e.text);
	ck_assert_msg(!cpu_profile_apply(&p, c, &e), "%s", e.text);
}

static void assert_refused(struct cpuid *c, const char *profile, const char *sentence)
{
	struct cpuid before = *c;
	struct cpu_profile p;
	struct err e = { "" };

	ck_assert_int_eq(cpu_profile_open(&p, profile, &e), 0);
	ck_assert_int_eq(cpu_profile_apply(&p, c, &e), -ENOTSUP);
	ck_assert_str_eq(e.text, sentence);
	ck_assert_mem_eq(c, &before, sizeof(before));
}

/* The guest has these features and no others. */
static void assert_sees(const struct cpuid *c, const char *names)
{
	struct cpu_features want = features_of(names), have;
	char name[CPU_FEATURE_NAME];

	cpu_features_get(&have, c->entry, c->nent);
	for (enum cpu_word w = 0; w < CPU_WORDS; w++)
		for (int bit = 0; bit < 32; bit++)
			ck_assert_msg(!((want.word[w] ^ have.word[w]) & BIT(bit)), "%s %s",
				      cpu_feature_name(w, bit, name),
				      have.word[w] & BIT(bit) ? "is seen" : "is not seen");
}

static struct kvm_cpuid_entry2 *leaf(struct cpuid *c, uint32_t function, uint32_t index)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entry[i].function == function && c->entry[i].index == index)
			return &c->entry[i];
	return NULL;
}

START_TEST(host)
{
	struct cpuid c, before;

	cpu_host(&c, LEVEL_4 MORE KEPT COMPONENTS);
	before = c;
	apply(&c, "host");
	ck_assert_mem_eq(&c, &before, sizeof(c));
}
END_TEST

START_TEST(level_2)
{
	struct cpuid c;

	cpu_host(&c, LEVEL_4 MORE KEPT COMPONENTS);
	apply(&c, "x86-64-v2");
	assert_sees(&c, LEVEL_2 KEPT);
	for (uint32_t i = 0; i < 32; i++)
		ck_assert_ptr_null(leaf(&c, 0xd, i));
	ck_assert_ptr_null(leaf(&c, 0xa, 0));
	ck_assert_ptr_null(leaf(&c, 0x14, 0));
	ck_assert_ptr_null(leaf(&c, 0x8000000a, 0));
	ck_assert_uint_eq(leaf(&c, 1, 0)->eax, 0x906ea);
	ck_assert_uint_eq(leaf(&c, 0x80000008, 0)->eax, 0x3027);
}
END_TEST

START_TEST(level_3)
{
	struct cpuid c;

	cpu_host(&c, LEVEL_4 MORE KEPT COMPONENTS);
	leaf(&c, 0xd, 0)->edx = 0x40000000;
	leaf(&c, 7, 1)->ecx = 0x20;
	apply(&c, "x86-64-v3");
	assert_sees(&c, LEVEL_3 KEPT "xcr0_x87 xcr0_sse xcr0_avx");
	ck_assert_uint_eq(leaf(&c, 0xd, 0)->ecx, 832);
	ck_assert_uint_eq(leaf(&c, 0xd, 0)->ebx, 832);
	ck_assert_uint_eq(leaf(&c, 0xd, 0)->edx, 0);
	ck_assert_ptr_nonnull(leaf(&c, 0xd, 2));
	for (uint32_t i = 3; i < 32; i++)
		ck_assert_ptr_null(leaf(&c, 0xd, i));
	ck_assert_uint_eq(leaf(&c, 7, 1)->ecx, 0);
}
END_TEST

START_TEST(level_4)
{
	struct cpuid c;

	cpu_host(&c, LEVEL_4 MORE KEPT COMPONENTS);
	apply(&c, "x86-64-v4");
	assert_sees(&c, LEVEL_4 KEPT "xcr0_x87 xcr0_sse xcr0_avx xcr0_opmask xcr0_zmm_hi256 "
				     "xcr0_hi16_zmm");
	ck_assert_uint_eq(leaf(&c, 0xd, 0)->ecx, 2688);
	ck_assert_ptr_nonnull(leaf(&c, 0xd, 7));
	ck_assert_ptr_null(leaf(&c, 0xd, 9));
	ck_assert_ptr_null(leaf(&c, 0xd, 11));
}
END_TEST

/* Whatever the guest has for itself need not be the host's. */
START_TEST(least_host)
{
	struct cpuid c;

	cpu_host(&c, LEVEL_2);
	apply(&c, "x86-64-v2");
	assert_sees(&c, LEVEL_2);
}
END_TEST

START_TEST(amd_repeats)
{
	struct cpuid c;

	cpu_host(&c, LEVEL_2 "mmxext apic");
	leaf(&c, 0x80000001, 0)->edx |= leaf(&c, 1, 0)->edx & CPU_REPEATED_BITS;
	apply(&c, "x86-64-v2");
	ck_assert_uint_eq(leaf(&c, 0x80000001, 0)->edx & CPU_REPEATED_BITS,
			  leaf(&c, 1, 0)->edx & CPU_REPEATED_BITS);
	ck_assert_uint_eq(leaf(&c, 0x80000001, 0)->edx & BIT(9), BIT(9)); /* apic */
	ck_assert_uint_eq(leaf(&c, 0x80000001, 0)->edx & BIT(22), 0); /* mmxext */
}
END_TEST

START_TEST(host_lacks)
{
	struct cpuid c;

	cpu_host(&c, LEVEL_2 MORE);
	assert_refused(&c, "x86-64-v3",
		       "cpus: this host lacks fma, movbe, xsave, avx, f16c, bmi1, avx2, bmi2, abm, "
		       "which profile x86-64-v3 has; choose another profile");
	cpu_host(&c, LEVEL_3 MORE "avx512f avx512bw avx512cd avx512dq");
	assert_refused(&c, "x86-64-v4",
		       "cpus: this host lacks avx512vl, which profile x86-64-v4 has; choose "
		       "another profile");
}
END_TEST

#define PROFILE "/tmp/test_cpu_profile.XXXXXX"

static void write_profile(char path[sizeof(PROFILE)], const char *text)
{
	int fd;

	strcpy(path, PROFILE);
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void write_features(char path[sizeof(PROFILE)], const char *names)
{
	struct cpu_features f = features_of(names);
	json_t *file = json_pack("{s:{s:s, s:o}}", "cpu", "vendor", "GenuineIntel", "features",
				 cpu_features_json(&f));
	char *text = json_dumps(file, 0);

	write_profile(path, text);
	free(text);
	json_decref(file);
}

START_TEST(file)
{
	char path[sizeof(PROFILE)];
	char sentence[200];
	struct cpuid c;

	/* ht, x2apic and hypervisor are every guest's own. */
	write_features(path, LEVEL_3 "aes rdrand ht x2apic xcr0_x87 xcr0_sse xcr0_avx");
	cpu_host(&c, LEVEL_4 MORE KEPT COMPONENTS);
	apply(&c, path);
	assert_sees(&c, LEVEL_3 "aes rdrand x2apic hypervisor tsc_deadline_timer "
				"xcr0_x87 xcr0_sse xcr0_avx");
	cpu_host(&c, LEVEL_3 "rdrand xcr0_x87 xcr0_sse xcr0_avx");
	snprintf(sentence, sizeof(sentence),
		 "cpus: this host lacks aes, which profile %s has; choose another profile", path);
	assert_refused(&c, path, sentence);
	unlink(path);
}
END_TEST

/* Edited by hand: what is saved for AVX goes with it. */
START_TEST(file_without_avx)
{
	char path[sizeof(PROFILE)];
	struct cpuid c;

	write_features(path, LEVEL_2 "xsave xsaves xss_cet_u " COMPONENTS);
	cpu_host(&c, LEVEL_4 MORE COMPONENTS);
	apply(&c, path);
	assert_sees(&c, LEVEL_2 "xsave xsaves xss_cet_u xcr0_x87 xcr0_sse");
	ck_assert_uint_eq(leaf(&c, 0xd, 0)->ecx, 576);
	ck_assert_ptr_nonnull(leaf(&c, 0xd, 11));
	unlink(path);
}
END_TEST

START_TEST(broken_file)
{
	static const struct {
		const char *text, *sentence;
	} files[] = {
		{ "", "nor a file with JSON" },
		{ "{}", "is no output of \"godwit probe --baseline\": there is no object" },
		{ "{\"cpu\":{\"features\":[]}}", "there is no object of CPU features" },
		{ "{\"cpu\":{\"features\":{\"1.eax\":1}}}", "\"1.eax\" is no word of" },
		{ "{\"cpu\":{\"features\":{\"1.ecx\":-1}}}", "1.ecx are no number of 32 bits" },
		{ "{\"cpu\":{\"features\":{\"1.ecx\":4294967296}}}", "no number of 32 bits" },
		{ "{\"cpu\":{\"features\":{\"1.ecx\":\"1\"}}}", "no number of 32 bits" },
	};
	char path[sizeof(PROFILE)];
	struct cpu_profile p;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct err e = { "" };

		write_profile(path, files[i].text);
		ck_assert_int_eq(cpu_profile_open(&p, path, &e), -EINVAL);
		ck_assert_msg(strstr(e.text, files[i].sentence), "%s", e.text);
		unlink(path);
	}
}
END_TEST

START_TEST(no_file)
{
	struct err e = { "" };
	struct cpu_profile p;

	ck_assert_int_eq(cpu_profile_open(&p, "x86-64-v5", &e), -EINVAL);
	ck_assert_msg(strstr(e.text, "profile \"x86-64-v5\" is neither host, x86-64-v2, -v3 or "
				     "-v4 nor a file"),
		      "%s", e.text);
}
END_TEST

/* No name is there twice, or the second could not be asked for. */
START_TEST(names)
{
	char name[CPU_FEATURE_NAME];

	for (enum cpu_word w = 0; w < CPU_WORDS; w++)
		for (int bit = 0; bit < 32; bit++) {
			struct cpu_features one = { 0 };

			if (strchr(cpu_feature_name(w, bit, name), ' '))
				continue;
			cpu_features_add(&one, name);
			if (w == CPU_80000001_EDX && CPU_REPEATED_BITS & BIT(bit))
				ck_assert_uint_eq(one.word[CPU_1_EDX], BIT(bit));
			else
				ck_assert_msg(one.word[w] == BIT(bit), "%s", name);
		}
	ck_assert_str_eq(cpu_feature_name(CPU_7_0_EBX, 5, name), "avx2");
	ck_assert_str_eq(cpu_feature_name(CPU_80000001_ECX, 5, name), "abm");
	ck_assert_str_eq(cpu_feature_name(CPU_7_0_EDX, 31, name), "ssbd");
	ck_assert_str_eq(cpu_feature_name(CPU_80000007_EDX, 3, name),
			 "bit 3 of CPUID 80000007.edx");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cpu_profile");
	TCase *t = tcase_create("cpu_profile");

	tcase_add_test(t, host);
	tcase_add_test(t, level_2);
	tcase_add_test(t, level_3);
	tcase_add_test(t, level_4);
	tcase_add_test(t, least_host);
	tcase_add_test(t, amd_repeats);
	tcase_add_test(t, host_lacks);
	tcase_add_test(t, file);
	tcase_add_test(t, file_without_avx);
	tcase_add_test(t, broken_file);
	tcase_add_test(t, no_file);
	tcase_add_test(t, names);
	suite_add_tcase(s, t);
	return s;
}

CHECK_MAIN(suite)
