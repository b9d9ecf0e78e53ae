/* SPDX-License-Identifier: MIT
 *
 * Group "lock": what libc builds on futexes. It swallows EINTR and aborts on anything else, so these threads are left alone.
 * Each says in its result whether the lock was really its own: `flag` is true while the helper holds it, and -EPROTO is
 * "returned without the lock".
 */
#include <sys/syscall.h>

#include "place.h"

static void mutex_take(struct place *p)
{
	pthread_mutex_lock(&p->mutex);
	p->flag = true;
}

static void mutex_drop(struct place *p)
{
	p->flag = false;
	pthread_mutex_unlock(&p->mutex);
}

static int mutex_setup(struct place *p)
{
	pthread_mutex_init(&p->mutex, NULL);
	return place_helper(p, mutex_take, mutex_drop);
}

static int mutex_pi_setup(struct place *p)
{
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	int r = pthread_mutex_init(&p->mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	return r ? place_refuse(p, "no priority inheritance") : place_helper(p, mutex_take, mutex_drop);
}

/* Called with the lock, if all is well. */
static long mutex_owned(struct place *p, int r)
{
	if (r)
		return -r;
	long result = p->flag || pthread_mutex_trylock(&p->mutex) != EBUSY ? -EPROTO : 0;
	pthread_mutex_unlock(&p->mutex);
	return result;
}

static long mutex_foreign(struct place *p)
{
	return mutex_owned(p, pthread_mutex_lock(&p->mutex));
}

static long mutex_timed_foreign(struct place *p)
{
	struct timespec when = long_after(CLOCK_REALTIME);
	return mutex_owned(p, pthread_mutex_timedlock(&p->mutex, &when));
}

static int cond_setup(struct place *p)
{
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->cond, NULL);
	return 0;
}

static long cond_foreign(struct place *p)
{
	int r = pthread_mutex_lock(&p->mutex);
	while (!r && !p->flag)
		r = pthread_cond_wait(&p->cond, &p->mutex);
	pthread_mutex_unlock(&p->mutex);
	return -r;
}

static long cond_timed_foreign(struct place *p)
{
	struct timespec when = long_after(CLOCK_REALTIME);
	int r = pthread_mutex_lock(&p->mutex);
	while (!r && !p->flag)
		r = pthread_cond_timedwait(&p->cond, &p->mutex, &when);
	pthread_mutex_unlock(&p->mutex);
	return -r;
}

static int cond_release(struct place *p)
{
	pthread_mutex_lock(&p->mutex);
	p->flag = true;
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->mutex);
	return 0;
}

static void nothing(struct place *p)
{
	(void)p;
}

static int join_setup(struct place *p)
{
	return place_helper(p, nothing, nothing);
}

static long join_foreign(struct place *p)
{
	int r = pthread_join(p->helper, NULL);
	if (!r)
		p->has_helper = false;
	return -r;
}

static void rwlock_take(struct place *p)
{
	pthread_rwlock_wrlock(&p->rwlock);
	p->flag = true;
}

static void rwlock_drop(struct place *p)
{
	p->flag = false;
	pthread_rwlock_unlock(&p->rwlock);
}

static int rwlock_setup(struct place *p)
{
	pthread_rwlock_init(&p->rwlock, NULL);
	return place_helper(p, rwlock_take, rwlock_drop);
}

static long rwlock_owned(struct place *p, int r)
{
	if (r)
		return -r;
	long result = p->flag ? -EPROTO : 0;
	pthread_rwlock_unlock(&p->rwlock);
	return result;
}

static long rwlock_read_foreign(struct place *p)
{
	return rwlock_owned(p, pthread_rwlock_rdlock(&p->rwlock));
}

static long rwlock_write_foreign(struct place *p)
{
	return rwlock_owned(p, pthread_rwlock_wrlock(&p->rwlock));
}

static int barrier_setup(struct place *p)
{
	return -pthread_barrier_init(&p->barrier, NULL, 2);
}

/* One of the two gets PTHREAD_BARRIER_SERIAL_THREAD (-1), whichever. */
static int barrier_pass(struct place *p)
{
	int r = pthread_barrier_wait(&p->barrier);
	return r == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : -r;
}

static long barrier_foreign(struct place *p)
{
	return barrier_pass(p);
}

