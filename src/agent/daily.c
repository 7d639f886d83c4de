/* SPDX-License-Identifier: Apache-2.0 */
#include "daily.h"

#include <errno.h>
#include <math.h>

#include "bits.h"

enum {
	HOUR_S = 3600,
	DAY_HOURS = 24,
	PAIRS_MIN = 18, /* hours that are known of both days */
};

static const double SEEN_MIN = 0.5; /* of an hour */
static const double CORRELATED = 0.5;
static const double CORES_MAX = 65536;
static const json_int_t HOUR_MAX = INT32_MAX;

static bool is_known(double cores)
{
	return cores >= 0;
}

static double at(const struct daily *d, uint64_t hour)
{
	return d->cores[hour % DAILY_HOURS];
}

static void forget(struct daily *d)
{
	for (unsigned i = 0; i < DAILY_HOURS; i++)
		d->cores[i] = -1;
}

/* Hours from the one under way up to that one are over; of the first alone anything is known. */
static void end_hours(struct daily *d, uint64_t hour)
{
	double cores = d->seconds >= SEEN_MIN * HOUR_S ? d->used / d->seconds : -1;

	if (hour - d->hour > DAILY_HOURS)
		forget(d);
	else
		for (uint64_t h = d->hour; h < hour; h++)
			d->cores[h % DAILY_HOURS] = h == d->hour ? cores : -1;
}

bool daily_add(struct daily *d, uint64_t now, double cores, double seconds)
{
	uint64_t hour = now / HOUR_S;
	bool ended = d->hour && hour > d->hour;

	/* Clocks of two hosts differ a little; by more than that, and this one has been set. */
	if (!d->hour || hour + 1 < d->hour)
		forget(d);
	else if (ended)
		end_hours(d, hour);
	else
		hour = d->hour;
	if (hour != d->hour)
		d->used = d->seconds = 0;
	d->hour = hour;
	d->used += cores * seconds;
	d->seconds += seconds;
	return ended;
}

/* Of yesterday's hours and those of the day before that, where both are known. */
static double correlation(const struct daily *d)
{
	double a[DAY_HOURS], b[DAY_HOURS], x = 0, y = 0, xx = 0, yy = 0, xy = 0;
	unsigned n = 0;

	for (uint64_t i = 1; i <= DAY_HOURS; i++) {
		a[n] = at(d, d->hour - i);
		b[n] = at(d, d->hour - i - DAY_HOURS);
		n += is_known(a[n]) && is_known(b[n]);
	}
	for (unsigned i = 0; i < n; i++) {
		x += a[i] / n;
		y += b[i] / n;
	}
	for (unsigned i = 0; i < n; i++) {
		xx += (a[i] - x) * (a[i] - x);
		yy += (b[i] - y) * (b[i] - y);
		xy += (a[i] - x) * (b[i] - y);
	}
	return n >= PAIRS_MIN && xx > 0 && yy > 0 ? MIN(xy / sqrt(xx * yy), 1) : 0;
}

bool daily_expects(const struct daily *d, uint64_t now, double *cores, double *weight)
{
	double into = (double)(now % HOUR_S) / HOUR_S, r, begin, end;

	if (!d->hour || now / HOUR_S != d->hour || d->hour < DAILY_HOURS)
		return false;
	begin = at(d, d->hour - DAY_HOURS);
	end = at(d, d->hour - DAY_HOURS + 1);
	r = correlation(d);
	if (r < CORRELATED || !is_known(begin) || !is_known(end))
		return false;
	*cores = (1 - into) * begin + into * end;
	*weight = r * r;
	return true;
}

json_t *daily_json(const struct daily *d)
{
	json_t *list = json_array();

	for (uint64_t i = 1; i <= DAILY_HOURS && i <= d->hour; i++) {
		double cores = at(d, d->hour - i);

		json_array_append_new(list, is_known(cores) ? json_real(cores) : json_null());
	}
	return json_pack("{s:I, s:o}", "hour", (json_int_t)d->hour, "cores", list);
}

int daily_read(struct daily *d, const json_t *from)
{
	const json_t *cores, *value;
	json_int_t hour;
	size_t i;

	*d = (struct daily){ 0 };
	if (json_unpack((json_t *)from, "{s:I, s:o !}", "hour", &hour, "cores", &cores) ||
	    hour < DAILY_HOURS || hour > HOUR_MAX || !json_is_array(cores) ||
	    json_array_size(cores) > DAILY_HOURS)
		return -EINVAL;
	forget(d);
	json_array_foreach(cores, i, value)
	{
		double v = json_is_null(value) ? -1 : json_number_value(value);

		if (!json_is_null(value) && !(json_is_number(value) && v >= 0 && v <= CORES_MAX))
			return -EINVAL;
		d->cores[((uint64_t)hour - 1 - i) % DAILY_HOURS] = v;
	}
	d->hour = (uint64_t)hour;
	return 0;
}
