/* SPDX-License-Identifier: Apache-2.0 */
/* The command lines of "godwit run" and "godwit restore", turned into JSON. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "bits.h"
#include "cleanup.h"
#include "cli.h"

enum flag_kind {
	FLAG_VALUE,
	FLAG_CONFIG,
	FLAG_API_SOCKET,
	FLAG_API_GROUP,
	FLAG_AUDIT,
	FLAG_METRICS_SOCKET,
	FLAG_EVENT_MONITOR,
	FLAG_INCOMING,
	FLAG_TLS,
	FLAG_PLAINTEXT,
	FLAG_SANDBOX,
	FLAG_USER,
	FLAG_CGROUP,
	FLAG_DRY_RUN,
	FLAG_RESUME,
	FLAG_HELP
};

/* Whose flag it is; bits. */
enum flag_user { RUN = 1, RESTORE = 2, BOTH = RUN | RESTORE };

/* Flags beside those of the sections. */
static const struct flag {
	const char *name, *form, *help;
	enum flag_user user;
	enum flag_kind kind;
	const char *section, *key; /* of FLAG_VALUE; section NULL: top level */
} flags[] = {
	{ "--name", "NAME", "name of the VM, one per user and time (vm-...)", BOTH, FLAG_VALUE,
	  NULL, "name" },
	{ "--kernel", "FILE", "bzImage, or ELF with a PVH note (required)", RUN, FLAG_VALUE,
	  "payload", "kernel" },
	{ "--initrd", "FILE", "initial RAM disk", RUN, FLAG_VALUE, "payload", "initramfs" },
	{ "--kernel", "FILE", "the kernel of later boots", RESTORE, FLAG_VALUE, "payload",
	  "kernel" },
	{ "--initrd", "FILE", "their initial RAM disk", RESTORE, FLAG_VALUE, "payload",
	  "initramfs" },
	{ "--append", "TEXT", "the kernel's command line", RUN, FLAG_VALUE, "payload", "cmdline" },
	{ "--on-reboot", "restart|exit", "when the guest reboots (restart)", BOTH, FLAG_VALUE, NULL,
	  "on_reboot" },
	{ "--on-panic", "exit|pause|restart", "when the guest panics (exit)", BOTH, FLAG_VALUE,
	  NULL, "on_panic" },
	{ "--on-io-error", "report|pause", "when the host cannot read or write a disk (report)",
	  BOTH, FLAG_VALUE, NULL, "on_io_error" },
	{ "--stop-timeout", "SECONDS", "from the power button to a hard end (10)", BOTH, FLAG_VALUE,
	  NULL, "stop_timeout_s" },
	{ "--lease", "unix:PATH", "server there that decides which host may run the VM", BOTH,
	  FLAG_VALUE, NULL, "lease" },
	{ "--pvpanic", "on|off", "the guest can report a panic (on)", RUN, FLAG_VALUE, NULL,
	  "pvpanic" },
	{ "--config", "FILE", "JSON that these options are laid over", RUN, FLAG_CONFIG, NULL,
	  NULL },
	{ "--api-socket", "PATH|fd=N", "control socket, beside the one that has the VM's name",
	  BOTH, FLAG_API_SOCKET, NULL, NULL },
	{ "--api-group", "GROUP",
	  "the control socket is for the members of this group, too (its owner and root only)",
	  BOTH, FLAG_API_GROUP, NULL, NULL },
	{ "--audit", "FILE|journal",
	  "log every control request and migration there, a line of JSON each", BOTH, FLAG_AUDIT,
	  NULL, NULL },
	{ "--metrics-socket", "PATH[,group=GROUP]",
	  "a socket that has /metrics and nothing else, for the members of a group, too", BOTH,
	  FLAG_METRICS_SOCKET, NULL, NULL },
	{ "--event-monitor", "path=PATH|fd=N", "write events there, a line of JSON each", BOTH,
	  FLAG_EVENT_MONITOR, NULL, NULL },
	{ "--incoming", "tcp:ADDRESS:PORT",
	  "wait there for a VM from another host; the other options replace what is local", RUN,
	  FLAG_INCOMING, NULL, NULL },
	{ "--tls", "DIR", "certificates for --incoming", RUN, FLAG_TLS, NULL, NULL },
	{ "--plaintext", NULL, "let --incoming be reached from other hosts without certificates",
	  RUN, FLAG_PLAINTEXT, NULL, NULL },
	{ "--sandbox", "on|log|off",
	  "take from the process what it has no need of: files, networks, rights, system calls; "
	  "log: only say which other calls it makes (on)",
	  BOTH, FLAG_SANDBOX, NULL, NULL },
	{ "--user", "USER[:GROUP]",
	  "become that user once all is open, as whom a client's files are opened, too; for root",
	  BOTH, FLAG_USER, NULL, NULL },
	{ "--cgroup", "auto|PATH|KEY=VALUE,...", "run in a control group of version 2, with limits",
	  BOTH, FLAG_CGROUP, NULL, NULL },
	{ "--dry-run", NULL, "print the complete JSON and start nothing", RUN, FLAG_DRY_RUN, NULL,
	  NULL },
	{ "--resume", NULL, "let the guest go on at once", RESTORE, FLAG_RESUME, NULL, NULL },
	{ "--help", NULL, "print this", BOTH, FLAG_HELP, NULL, NULL },
};

