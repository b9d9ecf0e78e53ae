/* SPDX-License-Identifier: MIT
 *
 * The memory of operations: handles of what has gone reach nothing, nothing is given out twice, what was given back is used again. And the queue
 * of a worker's own submissions, of which an operation may at the same time be in the inbox.
 * Without helpers.h: its `struct worker` is not the engine's.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/op.h"

enum { MANY = 40 * OP_CHUNK, /* all of some chunks: that one is missing shows */ CACHE_MOST = 1024 };

static struct op *ops[MANY];
static unsigned char seen[2 * MANY];

/* Takes `count`, each another one, with handles that lead to them. */
static void take(struct op_cache *cache, unsigned count)
{
	memset(seen, 0, sizeof seen);
	for (unsigned i = 0; i < count; i++) {
		ops[i] = op_new(cache, 1);
		cr_assert_not_null(ops[i]);
		cr_assert_lt(ops[i]->slot, sizeof seen, "grows for ever");
		cr_assert_eq(seen[ops[i]->slot]++, 0, "slot %u was given out twice", ops[i]->slot);
		cr_assert_eq(op_at(ops[i]->slot), ops[i]);
		cr_assert_eq(op_from_handle(op_handle(ops[i])), ops[i]);
		op_drop(cache, ops[i]); /* the reference just made */
	}
}

static void drop(struct op_cache *cache, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		op_drop(cache, ops[i]);
}

static unsigned count_chunks(void)
{
	unsigned count = 0;
	while (op_chunks[count])
		count++;
	return count;
}

static uint64_t references_of(const struct op *op)
{
	return atomic_load(&op->life) & OP_REFS_MASK;
}

/* ---- handles */

static void assert_gone(struct unstick_op *handle)
{
	cr_assert_null(op_from_handle(handle));
	cr_assert_null(op_from_handle(handle));
	cr_assert_eq(unstick_op_result(handle), -ESTALE);
	cr_assert_eq(unstick_op_wait(handle, UNSTICK_NEVER), -ESTALE);
	cr_assert_eq(unstick_op_cancel(handle), 0);
	cr_assert_eq(unstick_op_ref(handle), handle);
	cr_assert_null(unstick_op_unref(handle));
}

Test(op, a_handle_leads_to_its_operation_until_the_last_reference_goes)
{
	struct op *op = op_new(NULL, 2);
	struct unstick_op *handle = op_handle(op);
	cr_assert_eq(op_from_handle(handle), op);
	cr_assert_eq(unstick_op_ref(handle), handle);
	cr_assert_eq(references_of(op), 4);
	for (int i = 0; i < 3; i++) {
		op_drop(NULL, op);
		cr_assert_eq(op_handle(op), handle);
		cr_assert_eq(unstick_op_result(handle), -EINPROGRESS);
	}
	cr_assert_null(unstick_op_unref(handle));
	assert_gone(handle);
}

Test(op, a_stale_handle_does_nothing_to_who_has_its_slot)
{
	struct op *op = op_new(NULL, 1);
	struct unstick_op *old = op_handle(op);
	op_drop(NULL, op);
	for (int i = 0; i < 1000; i++) {
		struct op *next = op_new(NULL, 1);
		cr_assert_eq(next, op, "the last one given back is the first one taken");
		cr_assert_neq(op_handle(next), old);
		assert_gone(old);
		cr_assert_eq(references_of(next), 1);
		cr_assert_eq(atomic_load(&next->notes), 0);
		old = op_handle(next);
		op_drop(NULL, next);
	}
}

Test(op, what_is_its_workers_alone_has_no_other_references)
{
	struct op *op = op_new(NULL, 1);
	struct unstick_op *handle = op_handle(op);
	op_make_sole(op);
	cr_assert_eq(op_handle(op), handle);
	cr_assert_null(op_from_handle(handle));
	unstick_op_unref(handle);
	unstick_op_ref(handle); /* not its worker */
	cr_assert_eq(unstick_op_cancel(handle), 0);
	cr_assert(op_is_sole(op) && references_of(op) == (OP_SOLE | 1));
	cr_assert_eq(unstick_op_result(handle), -EINPROGRESS);
	op_share(op);
	cr_assert_eq(op_from_handle(handle), op);
	op_drop(NULL, op);
	op_drop(NULL, op);
	assert_gone(handle);
	op = op_new(NULL, 1);
	handle = op_handle(op);
	op_make_sole(op);
	op_drop(NULL, op);
	assert_gone(handle);
	cr_assert(references_of(op) == 0 && !op_is_sole(op));
}

/* Who gives back too often must not make one operation free twice. */
Test(op, a_reference_too_much_given_back_does_nothing)
{
	struct op *op = op_new(NULL, 1);
	struct unstick_op *handle = op_handle(op);
	op_drop(NULL, op);
	op_drop(NULL, op);
	unstick_op_unref(handle);
	cr_assert_eq(references_of(op), 0);
	assert_gone(handle);
	cr_assert_neq(op_new(NULL, 1), op_new(NULL, 1));
}

