/* SPDX-License-Identifier: MIT
 *
 * See moment.h.
 */
#include "limit/moment.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/log.h"
#include "limit/time.h"

static const int64_t HOUR = 3600 * (int64_t)TIME_NS_PER_S;

static _Atomic bool asked;

bool moment_is_suspect(unstick_time moment, unstick_time now)
{
	const int64_t back = time_add(now, -moment);
	return moment > 0 && (back > 24 * HOUR || (moment < HOUR && back > HOUR));
}

int moment_check(const char *function, const char *parameter, unstick_time moment)
{
	if (moment < 0) {
		log_line(
		        "%s: %s is negative, which no moment is: take unstick_after_ms() of a span, UNSTICK_NEVER for \"for ever\"",
		        function, parameter);
		return -EINVAL;
	}
	if (moment == 0 || moment == UNSTICK_NEVER || atomic_load(&asked))
		return 0;
	if (moment_is_suspect(moment, unstick_now()) && !atomic_exchange(&asked, true))
		log_line("%s: %s is a moment long past, %lld ns after the start of the machine: is it a span? Take "
		         "unstick_after_ms() or "
		         "unstick_after_ns() of it",
		         function, parameter, (long long)moment);
	return 0;
}
