/* SPDX-License-Identifier: MIT
 *
 * Which operations are made by a helper process (lib/helper), and their calls.
 */
#ifndef UNSTICK_ENGINE_ISOLATE_H
#define UNSTICK_ENGINE_ISOLATE_H

#include <stdbool.h>

#include "engine/op.h"

struct offload_call;

/* openat, statx, unlinkat, renameat. */
bool request_has_path(const struct unstick_request *request);
bool isolate_can(unsigned opcode);
/* Does it name a handle of a helper? */
bool isolate_has_handle(const struct unstick_request *request);
/* `by_path`: also if its path lies on a mount that may hang. */
bool isolate_wants(const struct unstick_request *request, bool by_path);
/* In the submitting thread, whose rights it will have. 0; -ENOMEM; errors of helper_call_begin(). */
int isolate_call_new(struct op *op, const struct unstick_request *request, struct offload_call **ret);

#endif
