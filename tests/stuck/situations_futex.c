/* SPDX-License-Identifier: MIT
 *
 * Group "futex": the futex system calls themselves. A foreign one must never be touched: libc aborts on an errno that it does
 * not know, or takes a lock for its own; an own one ends as every own call does.
 * place->word is the futex; for FUTEX_LOCK_PI a helper thread holds it.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place.h"

/* Since Linux 5.16; in the headers of Debian 12. */
static struct futex_waitv waiter_on(struct place *p)
{
	return (struct futex_waitv){.uaddr = (uintptr_t)&p->word, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
}

static long wait_foreign(struct place *p)
{
	return or_errno(syscall(SYS_futex, &p->word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
}

static long wait_own(struct place *p)
{
	return unstick_syscall(SYS_futex, (long)&p->word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
}

static long wait_timed_foreign(struct place *p)
{
	struct timespec span = long_span();
	return or_errno(syscall(SYS_futex, &p->word, FUTEX_WAIT_PRIVATE, 0, &span, NULL, 0));
}

static long wait_timed_own(struct place *p)
{
	struct timespec span = long_span();
	return unstick_syscall(SYS_futex, (long)&p->word, FUTEX_WAIT_PRIVATE, 0, (long)&span, 0, 0);
}

static long wait_bitset_foreign(struct place *p)
{
	struct timespec when = long_after(CLOCK_MONOTONIC);
	return or_errno(syscall(SYS_futex, &p->word, FUTEX_WAIT_BITSET_PRIVATE, 0, &when, NULL, FUTEX_BITSET_MATCH_ANY));
}

static long wait_bitset_own(struct place *p)
{
	struct timespec when = long_after(CLOCK_MONOTONIC);
	return unstick_syscall(SYS_futex, (long)&p->word, FUTEX_WAIT_BITSET_PRIVATE, 0, (long)&when, 0, FUTEX_BITSET_MATCH_ANY);
}

static int waitv_setup(struct place *p)
{
	/* No waiters at all: a kernel that knows the call says EINVAL. */
	syscall(SYS_futex_waitv, NULL, 0, 0, NULL, CLOCK_MONOTONIC);
	return errno == EINVAL ? 0 : place_refuse(p, "no futex_waitv in this kernel");
}

static long waitv_foreign(struct place *p)
{
	struct futex_waitv waiter = waiter_on(p);
	return or_errno(syscall(SYS_futex_waitv, &waiter, 1, 0, NULL, CLOCK_MONOTONIC));
}

static long waitv_own(struct place *p)
{
	struct futex_waitv waiter = waiter_on(p);
	return unstick_syscall(SYS_futex_waitv, (long)&waiter, 1, 0, 0, CLOCK_MONOTONIC, 0);
}

static int wake(struct place *p)
{
	atomic_store(&p->word, 1);
	return syscall(SYS_futex, &p->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1 ? 0 : -ESRCH;
}

static void pi_take(struct place *p)
{
	syscall(SYS_futex, &p->word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
}

static void pi_drop(struct place *p)
{
	syscall(SYS_futex, &p->word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
}

static int pi_setup(struct place *p)
{
	return place_helper(p, pi_take, pi_drop);
}

/* The kernel writes the owner's tid into the word: a 0 without it is the very defect that is looked for. */
static long pi_locked(struct place *p, long r)
{
	if (r)
		return r;
	if ((atomic_load(&p->word) & FUTEX_TID_MASK) != (unsigned)gettid())
		return -EPROTO;
	pi_drop(p);
	return 0;
}

static long lock_pi_foreign(struct place *p)
{
	return pi_locked(p, or_errno(syscall(SYS_futex, &p->word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0)));
}

static long lock_pi_own(struct place *p)
{
	return pi_locked(p, unstick_syscall(SYS_futex, (long)&p->word, FUTEX_LOCK_PI_PRIVATE, 0, 0, 0, 0));
}

#define LEFT .group = "futex", .cut = STUCK_CUT_NEVER, .kind = {UNSTICK_LOCK}

/* clang-format off */
const struct situation situations_futex[] = {
	{.name = "futex-wait", LEFT, .flags = STUCK_UNTOUCHED, .summary = "FUTEX_WAIT without a timeout", .nr = {SYS_futex},
	 .foreign = wait_foreign, .own = wait_own, .release = wake},
	{.name = "futex-wait-timed", LEFT, .flags = STUCK_UNTOUCHED, .summary = "FUTEX_WAIT with a long timeout", .nr = {SYS_futex},
	 .foreign = wait_timed_foreign, .own = wait_timed_own, .release = wake},
	{.name = "futex-wait-bitset", LEFT, .flags = STUCK_UNTOUCHED, .summary = "FUTEX_WAIT_BITSET until a far moment", .nr = {SYS_futex},
	 .foreign = wait_bitset_foreign, .own = wait_bitset_own, .release = wake},
	{.name = "futex-waitv", LEFT, .flags = STUCK_UNTOUCHED, .summary = "futex_waitv", .nr = {SYS_futex_waitv},
	 .setup = waitv_setup, .foreign = waitv_foreign, .own = waitv_own, .release = wake},
	{.name = "futex-lock-pi", LEFT, .flags = STUCK_UNTOUCHED | STUCK_NO_TSAN, .summary = "FUTEX_LOCK_PI of a lock that another thread has", .nr = {SYS_futex},
	 .setup = pi_setup, .foreign = lock_pi_foreign, .own = lock_pi_own, .release = place_let_go},
	{0},
};
/* clang-format on */