struct parser {
	enum flag_user user;
	struct run_options *out;
	const char *config_path;
};

static const char *verb_of(enum flag_user user)
{
	return user == RUN ? "run" : "restore";
}

/* Sections of which a restore takes another: devices, as behind them is something of the host. */
static bool section_is_for(const struct config_section *s, enum flag_user user)
{
	return s->flag && (user == RUN || s->class);
}

static const struct flag *find_flag(enum flag_user user, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if ((flags[i].user & user) && strlen(flags[i].name) == len &&
		    !memcmp(flags[i].name, name, len))
			return &flags[i];
	return NULL;
}

static const struct config_section *find_section_flag(enum flag_user user, const char *name,
						      size_t len)
{
	for (size_t i = 0; i < nconfig_sections; i++) {
		const char *flag = config_sections[i].flag;

		if (section_is_for(&config_sections[i], user) && strlen(flag) == len &&
		    !memcmp(flag, name, len))
			return &config_sections[i];
	}
	return NULL;
}

static int refuse_unknown(enum flag_user user, const char *given, size_t len, struct err *e)
{
	const char *names[ARRAY_SIZE(flags) + 16], *near, *verb = verb_of(user);
	char word[64];
	size_t n = 0;

	if (*given != '-')
		return err_set(e, -EINVAL, "\"%.64s\" is not an option; see \"godwit %s --help\"",
			       given, verb);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (flags[i].user & user)
			names[n++] = flags[i].name;
	for (size_t i = 0; i < nconfig_sections && n < ARRAY_SIZE(names); i++)
		if (section_is_for(&config_sections[i], user))
			names[n++] = config_sections[i].flag;
	snprintf(word, sizeof(word), "%.*s", (int)MIN(len, sizeof(word)), given);
	near = option_nearest(word, names, n);
	if (near)
		return err_set(e, -EINVAL, "unknown option \"%s\"; did you mean \"%s\"?", word,
			       near);
	return err_set(e, -EINVAL, "unknown option \"%s\"; see \"godwit %s --help\"", word, verb);
}

/* The object of a section, made if need be. */
static json_t *object_at(json_t *json, const char *section)
{
	json_t *object = json_object_get(json, section);

	if (object)
		return object;
	object = json_object();
	return json_object_set_new(json, section, object) ? NULL : object;
}

static int put(json_t *object, const char *key, json_t *value, struct err *e)
{
	if (object && !json_object_set(object, key, value))
		return 0;
	return err_set(e, -ENOMEM, "out of memory");
}

static int take_value(struct parser *p, const struct flag *f, const char *text, struct err *e)
{
	const struct option_table *t = &config_options;
	json_t *object = p->out->json;
	json_auto_t *value = NULL;
	int rc;

	if (f->section) {
		t = config_section_table(config_find_section(f->section));
		object = object_at(object, f->section);
	}
	if (json_object_get(object, f->key))
		return err_set(e, -EINVAL, "%s is given twice", f->name);
	rc = option_value(t, f->name, f->key, text, &value, e);
	return rc ? rc : put(object, f->key, value, e);
}

static bool is_port(const char *section)
{
	return !strcmp(section, "serial") || !strcmp(section, "console");
}

