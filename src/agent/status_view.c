/* SPDX-License-Identifier: Apache-2.0 */
#include "status_view.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* Of several windows, the newest. */
static double number_at(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_array(value))
		value = json_array_get(value, 0);
	return json_is_number(value) ? json_number_value(value) : NAN;
}

static void read_host(struct status_view *s, const json_t *host)
{
	struct host_view *h = &s->host[s->nhosts];

	*h = (struct host_view){ .id = text_at(host, "id"),
				 .state = text_at(host, "state"),
				 .cores = number_at(host, "cores"),
				 .memory = number_at(host, "memory"),
				 .reserve = number_at(host, "reserve"),
				 .available = number_at(host, "available"),
				 .use = number_at(host, "use"),
				 .happiness = number_at(host, "happiness"),
				 .psi_cpu = number_at(host, "psi_cpu"),
				 .psi_mem = number_at(host, "psi_mem"),
				 .psi_io = number_at(host, "psi_io") };
	h->here = !strcmp(h->id, s->id);
	s->nhosts += *h->id != '\0';
}

static void read_vm(struct status_view *s, const json_t *vm)
{
	struct vm_view *v = &s->vm[s->nvms];

	*v = (struct vm_view){ .name = text_at(vm, "name"),
			       .host = text_at(vm, "host"),
			       .state = text_at(vm, "state"),
			       .why = text_at(vm, "why"),
			       .vcpus = number_at(vm, "vcpus"),
			       .memory = number_at(vm, "memory"),
			       .resident = number_at(vm, "resident"),
			       .happiness = number_at(vm, "happiness"),
			       .run = number_at(vm, "run"),
			       .delay = number_at(vm, "delay"),
			       .throttled = number_at(vm, "throttled"),
			       .dirty_rate = number_at(vm, "dirty_rate"),
			       .restarts = number_at(vm, "restarts"),
			       .spec = json_is_true(json_object_get(vm, "spec")) };
	if (!*v->why)
		v->why = text_at(vm, "local");
	s->nvms += *v->name != '\0';
}

static void read_flight(struct status_view *s, const json_t *flight)
{
	s->flight[s->nflights++] = (struct flight_view){ .vm = text_at(flight, "vm"),
							 .from = text_at(flight, "from"),
							 .to = text_at(flight, "to"),
							 .phase = text_at(flight, "phase"),
							 .since = number_at(flight, "since"),
							 .left_s = number_at(flight, "left_s") };
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct host_view *)a)->id, ((const struct host_view *)b)->id);
}

static int by_host(const void *a, const void *b)
{
	const struct vm_view *x = a, *y = b;
	int order = strcmp(x->host, y->host);

	return order ? order : strcmp(x->name, y->name);
}

static double known(double n)
{
	return isnan(n) ? 0 : n;
}

static void add_to_host(struct host_view *h, const struct vm_view *v)
{
	h->nvms++;
	h->vcpus += known(v->vcpus);
	h->given += known(v->memory);
	h->resident += known(v->resident);
	h->run += known(v->vcpus * v->run);
	h->delay += known(v->vcpus * v->delay);
}

static void add_up(struct status_view *s)
{
	double weight = 0, sum = 0;

	for (size_t i = 0; i < s->nhosts; i++)
		for (size_t k = 0; k < s->nvms; k++)
			if (!strcmp(s->vm[k].host, s->host[i].id))
				add_to_host(&s->host[i], &s->vm[k]);
	for (size_t i = 0; i < s->nvms; i++) {
		double part = s->vm[i].vcpus * s->vm[i].happiness;

		weight += isnan(part) ? 0 : s->vm[i].vcpus;
		sum += known(part);
	}
	s->happiness = weight > 0 ? sum / weight : NAN;
}

int status_view_read(struct status_view *s, const json_t *status)
{
	const json_t *hosts = json_object_get(status, "hosts"),
		     *vms = json_object_get(status, "vms"),
		     *flights = json_object_get(status, "flights"),
		     *alerts = json_object_get(status, "alerts"), *item;
	size_t i;

	*s = (struct status_view){
		.id = text_at(status, "id"),
		.mode = text_at(status, "mode"),
		.planner = text_at(status, "planner"),
		.why = text_at(status, "why"),
		.host = calloc(json_array_size(hosts) + 1, sizeof(*s->host)),
		.vm = calloc(json_array_size(vms) + 1, sizeof(*s->vm)),
		.flight = calloc(json_array_size(flights) + 1, sizeof(*s->flight)),
		.alert = calloc(json_array_size(alerts) + 1, sizeof(*s->alert))
	};
	if (!s->host || !s->vm || !s->flight || !s->alert)
		return -ENOMEM;
	json_array_foreach(hosts, i, item) read_host(s, item);
	json_array_foreach(vms, i, item) read_vm(s, item);
	json_array_foreach(flights, i, item) read_flight(s, item);
	json_array_foreach(alerts, i, item) if (json_is_string(item))
		s->alert[s->nalerts++] = json_string_value(item);
	qsort(s->host, s->nhosts, sizeof(*s->host), by_id);
	qsort(s->vm, s->nvms, sizeof(*s->vm), by_host);
	add_up(s);
	return 0;
}

void status_view_free(struct status_view *s)
{
	free(s->host);
	free(s->vm);
	free(s->flight);
	free(s->alert);
}

const struct vm_view *status_view_vms(const struct status_view *s, const struct host_view *h)
{
	size_t i = 0;

	while (i < s->nvms && strcmp(s->vm[i].host, h->id))
		i++;
	return s->vm + i;
}
