/* SPDX-License-Identifier: MIT
 *
 * Submitting: checked, given to the worker of its fd, so that what is submitted for one fd is begun in order.
 * Intake against close (memory-model.md, E2): a submitter counts itself, then loads `closing`; close stores `closing`, then waits for the count to be
 * zero; all seq_cst. So no operation comes to a worker that has ended.
 */
#include "engine/engine.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/linger.h"
#include "engine/offload.h"
#include "engine/request.h"
#include "engine/worker.h"
#include "inspect/task.h"
#include "wake/fork.h"
#include "wake/signal.h"

enum {
	DEFAULT_WORKERS = 1,
	MOST_WORKERS = 256,
	DEFAULT_FILES = 16,
	DEFAULT_BLOCKING = 256,
	DEFAULT_ORPHANS = 64,
	MOST_THREADS = 65536
};

static struct lock engines_lock; /* order: this one, then limit's and wake's */
static struct unstick_engine *engines;
static unsigned fork_epoch;

/* ---- what the application's log is told */

/* Once an engine, because a correct program may meet them, and then for each of many operations. */
enum { TOLD_CLOSING = 1u << 0, TOLD_FORKED = 1u << 1, TOLD_ORPHANS = 1u << 2, TOLD_NO_MONITOR = 1u << 3 };

/* Every engine is the first member of one. */
struct told_engine {
	struct unstick_engine engine;
	_Atomic unsigned told;
};

static void tell_once(struct unstick_engine *engine, unsigned which, const char *what, const char *why)
{
	struct told_engine *told = (struct told_engine *)(void *)engine;
	if (!(atomic_fetch_or(&told->told, which) & which))
		log_line("unstick: %s: %s", what, why);
}

static int refuse_null(const char *what, const char *name)
{
	log_line("unstick: %s: %s is NULL", what, name);
	return -EINVAL;
}

static int refuse_child(struct unstick_engine *engine, const char *what)
{
	tell_once(engine, TOLD_FORKED, what,
	          "the engine is the parent process's: in a forked child make another with unstick_engine_new()");
	return -EOWNERDEAD;
}

/* ---- fork: the child has the memory, not the threads */

static void before_fork(void)
{
	lock_take(&engines_lock);
	op_before_fork();
}

static void after_fork_parent(void)
{
	op_after_fork();
	lock_drop(&engines_lock);
}

/* A child that kept the rings' fds would keep their operations alive after the parent's close. */
static void after_fork_child(void)
{
	op_after_fork();
	fork_epoch++;
	worker_current = NULL;
	worker_after_fork();
	for (struct unstick_engine *engine = engines; engine; engine = engine->next)
		for (unsigned i = 0; i < engine->worker_count; i++)
			if (engine->workers[i].state)
				engine->workers[i].back_end->abandon(&engine->workers[i]);
	engines = NULL;
	lock_drop(&engines_lock);
}

