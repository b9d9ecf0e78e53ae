/* SPDX-License-Identifier: MIT
 *
 * Memory with a reference count, for file operations that may be left behind.
 */
#ifndef UNSTICK_ENGINE_BUFFER_H
#define UNSTICK_ENGINE_BUFFER_H

#include <stdbool.h>

#include "unstick.h"

struct unstick_buffer *buffer_ref(struct unstick_buffer *buffer);
/* Is it one? A pointer to its data is not. */
bool buffer_is_one(const struct unstick_buffer *buffer);
size_t buffer_size(const struct unstick_buffer *buffer);

#endif
