/* SPDX-License-Identifier: MIT
 *
 * The monitor's work for pools: what is cut short while it is queued never runs; what is cut short while it runs is watched until it comes
 * out, and abandoned if it does not: after 20 ms if two looks have found it in one and the same wait that no signal can end, else
 * after its grace. What it does not do: free threads (that is the wake layer's), or wait.
 */
#ifndef UNSTICK_POOL_WARDEN_H
#define UNSTICK_POOL_WARDEN_H

struct unstick_job;

/* Before the first pool: its source at the monitor, its fork handler. Idempotent. */
void warden_initialise(void);
/* The token's watch: its fn. */
void warden_on_fired(void *job, int error);
/* The job has ended: it is looked at no more. */
void warden_forget(struct unstick_job *job);

#endif
