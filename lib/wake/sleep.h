/* SPDX-License-Identifier: MIT */
#ifndef UNSTICK_WAKE_SLEEP_H
#define UNSTICK_WAKE_SLEEP_H

#include <stdatomic.h>
#include <stdint.h>

#include "unstick.h"

/* Sleeps while *word == seen, at most until `until`: itself an own call. -ECANCELED or -ETIMEDOUT when a scope of the calling
 * thread cuts it short; else 0, perhaps for no reason: look at the word and the time again. */
int sleep_on(_Atomic uint32_t *word, uint32_t seen, unstick_time until);

#endif