static void initialise(void)
{
	linger_is_alone = get_nprocs() == 1;
	fork_register();
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

bool engine_is_of_parent(const struct op *op)
{
	return op->fork_epoch != (uint8_t)fork_epoch;
}

static bool is_of_parent(const struct unstick_engine *engine)
{
	return engine->fork_epoch != fork_epoch;
}

static void enlist(struct unstick_engine *engine)
{
	lock_take(&engines_lock);
	engine->next = engines;
	engines = engine;
	lock_drop(&engines_lock);
}

static void delist(struct unstick_engine *engine)
{
	lock_take(&engines_lock);
	for (struct unstick_engine **at = &engines; *at; at = &(*at)->next)
		if (*at == engine) {
			*at = engine->next;
			break;
		}
	lock_drop(&engines_lock);
}

/* ---- new */

static int refuse_number(const char *name, unsigned value, unsigned most)
{
	log_line("unstick: engine: options.%s is %u: %u is the most", name, value, most);
	return -EINVAL;
}

static int check_numbers(const struct unstick_engine_options *options)
{
	if (options->workers > MOST_WORKERS)
		return refuse_number("workers", options->workers, MOST_WORKERS);
	if (options->files > MOST_THREADS)
		return refuse_number("files", options->files, MOST_THREADS);
	if (options->blocking > MOST_THREADS)
		return refuse_number("blocking", options->blocking, MOST_THREADS);
	return 0;
}

static int check_options(const struct unstick_engine_options *options, struct unstick_engine_options *ret)
{
	*ret = options ? *options : (struct unstick_engine_options){.size = sizeof *ret};
	bool has_size = ret->size == sizeof *ret,
	     knows_back_end = ret->back_end >= UNSTICK_ENGINE_AUTO && ret->back_end <= UNSTICK_ENGINE_POLL;
	if (!has_size)
		log_line("unstick: engine: size %zu is not that of struct unstick_engine_options: set it to sizeof", ret->size);
	else if (ret->flags)
		log_line("unstick: engine: flag 0x%x is not known to this version of the library: leave it out", ret->flags);
	else if (!knows_back_end)
		log_line("unstick: engine: options.back_end is %d: take UNSTICK_ENGINE_AUTO, _URING or _POLL", ret->back_end);
	if (!has_size || ret->flags || !knows_back_end || check_numbers(ret))
		return -EINVAL;
	ret->workers = ret->workers ? ret->workers : DEFAULT_WORKERS;
	ret->files = ret->files ? ret->files : DEFAULT_FILES;
	ret->blocking = ret->blocking ? ret->blocking : DEFAULT_BLOCKING;
	ret->orphans = ret->orphans ? ret->orphans : DEFAULT_ORPHANS;
	return 0;
}

static int choice_of(int back_end, int *ret)
{
	const char *wish = back_end == UNSTICK_ENGINE_AUTO ? secure_getenv("UNSTICK_ENGINE") : NULL;
	*ret = back_end;
	if (!wish || !*wish || strcmp(wish, "auto") == 0)
		return 0;
	*ret = strcmp(wish, "uring") == 0 ? UNSTICK_ENGINE_URING : UNSTICK_ENGINE_POLL;
	if (*ret == UNSTICK_ENGINE_URING || strcmp(wish, "poll") == 0)
		return 0;
	log_line("unstick: engine: UNSTICK_ENGINE=%s: not a back end: set it to uring, poll or auto, or unset it", wish);
	return -EINVAL;
}

static void stop_workers(struct unstick_engine *engine)
{
	for (unsigned i = 0; i < engine->worker_count; i++)
		worker_stop(&engine->workers[i]);
	for (unsigned i = 0; i < engine->worker_count; i++)
		worker_finish(&engine->workers[i]);
	lock_take(&engines_lock); /* a fork meanwhile would find rings that are half closed */
	for (unsigned i = 0; i < engine->worker_count; i++)
		worker_close(&engine->workers[i]);
	lock_drop(&engines_lock);
	engine->worker_count = 0;
}

static int start_workers(struct unstick_engine *engine, const struct back_end *back_end, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct worker *worker = &engine->workers[i];
		memset(worker, 0, sizeof *worker);
		worker->back_end = back_end;
		worker->offload = engine->offload;
		int error = worker_start(worker);
		if (error) {
			stop_workers(engine);
			return error;
		}
		engine->worker_count++;
	}
	return 0;
}

static int start_uring(struct unstick_engine *engine, unsigned count)
{
#ifdef UNSTICK_HAVE_LIBURING
	return start_workers(engine, &back_end_uring, count);
#else
	(void)engine, (void)count;
	return -EOPNOTSUPP;
#endif
}

static const char *why_refused(int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		return "refused (a container's filter, or kernel.io_uring_disabled)";
	case -ENOSYS:
		return "not in this kernel, or filtered";
	case -ENOMEM:
		return "no locked memory left (RLIMIT_MEMLOCK)";
	case -EOPNOTSUPP:
		return "built without liburing, or the kernel is older than 5.13";
	default:
		return strerrordesc_np(-error);
	}
}

static int start_any(struct unstick_engine *engine, int choice, unsigned count)
{
	int error = choice == UNSTICK_ENGINE_POLL ? -ECANCELED : start_uring(engine, count);
	if (!error) {
		log_line("unstick: engine: io_uring, %u worker(s): set up and tried", count);
		return 0;
	}
	if (choice == UNSTICK_ENGINE_URING) {
		log_line("unstick: engine: io_uring was asked for: %s", why_refused(error));
		return error;
	}
	log_line("unstick: engine: poll, %u worker(s): io_uring %s", count,
	         choice == UNSTICK_ENGINE_POLL ? "not wanted" : why_refused(error));
	error = start_workers(engine, &back_end_poll, count);
	if (error)
		log_line("unstick: engine: not started, no worker could be: %s", strerrordesc_np(-error));
	return error;
}

static struct unstick_engine *release(struct unstick_engine *engine)
{
	if (engine->offload) {
		offload_close(engine->offload);
		offload_unref(engine->offload);
	}
	free(engine->workers);
	free(engine);
	return NULL;
}

static int fill(struct unstick_engine *engine, const struct unstick_engine_options *options, int choice)
{
	struct offload_limits limits = {.most = {options->files, options->blocking}, .orphans = options->orphans};
	engine->fork_epoch = fork_epoch;
	engine->workers = aligned_alloc(64, options->workers * sizeof *engine->workers);
	if (!engine->workers || offload_new(&engine->offload, &limits))
		return -ENOMEM;
	return start_any(engine, choice, options->workers);
}

