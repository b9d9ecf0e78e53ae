/* SPDX-License-Identifier: MIT
 *
 * Watches: functions to call once a token has fired. They run on the monitor, never on the thread that fires, which may be a signal
 * handler. A watch is on its token's list, then on the queue of those to run, then running, then done; all moves under token_lock.
 */
#ifndef UNSTICK_LIMIT_WATCH_H
#define UNSTICK_LIMIT_WATCH_H

#include "limit/alarm.h"
#include "limit/token.h"

/* Moves all of the token's watches to the queue. token_lock is held. Returns whether there were any. Async-signal-safe. */
bool watch_queue_all(struct unstick_token *token);

/* In a forked child: none of the token's watches will run. token_lock is held. */
void watch_drop_all(struct unstick_token *token);
void watch_after_fork_child(void);

/* alarm source: runs what is queued. */
alarm_scan watch_scan;

#endif
