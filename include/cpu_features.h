/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU features as the words of CPUID that they are bits of, and the one table of their names.
 * The names are those of /proc/cpuinfo; components of XCR0 and XSS, and features of KVM itself,
 * which have none there, begin with xcr0_, xss_ and kvm_.  In JSON a set of features is an object
 * of numbers, one for each word: { "1.ecx": 4294455811, "7.0.ebx": ... }.  Any thread.
 */
#ifndef CPU_FEATURES_H
#define CPU_FEATURES_H

#include <jansson.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* A word for each register of CPUID that holds features: leaf, subleaf, register. */
enum cpu_word {
	CPU_1_EDX,
	CPU_1_ECX,
	CPU_6_EAX,
	CPU_7_0_EBX,
	CPU_7_0_ECX,
	CPU_7_0_EDX,
	CPU_7_1_EAX,
	CPU_7_1_EDX,
	CPU_7_2_EDX,
	CPU_D_0_EAX, /* XCR0's lower half; the upper one has no feature yet */
	CPU_D_1_EAX,
	CPU_D_1_ECX, /* XSS */
	CPU_40000001_EAX,
	CPU_80000001_EDX,
	CPU_80000001_ECX,
	CPU_80000007_EDX,
	CPU_80000008_EBX,
	CPU_80000021_EAX,
	CPU_WORDS,
};

/* AMD repeats these bits of 1.edx in 80000001.edx (APM volume 3, appendix E). */
#define CPU_REPEATED_BITS UINT32_C(0x0183f3ff)

enum { CPU_FEATURE_NAME = 40, CPU_VENDOR = 13 };

struct cpu_features {
	uint32_t word[CPU_WORDS];
};

/* Where a word is: NULL if the entry of CPUID does not hold it. */
uint32_t *cpu_word(enum cpu_word, struct kvm_cpuid_entry2 *);
const char *cpu_word_name(enum cpu_word); /* "7.0.ebx" */

void cpu_features_get(struct cpu_features *, const struct kvm_cpuid_entry2 *, size_t n);
/* Names parted by blanks, all of them in the table. */
void cpu_features_add(struct cpu_features *, const char *names);
bool cpu_features_have(const struct cpu_features *, const char *name);
/* Only what is in both. */
void cpu_features_intersect(struct cpu_features *, const struct cpu_features *);

/* What a feature is called in a sentence: its name, or its bit where it has none. */
const char *cpu_feature_name(enum cpu_word, int bit, char name[CPU_FEATURE_NAME]);
/* Call each() for every feature of want that have is without; returns how many there are. */
unsigned cpu_features_missing(const struct cpu_features *have, const struct cpu_features *want,
			      void (*each)(void *arg, const char *name), void *arg);

/* A new reference. */
json_t *cpu_features_json(const struct cpu_features *);
/* A word that is absent has no features; one that is unknown or no such number is -EINVAL. */
int cpu_features_parse(struct cpu_features *, const json_t *, struct err *);

/* "GenuineIntel", from leaf 0; "" without one. */
void cpu_vendor(char vendor[CPU_VENDOR], const struct kvm_cpuid_entry2 *, size_t n);

#endif
