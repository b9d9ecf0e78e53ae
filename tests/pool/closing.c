/* SPDX-License-Identifier: MIT
 *
 * Closing a pool of many jobs: its time is kept, though a cancel of each takes longer; all are cut all the same, once each, and what was
 * queued never runs. Times are compared with each other only.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "jobs.h"

enum { MANY = FAULT_TSAN || FAULT_ASAN ? 200 : 1000, TRIES = 5, FEW = 64, ROUNDS = 50 };

static int pipe_fds[2];
static _Atomic unsigned reading;
static struct unstick_job *jobs[MANY];

static void *read_pipe(void *unused)
{
	char byte;
	(void)unused;
	atomic_fetch_add(&reading, 1);
	return (void *)(intptr_t)read(pipe_fds[0], &byte, 1);
}

static struct unstick_pool *start_many(struct unstick_token *token, unsigned count)
{
	struct unstick_pool *pool = open_pool(count, NO_END);
	atomic_store(&reading, 0);
	for (unsigned i = 0; i < count; i++)
		jobs[i] = start(pool, (struct unstick_job_options){.name = "many", .run = read_pipe, .token = token});
	WAIT_UNTIL(reading == count);
	return pool;
}

static void end_many(struct unstick_pool *pool, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		int end = unstick_job_join(jobs[i], UNSTICK_NEVER, NULL);
		CHECK(end == -ECANCELED, "join: %d", end);
		WAIT_UNTIL(unstick_job_state(jobs[i]) ==
		           UNSTICK_JOB_CANCELLED); /* abandoned, it comes out: its token is cut, too */
		unstick_job_unref(jobs[i]);
	}
	CHECK(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0, "close");
	CHECK(unstick_pool_free(pool) == NULL, "free");
}

/* So many cancels take their time, and a close whose time is over does not. */
static void close_in_no_time(struct unstick_token *token)
{
	unstick_time cancels = 0, close = UNSTICK_NEVER;
	for (int i = 0; i < TRIES && close >= cancels / 2; i++) {
		struct unstick_pool *pool = start_many(token, MANY);
		unstick_time begun = unstick_now();
		for (unsigned k = 0; k < MANY; k++)
			CHECK(unstick_job_cancel(jobs[k]) == 0, "cancel");
		cancels = unstick_now() - begun;
		end_many(pool, MANY);
		pool = start_many(token, MANY);
		begun = unstick_now();
		int end = unstick_pool_close(pool, begun, NULL);
		close = unstick_now() - begun;
		CHECK(end == -EBUSY || end == 0, "close: %d", end); /* 0: held up meanwhile, and the monitor was faster */
		fault_note("%d cancels: %.1f ms, a close at once: %.1f ms", MANY, (double)cancels / 1e6, (double)close / 1e6);
		end_many(pool, MANY);
	}
	/* Under a sanitizer a look at a job takes as long as a cancel. */
	CHECK(FAULT_TSAN || FAULT_ASAN || close < cancels / 2, "the close took as long");
}

static void no_time_for_many(void)
{
	struct unstick_token *token = NULL;
	CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0 && unstick_token_new(&token, NULL) == 0, "pipe, token");
	close_in_no_time(token);
	close_in_no_time(NULL);
	CHECK(unstick_token_error(token) == 0, "the caller's token");
	unstick_token_unref(token);
}

static _Atomic unsigned runs;

static void *count_run(void *unused)
{
	atomic_fetch_add(&runs, 1);
	return unused;
}

/* More than a close ends without a look at the time; on the pool's token and on another. */
static void queued_are_ended(void)
{
	struct unstick_token *token = NULL;
	CHECK(unstick_token_new(&token, NULL) == 0, "unstick_token_new");
	pthread_mutex_lock(&jobs_mutex);
	struct unstick_pool *pool = open_pool(1, NO_END);
	struct unstick_job *first = start_in_mutex(pool, "lock");
	for (unsigned i = 0; i < MANY; i++)
		jobs[i] = start(pool, (struct unstick_job_options){.run = count_run, .token = i % 2 ? token : NULL});
	CHECK(unstick_pool_close(pool, 0, NULL) == -EBUSY, "close");
	pthread_mutex_unlock(&jobs_mutex);
	end_many(pool, MANY);
	CHECK(runs == 0, "%u have run", runs);
	unstick_job_unref(first);
	unstick_token_unref(token);
}

static void *cancel_backwards(void *unused)
{
	for (unsigned i = FEW; i-- > 0;)
		CHECK(unstick_job_cancel(jobs[i]) == 0, "cancel");
	return unused;
}

/* The monitor is given what the close has not cut, and what its caller cuts at that moment. Each comes out, and is counted once. */
static void cut_from_both_ends(void)
{
	struct unstick_token *token = NULL;
	CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0 && unstick_token_new(&token, NULL) == 0, "pipe, token");
	for (int round = 0; round < ROUNDS; round++) {
		pthread_t thread;
		struct unstick_pool_counts counts;
		struct unstick_pool *pool = start_many(token, FEW);
		CHECK(pthread_create(&thread, NULL, cancel_backwards, NULL) == 0, "pthread_create");
		int end = unstick_pool_close(pool, unstick_after_ns(round * 20000), NULL);
		CHECK(end == -EBUSY || end == 0, "close: %d", end);
		pthread_join(thread, NULL);
		for (unsigned i = 0; i < FEW; i++)
			WAIT_UNTIL(unstick_job_state(jobs[i]) == UNSTICK_JOB_CANCELLED);
		CHECK(unstick_pool_stats(pool, &counts) == 0 && counts.cancelled == FEW &&
		              counts.came_back == counts.abandoned_ever,
		      "%lu cancelled, %lu of %lu came back", (unsigned long)counts.cancelled, (unsigned long)counts.came_back,
		      (unsigned long)counts.abandoned_ever);
		end_many(pool, FEW);
	}
	unstick_token_unref(token);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "a close whose time is over does not cancel a thousand jobs first; they are cut all the same",
	         no_time_for_many},
	        {2, "jobs that are cut by their caller and by a close at the same time: one end each", cut_from_both_ends},
	        {3, "more queued jobs than a close has time for end all the same, and never run", queued_are_ended},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
