/* SPDX-License-Identifier: Apache-2.0 */
#include "owner.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "broker.h"
#include "cleanup.h"
#include "disk_queue.h"
#include "record.h"
#include "statedir.h"
#include "uuid.h"

#define OWNER_SUFFIX ".owner"

/* Where the record of a disk is. */
struct owner_place {
	char disk[PATH_MAX]; /* resolved */
	char name[NAME_MAX + 1]; /* in the directory */
	mode_t mode; /* whoever may use the image may use its record */
};

static const char *const states[] = { [OWNER_RUNNING] = "running", [OWNER_OFFERED] = "offered" };

/* Of the file that is open, and not of what its path means by now: {"path": "/where/it/is"} */
static int serve_path(const json_t *ask, const int *fd, unsigned nfds, struct broker_answer *out,
		      struct err *e)
{
	char link[32], path[PATH_MAX] = "";
	struct stat st, there;

	(void)ask;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", nfds == 1 ? *fd : -1);
	if (readlink(link, path, sizeof(path) - 1) < 0 || fstat(*fd, &st))
		return err_set(e, -errno, "cannot be found: %s", strerror(errno));
	if (stat(path, &there) || there.st_dev != st.st_dev || there.st_ino != st.st_ino)
		return err_set(e, -ENOENT,
			       "was moved or removed since it was opened and can have no owner "
			       "record");
	out->json = json_pack("{s:o}", "path", broker_bytes(path));
	return 0;
}

const struct broker_service owner_path = { "owner_path", false, serve_path };

static int resolve(const struct disk *d, struct owner_place *p, struct err *e)
{
	struct broker_answer a;
	struct err why;
	int r = broker_ask(&owner_path, json_object(), &d->fd, 1, &a, &why);

	if (r)
		return err_set(e, r, "%s %s", d->config.path, why.text);
	broker_take_bytes(json_object_get(a.json, "path"), p->disk, sizeof(p->disk));
	broker_answer_free(&a);
	return 0;
}

/* Slashes become what sysfs writes for them. */
static int name_of_device(struct owner_place *p)
{
	int n = snprintf(p->name, sizeof(p->name), "%s" OWNER_SUFFIX, p->disk + 1);

	for (char *c = p->name; *c; c++)
		if (*c == '/')
			*c = '!';
	p->mode = 0600;
	return n;
}

static int name_of_image(struct owner_place *p, mode_t mode)
{
	p->mode = mode & 0666;
	return snprintf(p->name, sizeof(p->name), "%s" OWNER_SUFFIX, strrchr(p->disk, '/') + 1);
}

/* To look there needs less permission than to write. */
static int open_directory_of(const struct disk *d, bool make, const struct owner_place *p,
			     struct err *e)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s", p->disk);
	fd = open(dirname(path), (make ? O_RDONLY : O_PATH) | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return err_set(e, -errno, "the directory of %s cannot be opened for its owner record: %s",
		       d->config.path, strerror(errno));
}

/* An fd of the directory; make: to write there.  -ENOENT: there is no such place. */
static int find_place(const struct disk *d, bool make, struct owner_place *p, struct err *e)
{
	struct stat st;
	int r = resolve(d, p, e), n;

	if (r)
		return r;
	if (fstat(d->fd, &st))
		return err_set(e, -errno, "%s cannot be looked at: %s", d->config.path,
			       strerror(errno));
	n = d->is_block_device ? name_of_device(p) : name_of_image(p, st.st_mode);
	if (n >= (int)sizeof(p->name))
		return err_set(e, -ENOENT,
			       "the name of %s is too long for an owner record beside it",
			       d->config.path);
	return d->is_block_device ? statedir_open(make, e) : open_directory_of(d, make, p, e);
}

static int parse(const json_t *json, struct owner_record *out)
{
	const char *vm, *host, *session, *state;
	json_int_t generation;
	size_t i = 0;

	if (json_unpack_ex((json_t *)json, NULL, JSON_STRICT, "{s:s, s:I, s:s, s:s, s:s}", "vm",
			   &vm, "generation", &generation, "host", &host, "session", &session,
			   "state", &state) ||
	    !uuid_is(vm) || !record_is_generation(generation) ||
	    !record_is_text(host, sizeof(out->host)) || (*session && !uuid_is(session)))
		return -EBADMSG;
	while (i < ARRAY_SIZE(states) && strcmp(state, states[i]))
		i++;
	if (i == ARRAY_SIZE(states))
		return -EBADMSG;
	*out = (struct owner_record){ .generation = (uint64_t)generation,
				      .state = (enum owner_state)i };
	snprintf(out->vm, sizeof(out->vm), "%s", vm);
	snprintf(out->host, sizeof(out->host), "%s", host);
	snprintf(out->session, sizeof(out->session), "%s", session);
	return 0;
}

int owner_read(struct disk *d, struct owner_record *out, struct err *e)
{
	struct owner_place p;
	CLEANUP(fd) int dir = find_place(d, false, &p, e);
	json_auto_t *json = NULL;
	int r;

	if (dir < 0)
		return dir;
	r = record_read(dir, p.name, &json);
	if (!r)
		r = parse(json, out);
	if (r == -ENOENT)
		return err_set(e, r, "%s has no owner record: no VM has run on it", d->config.path);
	if (r == -EBADMSG)
		return err_set(e, r,
			       "the owner record of %s is damaged; if no VM uses the disk "
			       "anywhere, remove the file %s",
			       d->config.path, p.name);
	return r ? err_set(e, r, "the owner record of %s cannot be read: %s", d->config.path,
			   strerror(-r))
		 : 0;
}

static json_t *print(const struct owner_record *o)
{
	return json_pack("{s:s, s:I, s:s, s:s, s:s}", "vm", o->vm, "generation",
			 (json_int_t)o->generation, "host", o->host, "session", o->session, "state",
			 states[o->state]);
}

int owner_write(struct disk *d, const struct owner_record *record, struct err *e)
{
	struct owner_place p;
	CLEANUP(fd) int dir = find_place(d, true, &p, e);
	json_auto_t *json = print(record);
	struct owner_record check;
	int r;

	if (dir < 0)
		return dir;
	assert(d->locked);
	r = !json || parse(json, &check) ? -EINVAL : record_write(dir, p.name, p.mode, json);
	return r ? err_set(e, r, "the owner record of %s cannot be written: %s", d->config.path,
			   strerror(-r))
		 : 0;
}

void owner_this_host(char host[65])
{
	CLEANUP(file) FILE *f = fopen("/proc/sys/kernel/hostname", "re");
	char name[65] = "";

	if (f && fgets(name, sizeof(name), f))
		name[strcspn(name, "\n")] = '\0';
	if (!record_is_text(name, sizeof(name)) || !*name)
		snprintf(name, sizeof(name), "unnamed");
	memcpy(host, name, sizeof(name));
}
