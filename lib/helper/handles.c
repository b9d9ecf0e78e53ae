/* SPDX-License-Identifier: MIT */
#include "helper/handles.h"

#include <stddef.h>

#include "unstick.h"

enum { SLOT_BITS = 14, GENERATION_MASK = 0xffff };

_Static_assert(1 << SLOT_BITS == HELPER_SLOTS, "a slot has its bits");
_Static_assert((uint64_t)UNSTICK_HANDLE_BASE + (GENERATION_MASK << SLOT_BITS | (HELPER_SLOTS - 1)) == INT32_MAX, "and all fit");

static struct handle handles[HELPER_SLOTS];
static uint32_t begun; /* those before it have been used */
static struct handle *first_free, **last_free = &first_free;

/* The one that has been free for longest: its number comes back latest. */
static struct handle *take_free(void)
{
	if (begun < HELPER_SLOTS)
		return &handles[begun++];
	struct handle *handle = first_free;
	if (!handle)
		return NULL;
	first_free = handle->next;
	if (!first_free)
		last_free = &first_free;
	return handle;
}

struct handle *handle_new(struct helper *helper)
{
	struct handle *handle = take_free();
	if (handle)
		*handle = (struct handle){.helper = helper, .generation = handle->generation, .state = HANDLE_OPENING};
	return handle;
}

void handle_free(struct handle *handle)
{
	handle->generation++;
	handle->state = HANDLE_FREE;
	handle->next = NULL;
	*last_free = handle;
	last_free = &handle->next;
}

uint32_t handle_slot(const struct handle *handle)
{
	return (uint32_t)(handle - handles);
}

int handle_number(const struct handle *handle)
{
	return (int)(UNSTICK_HANDLE_BASE + ((uint32_t)handle->generation << SLOT_BITS | handle_slot(handle)));
}

struct handle *handle_find(int number)
{
	uint32_t value = (uint32_t)(number - UNSTICK_HANDLE_BASE);
	struct handle *handle = &handles[value & (HELPER_SLOTS - 1)];
	bool is_it = number >= UNSTICK_HANDLE_BASE && handle->state == HANDLE_OPEN && handle->generation == value >> SLOT_BITS;
	return is_it ? handle : NULL;
}