/* "--serial file=PATH" and "socket=PATH" say the mode by themselves. */
static void imply_mode(json_t *port)
{
	if (json_object_get(port, "mode"))
		return;
	if (json_object_get(port, "socket"))
		json_object_set_new(port, "mode", json_string("Socket"));
	else if (json_object_get(port, "file"))
		json_object_set_new(port, "mode", json_string("File"));
}

static bool is_on_terminal(const json_t *port)
{
	const char *mode = json_string_value(json_object_get(port, "mode"));

	return mode && !strcasecmp(mode, "Tty");
}

/* "--cpus 2.5" is as many vCPUs as that takes, and a limit: to be freed, NULL without memory. */
static char *spell_out(const char *section, const char *text)
{
	size_t len = strcspn(text, ",=");
	char number[16], *spelt;
	uint64_t thousandths;

	snprintf(number, sizeof(number), "%.*s", (int)MIN(len, sizeof(number)), text);
	if (strcmp(section, "cpus") || text[len] == '=' || !strchr(number, '.') ||
	    option_fraction(number, &thousandths))
		return strdup(text);
	return asprintf(&spelt, "boot_vcpus=%llu,limit=%s%s",
			(unsigned long long)(thousandths + 999) / 1000, number, text + len) < 0
		       ? NULL
		       : spelt;
}

static int take_section(struct parser *p, const struct config_section *s, const char *text,
			struct err *e)
{
	json_t *array = json_object_get(p->out->json, s->key);
	CLEANUP(free) char *spelt = spell_out(s->key, text);
	json_auto_t *object = NULL;
	int rc;

	if (!spelt)
		return err_set(e, -ENOMEM, "out of memory");
	if (array && !s->many)
		return err_set(e, -EINVAL, "%s is given twice", s->flag);
	rc = option_parse(config_section_table(s), s->flag, spelt, &object, e);
	if (rc)
		return rc;
	if (is_port(s->key))
		imply_mode(object);
	if (!s->many)
		return put(p->out->json, s->key, object, e);
	if (!array) {
		array = json_array();
		rc = json_object_set_new(p->out->json, s->key, array);
	}
	if (rc || json_array_append(array, object))
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

bool place_is_given(const struct place *p)
{
	return p->path || p->fd >= 0;
}

int place_take(struct place *p, const char *name, const char *text, struct err *e)
{
	char *end;
	long n;

	if (place_is_given(p))
		return err_set(e, -EINVAL, "%s is given twice", name);
	if (strncmp(text, "fd=", 3)) {
		p->path = strncmp(text, "path=", 5) ? text : text + 5;
		return *p->path ? 0 : err_set(e, -EINVAL, "%s names no path", name);
	}
	n = strtol(text + 3, &end, 10);
	if (end == text + 3 || *end || n <= STDERR_FILENO || n > INT_MAX)
		return err_set(e, -EINVAL, "%s: \"%.64s\" is not the number of an open file, fd=3",
			       name, text);
	p->fd = (int)n;
	return 0;
}

int sandbox_take(enum sandbox_mode *mode, const char *name, const char *const words[3],
		 const char *text, struct err *e)
{
	for (int i = SANDBOX_ON; i <= SANDBOX_OFF; i++)
		if (!strcmp(text, words[i])) {
			*mode = (enum sandbox_mode)i;
			return 0;
		}
	return err_set(e, -EINVAL, "%s must be %s, %s or %s, not \"%.64s\"", name,
		       words[SANDBOX_ON], words[SANDBOX_OFF], words[SANDBOX_LOG], text);
}

static int group_take(struct caller_group *g, const char *name, const char *text, struct err *e)
{
	if (g->given)
		return err_set(e, -EINVAL, "%s is given twice", name);
	return caller_group_find(g, text, e);
}

static int user_take(struct user *u, const char *name, const char *text, struct err *e)
{
	if (u->given)
		return err_set(e, -EINVAL, "%s is given twice", name);
	return user_find(u, text, e);
}

/* A path may have a comma in it, so the group is behind the last one. */
static int take_metrics_socket(struct run_options *o, const char *name, const char *text,
			       struct err *e)
{
	const char *comma = strrchr(text, ','), *group = NULL;

