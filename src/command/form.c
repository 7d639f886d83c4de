/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>

#include "form.h"

static const char *find_word(const char *form, unsigned i, size_t *len)
{
	while (i--) {
		form = strchr(form, '|');
		if (!form)
			return NULL;
		form++;
	}
	*len = strcspn(form, "|");
	return form;
}

const char *form_literal(const char *form, unsigned i, size_t *len)
{
	const char *word = find_word(form, i, len), *equals;
	size_t lower = 0;

	if (!word)
		return NULL;
	equals = memchr(word, '=', *len);
	if (equals)
		*len = (size_t)(equals - word) + 1;
	while (lower < *len && !islower((unsigned char)word[lower]))
		lower++;
	if (lower == *len)
		*len = 0;
	return word;
}

bool form_is_choice(const char *form)
{
	const char *word;
	size_t len;

	for (unsigned i = 0; (word = form_literal(form, i, &len)); i++)
		if (!len || word[len - 1] == '=')
			return false;
	return true;
}

bool form_has(const char *form, const char *word)
{
	const char *literal;
	size_t len;

	for (unsigned i = 0; (literal = form_literal(form, i, &len)); i++)
		if (strlen(word) == len && !memcmp(literal, word, len))
			return true;
	return false;
}
