/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics on stderr, one line each, prefixed with the name of the program and ": ".  Any
 * thread.  What a guest can cause goes through device_note() (device.h), which is rate limited.
 */
#ifndef LOG_H
#define LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* "godwit", unless the program defines it. */
extern const char log_program[];

void log_set_level(enum log_level);
void log_write(enum log_level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
