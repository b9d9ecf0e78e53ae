/* SPDX-License-Identifier: MIT
 *
 * Submitting: checked, given to the worker of its fd, so that what is submitted for one fd is begun in order; and cancelling.
 * Intake against close (memory-model.md, L): a submitter counts itself, then loads `closing`; close stores `closing`, then
 * waits for the count to be zero; all seq_cst. So no operation comes to a worker that has ended.
 */
#include <errno.h>
#include <limits.h>

#include "engine/offload.h"
#include "engine/registry.h"
#include "engine/request.h"
#include "engine/worker.h"

/* Free operations that submit_many() takes together; what it then has no use for goes back. */
enum { FREE_AT_ONCE = 64 };

/* The only worker of an engine gives to itself, and does not end before it has taken it: it need not be counted. */
static bool is_counted(const struct unstick_engine *engine, const struct worker *self)
{
	return engine->worker_count > 1 || self != engine->workers;
}

/* `self`: the calling worker, or NULL. */
static int enter_intake(struct unstick_engine *engine, const struct worker *self)
{
	if (engine_is_parents(engine))
		return engine_refuse_child(engine, "submit");
	bool counted = is_counted(engine, self);
	if (counted)
		atomic_fetch_add(&engine->submitters, 1);
	if (!atomic_load(&engine->closing))
		return 0;
	if (counted)
		atomic_fetch_sub(&engine->submitters, 1);
	engine_tell_once(engine, TOLD_CLOSING, "submit",
	                 "the engine is being closed, it takes no more: submit before unstick_engine_close()");
	return -ESHUTDOWN;
}

static void leave_intake(struct unstick_engine *engine, const struct worker *self)
{
	if (is_counted(engine, self))
		atomic_fetch_sub_explicit(&engine->submitters, 1, memory_order_release);
}

/* A worker that submits for no fd keeps it. */
static struct worker *worker_for(struct unstick_engine *engine, struct worker *self, int fd)
{
	if (engine->worker_count == 1)
		return engine->workers;
	if (fd >= 0)
		return &engine->workers[(unsigned)fd % engine->worker_count];
	bool is_own = self >= engine->workers && self < engine->workers + engine->worker_count;
	return is_own ? self : engine->workers;
}

static void on_token(void *arg, int error)
{
	worker_post(arg, error == -ETIMEDOUT ? NOTE_EXPIRE : NOTE_CANCEL);
}

static void discard(struct op *op, bool has_handle)
{
	if (op->way == WAY_THREAD)
		offload_call_free(op->call);
	op_clear_cold(op);
	if (has_handle)
		op_drop(NULL, op);
	op_drop(NULL, op);
}

/* A new operation with a reference of the engine's and perhaps one of the caller's, out of `spare` if that is given; its token is looked at by make_watch(). */
static int make(struct unstick_engine *engine, struct worker *self, struct op_cache *spare, const struct unstick_request *request,
                bool has_handle, struct op **ret)
{
	int error = request_check(request, has_handle);
	if (error)
		return error;
	struct worker *worker = worker_for(engine, self, request->fd);
	struct op *op = op_new(self == worker ? &worker->cache : spare, has_handle ? 2 : 1);
	if (!op)
		return -ENOMEM;
	atomic_store_explicit(&op->worker, worker, memory_order_release); /* for op_share_handle() */
	op->fork_epoch = (uint8_t)engine_fork_epoch;
	op->has_handle = has_handle;
	error = request_fill(op, request, engine);
	if (error == -EBUSY)
		engine_tell_once(
		        engine, TOLD_ORPHANS, "submit",
		        "as many operations are left behind as options.orphans allows, so none that needs a thread is taken: see "
		        "to the file system that hangs");
	if (error) {
		discard(op, has_handle);
		return error == -EBUSY ? -EAGAIN : error;
	}
	if (!has_handle && !request->token && op->way != WAY_THREAD)
		op_make_sole(op);
	*ret = op;
	return 0;
}

