/* SPDX-License-Identifier: MIT
 *
 * See parse.h.
 */
#include "parse.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/calls.h"

enum { LAST_ERRNO = 4095 }; /* MAX_ERRNO of include/linux/err.h */

static bool unit_in_seconds(const char *unit, double *seconds)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = {{"", 1}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(unit, units[i].name) == 0) {
			*seconds = units[i].seconds;
			return true;
		}
	}
	return false;
}

static bool begins_with_digit(const char *word)
{
	return (*word >= '0' && *word <= '9') || (*word == '.' && word[1] >= '0' && word[1] <= '9');
}

bool parse_duration(const char *word, int64_t *ns)
{
	static const double limit = 100 * 366 * 86400.0;
	char *unit;
	double value, scale;

	if (!begins_with_digit(word))
		return false;
	value = strtod(word, &unit);
	if (unit != word + strspn(word, "0123456789.")) /* an exponent, or hexadecimal */
		return false;
	if (!unit_in_seconds(unit, &scale) || !(value * scale <= limit))
		return false;
	*ns = llrint(value * scale * 1e9);
	return true;
}

bool parse_number(const char *word, long limit, long *number)
{
	char *rest;

	if (*word < '0' || *word > '9')
		return false;
	errno = 0;
	long value = strtol(word, &rest, 10);
	if (errno || *rest || value > limit)
		return false;
	*number = value;
	return true;
}

/* A number has one name for strerrorname_np(). */
static bool parse_errno_alias(const char *word, int *error)
{
	static const struct {
		const char *name;
		int error;
	} others[] = {{"EWOULDBLOCK", EWOULDBLOCK}, {"ENOTSUP", ENOTSUP}, {"EOPNOTSUPP", EOPNOTSUPP}, {"EDEADLOCK", EDEADLOCK}};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (strcasecmp(others[i].name, word) == 0) {
			*error = others[i].error;
			return true;
		}
	}
	return false;
}

bool parse_errno(const char *word, int *error)
{
	long number;

	if (parse_number(word, LAST_ERRNO, &number) && number > 0 && strerrorname_np((int)number)) {
		*error = (int)number;
		return true;
	}
	for (int i = 1; i <= LAST_ERRNO; i++) {
		const char *name = strerrorname_np(i);
		if (name && strcasecmp(name, word) == 0) {
			*error = i;
			return true;
		}
	}
	return parse_errno_alias(word, error);
}

bool parse_signal(const char *word, int *signal)
{
	long number;

	if (strncmp(word, "SIG", 3) == 0)
		word += 3;
	if (strncmp(word, "RTMIN+", 6) == 0 && parse_number(word + 6, SIGRTMAX - SIGRTMIN, &number)) {
		*signal = SIGRTMIN + (int)number;
		return true;
	}
	if (parse_number(word, SIGRTMAX, &number) && number > 0) {
		*signal = (int)number;
		return true;
	}
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *name = sigabbrev_np(i);
		if (name && strcmp(name, word) == 0) {
			*signal = i;
			return true;
		}
	}
	return false;
}

bool parse_call(const char *word, long *nr)
{
	if (parse_number(word, 4095, nr))
		return true;
	for (long i = 0; i < call_limit(); i++) {
		const struct call *call = call_find(i);
		if (call && strcmp(call->name, word) == 0) {
			*nr = i;
			return true;
		}
	}
	return false;
}

bool parse_thread(const char *word, pid_t *pid, pid_t *tid)
{
	const char *slash = strchr(word, '/');
	char first[16];
	long process, thread = 0;
	size_t length = slash ? (size_t)(slash - word) : strlen(word);

	if (length >= sizeof(first))
		return false;
	memcpy(first, word, length);
	first[length] = '\0';
	if (!parse_number(first, INT32_MAX, &process) || process == 0)
		return false;
	if (slash && (!parse_number(slash + 1, INT32_MAX, &thread) || thread == 0))
		return false;
	*pid = (pid_t)process;
	*tid = (pid_t)thread;
	return true;
}

void format_duration(int64_t ns, char *buf, int size)
{
	long long seconds = ns / 1000000000;

	if (ns < 100 * INT64_C(1000000000))
		snprintf(buf, (size_t)size, "%lld.%llds", seconds, (long long)(ns / 100000000 % 10));
	else if (seconds < 3600)
		snprintf(buf, (size_t)size, "%lldm%02llds", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		snprintf(buf, (size_t)size, "%lldh%02lldm", seconds / 3600, seconds / 60 % 60);
	else
		snprintf(buf, (size_t)size, "%lldd%02lldh", seconds / 86400, seconds / 3600 % 24);
}
