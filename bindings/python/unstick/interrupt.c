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
#include "lane.h"

/* A call that has been ended has this long to turn into the exception, even if the caller's time is over. */
static const unstick_time FOR_ERROR = 100 * PY_MS;
/* One that waited for a condition and has been woken needs only the GIL to get the exception; without it, wait() would return True though
 * nobody has notified. The limit is for a thread that something else keeps from running. */
static const unstick_time FOR_WOKEN = 10000 * PY_MS;

enum { LOOKS_FOR_ERROR = 10 };
static const int64_t IN_SHIELD[] = {1 * PY_MS, 2 * PY_MS, 4 * PY_MS, 10 * PY_MS}; /* between looks */

struct interrupt {
	struct delivery delivery;
	PyObject *exception; /* an instance */
	unstick_time until;
	bool cut, woken; /* seen, and the time for it given */
	unsigned looks_since_cut, looks_at_shield;
};

static void raise_it(struct delivery *delivery)
{
	PyObject *exception = ((struct interrupt *)(void *)((char *)delivery - offsetof(struct interrupt, delivery)))->exception;
	Py_INCREF(exception);
	PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
	Py_DECREF(exception);
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

/* One look, unless it is in a shield, which may end. */
static void push(struct interrupt *me)
{
	if (!lane_is_shielded(me->delivery.ident)) {
		delivery_push(&me->delivery);
		me->looks_since_cut += me->delivery.cut;
	} else if (!me->delivery.cut && !me->delivery.off_list) {
		me->delivery.outcome.kind = UNSTICK_SHIELDED;
		me->delivery.at = unstick_after_ns(IN_SHIELD[me->looks_at_shield]);
		me->looks_at_shield += me->looks_at_shield + 1 < sizeof IN_SHIELD / sizeof IN_SHIELD[0];
	}
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
	if (me->delivery.taken || me->delivery.gone || !me->delivery.open)
		return true;
	if (unstick_now() >= me->until)
		return !me->cut || me->looks_since_cut >= LOOKS_FOR_ERROR; /* others may have kept the GIL from it all the time */
	return !me->woken && delivery_for_caller();
}

/* false: a signal handler of the caller has raised. */
static bool pursue(struct interrupt *me)
{
	for (;;) {
		push(me);
		give_time(me);
		if (is_over(me))
			return true;
		wait_for_it(&me->delivery, me->cut ? me->delivery.at : earlier(me->delivery.at, me->until));
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
	if (delivery->taken) {
		delivery->outcome.error = 0; /* what the call got does not matter: the thread got the exception */
		return;
	}
	delivery->outcome.kind = cut ? UNSTICK_WOKEN : delivery->gone ? UNSTICK_GONE : delivery->outcome.kind;
	delivery->outcome.ns = unstick_now() - delivery->begun;
}

/* In this thread, since making it may run anything, and fail. A new reference. */
static PyObject *instance_of(PyObject *exception)
{
	if (PyExceptionClass_Check(exception))
		exception = PyObject_CallObject(exception, NULL);
	else
		Py_INCREF(exception);
	if (!exception || PyExceptionInstance_Check(exception))
		return exception;
	PyErr_SetString(PyExc_TypeError, "exc must be an exception: a class derived from BaseException, or an instance");
	Py_DECREF(exception);
	return NULL;
}

static PyObject *carry_out(struct interrupt *me)
{
	int error = delivery_open(&me->delivery);
	if (error)
		return python_error(error, "unstick.interrupt()");
	bool went = pursue(me);
	conclude(&me->delivery);
	if (!went)
		return NULL;
	PyObject *outcome = python_from_outcome(&me->delivery.outcome);
	return outcome ? Py_BuildValue("(NO)", outcome, me->delivery.taken ? Py_True : Py_False) : NULL;
}

PyObject *interrupt_thread(PyObject *module, PyObject *args)
{
	struct interrupt me = {.delivery.raise = raise_it};
	PyObject *exception, *seconds;
	int64_t span;
	int tid;
	(void)module;
	if (!PyArg_ParseTuple(args, "kiOO", &me.delivery.ident, &tid, &exception, &seconds) || !python_span(seconds, &span))
		return NULL;
	me.exception = instance_of(exception);
	if (!me.exception)
		return NULL;
	me.delivery.tid = tid;
	me.until = unstick_after_ns(span);
	PyObject *result = carry_out(&me);
	Py_DECREF(me.exception);
	return result;
}
