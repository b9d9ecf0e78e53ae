/* SPDX-License-Identifier: MIT */
#include "engine/buffer.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { MAGIC = 0x62756673 };

struct unstick_buffer {
	_Atomic unsigned refs;
	unsigned magic;
	size_t size;
	_Alignas(max_align_t) char data[];
};

int unstick_buffer_new(struct unstick_buffer **ret, size_t size)
{
	if (!ret || size > PTRDIFF_MAX - sizeof(struct unstick_buffer))
		return -EINVAL;
	struct unstick_buffer *buffer = malloc(sizeof *buffer + size);
	if (!buffer)
		return -ENOMEM;
	atomic_init(&buffer->refs, 1);
	buffer->magic = MAGIC;
	buffer->size = size;
	*ret = buffer;
	return 0;
}

void *unstick_buffer_data(struct unstick_buffer *buffer)
{
	return buffer ? buffer->data : NULL;
}

bool buffer_is_one(const struct unstick_buffer *buffer)
{
	return buffer->magic == MAGIC;
}

size_t buffer_size(const struct unstick_buffer *buffer)
{
	return buffer->size;
}

struct unstick_buffer *buffer_ref(struct unstick_buffer *buffer)
{
	atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
	return buffer;
}

struct unstick_buffer *unstick_buffer_unref(struct unstick_buffer *buffer)
{
	if (buffer && atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel) == 1)
		free(buffer);
	return NULL;
}