Test(op, generations_begin_anew_after_the_last)
{
	struct op *op = op_new(NULL, 1);
	atomic_store(&op->life, (uint64_t)UINT32_MAX << 32 | 1);
	struct unstick_op *last = op_handle(op);
	cr_assert_eq(op_from_handle(last), op);
	op_drop(NULL, op);
	op_drop(NULL, op);
	assert_gone(last);
	cr_assert_eq(op_new(NULL, 1), op);
	cr_assert_not_null(op_handle(op), "of the first slot, too, it is no NULL");
	assert_gone(last);
	cr_assert_eq(op_from_handle(op_handle(op)), op);
}

Test(op, handles_that_never_were)
{
	static const uint64_t values[] = {0, UINT32_MAX, OP_CHUNK * OP_MAX_CHUNKS + 1, (uint64_t)1 << 32,
	                                  ((uint64_t)7 << 32) | 100};
	op_drop(NULL, op_new(NULL, 1));
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct unstick_op *handle = (struct unstick_op *)(uintptr_t)values[i];
		cr_assert_null(op_from_handle(handle), "%zu", i);
		cr_assert_eq(unstick_op_wait(handle, 0), handle ? -ESTALE : -EINVAL);
		cr_assert_eq(unstick_op_result(handle), handle ? -ESTALE : -EINVAL);
		cr_assert_eq(unstick_op_cancel(handle), handle ? 0 : -EINVAL);
		cr_assert_null(unstick_op_unref(handle));
	}
}

Test(op, what_is_taken_again_is_as_new)
{
	struct op *op = op_new(NULL, 1);
	op->reason = -ECANCELED;
	op->phase = OP_ENDED;
	op->deadline = 5;
	op_set_result_and_done(op, 7);
	cr_assert_eq(unstick_op_result(op_handle(op)), 7);
	op_drop(NULL, op);
	cr_assert_eq(op_new(NULL, 1), op);
	cr_assert(op->reason == 0 && op->phase == OP_NEW && op->deadline == 0 && !op->link.next);
	cr_assert_eq(unstick_op_result(op_handle(op)), -EINPROGRESS);
}

/* ---- memory */

Test(op, many_over_many_chunks_and_again)
{
	take(NULL, MANY);
	cr_assert_eq(count_chunks(), (MANY + OP_CHUNK - 1) / OP_CHUNK);
	drop(NULL, MANY);
	take(NULL, MANY);
	cr_assert_eq(count_chunks(), (MANY + OP_CHUNK - 1) / OP_CHUNK, "what was given back was not used");
}

Test(op, a_cache_gives_the_rest_to_all)
{
	struct op_cache cache = {0};
	take(NULL, MANY);
	unsigned chunks = count_chunks();
	for (unsigned i = 0; i < MANY; i++) {
		op_drop(&cache, ops[i]);
		cr_assert_leq(cache.count, CACHE_MOST);
	}
	unsigned kept = cache.count;
	cr_assert_gt(kept, 0);
	take(NULL, MANY - kept);
	cr_assert_eq(count_chunks(), chunks, "some were lost when the cache spilled");
	op_cache_empty(&cache);
	cr_assert(cache.count == 0 && !cache.first);
	op_cache_empty(&cache);
	drop(NULL, MANY - kept);
	take(NULL, MANY);
	cr_assert_eq(count_chunks(), chunks, "some were lost when the cache was emptied");
}

Test(op, a_cache_is_used_before_others)
{
	struct op_cache cache = {0};
	struct op *mine = op_new(&cache, 1), *other = op_new(&cache, 1);
	op_drop(&cache, mine);
	op_drop(NULL, other);
	cr_assert_eq(cache.count, 1);
	cr_assert_eq(op_new(&cache, 1), mine);
	cr_assert_eq(cache.count, 0);
	cr_assert_eq(op_new(&cache, 1), other);
}

Test(op, a_cache_is_filled_with_what_is_free)
{
	struct op_cache cache = {0};
	take(NULL, MANY);
	drop(NULL, MANY);
	unsigned chunks = count_chunks();
	op_cache_fill(&cache, 5);
	cr_assert_eq(cache.count, 5);
	op_cache_fill(&cache, 5);
	cr_assert_eq(cache.count, 5, "what it had is kept");
	take(&cache, 5);
	cr_assert(cache.count == 0 && !cache.first);
	drop(&cache, 5);
	op_cache_empty(&cache);
	op_cache_fill(&cache, 2 * MANY);
	op_cache_empty(&cache);
	take(NULL, MANY);
	cr_assert_eq(count_chunks(), chunks, "some were lost");
}

/* Each marks what it has taken: no mark may be there already, nor vanish. */
enum { THREADS = 4, ROUNDS = 200000, HELD = 3 };

static long take_and_mark(struct op_cache *cache, long mark)
{
	struct op *held[HELD];
	long wrong = 0;
	for (int i = 0; i < HELD; i++) {
		held[i] = op_new(cache, 1);
		wrong += !held[i] || held[i]->arg;
		if (held[i])
			held[i]->arg = (void *)mark;
	}
	for (int i = 0; i < HELD; i++) {
		if (!held[i])
			continue;
		wrong += held[i]->arg != (void *)mark;
		held[i]->arg = NULL;
		op_drop(NULL, held[i]);
	}
	return wrong;
}

