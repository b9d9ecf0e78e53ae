/* SPDX-License-Identifier: MIT
 *
 * From a request to an operation.
 */
#ifndef UNSTICK_ENGINE_REQUEST_H
#define UNSTICK_ENGINE_REQUEST_H

#include <limits.h>

#include "engine/engine.h"
#include "engine/op.h"

enum {
	REQUEST_SIMPLE = 1u << UNSTICK_OP_NOP | 1u << UNSTICK_OP_READ | 1u << UNSTICK_OP_WRITE | 1u << UNSTICK_OP_RECV |
	                 1u << UNSTICK_OP_SEND | 1u << UNSTICK_OP_RECVMSG | 1u << UNSTICK_OP_SENDMSG | 1u << UNSTICK_OP_ACCEPT |
	                 1u << UNSTICK_OP_POLL,
};

/* What most are: right, and neither a helper's, nor with a path, an address or iovecs. So the other questions need not be asked. */
static inline bool request_is_simple(const struct unstick_request *request)
{
	bool hinted = request->flags == UNSTICK_NETWORK || request->flags == UNSTICK_FILE;
	return request->size == sizeof *request && request->opcode < 32 && (1u << request->opcode & REQUEST_SIMPLE) &&
	       (hinted || !request->flags) && request->fd < UNSTICK_HANDLE_BASE && (request->buf || !request->len) &&
	       request->len <= SSIZE_MAX && request->offset >= -1;
}

/* 0 or -EINVAL, -EOPNOTSUPP; it is in the log why. */
int request_check_all(const struct unstick_request *request);
int request_refuse_unheard(const struct unstick_request *request);

static inline int request_check(const struct unstick_request *request, bool has_handle)
{
	int error = request_is_simple(request) ? 0 : request_check_all(request);
	return error || has_handle || request->done ? error : request_refuse_unheard(request);
}

/* Fills a new op but for its worker; with its call, if a thread is to make it. 0; -ENOMEM; -EBUSY: too many orphans; what
 * helper_call_begin() says. */
int request_fill(struct op *op, const struct unstick_request *request, struct unstick_engine *engine);

#endif
