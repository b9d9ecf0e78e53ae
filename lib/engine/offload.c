/* SPDX-License-Identifier: MIT
 *
 * Threads, queues and orphans; the calls themselves are offload_call.c.
 *
 * A call's state moves by compare-and-swap, and whoever moves it owns it: QUEUED -> RUNNING by a thread, QUEUED -> LEFT and
 * RUNNING -> LEFT by its worker, RUNNING -> RETURNING by its thread. All lists are under the lock, which nobody holds over a
 * system call that may wait.
 */
#include "engine/offload.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "engine/worker.h"
#include "inspect/fd.h"
#include "inspect/task.h"
#include "limit/time.h"
#include "wake/signal.h"

static const int64_t IDLE_LIFE = 5 * (int64_t)TIME_NS_PER_S;

struct gang {
	struct offload_call *first, **last;
	unsigned queued, threads, idle, most;
	unsigned starting;     /* of `threads`: have not looked at the queue yet */
	_Atomic uint32_t bell; /* idle threads sleep on it */
};

struct offload {
	struct lock lock;
	_Atomic unsigned refs; /* the engine's and one a thread */
	bool closed;
	struct gang gang[OFFLOAD_CLASSES];
	struct offload_call *orphans;
	_Atomic unsigned orphan_count, due; /* due: closes in the queues that nobody waits for */
	unsigned orphan_limit;
	uint64_t orphans_ever;
	_Atomic uint32_t returned; /* counts orphans that have ended */
};

int offload_new(struct offload **ret, const struct offload_limits *limits)
{
	struct offload *offload = calloc(1, sizeof *offload);
	if (!offload)
		return -ENOMEM;
	/* Here, not with the first thread: with other threads about it waits 10 ms for all processors (membarrier(2)), and a
	 * worker would. Without a signal the calls are made all the same; then nothing ends them. */
	(void)signal_initialise();
	atomic_store(&offload->refs, 1);
	offload->orphan_limit = limits->orphans;
	for (unsigned i = 0; i < OFFLOAD_CLASSES; i++) {
		offload->gang[i].last = &offload->gang[i].first;
		offload->gang[i].most = limits->most[i];
	}
	*ret = offload;
	return 0;
}

void offload_unref(struct offload *offload)
{
	if (atomic_fetch_sub(&offload->refs, 1) == 1)
		free(offload);
}

bool offload_accepts(struct offload *offload)
{
	return atomic_load_explicit(&offload->orphan_count, memory_order_relaxed) < offload->orphan_limit;
}

/* ---- lists; under the lock */

static void append(struct gang *gang, struct offload_call *call)
{
	call->next = NULL;
	call->back = gang->last;
	*gang->last = call;
	gang->last = &call->next;
	gang->queued++;
}

static void take_out(struct gang *gang, struct offload_call *call)
{
	*call->back = call->next;
	if (call->next)
		call->next->back = call->back;
	else
		gang->last = call->back;
	call->back = NULL;
	gang->queued--;
}

static void adopt(struct offload *offload, struct offload_call *call)
{
	call->left = unstick_now();
	call->next = offload->orphans;
	call->back = &offload->orphans;
	if (call->next)
		call->next->back = &call->next;
	offload->orphans = call;
	offload->orphan_count++;
	offload->orphans_ever++;
}

static void bury(struct offload *offload, struct offload_call *call)
{
	*call->back = call->next;
	if (call->next)
		call->next->back = call->back;
	offload->orphan_count--;
	atomic_fetch_add(&offload->returned, 1);
	futex_wake(&offload->returned, INT_MAX);
}

static bool moves(struct offload_call *call, int from, int to)
{
	return atomic_compare_exchange_strong(&call->state, &from, to);
}

/* ---- threads */

/* The kernel is done with an orphan: so are we. */
static void end_orphan(struct offload *offload, struct offload_call *call)
{
	lock_take(&offload->lock);
	bury(offload, call);
	lock_drop(&offload->lock);
	offload_call_discard(call);
}

static bool wants_first(struct gang *gang);
static int add_thread(struct offload *offload, struct gang *gang);

/* Given up before it began. A close is made all the same, as an orphan: it may hang, so the thread gives up its place. */
static bool run_unwanted(struct offload *offload, struct offload_call *call)
{
	if (atomic_load(&call->state) == OFFLOAD_LEFT) {
		offload_call_free(call);
		return true;
	}
	struct gang *gang = &offload->gang[call->class_];
	lock_take(&offload->lock);
	adopt(offload, call);
	offload->due--;
	gang->threads--;
	bool more = wants_first(gang);
	lock_drop(&offload->lock);
	if (more)
		(void)add_thread(offload, gang);
	if (call->token)
		unstick_token_cancel(call->token); /* an isolated one: the helper is told, its answer not waited for */
	call->result = offload_call_make(call);
	end_orphan(offload, call);
	return false;
}

