/* SPDX-License-Identifier: MIT */
#include "failing_malloc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "fault.h"

static _Atomic bool watching;
static _Atomic long fail_at; /* the n-th call from now; 0: none; -1: all */
_Atomic long allocator_calls, allocator_live;

void allocator_watch(long fail)
{
	atomic_store(&allocator_calls, 0);
	atomic_store(&allocator_live, 0);
	atomic_store(&fail_at, fail);
	atomic_store(&watching, true);
}

void allocator_rest(void)
{
	atomic_store(&watching, false);
}

#if !FAULT_TSAN && !FAULT_ASAN

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static bool refused(void)
{
	if (!atomic_load(&watching))
		return false;
	long n = atomic_fetch_add(&allocator_calls, 1) + 1, at = atomic_load(&fail_at);
	if (n != at && at >= 0)
		return false;
	errno = ENOMEM;
	return true;
}

static void *counted(void *memory)
{
	if (memory != NULL && atomic_load(&watching))
		atomic_fetch_add(&allocator_live, 1);
	return memory;
}

void *malloc(size_t size)
{
	return refused() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
	return refused() ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *memory, size_t size)
{
	if (refused())
		return NULL;
	void *moved = __libc_realloc(memory, size);
	return memory == NULL ? counted(moved) : moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return refused() ? NULL : counted(__libc_memalign(alignment, size));
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	void *made = refused() ? NULL : counted(__libc_memalign(alignment, size));
	if (made == NULL)
		return ENOMEM;
	*memory = made;
	return 0;
}

void free(void *memory)
{
	if (memory != NULL && atomic_load(&watching))
		atomic_fetch_sub(&allocator_live, 1);
	__libc_free(memory);
}

void allocator_need(void)
{
}

#else

void allocator_need(void)
{
	fault_skip("the allocator is the sanitizer's");
}

#endif
