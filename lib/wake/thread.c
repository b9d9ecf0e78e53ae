/* SPDX-License-Identifier: MIT
 *
 * Records and the registry: a list that only grows at its head, so that a canceller walks it without a lock, in a signal
 * handler too. A thread attaches on first use of a scope and detaches when it ends, through a pthread key's destructor.
 */
#include "wake/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/raw.h"
#include "inspect/task.h"
#include "wake/fork.h"
#include "wake/outcome.h"
#include "wake/scope.h"
#include "wake/signal.h"

_Thread_local struct unstick_thread *thread_current __attribute__((tls_model("initial-exec")));
_Atomic(struct unstick_thread *) thread_registry;

static struct lock registry_lock; /* the free list, and finding a record to refer to it */
static struct unstick_thread *free_list;
static pthread_key_t detach_key;
static pthread_once_t detach_once = PTHREAD_ONCE_INIT;
static bool detach_key_made;

static struct unstick_thread *publish_new(void)
{
	struct unstick_thread *thread = aligned_alloc(64, sizeof *thread);
	if (!thread)
		return NULL;
	memset(thread, 0, sizeof *thread);
	atomic_store(&thread->call_fd, -1);
	thread->next = atomic_load(&thread_registry);
	while (!atomic_compare_exchange_weak(&thread_registry, &thread->next, thread))
		;
	return thread;
}

static void store_none(struct unstick_thread *thread, pid_t tid)
{
	const struct unstick_outcome none = {.kind = UNSTICK_NONE, .tid = tid, .nr = -1, .fd = -1, .state = '?'};
	outcome_store(&thread->outcome, &none);
}

void thread_forget_outcome(struct unstick_thread *self)
{
	store_none(self, atomic_load_explicit(&self->tid, memory_order_relaxed));
}

/* A record with one reference, bound to `tid`. */
static struct unstick_thread *take_record(pid_t tid, bool attached)
{
	lock_take(&registry_lock);
	struct unstick_thread *thread = free_list;
	if (thread)
		free_list = thread->free_next;
	lock_drop(&registry_lock);
	if (!thread && !(thread = publish_new()))
		return NULL;
	store_none(thread, tid);
	atomic_store(&thread->window.marker, 0); /* its last thread may have ended inside an own call */
	atomic_store(&thread->inflight, 0);
	atomic_store(&thread->resume, 0);
	atomic_store(&thread->refs, 1);
	atomic_store(&thread->attached, attached);
	atomic_store(&thread->ended, false);
	atomic_store(&thread->tid, tid);
	return thread;
}

struct unstick_thread *unstick_thread_ref(struct unstick_thread *thread)
{
	if (thread)
		atomic_fetch_add_explicit(&thread->refs, 1, memory_order_relaxed);
	return thread;
}

static void close_call_fd(struct unstick_thread *thread)
{
	int fd = atomic_exchange(&thread->call_fd, -1);
	if (fd >= 0)
		RAW_1(SYS_close, fd);
}

struct unstick_thread *unstick_thread_unref(struct unstick_thread *thread)
{
	if (!thread)
		return NULL;
	lock_take(&registry_lock);
	if (atomic_fetch_sub_explicit(&thread->refs, 1, memory_order_acq_rel) == 1) {
		close_call_fd(thread); /* not before: an interrupter with a handle may be reading it */
		atomic_store(&thread->tid, 0);
		thread->free_next = free_list;
		free_list = thread;
	}
	lock_drop(&registry_lock);
	return NULL;
}

/* ---- attaching */

static void detach(void *record)
{
	struct unstick_thread *self = record;
	scope_drop_all(self);
	thread_current = NULL;
	atomic_store(&self->ended, true);
	atomic_store(&self->attached, false);
	unstick_thread_unref(self);
}

static void make_key(void)
{
	detach_key_made = pthread_key_create(&detach_key, detach) == 0;
}

/* The bounds only serve to tell scopes whose frame is gone; without them no scope is taken for gone. */
static void find_stack(struct unstick_thread *self)
{
	pthread_attr_t attributes;
	void *low;
	size_t size;
	self->stack_low = self->stack_high = 0;
	if (pthread_getattr_np(pthread_self(), &attributes))
		return;
	if (pthread_attr_getstack(&attributes, &low, &size) == 0) {
		self->stack_low = (uintptr_t)low;
		self->stack_high = (uintptr_t)low + size;
	}
	pthread_attr_destroy(&attributes);
}

