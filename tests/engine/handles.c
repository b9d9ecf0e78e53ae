/* SPDX-License-Identifier: MIT
 *
 * Handles of operations that have gone, while their slots are in use again: they must do nothing to who has the slot now. The main thread runs
 * operations that must not be cut short; two others use all handles that have gone, all the time. That slots do come again is seen by the halves
 * of the handles, one of which is the slot's.
 *
 * usage: engine_handles [--rounds N]      plain TAP
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unstick.h"

enum { GONE = 512, AT_ONCE = 4, MOST_LOOKS = 1000000 };

static _Atomic(struct unstick_op *) gone[GONE];
static uint32_t halves[GONE][2];
static _Atomic bool over;
static _Atomic unsigned long uses, wrong_answers;
static unsigned long reused, stored;

static void use_one(struct unstick_op *op)
{
	bool right = unstick_op_cancel(op) == 0 && unstick_op_result(op) == -ESTALE && unstick_op_wait(op, 0) == -ESTALE;
	unstick_op_unref(op);
	if (!right)
		atomic_fetch_add(&wrong_answers, 1);
	atomic_fetch_add_explicit(&uses, 1, memory_order_relaxed);
}

static void *use_all(void *unused)
{
	while (!atomic_load(&over))
		for (unsigned i = 0; i < GONE; i++) {
			struct unstick_op *op = atomic_load(&gone[i]);
			if (op)
				use_one(op);
		}
	return unused;
}

static void count_reuse(const struct unstick_op *op)
{
	uint32_t low = (uint32_t)(uintptr_t)op, high = (uint32_t)((uint64_t)(uintptr_t)op >> 32);
	for (unsigned i = 0; i < GONE && i < stored; i++)
		if ((halves[i][0] == low) != (halves[i][1] == high)) {
			reused++;
			return;
		}
}

/* Its last reference was given up; once nobody has one it may be used by all. */
static void store_gone(struct unstick_op *op)
{
	unsigned place = (unsigned)(stored % GONE);
	unsigned looks = 0;
	while (unstick_op_result(op) != -ESTALE && looks++ < MOST_LOOKS)
		sched_yield();
	if (looks > MOST_LOOKS)
		atomic_fetch_add(&wrong_answers, 1);
	halves[place][0] = (uint32_t)(uintptr_t)op;
	halves[place][1] = (uint32_t)((uint64_t)(uintptr_t)op >> 32);
	atomic_store(&gone[place], op);
	stored++;
}

static bool begin(struct unstick_engine *engine, int fd, char *byte, struct unstick_op **op)
{
	if (unstick_engine_submit(engine, &UNSTICK_READ(fd, byte, 1), op) != 0)
		return false;
	if (stored)
		count_reuse(*op);
	return true;
}

/* Reads that wait while the handles that have gone are used; then each must get its byte. */
static bool play_round(struct unstick_engine *engine, int fds[2])
{
	struct unstick_op *ops[AT_ONCE];
	char bytes[AT_ONCE];
	bool right = true;
	for (unsigned i = 0; i < AT_ONCE; i++)
		if (!begin(engine, fds[0], &bytes[i], &ops[i]))
			return false;
	for (unsigned i = 0; i < GONE && i < stored; i += 61)
		use_one(atomic_load(&gone[i]));
	for (unsigned i = 0; i < AT_ONCE; i++)
		right = right && unstick_op_result(ops[i]) == -EINPROGRESS;
	right = write(fds[1], "abcd", AT_ONCE) == AT_ONCE && right;
	for (unsigned i = 0; i < AT_ONCE; i++)
		right = unstick_op_wait(ops[i], UNSTICK_NEVER) == 0 && unstick_op_result(ops[i]) == 1 && right;
	for (unsigned i = 0; i < AT_ONCE; i++)
		unstick_op_unref(ops[i]);
	for (unsigned i = 0; i < AT_ONCE; i++)
		store_gone(ops[i]);
	return right;
}

int main(int argc, char **argv)
{
	unsigned long rounds = 20000, operations = 0, hit = 0;
	struct unstick_engine *engine;
	pthread_t threads[2];
	int fds[2];
	if (argc > 2 && !strcmp(argv[1], "--rounds"))
		rounds = strtoul(argv[2], NULL, 10);
	if (unstick_engine_new(&engine, NULL) != 0 || pipe(fds) != 0)
		return 2;
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, use_all, NULL) != 0)
			return 2;
	for (; operations < rounds && !wrong_answers; operations += AT_ONCE)
		hit += !play_round(engine, fds);
	atomic_store(&over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	int error = unstick_engine_close(engine, UNSTICK_NEVER, NULL);
	unstick_engine_free(engine);
	bool ok = !hit && !wrong_answers && !error && reused > operations / 4;
	printf("1..1\n%sok 1 - handles that have gone: %lu operations, %lu in a slot that was used before, %lu uses of old "
	       "handles, "
	       "%lu operations hit, %lu wrong answers\n",
	       ok ? "" : "not ", operations, reused, uses, hit, wrong_answers);
	return !ok;
}