/* The watch may be called before the operation is posted; the worker then remembers the reason. */
static int make_watch(struct op *op, struct unstick_token *token)
{
	op->has_more = true;
	op->reason = unstick_token_error(token);
	return op->reason ? 0 : unstick_token_watch(token, &op->watch, on_token, op);
}

static void give(struct op *op, struct worker *self)
{
	struct worker *worker = atomic_load_explicit(&op->worker, memory_order_relaxed);
	if (self == worker) {
		op_enqueue(&worker->local, op);
		return;
	}
	op->queue.next = NULL;
	worker_give(worker, op);
}

static int submit(struct unstick_engine *engine, struct worker *self, const struct unstick_request *request,
                  struct unstick_op **ret)
{
	struct op *op;
	int error = make(engine, self, NULL, request, ret, &op);
	if (error)
		return error;
	if (request->token && (error = make_watch(op, request->token))) {
		if (error == -EAGAIN)
			engine_tell_once(
			        engine, TOLD_NO_MONITOR, "submit",
			        "the background thread, which tokens need, could not be started: see RLIMIT_NPROC, pids.max");
		discard(op, ret);
		return error;
	}
	if (ret)
		*ret = op_handle(op);
	give(op, self);
	return 0;
}

int unstick_engine_submit(struct unstick_engine *engine, const struct unstick_request *request, struct unstick_op **ret)
{
	if (!engine || !request)
		return engine_refuse_null("submit", engine ? "request" : "engine");
	struct worker *self = worker_current;
	int error = enter_intake(engine, self);
	if (error)
		return error;
	error = submit(engine, self, request, ret);
	leave_intake(engine, self);
	return error;
}

/* Operations for one worker; and free ones for those that are still to come. */
struct batch {
	struct worker *worker;
	struct op_queue ops;
	struct op_cache spare;
};

static void flush(struct batch *batch)
{
	if (batch->ops.first)
		worker_give(batch->worker, batch->ops.first);
	batch->ops = (struct op_queue){0};
}

static void add(struct batch *batch, struct op *op)
{
	if (batch->worker != op->worker)
		flush(batch);
	batch->worker = op->worker;
	op_enqueue(&batch->ops, op);
}

/* `left`: how many there are, with this one. */
static int submit_to(struct batch *batch, struct unstick_engine *engine, const struct unstick_request *request, unsigned left,
                     struct unstick_op **ret)
{
	struct op *op;
	struct worker *self = worker_current;
	if (request->token || self) {
		flush(batch); /* keeps the order */
		return submit(engine, self, request, ret);
	}
	op_cache_fill(&batch->spare, left < FREE_AT_ONCE ? left : FREE_AT_ONCE);
	int error = make(engine, NULL, &batch->spare, request, ret, &op);
	if (error)
		return error;
	if (ret)
		*ret = op_handle(op);
	add(batch, op);
	return 0;
}

int unstick_engine_submit_many(struct unstick_engine *engine, const struct unstick_request *requests, unsigned count,
                               struct unstick_op **ret)
{
	if (!engine || !requests)
		return engine_refuse_null("submit_many", engine ? "requests" : "engine");
	if (count > INT_MAX)
		return -EINVAL;
	struct worker *self = worker_current;
	int error = enter_intake(engine, self);
	if (error)
		return error;
	struct batch batch = {0};
	unsigned begun = 0;
	while (begun < count && !(error = submit_to(&batch, engine, &requests[begun], count - begun, ret ? &ret[begun] : NULL)))
		begun++;
	flush(&batch);
	op_cache_empty(&batch.spare);
	leave_intake(engine, self);
	return begun ? (int)begun : error;
}

int unstick_op_cancel(struct unstick_op *handle)
{
	struct op *op = op_from_handle(handle);
	if (!op)
		return handle ? 0 : -EINVAL;
	worker_posters_enter(); /* before the look: engine_free() waits for those who found that it has not ended */
	bool done = atomic_load(&op->word) & WORD_RESULT;
	bool of_parent = !done && engine_is_of_parent(op);
	if (!done && !of_parent)
		worker_post(op, NOTE_CANCEL);
	worker_posters_leave();
	op_drop(NULL, op);
	return of_parent ? -EOWNERDEAD : 0;
}