static struct unstick_thread *attach(int *error)
{
	pthread_once(&detach_once, make_key);
	if (!detach_key_made) {
		*error = -EAGAIN;
		return NULL;
	}
	struct unstick_thread *self = take_record((pid_t)RAW_0(SYS_gettid), true);
	if (!self || pthread_setspecific(detach_key, self)) {
		unstick_thread_unref(self);
		*error = -ENOMEM;
		return NULL;
	}
	find_stack(self);
	if (signal_keeps_proc_fd())
		atomic_store(&self->call_fd, task_open_call(atomic_load(&self->tid)));
	thread_current = self;
	return self;
}

struct unstick_thread *thread_attach(int *error)
{
	*error = signal_initialise();
	if (*error == 0)
		*error = alarm_start();
	if (*error)
		return NULL;
	return thread_current ? thread_current : attach(error);
}

/* No ASan: the place may be in a dead frame, which is the question. */
__attribute__((no_sanitize("address"))) bool thread_own_call_exists(const struct unstick_thread *self, uintptr_t sp)
{
	uintptr_t call_sp = atomic_load_explicit(&self->window.marker_sp, memory_order_relaxed);
	if (!thread_on_own_stack(self, sp) || !thread_on_own_stack(self, call_sp))
		return true; /* an alternate stack: nothing can be told */
	return sp <= call_sp && *(const uintptr_t *)call_sp == (uintptr_t)&self->window;
}

/* ---- handles */

struct unstick_thread *unstick_thread_self(void)
{
	int error;
	return unstick_thread_ref(thread_attach(&error));
}

static struct unstick_thread *find_attached(pid_t tid)
{
	struct unstick_thread *thread = atomic_load(&thread_registry);
	lock_take(&registry_lock);
	while (thread && !(atomic_load(&thread->tid) == tid && atomic_load(&thread->attached)))
		thread = thread->next;
	unstick_thread_ref(thread);
	lock_drop(&registry_lock);
	return thread;
}

int unstick_thread_find(struct unstick_thread **ret, pid_t tid)
{
	uint64_t start_time = 0;
	if (!ret)
		return -EINVAL;
	fork_register();
	int error = tid <= 0 ? -ESRCH : task_start_time(0, tid, &start_time);
	if (error && error != -ESRCH) /* /proc does not tell: the kernel says whether it is there */
		error = (int)RAW_3(SYS_tgkill, RAW_0(SYS_getpid), tid, 0);
	if (error)
		return error;
	struct unstick_thread *thread = find_attached(tid);
	if (!thread) {
		thread = take_record(tid, false);
		if (!thread)
			return -ENOMEM;
		thread->start_time = start_time;
	}
	*ret = thread;
	return 0;
}

pid_t unstick_thread_tid(const struct unstick_thread *thread)
{
	return atomic_load(&thread->tid);
}

int unstick_thread_outcome(const struct unstick_thread *thread, struct unstick_outcome *outcome)
{
	if (!thread || !outcome)
		return -EINVAL;
	outcome_load(&thread->outcome, outcome);
	return 0;
}

/* ---- fork */

void thread_before_fork(void)
{
	lock_take(&registry_lock);
}

void thread_after_fork_parent(void)
{
	lock_drop(&registry_lock);
}

/* Only the forking thread lives here, and without scopes: every record is free, or kept by handles that will say "gone". */
void thread_after_fork_child(void)
{
	for (struct unstick_thread *thread = atomic_load(&thread_registry); thread; thread = thread->next) {
		atomic_store(&thread->window.state, thread->window.state & ~(uint64_t)0xff);
		atomic_store(&thread->inflight, 0);
		atomic_store(&thread->depth, 0);
		atomic_store(&thread->base, 0);
		memset(thread->shields, 0, sizeof thread->shields);
		seqbox_reset(&thread->ticket.box); /* a writer may have been forked away from */
		seqbox_reset(&thread->outcome);
		close_call_fd(thread);
		atomic_store(&thread->ended, true);
		bool held = atomic_exchange(&thread->attached, false);
		if (held && atomic_fetch_sub(&thread->refs, 1) == 1) {
			atomic_store(&thread->tid, 0);
			thread->free_next = free_list;
			free_list = thread;
		}
	}
	thread_current = NULL;
	if (detach_key_made)
		pthread_setspecific(detach_key, NULL);
	lock_drop(&registry_lock);
}
