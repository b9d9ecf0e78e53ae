/* SPDX-License-Identifier: MIT
 *
 * The tokens that have a deadline, as a binary heap of pointers, the earliest on top. token_lock is held for every function.
 * Only heap_set() allocates; removing, which a cancel does, never does.
 */
#ifndef UNSTICK_LIMIT_HEAP_H
#define UNSTICK_LIMIT_HEAP_H

#include "limit/token.h"

/* Inserts the token, or moves it, or removes it (UNSTICK_NEVER). 0 or -ENOMEM. */
int heap_set(struct unstick_token *token, unstick_time deadline);
void heap_remove(struct unstick_token *token);
/* The one with the earliest deadline, NULL when empty. */
struct unstick_token *heap_first(void);

#endif