/* False: the call was left behind meanwhile, and the thread with it, whose place another one has. */
static bool run(struct offload *offload, struct offload_call *call)
{
	atomic_store(&call->tid, gettid());
	call->started = unstick_now();
	if (!moves(call, OFFLOAD_QUEUED, OFFLOAD_RUNNING))
		return run_unwanted(offload, call);
	call->result = offload_call_make(call);
	if (!moves(call, OFFLOAD_RUNNING, OFFLOAD_RETURNING)) {
		end_orphan(offload, call);
		return false;
	}
	offload_call_copy_back(call);
	worker_posters_enter();
	worker_post(call->op, NOTE_RETURNED); /* from here on it is the worker's */
	worker_posters_leave();
	return true;
}

/* Under the lock, which is dropped while it sleeps. False: nothing came for so long that the thread may end. */
static bool wait_for_call(struct offload *offload, struct gang *gang)
{
	uint32_t seen = atomic_load(&gang->bell);
	unstick_time until = unstick_after_ns(IDLE_LIFE);
	gang->idle++;
	lock_drop(&offload->lock);
	futex_sleep(&gang->bell, seen, until);
	lock_take(&offload->lock);
	gang->idle--;
	return gang->first || (!offload->closed && unstick_now() < until);
}

struct start {
	struct offload *offload;
	struct gang *gang;
};

static void *thread_main(void *arg);

/* All signals blocked but ours, which ends calls. */
static int create(struct start *start)
{
	enum { STACK = 256 * 1024 };
	sigset_t mask, before;
	pthread_attr_t attributes;
	pthread_t thread;
	sigfillset(&mask);
	if (unstick_signal())
		sigdelset(&mask, unstick_signal());
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	int error = -pthread_create(&thread, &attributes, thread_main, start);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return error;
}

/* The caller has counted it in gang->threads. */
static int start_thread(struct offload *offload, struct gang *gang)
{
	struct start *start = malloc(sizeof *start);
	if (!start)
		return -ENOMEM;
	*start = (struct start){offload, gang};
	atomic_fetch_add(&offload->refs, 1);
	int error = create(start);
	if (error) {
		free(start);
		offload_unref(offload);
	}
	return error;
}

static bool count_new(struct gang *gang)
{
	if (gang->threads >= gang->most)
		return false;
	gang->threads++;
	gang->starting++;
	return true;
}

/* One that is counted already. */
static int add_thread(struct offload *offload, struct gang *gang)
{
	int error = start_thread(offload, gang);
	if (!error)
		return 0;
	lock_take(&offload->lock);
	gang->threads--;
	gang->starting--;
	lock_drop(&offload->lock);
	return error;
}

/* Under the lock, for a thread of the gang: each starts the next one, if calls are queued that nobody will see to. */
static bool wants_another(struct gang *gang)
{
	return gang->queued > gang->idle + gang->starting && count_new(gang);
}

/* Under the lock, for the worker: only the first. To start a thread takes 100 us, which its sockets should not wait for. */
static bool wants_first(struct gang *gang)
{
	return gang->queued && !gang->idle && !gang->starting && count_new(gang);
}

static bool work(struct offload *offload, struct gang *gang)
{
	while (gang->first || (!offload->closed && wait_for_call(offload, gang))) {
		struct offload_call *call = gang->first;
		if (!call)
			continue;
		take_out(gang, call);
		bool another = wants_another(gang);
		lock_drop(&offload->lock);
		if (another)
			(void)add_thread(offload, gang);
		bool stays = run(offload, call);
		lock_take(&offload->lock);
		if (!stays)
			return false;
	}
	return true;
}

static void *thread_main(void *arg)
{
	struct start start = *(struct start *)arg;
	free(arg);
	prctl(PR_SET_NAME, "unstick-file");
	lock_take(&start.offload->lock);
	start.gang->starting--;
	if (work(start.offload, start.gang))
		start.gang->threads--;
	lock_drop(&start.offload->lock);
	offload_unref(start.offload);
	return NULL;
}

/* ---- for the worker */

