/* SPDX-License-Identifier: MIT
 *
 * What a job costs that does nothing: started by one thread, run by another, joined. Beside it what a program would do without a pool: a
 * thread for each, or a hand-over to a thread that waits.
 */
#include "harness.h"
#include "os.h"

#include <unstick.h>

#include <pthread.h>
#include <stdlib.h>

enum { BATCH = 32 };

struct hand {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned given, done;
	bool ends;
};

struct works {
	const char *name;
	void (*run)(struct works *works); /* BATCH of them */
	struct unstick_pool *pool;
	pthread_t thread;
	struct hand hand;
};

static void *nothing(void *arg)
{
	return arg;
}

static void threads_one_by_one(struct works *works)
{
	for (unsigned i = 0; i < BATCH; i++) {
		pthread_t thread;
		int error = pthread_create(&thread, NULL, nothing, works);
		if (error)
			die_errno("pthread_create", error);
		pthread_join(thread, NULL);
	}
}

static void *serve(void *arg)
{
	struct hand *hand = arg;
	pthread_mutex_lock(&hand->mutex);
	while (!hand->ends) {
		if (hand->done == hand->given) {
			pthread_cond_wait(&hand->changed, &hand->mutex);
			continue;
		}
		hand->done++;
		pthread_cond_broadcast(&hand->changed);
	}
	pthread_mutex_unlock(&hand->mutex);
	return NULL;
}

static void hand_overs(struct works *works)
{
	struct hand *hand = &works->hand;
	for (unsigned i = 0; i < BATCH; i++) {
		pthread_mutex_lock(&hand->mutex);
		hand->given++;
		pthread_cond_broadcast(&hand->changed);
		while (hand->done != hand->given)
			pthread_cond_wait(&hand->changed, &hand->mutex);
		pthread_mutex_unlock(&hand->mutex);
	}
}

static struct unstick_job *start(struct works *works, unstick_time deadline)
{
	struct unstick_job *job;
	const struct unstick_job_options options = {.size = sizeof options, .run = nothing, .deadline = deadline};
	int error = unstick_job_start(works->pool, &options, &job);
	if (error)
		die_errno("unstick_job_start", -error);
	return job;
}

static void join(struct unstick_job *job)
{
	int error = unstick_job_join(job, UNSTICK_NEVER, NULL);
	if (error)
		die_errno("unstick_job_join", -error);
	unstick_job_unref(job);
}

static void jobs_one_by_one(struct works *works)
{
	for (unsigned i = 0; i < BATCH; i++)
		join(start(works, 0));
}

static void jobs_with_deadlines(struct works *works)
{
	unstick_time far = unstick_after_ms(3600000);
	for (unsigned i = 0; i < BATCH; i++)
		join(start(works, far));
}

static void jobs_together(struct works *works)
{
	struct unstick_job *jobs[BATCH];
	for (unsigned i = 0; i < BATCH; i++)
		jobs[i] = start(works, 0);
	for (unsigned i = 0; i < BATCH; i++)
		join(jobs[i]);
}

struct way {
	void (*run)(struct works *works);
};

static void *works_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	(void)config;
	struct works *works = os_alloc(1, sizeof *works);
	const struct unstick_pool_options options = {.size = sizeof options, .threads = 1};
	works->name = bench_case->name;
	works->run = ((const struct way *)bench_case->spec)->run;
	pthread_mutex_init(&works->hand.mutex, NULL);
	pthread_cond_init(&works->hand.changed, NULL);
	int error = unstick_pool_new(&works->pool, &options);
	if (error)
		die_errno("unstick_pool_new", -error);
	error = pthread_create(&works->thread, NULL, serve, &works->hand);
	if (error)
		die_errno("pthread_create", error);
	return works;
}

static void works_block_run(void *instance, unsigned count, struct samples *samples)
{
	struct works *works = instance;
	works->run(works); /* its thread is awake, and the memory there */
	for (unsigned i = 0; i < count; i++) {
		int64_t start_ns = os_now();
		works->run(works);
		samples_add(samples, (double)(os_now() - start_ns) / BATCH);
	}
}

static void works_close(void *instance)
{
	struct works *works = instance;
	pthread_mutex_lock(&works->hand.mutex);
	works->hand.ends = true;
	pthread_cond_broadcast(&works->hand.changed);
	pthread_mutex_unlock(&works->hand.mutex);
	pthread_join(works->thread, NULL);
	int error = unstick_pool_close(works->pool, UNSTICK_NEVER, NULL);
	if (error)
		die_errno("unstick_pool_close", -error);
	unstick_pool_free(works->pool);
	free(works);
}

static const struct bench_case cases[] = {
        {.name = "pthread_create + join", .spec = &(const struct way){threads_one_by_one}},
        {.name = "hand-over, mutex and condition", .spec = &(const struct way){hand_overs}},
        {.name = "job, start + join", .bound = 1.0, .spec = &(const struct way){jobs_one_by_one}},
        {.name = "the same with a deadline", .bound = 1.0, .spec = &(const struct way){jobs_with_deadlines}},
        {.name = "32 jobs started, then joined", .bound = 1.0, .spec = &(const struct way){jobs_together}},
};

const struct benchmark bench_pool = {
        .name = "pool",
        .summary = "a job that does nothing, until it is joined",
        .hypothesis = "a job costs less than a thread of its own, and not much more than a bare hand-over",
        .sample = "one job, mean of 32",
        .cases = cases,
        .case_count = sizeof(cases) / sizeof(cases[0]),
        .rounds = 100,
        .block = 4,
        .quick_rounds = 5,
        .quick_block = 1,
        .open = works_open,
        .block_run = works_block_run,
        .close = works_close,
};
