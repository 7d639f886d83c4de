/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of text as a table whose columns are as wide as what is in them. */
#ifndef TABLE_H
#define TABLE_H

#include "command/canvas.h"

enum { TABLE_COLUMNS_MAX = 16 };

/* Rows end in '\n', cells in '\t' but the last of a row; the first row is the titles.  sides: for
 * each column 'l' or 'r', where its cells stand. */
void table_put(const struct canvas *, const char *rows, const char *sides);

#endif