int offload_submit(struct offload *offload, struct offload_call *call)
{
	struct gang *gang = &offload->gang[call->class_];
	lock_take(&offload->lock);
	append(gang, call);
	bool more = wants_first(gang);
	lock_drop(&offload->lock);
	atomic_fetch_add(&gang->bell, 1);
	futex_wake(&gang->bell, 1);
	int error = more ? add_thread(offload, gang) : 0;
	if (!error)
		return 0;
	lock_take(&offload->lock);
	bool hopeless = !gang->threads && call->back;
	if (hopeless)
		take_out(gang, call);
	lock_drop(&offload->lock);
	return hopeless ? -EAGAIN : 0;
}

/* On the monitor: looking at the thread takes 10 to 100 us, which the worker's sockets should not wait for. */
static void fire_elsewhere(struct unstick_token *token)
{
	if (unstick_token_set_deadline(token, 0))
		unstick_token_cancel(token);
}

bool offload_cut(struct offload *offload, struct offload_call *call)
{
	lock_take(&offload->lock);
	bool call_ends_by_signal = call->ends_by_signal, stays = call->is_due && moves(call, OFFLOAD_QUEUED, OFFLOAD_ALONE);
	offload->due += stays;
	bool queued = !stays && call->back;
	if (queued)
		take_out(&offload->gang[call->class_], call);
	lock_drop(&offload->lock);
	if (queued)
		offload_call_free(call);
	else if (call_ends_by_signal && !stays) /* alone, it may have gone */
		fire_elsewhere(call->token);
	return queued || stays;
}

bool offload_leave(struct offload *offload, struct offload_call *call)
{
	struct gang *gang = &offload->gang[call->class_];
	if (moves(call, OFFLOAD_QUEUED, OFFLOAD_LEFT)) /* a thread has taken it out, and will find it so */
		return true;
	lock_take(&offload->lock);
	bool left = call->may_be_left && moves(call, OFFLOAD_RUNNING, OFFLOAD_LEFT);
	if (left) {
		adopt(offload, call);
		gang->threads--;
	}
	lock_drop(&offload->lock);
	return left;
}

bool offload_tend(struct offload *offload)
{
	bool all = true;
	for (unsigned i = 0; i < OFFLOAD_CLASSES; i++) {
		struct gang *gang = &offload->gang[i];
		lock_take(&offload->lock);
		bool more = wants_first(gang);
		lock_drop(&offload->lock);
		if (more && add_thread(offload, gang))
			all = false;
	}
	return all;
}

void offload_close(struct offload *offload)
{
	(void)offload_tend(offload); /* for closes that are due */
	lock_take(&offload->lock);
	offload->closed = true;
	lock_drop(&offload->lock);
	for (unsigned i = 0; i < OFFLOAD_CLASSES; i++) {
		atomic_fetch_add(&offload->gang[i].bell, 1);
		futex_wake(&offload->gang[i].bell, INT_MAX);
	}
}

bool offload_wait_orphans(struct offload *offload, unstick_time until)
{
	for (;;) {
		uint32_t seen = atomic_load(&offload->returned);
		if (!atomic_load(&offload->orphan_count) && !atomic_load(&offload->due))
			return true;
		if (unstick_now() >= until)
			return false;
		futex_sleep(&offload->returned, seen, until);
	}
}

/* ---- looking */

static void describe(const struct offload_call *call, struct unstick_left *ret)
{
	char object[96];
	char state = task_state(0, call->tid);
	ret->oldest_ns = unstick_now() - call->started;
	ret->tid = call->tid;
	ret->fd = call->fd;
	ret->holds_exit = state == 'D' || state == 'S'; /* exit's SIGKILL makes of a FUSE call's S a D */
	if (call->path)
		snprintf(object, sizeof object, "%s", call->path);
	else
		fd_describe(0, call->fd, object, sizeof object);
	snprintf(ret->what, sizeof ret->what, "%s of %s (fd %d) in thread %d, for %.1f s%s", call->name, object[0] ? object : "?",
	         call->fd, (int)call->tid, (double)ret->oldest_ns / 1e9,
	         ret->holds_exit ? ": the process cannot exit before it is answered" : "");
}

void offload_look(struct offload *offload, struct offload_report *ret)
{
	*ret = (struct offload_report){.oldest.fd = -1};
	lock_take(&offload->lock);
	ret->orphans = offload->orphan_count;
	ret->orphans_ever = offload->orphans_ever;
	ret->oldest.count = ret->orphans;
	struct offload_call *oldest = offload->orphans;
	for (struct offload_call *call = oldest; call; call = call->next)
		if (call->started < oldest->started)
			oldest = call;
	if (oldest) {
		ret->oldest_left = oldest->left;
		describe(oldest, &ret->oldest);
	}
	lock_drop(&offload->lock);
}