int unstick_engine_new(struct unstick_engine **ret, const struct unstick_engine_options *options)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct unstick_engine_options checked;
	int choice, error = ret ? check_options(options, &checked) : refuse_null("engine", "ret");
	if (error || (error = choice_of(checked.back_end, &choice)))
		return error;
	pthread_once(&once, initialise);
	struct unstick_engine *engine = calloc(1, sizeof(struct told_engine));
	if (!engine)
		return -ENOMEM;
	error = fill(engine, &checked, choice);
	if (error) {
		release(engine);
		return error;
	}
	enlist(engine);
	*ret = engine;
	return 0;
}

/* ---- submit */

static bool is_own_worker(const struct unstick_engine *engine)
{
	return worker_current >= engine->workers && worker_current < engine->workers + engine->worker_count;
}

/* The only worker of an engine gives to itself, and does not end before it has taken it: it need not be counted. */
static bool is_counted(const struct unstick_engine *engine)
{
	return engine->worker_count > 1 || worker_current != engine->workers;
}

static int enter_intake(struct unstick_engine *engine)
{
	if (is_of_parent(engine))
		return refuse_child(engine, "submit");
	bool counted = is_counted(engine);
	if (counted)
		atomic_fetch_add(&engine->submitters, 1);
	if (!atomic_load(&engine->closing))
		return 0;
	if (counted)
		atomic_fetch_sub(&engine->submitters, 1);
	tell_once(engine, TOLD_CLOSING, "submit",
	          "the engine is being closed, it takes no more: submit before unstick_engine_close()");
	return -ESHUTDOWN;
}

static void leave_intake(struct unstick_engine *engine)
{
	if (is_counted(engine))
		atomic_fetch_sub_explicit(&engine->submitters, 1, memory_order_release);
}

