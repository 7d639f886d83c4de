/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations from strangers: input that begins with a digit is the command line of that
 * section, anything else a JSON document.  What is accepted must be its own complete form.
 */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is wrong can be said in JSON, as to whoever wants to send such a VM. */
static void check_sentence(const struct err *e)
{
	json_auto_t *sentence = json_string(e->text);

	if (!sentence || !*e->text)
		abort();
}

static void check_config(const json_t *json)
{
	struct config first, second;
	struct err e;

	if (config_load(&first, json, &e)) {
		check_sentence(&e);
		return;
	}
	if (config_load(&second, first.json, &e) || !json_equal(first.json, second.json) ||
	    strcmp(first.uuid, second.uuid) || strcmp(first.name, second.name))
		abort();
	config_free(&second);
	config_free(&first);
}

static void check_text(unsigned digit, const char *text)
{
	const struct config_section *s = &config_sections[digit % nconfig_sections];
	const struct option_table *t = config_section_table(s);
	json_auto_t *config = json_object(), *object = NULL;
	struct err e;

	if (option_parse(t, "--option", text, &object, &e)) {
		check_sentence(&e);
		return;
	}
	json_object_set_new(config, "payload", json_pack("{s:s}", "kernel", "k"));
	json_object_set_new(config, s->key,
			    s->many ? json_pack("[O]", object) : json_incref(object));
	check_config(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(free) char *text = strndup((const char *)data, size);

	if (text && *text >= '0' && *text <= '9') {
		check_text((unsigned)(*text - '0'), text + 1);
	} else {
		json_auto_t *json = json_loadb((const char *)data, size, 0, NULL);

		if (json)
			check_config(json);
	}
	return 0;
}
