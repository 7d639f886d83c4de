/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays that grow: room for one more element behind n. */
#ifndef GROW_H
#define GROW_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* array: address of a pointer.  0 or -ENOMEM, which leaves all as it was. */
#define grow(array, n, room) grow_bytes(array, n, room, sizeof(**(array)))

static inline int grow_bytes(void *array, uint32_t n, uint32_t *room, size_t size)
{
	uint32_t wanted = *room ? *room * 2 : 16;
	void *p;

	if (n < *room)
		return 0;
	memcpy(&p, array, sizeof(p)); /* it is a pointer of another type */
	p = reallocarray(p, wanted, size);
	if (!p)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*room = wanted;
	return 0;
}

#endif
