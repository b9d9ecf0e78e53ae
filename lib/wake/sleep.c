/* SPDX-License-Identifier: MIT */
#include "wake/sleep.h"

#include <errno.h>
#include <linux/futex.h>

#include "wake/call.h"

int sleep_on(_Atomic uint32_t *word, uint32_t seen, unstick_time until)
{
	struct timespec when = time_to_timespec(until);
	const struct timespec *timeout = until == UNSTICK_NEVER ? NULL : &when;
	long result = CALL_6(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, timeout, 0, (long)FUTEX_BITSET_MATCH_ANY);
	bool by_scope = result == -ECANCELED || (result == -ETIMEDOUT && unstick_now() < until);
	return by_scope ? (int)result : 0;
}
