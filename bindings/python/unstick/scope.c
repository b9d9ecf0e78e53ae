/* SPDX-License-Identifier: MIT */
#include "scope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arrival.h"
#include "errors.h"
#include "service.h"
#include "token.h"

/* Before 3.10 an asynchronous exception may arrive between the end of a block and its __exit__, which is then not called (bpo-29988):
 * the scope seems to be open still, and must not fire again. */
static bool checks_at_calls_only;
static bool tells; /* UNSTICK_LOG=stderr */

static const int64_t WORTH_TELLING = 100 * PY_MS, INSISTS_AFTER = 1000 * PY_MS, TELLS_AFTER = 1000 * PY_MS;

/* ---- why it fires */

int scope_reason(struct scope *me, unstick_time now)
{
	if (me->reason)
		return me->reason;
	if (me->cancelled)
		me->reason = -ECANCELED;
	else if (me->token && token_fired(me->token))
		me->reason = token_fired(me->token), me->by_token = true;
	else if (now >= me->deadline)
		me->reason = -ETIMEDOUT;
	return me->reason;
}

void scope_disable(struct scope *me)
{
	me->spent = true;
	me->deadline = UNSTICK_NEVER;
}

/* ---- what it raises */

static void print_late(char *text, size_t size, int64_t late)
{
	if (late >= WORTH_TELLING)
		snprintf(text, size, "; it came out %.1f s after that", (double)late / 1e9);
}

static void raise_it(const struct scope *me, enum errors_kind kind, PyObject *cause)
{
	char text[128] = "there was no time left", late[48] = "";
	if (me->by_token)
		snprintf(text, sizeof text, "the token %s", me->reason == -ECANCELED ? "was cancelled" : "was out of time");
	else if (me->reason == -ECANCELED)
		snprintf(text, sizeof text, "the scope was cancelled");
	else if (me->span > 0) {
		print_late(late, sizeof late, unstick_now() - me->deadline);
		snprintf(text, sizeof text, "not done after %.*f s%s%s", me->span < PY_MS ? 6 : 3, (double)me->span / 1e9, late,
		         kind == ERRORS_INSISTENT ? "; Timeout was caught, and the block went on" : "");
	}
	errors_raise(kind, text, (PyObject *)me, cause);
}

static enum errors_kind usual_kind(const struct scope *me)
{
	return me->reason == -ECANCELED ? ERRORS_CANCELLED : ERRORS_TIMEOUT;
}

/* Code that catches TimeoutError and tries again gets something that it does not catch; the end of the scope makes it a Timeout. */
static enum errors_kind kind_at(const struct scope *me, unstick_time now)
{
	unstick_time struck_at = me->firing->struck_at;
	bool caught_for_long = struck_at && now - struck_at >= INSISTS_AFTER;
	return me->reason == -ETIMEDOUT && caught_for_long ? ERRORS_INSISTENT : usual_kind(me);
}

static void scope_raise(struct delivery *delivery)
{
	struct scope *me = ((struct scope_delivery *)(void *)delivery)->scope;
	Py_INCREF(me); /* making an exception may collect garbage, and that may be the generator whose scope this is */
	enum errors_kind kind = kind_at(me, delivery->taken_at);
	me->struck = true;
	if (!me->firing->struck_at)
		me->firing->struck_at = delivery->taken_at;
	me->lane->taken_at = delivery->taken_at;
	me->spent = delivery->by_slot && !checks_at_calls_only;
	raise_it(me, kind, NULL);
	Py_DECREF(me);
}

/* CPython has emptied the slot before it calls what was in it. What happens in between (a finaliser, garbage being collected) may have let
 * it be filled and emptied again: then the first to come finds nothing. */
static bool raise_again(void)
{
	struct lane *lane = lane_self();
	struct scope *me = lane ? lane->top : NULL;
	while (me && !(me->struck && me->reason))
		me = me->outer;
	if (!me)
		return false;
	Py_INCREF(me);
	raise_it(me, usual_kind(me), NULL);
	Py_DECREF(me);
	return true;
}

/* ---- firing */

struct delivery *scope_fire(struct scope *me)
{
	if (!me->firing)
		me->firing = calloc(1, sizeof *me->firing);
	if (!me->firing)
		return NULL;
	struct delivery *delivery = &me->firing->delivery;
	me->firing->scope = me;
	delivery->ident = me->lane->ident;
	delivery->tid = me->lane->tid;
	delivery->raise = scope_raise;
	return delivery_open(delivery) ? NULL : delivery;
}

bool scope_has_cut(const struct scope *me)
{
	return me->firing && me->firing->delivery.cut;
}

/* Nothing of it arrives afterwards. */
static void withdraw(struct scope *me)
{
	if (!scope_under_way(me))
		return;
	me->struck = me->struck || scope_has_cut(me);
	delivery_close(&me->firing->delivery);
}

/* ---- entered */

/* What is on its way here from outside the shield is withdrawn, and comes when the shield is left. */
static void hold_off_outer(struct scope *me)
{
	for (struct scope *i = me->outer; i; i = i->outer)
		withdraw(i);
	delivery_hold(me->lane->ident);
}

void scope_look_now(struct scope *me)
{
	service_look_at(lane_step(me->lane, unstick_now()));
}

