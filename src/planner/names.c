/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "hash.h"
#include "planner/names.h"

bool name_is_valid(const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";
	size_t len = strspn(text, allowed);

	return len && len <= NAME_BYTES && !text[len];
}

static uint32_t *find_slot(const struct names *names, const char *text)
{
	uint32_t i = (uint32_t)hash_text(text) & (names->nslots - 1);

	while (names->slot[i] && strcmp(names->text[names->slot[i]], text))
		i = (i + 1) & (names->nslots - 1);
	return &names->slot[i];
}

/* Half of the slots stay empty. */
static bool make_room(struct names *names)
{
	uint32_t *old = names->slot, nold = names->nslots;
	uint32_t *slot;

	if (names->n * 2 < names->nslots)
		return true;
	slot = calloc(nold ? nold * 2 : 64, sizeof(*slot));
	if (!slot)
		return false;
	names->slot = slot;
	names->nslots = nold ? nold * 2 : 64;
	for (uint32_t i = 0; i < nold; i++)
		if (old[i])
			*find_slot(names, names->text[old[i]]) = old[i];
	free(old);
	return true;
}

static uint32_t append(struct names *names, const char *text)
{
	char *copy = strdup(text);

	if (!copy || grow(&names->text, names->n, &names->room)) {
		free(copy);
		return NAME_NONE;
	}
	names->text[names->n] = copy;
	return names->n++;
}

uint32_t names_add(struct names *names, const char *text)
{
	uint32_t *slot;

	if (!names->n) {
		append(names, "");
		if (!names->n)
			return NAME_NONE;
	}
	if (!make_room(names))
		return NAME_NONE;
	slot = find_slot(names, text);
	if (!*slot)
		*slot = append(names, text);
	return *slot;
}

uint32_t names_find(const struct names *names, const char *text)
{
	return names->nslots ? *find_slot(names, text) : NAME_NONE;
}

const char *names_text(const struct names *names, uint32_t name)
{
	return name < names->n ? names->text[name] : "";
}

void names_free(struct names *names)
{
	for (uint32_t i = 0; i < names->n; i++)
		free(names->text[i]);
	free(names->text);
	free(names->slot);
	*names = (struct names){ 0 };
}