/* A worker that submits for no fd keeps it. */
static struct worker *worker_for(struct unstick_engine *engine, int fd)
{
	struct worker *self = worker_current;
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

/* A new operation with a reference of the engine's and perhaps one of the caller's; its token is looked at by make_watch(). */
static int make(struct unstick_engine *engine, const struct unstick_request *request, bool has_handle, struct op **ret)
{
	int error = request_check(request, has_handle);
	if (error)
		return error;
	struct worker *worker = worker_for(engine, request->fd);
	struct op *op = op_new(worker_current == worker ? &worker->cache : NULL, has_handle ? 2 : 1);
	if (!op)
		return -ENOMEM;
	op->worker = worker;
	op->fork_epoch = (uint8_t)fork_epoch;
	op->has_handle = has_handle;
	error = request_fill(op, request, engine->offload);
	if (error == -EAGAIN)
		tell_once(engine, TOLD_ORPHANS, "submit",
		          "as many operations are left behind as options.orphans allows, so none that needs a thread is taken: see "
		          "to the file system that hangs");
	if (error) {
		discard(op, has_handle);
		return error;
	}
	*ret = op;
	return 0;
}

/* The watch may be called before the operation is posted; the worker then remembers the reason. */
static int make_watch(struct op *op, struct unstick_token *token)
{
	op->reason = unstick_token_error(token);
	return op->reason ? 0 : unstick_token_watch(token, &op->watch, on_token, op);
}

static void give(struct op *op)
{
	if (worker_current == op->worker) {
		worker_take(op->worker, op);
		return;
	}
	worker_post(op, NOTE_SUBMIT);
}

static int submit(struct unstick_engine *engine, const struct unstick_request *request, struct unstick_op **ret)
{
	struct op *op;
	int error = make(engine, request, ret, &op);
	if (error)
		return error;
	if (request->token && (error = make_watch(op, request->token))) {
		if (error == -EAGAIN)
			tell_once(engine, TOLD_NO_MONITOR, "submit",
			          "the background thread, which tokens need, could not be started: see RLIMIT_NPROC, pids.max");
		discard(op, ret);
		return error;
	}
	if (ret)
		*ret = op_handle(op);
	give(op);
	return 0;
}

int unstick_engine_submit(struct unstick_engine *engine, const struct unstick_request *request, struct unstick_op **ret)
{
	if (!engine || !request)
		return refuse_null("submit", engine ? "request" : "engine");
	int error = enter_intake(engine);
	if (error)
		return error;
	error = submit(engine, request, ret);
	leave_intake(engine);
	return error;
}

/* Operations for one worker, linked as its inbox is: the last one first. */
struct batch {
	struct worker *worker;
	struct op *first, *last;
};

static void flush(struct batch *batch)
{
	if (batch->first)
		worker_post_many(batch->worker, batch->first, batch->last);
	batch->first = batch->last = NULL;
}

static void add(struct batch *batch, struct op *op)
{
	if (batch->worker != op->worker)
		flush(batch);
	batch->worker = op->worker;
	atomic_store_explicit(&op->notes, NOTE_SUBMIT, memory_order_relaxed);
	atomic_store_explicit(&op->next, batch->first, memory_order_relaxed);
	batch->last = batch->last ? batch->last : op;
	batch->first = op;
}

static int submit_to(struct batch *batch, struct unstick_engine *engine, const struct unstick_request *request,
                     struct unstick_op **ret)
{
	struct op *op;
	if (request->token || worker_current) {
		flush(batch); /* keeps the order */
		return submit(engine, request, ret);
	}
	int error = make(engine, request, ret, &op);
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
		return refuse_null("submit_many", engine ? "requests" : "engine");
	if (count > INT_MAX)
		return -EINVAL;
	int error = enter_intake(engine);
	if (error)
		return error;
	struct batch batch = {0};
	unsigned begun = 0;
	while (begun < count && !(error = submit_to(&batch, engine, &requests[begun], ret ? &ret[begun] : NULL)))
		begun++;
	flush(&batch);
	leave_intake(engine);
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

/* ---- close */

static void stop_intake(struct unstick_engine *engine)
{
	atomic_store(&engine->closing, true);
	while (atomic_load(&engine->submitters))
		sched_yield();
}

static bool join_workers(struct unstick_engine *engine, unstick_time until)
{
	bool all = true;
	for (unsigned i = 0; i < engine->worker_count; i++)
		worker_stop(&engine->workers[i]);
	for (unsigned i = 0; i < engine->worker_count && all; i++)
		all = worker_join(&engine->workers[i], until);
	return all;
}

static uint64_t count_live(const struct unstick_engine *engine)
{
	uint64_t live = 0;
	for (unsigned i = 0; i < engine->worker_count; i++)
		live += atomic_load(&engine->workers[i].counts.begun) - atomic_load(&engine->workers[i].counts.completed);
	return live;
}

static int report(struct unstick_engine *engine, struct unstick_left *left)
{
	struct offload_report found;
	offload_look(engine->offload, &found);
	unsigned live = (unsigned)count_live(engine);
	if (!found.orphans)
		text_copy(found.oldest.what, sizeof found.oldest.what, "operations that are being cancelled");
	found.oldest.count += live;
	if (left)
		*left = found.oldest;
	log_line("unstick: engine: %u operation(s) cannot be ended; the oldest: %s", found.oldest.count, found.oldest.what);
	return -EBUSY;
}

int unstick_engine_close(struct unstick_engine *engine, unstick_time until, struct unstick_left *left)
{
	if (!engine)
		return refuse_null("close", "engine");
	if (is_of_parent(engine))
		return refuse_child(engine, "close");
	if (is_own_worker(engine)) {
		log_line("unstick: close: called in a callback of the engine's own: it would wait for itself: call it in another "
		         "thread");
		return -EDEADLK;
	}
	stop_intake(engine);
	bool all = join_workers(engine, until) && offload_wait_orphans(engine->offload, until);
	return all ? 0 : report(engine, left);
}

struct unstick_engine *unstick_engine_free(struct unstick_engine *engine)
{
	if (!engine)
		return NULL;
	if (is_of_parent(engine)) {
		free(engine->workers); /* the threads' memory went with the parent's threads */
		free(engine);
		return NULL;
	}
	if (is_own_worker(engine)) {
		log_line("unstick: engine: freed in a callback of its own: it would wait for itself, so it is not: free it in "
		         "another thread");
		return engine;
	}
	stop_intake(engine);
	stop_workers(engine);
	delist(engine);
	if (!offload_wait_orphans(engine->offload, 0))
		report(engine, NULL);
	return release(engine);
}

/* ---- stats */

static void add_counts(struct unstick_stats *stats, struct worker *worker)
{
	stats->operations += atomic_load_explicit(&worker->counts.begun, memory_order_relaxed);
	stats->completed += atomic_load_explicit(&worker->counts.completed, memory_order_relaxed);
	stats->cancels += atomic_load_explicit(&worker->counts.cancels, memory_order_relaxed);
	stats->expiries += atomic_load_explicit(&worker->counts.expiries, memory_order_relaxed);
}

int unstick_engine_stats(struct unstick_engine *engine, struct unstick_stats *ret)
{
	if (!ret)
		return -EINVAL;
	*ret = (struct unstick_stats){.pokes = atomic_load(&signals_sent), .looks = atomic_load(&task_looks)};
	if (!engine)
		return 0;
	if (is_of_parent(engine))
		return -EOWNERDEAD;
	struct offload_report found;
	offload_look(engine->offload, &found);
	ret->orphans = found.orphans;
	ret->orphans_ever = found.orphans_ever;
	ret->orphan_oldest_ns = found.orphans ? unstick_now() - found.oldest_left : 0;
	for (unsigned i = 0; i < engine->worker_count; i++)
		add_counts(ret, &engine->workers[i]);
	ret->back_end = engine->workers[0].back_end->name;
	return 0;
}
