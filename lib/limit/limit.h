/* SPDX-License-Identifier: MIT */
#ifndef UNSTICK_LIMIT_LIMIT_H
#define UNSTICK_LIMIT_LIMIT_H

/* Registers this layer's sources with the monitor and its fork handlers; idempotent. Before anything else of the layer is used. */
void limit_initialise(void);

#endif
