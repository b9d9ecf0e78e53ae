/* SPDX-License-Identifier: MIT
 *
 * From a request to an operation.
 */
#ifndef UNSTICK_ENGINE_REQUEST_H
#define UNSTICK_ENGINE_REQUEST_H

#include "engine/engine.h"
#include "engine/op.h"

/* 0 or -EINVAL, -EOPNOTSUPP. */
int request_check(const struct unstick_request *request, bool has_handle);

/* Fills a new op but for its worker; with its call, if a thread is to make it. 0; -ENOMEM; -EBUSY: too many orphans; what
 * helper_call_begin() says. */
int request_fill(struct op *op, const struct unstick_request *request, struct unstick_engine *engine);

#endif
