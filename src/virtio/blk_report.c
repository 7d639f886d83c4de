/* SPDX-License-Identifier: Apache-2.0 */
#include "blk_report.h"

#include <string.h>

#include "log.h"
#include "vm.h"

enum { PER_SECOND = 1 };

static const char *const verb[] = { [DISK_READ] = "read",
				    [DISK_WRITE] = "write",
				    [DISK_FLUSH] = "flush",
				    [DISK_DISCARD] = "discard",
				    [DISK_WRITE_ZEROES] = "write zeroes to" };

void blk_report_failed(struct blk_reports *p, struct device *dev, const struct disk_request *r,
		       const char *path, int error)
{
	if (!pace_allows(&p->failed, PER_SECOND))
		return;
	device_tell(dev, "block", "io-error",
		    json_pack("{s:s, s:I, s:s}", "operation", verb[r->op], "offset",
			      (json_int_t)r->offset, "reason", strerror(error)));
	log_warn("%s: cannot %s %s at byte %llu: %s; the guest was told", dev->id, verb[r->op],
		 path, (unsigned long long)r->offset, strerror(error));
}

void blk_report_parked(struct device *dev, const struct disk_request *r, const char *path,
		       int error)
{
	struct vm_io_error io = { .operation = verb[r->op], .offset = r->offset, .error = error };

	memcpy(io.id, dev->id, sizeof(io.id));
	/* Of all that fail until it stands still, the first. */
	if (vm_note_io_error(dev->vm, &io))
		log_warn("%s: cannot %s %s at byte %llu: %s; the VM pauses, and tries again when "
			 "it is resumed",
			 dev->id, verb[r->op], path, (unsigned long long)r->offset,
			 strerror(error));
}

void blk_report_refused(struct blk_reports *p, struct device *dev, const struct blk_asked *asked,
			const char *why)
{
	if (!pace_allows(&p->refused, PER_SECOND))
		return;
	device_tell(dev, "block", "request-refused",
		    json_pack("{s:I, s:I, s:I, s:I, s:s}", "type", (json_int_t)asked->type,
			      "sector", (json_int_t)asked->sector, "readable_bytes",
			      (json_int_t)asked->readable_bytes, "writable_bytes",
			      (json_int_t)asked->writable_bytes, "reason", why));
	log_warn("%s: the guest's request of type %u at sector %llu, %u bytes from it and %u for "
		 "it, is refused: %s",
		 dev->id, asked->type, (unsigned long long)asked->sector, asked->readable_bytes,
		 asked->writable_bytes, why);
}