static void *thread(void *arg)
{
	long wrong = 0;
	for (int i = 0; i < ROUNDS; i++) {
		struct op_cache cache = {0};
		if (i % 2)
			op_cache_fill(&cache, HELD + 2);
		wrong += take_and_mark(i % 2 ? &cache : NULL, (long)arg);
		op_cache_empty(&cache);
	}
	return (void *)wrong;
}

Test(op, nothing_is_given_to_two_threads)
{
	pthread_t threads[THREADS];
	for (long i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, thread, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		cr_assert_eq((long)wrong, 0, "%ld operations had two owners", (long)wrong);
	}
	cr_assert_eq(count_chunks(), 1);
}

/* ---- submitted and cancelled in a callback: in the worker's own queue, and in the inbox */

enum { READS = 4 };

static struct {
	struct unstick_engine *engine;
	int fd;
	unsigned cancel; /* a bit each */
	bool backwards;
	struct unstick_op *reads[READS];
	char bytes[READS];
	int error;
} own;

static void submit_and_cancel(struct unstick_op *op, long result, void *arg)
{
	(void)op, (void)result, (void)arg;
	for (int i = 0; i < READS; i++)
		own.error |= unstick_engine_submit(own.engine, &UNSTICK_READ(own.fd, &own.bytes[i], 1), &own.reads[i]);
	for (unsigned i = 0; i < READS; i++) {
		unsigned which = own.backwards ? READS - 1 - i : i;
		if (own.cancel & 1u << which)
			own.error |= unstick_op_cancel(own.reads[which]);
	}
}

static long end_of(struct unstick_op *op)
{
	cr_assert_eq(unstick_op_wait(op, unstick_after_ms(20000)), 0, "it does not end: does the worker run in a circle?");
	long result = unstick_op_result(op);
	unstick_op_unref(op);
	return result;
}

static long end_of_nop(void (*done)(struct unstick_op *op, long result, void *arg))
{
	struct unstick_op *op;
	struct unstick_request nop = UNSTICK_NOP();
	nop.done = done;
	cr_assert_eq(unstick_engine_submit(own.engine, &nop, &op), 0);
	return end_of(op);
}

static void assert_cancelled_on_its_worker(unsigned which, bool backwards)
{
	int fds[2];
	cr_assert_eq(pipe(fds), 0);
	own.fd = fds[0];
	own.cancel = which;
	own.backwards = backwards;
	cr_assert_eq(end_of_nop(submit_and_cancel), 0);
	cr_assert_eq(own.error, 0);
	for (unsigned i = 0; i < READS; i++)
		if (which & 1u << i)
			cr_assert_eq(end_of(own.reads[i]), -ECANCELED, "read %u of %x", i, which);
	cr_assert_eq(end_of_nop(NULL), 0, "and the worker does other things");
	cr_assert_eq(write(fds[1], "abcd", READS), READS);
	for (unsigned i = 0; i < READS; i++)
		if (!(which & 1u << i))
			cr_assert_eq(end_of(own.reads[i]), 1, "read %u of %x was not to be cancelled", i, which);
	close(fds[0]);
	close(fds[1]);
}

/* ---- submitted without a handle, which the callback keeps */

static _Atomic(struct unstick_op *) kept;

static void keep(struct unstick_op *op, long result, void *arg)
{
	(void)arg;
	own.error = unstick_op_cancel(op) || result != 0 || unstick_op_wait(op, UNSTICK_NEVER) != -EDEADLK;
	atomic_store(&kept, unstick_op_ref(op));
}

static void assert_kept(void)
{
	struct unstick_request nop = UNSTICK_NOP();
	nop.done = keep;
	atomic_store(&kept, NULL);
	cr_assert_eq(unstick_engine_submit(own.engine, &nop, NULL), 0);
	while (!atomic_load(&kept))
		cr_assert_eq(end_of_nop(NULL), 0);
	cr_assert_eq(end_of(kept), 0);
	cr_assert_eq(own.error, 0);
	cr_assert_eq(unstick_op_result(kept), -ESTALE);
}

static void cancel_each_set(int back_end)
{
	struct unstick_engine_options options = {.size = sizeof options, .back_end = back_end};
	cr_assert_eq(unstick_engine_new(&own.engine, &options), 0);
	for (unsigned which = 0; which < 1u << READS; which++) {
		assert_cancelled_on_its_worker(which, false);
		assert_cancelled_on_its_worker(which, true);
		assert_kept();
	}
	cr_assert_eq(unstick_engine_close(own.engine, unstick_after_ms(20000), NULL), 0);
	cr_assert_null(unstick_engine_free(own.engine));
}

Test(op, submitted_and_cancelled_in_a_callback)
{
	cancel_each_set(UNSTICK_ENGINE_AUTO);
}

Test(op, submitted_and_cancelled_in_a_callback_poll)
{
	cancel_each_set(UNSTICK_ENGINE_POLL);
}
