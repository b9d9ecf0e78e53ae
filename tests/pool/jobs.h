/* SPDX-License-Identifier: MIT
 *
 * For the programs of this directory that have jobs in the way: pools, and jobs that sleep in a lock until the test unlocks it.
 */
#ifndef TESTS_POOL_JOBS_H
#define TESTS_POOL_JOBS_H

#include <pthread.h>
#include <stdint.h>

#include "../faults/fault.h"
#include "unstick.h"

#define NO_END ((int64_t)1000 * 1000000000) /* of a grace: longer than the watchdog */

extern pthread_mutex_t jobs_mutex;

/* Takes as many jobs as a test may want; small stacks. */
struct unstick_pool *open_pool(unsigned threads, int64_t grace_ns);
struct unstick_job *start(struct unstick_pool *pool, struct unstick_job_options options);
/* Returns once it sleeps in jobs_mutex, which the test holds. */
struct unstick_job *start_in_mutex(struct unstick_pool *pool, const char *name);
/* Waits for all its jobs; `job` (may be NULL) is given back. */
void close_after(struct unstick_pool *pool, struct unstick_job *job);

#endif
