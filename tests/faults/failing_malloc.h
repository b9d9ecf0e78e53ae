/* SPDX-License-Identifier: MIT
 *
 * A malloc(3) in front of the C library's, for programs that are linked with it: it counts, and fails what it is told to.
 */
#ifndef TESTS_FAULTS_FAILING_MALLOC_H
#define TESTS_FAULTS_FAILING_MALLOC_H

#include <stdatomic.h>

/* From here on: calls are counted, and what is allocated and not freed. The n-th call fails; 0: none; -1: all. */
void allocator_watch(long fail);
void allocator_rest(void);
extern _Atomic long allocator_calls, allocator_live;

/* Skips the case where the allocator is a sanitizer's. */
void allocator_need(void);

#endif
