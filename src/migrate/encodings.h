/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In what other forms than as they are pages may go over: a destination says in its HELLO which of
 * them it can read, and is sent no others.
 */
#ifndef ENCODINGS_H
#define ENCODINGS_H

#include <jansson.h>

enum encoding {
	ENCODING_DIFF = 1 << 0,
	ENCODING_LZ4 = 1 << 1,
	ENCODING_ZSTD = 1 << 2,
};

/* The key "encodings" of a HELLO. */
json_t *encodings_list(void);
/* Those of that HELLO that are known here, too: bits. */
unsigned encodings_of(const json_t *hello);

#endif
