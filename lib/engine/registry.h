/* SPDX-License-Identifier: MIT */
#ifndef UNSTICK_ENGINE_REGISTRY_H
#define UNSTICK_ENGINE_REGISTRY_H

#include "engine/engine.h"

/* Registers the fork handlers; idempotent. Before the first engine. */
void registry_start(void);
void registry_add(struct unstick_engine *engine);
void registry_remove(struct unstick_engine *engine);
/* Closes the back ends of all its workers, which have ended; not during a fork. */
void registry_close_workers(struct unstick_engine *engine);

#endif