	if (o->metrics_path)
		return err_set(e, -EINVAL, "%s is given twice", name);
	if (comma && !strncmp(comma, ",group=", 7))
		group = comma + 7;
	if (!*text || (group && comma == text))
		return err_set(e, -EINVAL, "%s names no path", name);
	o->metrics_path = strndup(text, group ? (size_t)(comma - text) : strlen(text));
	if (!o->metrics_path)
		return err_set(e, -ENOMEM, "out of memory");
	return group ? group_take(&o->metrics_group, name, group, e) : 0;
}

static int take_flag(struct parser *p, const struct flag *f, const char *text, struct err *e)
{
	switch (f->kind) {
	case FLAG_VALUE:
		return take_value(p, f, text, e);
	case FLAG_CONFIG:
		if (p->config_path)
			return err_set(e, -EINVAL, "--config is given twice");
		p->config_path = text;
		return 0;
	case FLAG_API_SOCKET:
		return place_take(&p->out->api_socket, f->name, text, e);
	case FLAG_API_GROUP:
		return group_take(&p->out->api_group, f->name, text, e);
	case FLAG_AUDIT:
		if (p->out->audit)
			return err_set(e, -EINVAL, "%s is given twice", f->name);
		p->out->audit = text;
		return *text ? 0 : err_set(e, -EINVAL, "%s names no file", f->name);
	case FLAG_METRICS_SOCKET:
		return take_metrics_socket(p->out, f->name, text, e);
	case FLAG_EVENT_MONITOR:
		return place_take(&p->out->event_monitor, f->name, text, e);
	case FLAG_INCOMING:
		p->out->incoming = text;
		return 0;
	case FLAG_TLS:
		p->out->tls_dir = text;
		return 0;
	case FLAG_PLAINTEXT:
		p->out->plaintext = true;
		return 0;
	case FLAG_SANDBOX:
		return sandbox_take(&p->out->sandbox, f->name,
				    (const char *const[]){ "on", "log", "off" }, text, e);
	case FLAG_USER:
		return user_take(&p->out->user, f->name, text, e);
	case FLAG_CGROUP:
		return cgroup_take(p->out, f->name, text, e);
	case FLAG_DRY_RUN:
		p->out->dry_run = true;
		return 0;
	case FLAG_RESUME:
		p->out->resume = true;
		return 0;
	default:
		p->out->help = true;
		return 0;
	}
}

/* One flag at argv[0], its value behind = or in argv[1]; *used: arguments taken. */
static int take_argument(struct parser *p, char **argv, int *used, struct err *e)
{
	size_t len = strcspn(argv[0], "=");
	const char *text = argv[0][len] ? argv[0] + len + 1 : NULL;
	const struct flag *f = find_flag(p->user, argv[0], len);
	const struct config_section *s = find_section_flag(p->user, argv[0], len);
	bool has_value = s || (f && f->form);

	*used = 1;
	if (p->user == RESTORE && *argv[0] != '-' && !p->out->dir) {
		p->out->dir = argv[0];
		return 0;
	}
	if (!f && !s)
		return refuse_unknown(p->user, argv[0], len, e);
	if (!has_value && text)
		return err_set(e, -EINVAL, "%s takes no value", f->name);
	if (has_value && !text) {
		text = argv[1];
		*used = 2;
	}
	if (has_value && !text)
		return err_set(e, -EINVAL, "%s needs a value: %s %s", argv[0], argv[0],
			       s ? "KEY=VALUE,..." : f->form);
	return s ? take_section(p, s, text, e) : take_flag(p, f, text, e);
}

/* Flags win, arrays append. */
static int lay_over(json_t *base, json_t *top, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach(top, key, value)
	{
		json_t *below = json_object_get(base, key);
		int rc;

		if (json_is_array(below) && json_is_array(value))
			rc = json_array_extend(below, value);
		else if (json_is_object(below) && json_is_object(value))
			rc = json_object_update_recursive(below, value);
		else
			rc = json_object_set(base, key, value);
		if (rc)
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

static int read_config(const char *path, json_t **json, struct err *e)
{
	CLEANUP(file) FILE *f = fopen(path, "re");
	json_error_t where;

	if (!f)
		return err_set(e, -errno, "--config: %s cannot be opened: %s", path,
			       strerror(errno));
	*json = json_loadf(f, JSON_REJECT_DUPLICATES, &where);
	if (!*json)
		return err_set(e, -EINVAL, "--config: %s:%d:%d: not valid JSON: %s", path,
			       where.line, where.column, where.text);
	if (json_is_object(*json))
		return 0;
	return err_set(e, -EINVAL, "--config: %s must hold a JSON object, { ... }", path);
}

/* What someone at a terminal expects and the API does not do by itself. */
static int add_defaults(json_t *json, struct err *e)
{
	json_t *serial = json_object_get(json, "serial");
	json_t *console = json_object_get(json, "console");

	if (!json_object_get(json, "pvpanic") && json_object_set_new(json, "pvpanic", json_true()))
		return err_set(e, -ENOMEM, "out of memory");
	if (!serial || json_is_null(serial)) {
		serial = json_object();
		if (json_object_set_new(json, "serial", serial))
			return err_set(e, -ENOMEM, "out of memory");
	}
	imply_mode(serial);
	imply_mode(console);
	if (json_is_object(serial) && !json_object_get(serial, "mode"))
		json_object_set_new(serial, "mode",
				    json_string(is_on_terminal(console) ? "Null" : "Tty"));
	return 0;
}

/* The rest is said of what comes. */
static int ask_for_incoming(struct run_options *o, struct err *e)
{
	json_t *request = json_pack("{s:s, s:s*, s:b, s:O}", "receiver_url", o->incoming, "tls_dir",
				    o->tls_dir, "plaintext", o->plaintext, "config", o->json);

	if (!request)
		return err_set(e, -ENOMEM, "out of memory");
	imply_mode(json_object_get(o->json, "serial"));
	imply_mode(json_object_get(o->json, "console"));
	json_decref(o->json);
	o->json = request;
	return 0;
}

static int merge(struct parser *p, struct err *e)
{
	json_auto_t *base = NULL;
	int rc;

	if (p->config_path) {
		rc = read_config(p->config_path, &base, e);
		if (!rc)
			rc = lay_over(base, p->out->json, e);
		if (rc)
			return rc;
		json_decref(p->out->json);
		p->out->json = TAKE(base);
	}
	return p->out->incoming ? ask_for_incoming(p->out, e) : add_defaults(p->out->json, e);
}

static int parse(struct parser *p, int argc, char **argv, struct err *e)
{
	int used, rc = 0;

	*p->out = (struct run_options){ .json = json_object(),
					.api_socket.fd = -1,
					.event_monitor.fd = -1,
					.log_level = LOG_INFO };
	for (int i = 1; !rc && i < argc && !p->out->help; i += used)
		rc = take_argument(p, argv + i, &used, e);
	if (!rc && p->out->user.given && !p->out->help &&
	    (geteuid() || p->out->sandbox == SANDBOX_OFF))
		rc = err_set(e, -EINVAL, "--user is for root, with a sandbox");
	return rc;
}

int run_options_parse(struct run_options *out, int argc, char **argv, struct err *e)
{
	struct parser p = { .user = RUN, .out = out };
	int rc = parse(&p, argc, argv, e);

	return rc || out->help ? rc : merge(&p, e);
}

int restore_options_parse(struct run_options *out, int argc, char **argv, struct err *e)
{
	struct parser p = { .user = RESTORE, .out = out };
	int rc = parse(&p, argc, argv, e);

	if (rc || out->help || out->dir)
		return rc;
	return err_set(e, -EINVAL, "something is missing: godwit restore DIR");
}

void run_options_free(struct run_options *o)
{
	json_decref(o->json);
	o->json = NULL;
	json_decref(o->cgroup_json);
	o->cgroup_json = NULL;
	free(o->metrics_path);
	o->metrics_path = NULL;
}

static void each_of(enum flag_user user,
		    void (*each)(void *arg, const struct verb_option *,
				 const struct option_table *),
		    void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (flags[i].user & user)
			each(arg,
			     &(struct verb_option){ flags[i].name, flags[i].form, flags[i].help },
			     flags[i].kind == FLAG_CGROUP ? &cgroup_options : NULL);
	for (size_t i = 0; i < nconfig_sections; i++) {
		const struct config_section *s = &config_sections[i];

		if (section_is_for(s, user))
			each(arg, &(struct verb_option){ s->flag, "KEY=VALUE,...", s->help },
			     config_section_table(s));
	}
}

void run_options_each(void (*each)(void *arg, const struct verb_option *,
				   const struct option_table *),
		      void *arg)
{
	each_of(RUN, each, arg);
}

void restore_options_each(void (*each)(void *arg, const struct verb_option *,
				       const struct option_table *),
			  void *arg)
{
	each_of(RESTORE, each, arg);
}
