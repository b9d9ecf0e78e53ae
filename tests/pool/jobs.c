/* SPDX-License-Identifier: MIT */
#include "jobs.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

pthread_mutex_t jobs_mutex = PTHREAD_MUTEX_INITIALIZER;

struct unstick_pool *open_pool(unsigned threads, int64_t grace_ns)
{
	const struct unstick_pool_options options = {.size = sizeof options,
	                                             .threads = threads,
	                                             .queue = 4096,
	                                             .abandoned = 4096,
	                                             .stack = FAULT_TSAN || FAULT_ASAN ? 0 : 65536,
	                                             .grace_ns = grace_ns};
	struct unstick_pool *pool = NULL;
	CHECK(unstick_pool_new(&pool, &options) == 0, "unstick_pool_new");
	return pool;
}

struct unstick_job *start(struct unstick_pool *pool, struct unstick_job_options options)
{
	struct unstick_job *job = NULL;
	options.size = sizeof options;
	int error = unstick_job_start(pool, &options, &job);
	CHECK(error == 0, "unstick_job_start: %d", error);
	return job;
}

static void *lock_mutex(void *tid)
{
	atomic_store((_Atomic pid_t *)tid, (pid_t)syscall(SYS_gettid));
	pthread_mutex_lock(&jobs_mutex);
	pthread_mutex_unlock(&jobs_mutex);
	return NULL;
}

struct unstick_job *start_in_mutex(struct unstick_pool *pool, const char *name)
{
	static _Atomic pid_t tid;
	atomic_store(&tid, 0);
	struct unstick_job *job = start(pool, (struct unstick_job_options){.name = name, .run = lock_mutex, .arg = &tid});
	WAIT_UNTIL(tid != 0 && proc_in_call(0, tid, SYS_futex));
	return job;
}

void close_after(struct unstick_pool *pool, struct unstick_job *job)
{
	CHECK(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0, "close");
	unstick_job_unref(job);
	CHECK(unstick_pool_free(pool) == NULL, "free");
}
