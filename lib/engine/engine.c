/* SPDX-License-Identifier: MIT
 *
 * Making, closing and freeing engines; what they have done. Submitting is submit.c, forks are registry.c.
 */
#include "engine/engine.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/log.h"
#include "base/text.h"
#include "engine/linger.h"
#include "engine/offload.h"
#include "engine/registry.h"
#include "engine/worker.h"
#include "helper/client.h"
#include "inspect/task.h"
#include "wake/signal.h"

enum {
	DEFAULT_WORKERS = 1,
	MOST_WORKERS = 256,
	DEFAULT_FILES = 16,
	DEFAULT_BLOCKING = 256,
	DEFAULT_ORPHANS = 64,
	MOST_THREADS = 65536
};

/* ---- what the application's log is told */

void engine_tell_once(struct unstick_engine *engine, unsigned which, const char *what, const char *why)
{
	if (!(atomic_fetch_or(&engine->told, which) & which))
		log_line("unstick: %s: %s", what, why);
}

int engine_refuse_null(const char *what, const char *name)
{
	log_line("unstick: %s: %s is NULL", what, name);
	return -EINVAL;
}

int engine_refuse_child(struct unstick_engine *engine, const char *what)
{
	engine_tell_once(engine, TOLD_FORKED, what,
	                 "the engine is the parent process's: in a forked child make another with unstick_engine_new()");
	return -EOWNERDEAD;
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
	*ret = (struct unstick_engine_options){.size = options ? options->size : sizeof *ret};
	if (ret->size != sizeof *ret) {
		log_line("unstick: engine: size %zu is not that of struct unstick_engine_options: set it to sizeof", ret->size);
		return -EINVAL;
	}
	*ret = options ? *options : *ret;
	bool knows_back_end = ret->back_end >= UNSTICK_ENGINE_AUTO && ret->back_end <= UNSTICK_ENGINE_POLL;
	unsigned unknown = ret->flags & ~(unsigned)UNSTICK_ENGINE_ISOLATE;
	if (unknown)
		log_line("unstick: engine: flag 0x%x is not known to this version of the library: leave it out", unknown);
	else if (!knows_back_end)
		log_line("unstick: engine: options.back_end is %d: take UNSTICK_ENGINE_AUTO, _URING or _POLL", ret->back_end);
	if (unknown || !knows_back_end || check_numbers(ret))
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
	registry_close_workers(engine);
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
	engine->fork_epoch = engine_fork_epoch;
	engine->isolates = options->flags & UNSTICK_ENGINE_ISOLATE;
	engine->workers = aligned_alloc(64, options->workers * sizeof *engine->workers);
	if (!engine->workers || offload_new(&engine->offload, &limits))
		return -ENOMEM;
	return start_any(engine, choice, options->workers);
}

int unstick_engine_new(struct unstick_engine **ret, const struct unstick_engine_options *options)
{
	struct unstick_engine_options checked;
	int choice, error = ret ? check_options(options, &checked) : engine_refuse_null("engine", "ret");
	if (error || (error = choice_of(checked.back_end, &choice)))
		return error;
	atomic_store_explicit(&linger_is_alone, get_nprocs() == 1, memory_order_relaxed);
	registry_start();
	struct unstick_engine *engine = calloc(1, sizeof *engine);
	if (!engine)
		return -ENOMEM;
	error = fill(engine, &checked, choice);
	if (error) {
		release(engine);
		return error;
	}
	registry_add(engine);
	*ret = engine;
	return 0;
}

bool engine_has_worker_here(const struct unstick_engine *engine)
{
	return worker_current >= engine->workers && worker_current < engine->workers + engine->worker_count;
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
	found.oldest.count += live;
	if (!found.orphans)
		text_copy(found.oldest.what, sizeof found.oldest.what,
		          live ? "an operation that is being cancelled, or whose callback has not returned"
		               : "a worker that is about to end: wait a little longer");
	if (left)
		*left = found.oldest;
	log_line("unstick: engine: close: %u operation(s) have not ended; the oldest: %s", found.oldest.count, found.oldest.what);
	return -EBUSY;
}

int unstick_engine_close(struct unstick_engine *engine, unstick_time until, struct unstick_left *left)
{
	if (!engine)
		return engine_refuse_null("close", "engine");
	if (left)
		*left = (struct unstick_left){.fd = -1};
	if (engine_is_parents(engine))
		return engine_refuse_child(engine, "close");
	if (engine_has_worker_here(engine)) {
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
	if (engine_is_parents(engine)) {
		free(engine->workers); /* the threads' memory went with the parent's threads */
		free(engine);
		return NULL;
	}
	if (engine_has_worker_here(engine)) {
		log_line("unstick: engine: freed in a callback of its own: it would wait for itself, so it is not: free it in "
		         "another thread");
		return engine;
	}
	stop_intake(engine);
	stop_workers(engine);
	registry_remove(engine);
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
	helper_stats(&ret->helpers, &ret->helpers_abandoned);
	if (!engine)
		return 0;
	if (engine_is_parents(engine))
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
