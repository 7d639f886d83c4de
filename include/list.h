/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list; the head is a struct list of its own. */
#ifndef LIST_H
#define LIST_H

#include <stdbool.h>

#include "bits.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* A node may be removed twice. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_item(node, T, m) container_of(node, T, m)
#define list_for_each(i, head, m)                                                                  \
	for (i = container_of((head)->next, __typeof__(*i), m); &i->m != (head);                   \
	     i = container_of(i->m.next, __typeof__(*i), m))

#endif
