/* SPDX-License-Identifier: MIT
 *
 * _unstick.interrupt(): one exception into any thread, whether or not it has ever heard of unstick.
 */
#include "interrupt.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "delivery.h"

/* A call that has been ended has this long to turn into the exception, even if the caller's time is over. */
static const unstick_time FOR_ERROR = 100 * PY_MS;
/* One that waited for a condition and has been woken needs only the GIL to get the exception; without it, wait() would return True though
 * nobody has notified. The limit is for a thread that something else keeps from running. */
static const unstick_time FOR_WOKEN = 10000 * PY_MS;

struct interrupt {
	struct delivery delivery;
	PyObject *exception; /* a class, or an instance */
	unstick_time until;
	bool cut, woken; /* seen, and the time for it given */
};

static void raise_it(struct delivery *delivery)
{
	struct interrupt *me = (struct interrupt *)(void *)((char *)delivery - offsetof(struct interrupt, delivery));
	PyObject *exception = me->exception;
	if (PyExceptionClass_Check(exception))
		PyErr_SetNone(exception);
	else
		PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
}

static unstick_time earlier(unstick_time a, unstick_time b)
{
	return a < b ? a : b;
}

static unstick_time later(unstick_time a, unstick_time b)
{
	return a > b ? a : b;
}

static void wait_for_it(struct delivery *delivery, unstick_time until)
{
	unstick_time left = until - unstick_now();
	struct timespec span = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
	if (left <= 0)
		return;
	Py_BEGIN_ALLOW_THREADS syscall(SYS_futex, &delivery->word, FUTEX_WAIT_PRIVATE, 0, &span, NULL, 0);
	Py_END_ALLOW_THREADS
}

/* What is on its way is waited for, even if the caller's time is over. */
static void give_time(struct interrupt *me)
{
	if (me->delivery.cut && !me->cut)
		me->until = later(me->until, unstick_now() + FOR_ERROR);
	if (me->delivery.off_list && !me->woken)
		me->until = later(me->until, unstick_now() + FOR_WOKEN);
	me->cut = me->delivery.cut;
	me->woken = me->delivery.off_list;
}

static bool is_over(const struct interrupt *me)
{
	if (me->delivery.taken || me->delivery.gone || unstick_now() >= me->until)
		return true;
	return !me->woken && delivery_for_caller();
}

/* false: a signal handler of the caller has raised. */
static bool pursue(struct interrupt *me)
{
	for (;;) {
		delivery_push(&me->delivery);
		give_time(me);
		if (is_over(me))
			return true;
		wait_for_it(&me->delivery, earlier(me->delivery.at, me->until));
		if (!me->delivery.taken && !me->woken && PyErr_CheckSignals())
			return false;
		if (is_over(me))
			return true;
	}
}

static void conclude(struct delivery *delivery)
{
	bool cut = delivery->cut;
	delivery_close(delivery);
	if (delivery->taken)
		return;
	delivery->outcome.kind = cut ? UNSTICK_WOKEN : delivery->gone ? UNSTICK_GONE : delivery->outcome.kind;
	delivery->outcome.ns = unstick_now() - delivery->begun;
}

PyObject *interrupt_thread(PyObject *module, PyObject *args)
{
	struct interrupt me = {.delivery.raise = raise_it};
	PyObject *seconds;
	int64_t span;
	int tid;
	(void)module;
	if (!PyArg_ParseTuple(args, "kiOO", &me.delivery.ident, &tid, &me.exception, &seconds) || !python_span(seconds, &span))
		return NULL;
	me.delivery.tid = tid;
	me.until = unstick_after_ns(span);
	int error = delivery_open(&me.delivery);
	if (error)
		return python_error(error, "unstick.interrupt()");
	bool went = pursue(&me);
	conclude(&me.delivery);
	if (!went)
		return NULL;
	PyObject *outcome = python_from_outcome(&me.delivery.outcome);
	return outcome ? Py_BuildValue("(NO)", outcome, me.delivery.taken ? Py_True : Py_False) : NULL;
}
