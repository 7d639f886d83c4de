/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The columns of "godwit top": which of them there is room for, the least wanted left out first,
 * and what stands in each.
 */
#ifndef TOP_COLUMNS_H
#define TOP_COLUMNS_H

#include "command/canvas.h"
#include "top_draw.h"

struct top_columns {
	struct canvas canvas; /* a line each goes there */
	const struct top_view *view;
	bool any_throttled; /* a VM is, so that its migration comes to an end */
	uint32_t shown; /* a bit for each column */
	int name_width, gap;
};

/* For names of that length. */
void top_columns_fit(struct top_columns *, int name_width);

void top_columns_titles(const struct top_columns *);
void top_columns_vm(const struct top_columns *, const struct vm_rates *);
void top_columns_vcpu(const struct top_columns *, const struct vcpu_rates *);

#endif
