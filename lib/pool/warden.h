/* SPDX-License-Identifier: MIT
 *
 * The monitor's work for pools: what is cut short while it is queued never runs; what is cut short while it runs is watched until it comes
 * out, and abandoned if it does not: once two looks, 10 ms apart, have found it in one and the same wait that no signal can end, at the
 * latest when its grace is over. What it does not do: free threads (that is the wake layer's), or wait.
 */
#ifndef UNSTICK_POOL_WARDEN_H
#define UNSTICK_POOL_WARDEN_H

struct unstick_job;

/* Before the first pool: its source at the monitor, its fork handler. Idempotent. */
void warden_initialise(void);
/* The token's watch: its fn. */
void warden_on_fired(void *job, int error);
/* It is to be cancelled, by the monitor: who closes the pool has no time left for it. */
void warden_cut(struct unstick_job *job);
/* The job has ended: it is looked at no more. */
void warden_forget(struct unstick_job *job);

#endif
