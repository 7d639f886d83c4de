/* SPDX-License-Identifier: Apache-2.0 */
/* Every path of the API and what stands behind it. */
#include <string.h>

#include "bits.h"
#include "call.h"
#include "routes.h"

static const char prefix[] = "/api/v1/";

static void not_yet(struct call *c)
{
	call_fail(c, 501,
		  "%s is not something that this version can do; vmm.ping lists its features",
		  c->route->name);
}

const struct route routes[] = {
	{ "vmm.ping", HTTP_GET, BODY_NONE, .here = route_ping },
	{ "vmm.shutdown", HTTP_PUT, BODY_NONE, .run = vmm_delete, .ends_process = true },
	{ "vm.create", HTTP_PUT, BODY_NEEDED, .run = vmm_create },
	{ "vm.delete", HTTP_PUT, BODY_NONE, .run = vmm_delete },
	{ "vm.boot", HTTP_PUT, BODY_NONE, .run = vmm_boot },
	{ "vm.shutdown", HTTP_PUT, BODY_NONE, .run = vmm_shutdown },
	{ "vm.reboot", HTTP_PUT, BODY_NONE, .run = vmm_reboot },
	{ "vm.soft-reboot", HTTP_PUT, BODY_NONE, .run = vmm_soft_reboot, .feature = "soft-reboot" },
	{ "vm.pause", HTTP_PUT, BODY_NONE, .run = vmm_pause },
	{ "vm.resume", HTTP_PUT, BODY_NONE, .run = vmm_resume },
	{ "vm.power-button", HTTP_PUT, BODY_NONE, .run = vmm_power_button },
	{ "vm.nmi", HTTP_PUT, BODY_NONE, .run = vmm_nmi },
	{ "vm.add-disk", HTTP_PUT, BODY_NEEDED, .run = vmm_add_disk, .feature = "hotplug-disk" },
	{ "vm.add-net", HTTP_PUT, BODY_NEEDED, .run = vmm_add_net, .feature = "hotplug-net" },
	{ "vm.remove-device", HTTP_PUT, BODY_NEEDED, .run = vmm_remove_device },
	{ "vm.resize-disk", HTTP_PUT, BODY_NEEDED, .run = vmm_resize_disk,
	  .feature = "resize-disk" },
	{ "vm.resize", HTTP_PUT, BODY_NEEDED, .run = vmm_resize, .feature = "resize" },
	{ "vm.balloon-stats", HTTP_GET, BODY_NONE, .run = vmm_balloon_stats,
	  .feature = "balloon-stats" },
	{ "vm.set-rate-limit", HTTP_PUT, BODY_NEEDED, .run = vmm_set_rate_limit,
	  .feature = "set-rate-limit" },
	{ "vm.snapshot", HTTP_PUT, BODY_NEEDED, .run = vmm_snapshot, .feature = "snapshot" },
	{ "vm.restore", HTTP_PUT, BODY_NEEDED, .run = vmm_restore },
	{ "vm.info", HTTP_GET, BODY_NONE, .look = vmm_info },
	{ "vm.counters", HTTP_GET, BODY_NONE, .look = read_counters, .here = route_counters },
	{ "/metrics", HTTP_GET, BODY_NONE, .look = read_counters, .here = route_metrics,
	  .feature = "metrics" },
	{ "events", HTTP_GET, BODY_NONE, .here = route_events, .feature = "events" },
	{ "vm.resize-zone", HTTP_PUT, BODY_NEEDED, .here = not_yet },
	{ "vm.coredump", HTTP_PUT, BODY_NEEDED, .here = not_yet },
	{ "vm.check-migration", HTTP_PUT, BODY_NEEDED, .run = vmm_check_migration,
	  .feature = "check-migration" },
	{ "vm.predict-migration", HTTP_GET, BODY_NONE, .run = vmm_predict_migration,
	  .here = route_predict_migration, .feature = "predict-migration" },
	{ "vm.send-migration", HTTP_PUT, BODY_NEEDED, .run = vmm_send_migration,
	  .feature = "migration" },
	{ "vm.receive-migration", HTTP_PUT, BODY_NEEDED, .run = vmm_receive_migration },
	{ "vm.cancel-migration", HTTP_PUT, BODY_NONE, .look = vmm_cancel_migration,
	  .feature = "cancel-migration" },
	{ "vm.migration-progress", HTTP_GET, BODY_NONE, .look = vmm_migration_progress,
	  .feature = "migration-progress" },
	{ "vm.resolve-migration", HTTP_PUT, BODY_NEEDED, .look = vmm_resolve_migration,
	  .feature = "resolve-migration" },
	{ "vm.set-migration-parameters", HTTP_PUT, BODY_NEEDED,
	  .look = vmm_set_migration_parameters, .feature = "set-migration-parameters" },
	{ "vm.add-device", HTTP_PUT, BODY_NEEDED, .here = not_yet },
	{ "vm.add-fs", HTTP_PUT, BODY_NEEDED, .here = not_yet },
	{ "vm.add-vsock", HTTP_PUT, BODY_NEEDED, .here = not_yet },
	{ "vm.add-pmem", HTTP_PUT, BODY_NEEDED, .here = not_yet },
	{ "vm.add-vdpa", HTTP_PUT, BODY_NEEDED, .here = not_yet },
	{ "vm.add-user-device", HTTP_PUT, BODY_NEEDED, .here = not_yet },
	{ "vm.add-generic-vhost-user", HTTP_PUT, BODY_NEEDED, .here = not_yet },
};
const size_t nroutes = ARRAY_SIZE(routes);

json_t *route_features(void)
{
	json_t *features = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (routes[i].feature)
			json_array_append_new(features, json_string(routes[i].feature));
	return features;
}

const struct route *route_find(const char *path)
{
	if (!strncmp(path, prefix, strlen(prefix)))
		path += strlen(prefix);
	else if (*path != '/')
		return NULL;
	for (size_t i = 0; i < nroutes; i++)
		if (!strcmp(path, routes[i].name))
			return &routes[i];
	return NULL;
}