/* unstick_after_ns() within: its calls through tables of libraries are a tenth of what a scope costs. */
static unstick_time after(int64_t span)
{
	struct timespec now;
	unstick_time moment;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (__builtin_add_overflow((int64_t)now.tv_sec * 1000 * PY_MS + now.tv_nsec, span, &moment))
		return UNSTICK_NEVER;
	return moment;
}

PyObject *scope_enter(PyObject *self, PyObject *unused)
{
	struct scope *me = (struct scope *)(void *)self;
	(void)unused;
	if (me->entered) {
		PyErr_SetString(PyExc_RuntimeError,
		                "a scope can be entered once: make another with unstick.timeout() or move_on_after()");
		return NULL;
	}
	struct lane *lane = lane_self();
	if (!lane)
		return PyErr_NoMemory();
	if (me->kind != SCOPE_SHIELD && service_start())
		return NULL;
	me->entered = true;
	me->lane = lane;
	me->outer = lane->top;
	lane->top = me;
	if (me->kind == SCOPE_SHIELD)
		hold_off_outer(me);
	if (me->span != INT64_MAX && me->deadline == UNSTICK_NEVER)
		me->deadline = after(me->span);
	service_look_at(me->deadline);
	/* Not fired here: raised by a plain call of __enter__(), as ExitStack's, its exception would be outside of the block. */
	if ((me->cancelled || me->token) && scope_reason(me, 0))
		service_look_at(0);
	Py_INCREF(self);
	return self;
}

/* ---- left */

static void take_out(struct scope *me)
{
	struct scope **i = &me->lane->top;
	while (*i && *i != me)
		i = &(*i)->outer;
	if (*i)
		*i = me->outer;
	me->lane = NULL;
}

/* Is `value` this scope's exception, or was it made while that was handled? One that another scope's is on its way to is not. */
static bool is_ours(struct scope *me, PyObject *value)
{
	PyObject *scope = errors_scope(value);
	bool ours = scope == (PyObject *)me, others = scope && !ours;
	Py_XDECREF(scope);
	if (ours || others || !PyErr_GivenExceptionMatches(value, PyExc_Exception))
		return ours;
	/* The call's error became this one in C: nobody has seen ours. */
	return (scope_has_cut(me) && !me->firing->delivery.taken) || errors_has_cause(value, (PyObject *)me);
}

static PyObject *leave_struck(struct scope *me, PyObject *value)
{
	if (value && !is_ours(me, value))
		Py_RETURN_FALSE;
	if (me->kind == SCOPE_SWALLOW) {
		me->caught = true;
		Py_RETURN_TRUE;
	}
	PyObject *scope = value && !errors_insists(value) ? errors_scope(value) : NULL;
	bool itself = scope == (PyObject *)me;
	Py_XDECREF(scope);
	if (itself)
		Py_RETURN_FALSE;
	raise_it(me, usual_kind(me), value);
	return NULL;
}

/* In a thread that has not entered it: maybe the garbage collector throws away its generator there. */
static PyObject *leave_elsewhere(struct scope *me, const PyObject *type)
{
	if (type == PyExc_GeneratorExit) {
		scope_abandon(me);
		Py_RETURN_FALSE;
	}
	PyErr_SetString(PyExc_RuntimeError, "a scope is left by the thread that entered it: is it in a generator that moved?");
	return NULL;
}

PyObject *scope_exit(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	struct scope *me = (struct scope *)(void *)self;
	if (!me->lane) {
		PyErr_SetString(PyExc_RuntimeError, "this scope is not open");
		return NULL;
	}
	struct lane *lane = lane_self();
	if (me->lane != lane)
		return leave_elsewhere(me, given > 0 ? args[0] : NULL);
	if (me->firing && me->deadline != UNSTICK_NEVER)
		me->firing->overrun = unstick_now() - me->deadline;
	withdraw(me);
	take_out(me);
	if (me->struck)
		lane->taken_at = 0; /* what was to be cleared up is */
	if (me->admits)
		delivery_hold(lane->ident);
	if (me->kind == SCOPE_SHIELD && lane->top)
		service_look_at(lane_step(lane, unstick_now()));
	if (!me->struck)
		Py_RETURN_FALSE;
	return leave_struck(me, given > 1 && PyExceptionInstance_Check(args[1]) ? args[1] : NULL);
}

void scope_abandon(struct scope *me)
{
	withdraw(me);
	take_out(me);
}

void scope_tell_overdue(struct scope *me, unstick_time now)
{
	char text[256];
	if (!tells || me->firing->told || now - me->firing->delivery.begun < TELLS_AFTER)
		return;
	me->firing->told = true;
	unstick_outcome_print(&me->firing->delivery.outcome, text, sizeof text);
	dprintf(STDERR_FILENO, "unstick: a scope of Python's should have ended %.1f s ago, and could not be: %s\n",
	        (double)(now - me->firing->delivery.begun) / 1e9, text);
}

void scope_initialise(void)
{
	PyObject *version = PySys_GetObject("hexversion"); /* borrowed */
	const char *wish = secure_getenv("UNSTICK_LOG");
	checks_at_calls_only = version && PyLong_AsLong(version) >= 0x030a0000;
	arrival_set_stray(raise_again);
	tells = wish && strcmp(wish, "stderr") == 0;
}