/* pthread_once() passes no argument: one situation of this kind a process. */
static struct place *once_place;

static void once_routine(void)
{
	sem_post(&once_place->ready);
	while (sem_wait(&once_place->go))
		;
	once_place->flag = true;
}

static void *once_run(void *arg)
{
	struct place *p = arg;
	pthread_once(&p->once, once_routine);
	return NULL;
}

static int once_setup(struct place *p)
{
	once_place = p;
	int r = pthread_create(&p->helper, NULL, once_run, p);
	if (r)
		return -r;
	p->has_helper = true;
	while (sem_wait(&p->ready))
		;
	return 0;
}

static long once_foreign(struct place *p)
{
	int r = pthread_once(&p->once, once_routine);
	if (r)
		return -r;
	return p->flag ? 0 : -EPROTO;
}

static int sem_setup(struct place *p)
{
	return sem_init(&p->sem, 0, 0) ? -errno : 0;
}

static long sem_foreign(struct place *p)
{
	return or_errno(sem_wait(&p->sem));
}

static long sem_timed_foreign(struct place *p)
{
	struct timespec when = long_after(CLOCK_REALTIME);
	return or_errno(sem_timedwait(&p->sem, &when));
}

static int sem_release(struct place *p)
{
	return sem_post(&p->sem) ? -errno : 0;
}

#define LEFT .group = "lock", .nr = {SYS_futex}, .cut = STUCK_CUT_NEVER, .kind = {UNSTICK_LOCK}
#define SWALLOWS .flags = STUCK_UNTOUCHED | STUCK_NO_RETRY

/* clang-format off */
const struct situation situations_lock[] = {
	{.name = "mutex", LEFT, SWALLOWS, .summary = "pthread_mutex_lock of a mutex that another thread has",
	 .setup = mutex_setup, .foreign = mutex_foreign, .release = place_let_go},
	{.name = "mutex-timed", LEFT, SWALLOWS, .summary = "pthread_mutex_timedlock of the same",
	 .setup = mutex_setup, .foreign = mutex_timed_foreign, .release = place_let_go},
	{.name = "mutex-pi", LEFT, SWALLOWS, .summary = "pthread_mutex_lock of a mutex with priority inheritance",
	 .setup = mutex_pi_setup, .foreign = mutex_foreign, .release = place_let_go},
	{.name = "cond", LEFT, SWALLOWS, .summary = "pthread_cond_wait that nobody signals",
	 .setup = cond_setup, .foreign = cond_foreign, .release = cond_release},
	{.name = "cond-timed", LEFT, SWALLOWS, .summary = "pthread_cond_timedwait that nobody signals",
	 .setup = cond_setup, .foreign = cond_timed_foreign, .release = cond_release},
	{.name = "join", LEFT, SWALLOWS, .summary = "pthread_join of a thread that lives",
	 .setup = join_setup, .foreign = join_foreign, .release = place_let_go},
	{.name = "rwlock-read", LEFT, SWALLOWS, .summary = "pthread_rwlock_rdlock of a lock that a writer has",
	 .setup = rwlock_setup, .foreign = rwlock_read_foreign, .release = place_let_go},
	{.name = "rwlock-write", LEFT, SWALLOWS, .summary = "pthread_rwlock_wrlock of the same",
	 .setup = rwlock_setup, .foreign = rwlock_write_foreign, .release = place_let_go},
	{.name = "barrier", LEFT, SWALLOWS, .summary = "pthread_barrier_wait for one who does not come",
	 .setup = barrier_setup, .foreign = barrier_foreign, .release = barrier_pass},
	{.name = "once", LEFT, SWALLOWS, .summary = "pthread_once while another thread is in the routine (one a process)",
	 .setup = once_setup, .foreign = once_foreign, .release = place_let_go},
	{.name = "sem", LEFT, .flags = STUCK_UNTOUCHED, .summary = "sem_wait of a semaphore of value 0",
	 .setup = sem_setup, .foreign = sem_foreign, .release = sem_release},
	{.name = "sem-timed", LEFT, .flags = STUCK_UNTOUCHED, .summary = "sem_timedwait of the same",
	 .setup = sem_setup, .foreign = sem_timed_foreign, .release = sem_release},
	{0},
};
/* clang-format on */
