/* SPDX-License-Identifier: MIT
 *
 * The threads of a pool: started when a job is queued that no idle one will take, ended after some idle time. A thread whose job was
 * abandoned is not counted any more, another may take its place; should it come back, it ends.
 */
#ifndef UNSTICK_POOL_CREW_H
#define UNSTICK_POOL_CREW_H

#include "pool/pool.h"

#define CREW_NO_THREAD \
	"no thread could be started, and none runs: see RLIMIT_NPROC, pids.max, and whether there is memory for options.stack"

/* Under the lock: shall a thread be started for what is queued? It is counted then, and crew_start() is to be called without the lock. */
bool crew_wants_thread(struct unstick_pool *pool);
/* 0; -EAGAIN, -ENOMEM: none could be started, it is not counted any more. */
int crew_start(struct unstick_pool *pool);
/* No thread could be started: if none is left, all that is queued fails. */
void crew_fail_unserved(struct unstick_pool *pool, int error);
/* crew_start() for who has no caller to tell: then crew_fail_unserved(). */
void crew_start_or_fail(struct unstick_pool *pool);
/* A job was queued. */
void crew_ring(struct unstick_pool *pool);
/* Idle threads are to look whether the pool is closing. */
void crew_ring_all(struct unstick_pool *pool);

#endif
