/* SPDX-License-Identifier: MIT */
#include "scope.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "service.h"
#include "token.h"

static PyTypeObject *scope_type;
static struct scope *spare;
/* Before 3.10 an asynchronous exception may arrive between the end of a block and its __exit__, which is then not called (bpo-29988):
 * the scope seems to be open still, and must not fire again. */
static bool checks_at_calls_only;

/* ---- why it fires */

int scope_reason(struct scope *me, unstick_time now)
{
	if (me->reason)
		return me->reason;
	if (me->cancelled)
		me->reason = -ECANCELED;
	else if (me->token && token_fired(me->token))
		me->reason = token_fired(me->token);
	else if (now >= me->deadline)
		me->reason = -ETIMEDOUT;
	return me->reason;
}

void scope_disable(struct scope *me)
{
	me->deadline = UNSTICK_NEVER;
	me->cancelled = false;
	me->reason = 0;
	me->span = INT64_MAX;
	Py_CLEAR(me->token);
}

static void scope_raise(struct delivery *delivery)
{
	struct scope *me = ((struct scope_delivery *)(void *)delivery)->scope;
	me->struck = true;
	me->lane->taken_at = delivery->taken_at;
	me->spent = delivery->by_slot && !checks_at_calls_only;
	errors_raise(me->reason, me->span, (PyObject *)me, NULL);
}

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

/* A call was ended for it, or is being ended now. */
static bool has_cut(const struct scope *me)
{
	return me->firing && me->firing->delivery.cut;
}

/* Nothing of it arrives afterwards. */
static void withdraw(struct scope *me)
{
	if (!scope_under_way(me))
		return;
	me->struck = me->struck || has_cut(me);
	delivery_close(&me->firing->delivery);
}

/* ---- made */

static PyObject *scope_new(enum scope_kind kind, int64_t span, PyObject *token)
{
	struct scope *me = spare;
	spare = NULL;
	if (!me && !(me = PyObject_Malloc(sizeof *me)))
		return PyErr_NoMemory();
	PyObject_Init((PyObject *)me, scope_type);
	memset((char *)me + sizeof(PyObject), 0, sizeof *me - sizeof(PyObject));
	me->kind = kind;
	me->span = span;
	me->deadline = UNSTICK_NEVER;
	if (token != Py_None) {
		Py_INCREF(token);
		me->token = token;
	}
	return (PyObject *)me;
}

/* (seconds, *, token=None). false: an error is set. */
static bool parse(const char *function, PyObject *const *args, Py_ssize_t given, PyObject *names, PyObject **seconds,
                  PyObject **token)
{
	Py_ssize_t named = names ? PyTuple_Size(names) : 0;
	*seconds = given > 0 ? args[0] : NULL;
	*token = Py_None;
	if (given > 1) {
		PyErr_Format(PyExc_TypeError, "%s() takes 1 positional argument but %zd were given", function, given);
		return false;
	}
	for (Py_ssize_t i = 0; i < named; i++) {
		PyObject *name = PyTuple_GetItem(names, i); /* borrowed */
		bool is_seconds = PyUnicode_CompareWithASCIIString(name, "seconds") == 0;
		if (is_seconds && *seconds) {
			PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument 'seconds'", function);
			return false;
		}
		if (!is_seconds && PyUnicode_CompareWithASCIIString(name, "token") != 0) {
			PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
			return false;
		}
		*(is_seconds ? seconds : token) = args[given + i];
	}
	if (!*seconds)
		PyErr_Format(PyExc_TypeError, "%s() missing 1 required argument: 'seconds'", function);
	return *seconds;
}

static PyObject *make(enum scope_kind kind, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	PyObject *seconds, *token;
	int64_t span;
	if (!parse(kind == SCOPE_RAISE ? "timeout" : "move_on_after", args, given, names, &seconds, &token))
		return NULL;
	if (!python_span(seconds, &span) || (token != Py_None && !token_check(token)))
		return NULL;
	return scope_new(kind, span, token);
}

PyObject *scope_timeout(PyObject *module, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	(void)module;
	return make(SCOPE_RAISE, args, given, names);
}

PyObject *scope_move_on_after(PyObject *module, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	(void)module;
	return make(SCOPE_SWALLOW, args, given, names);
}

PyObject *scope_shield(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return scope_new(SCOPE_SHIELD, INT64_MAX, Py_None);
}

/* ---- entered */

/* What is on its way here from outside the shield is withdrawn, and comes when the shield is left. */
static void hold_off_outer(struct scope *me)
{
	for (struct scope *i = me->outer; i; i = i->outer)
		withdraw(i);
}

static void look_now(struct scope *me)
{
	service_look_at(lane_step(me->lane, unstick_now()));
}

static PyObject *scope_enter(PyObject *self, PyObject *unused)
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
		me->deadline = unstick_after_ns(me->span);
	service_look_at(me->deadline);
	if (me->span <= 0 || me->cancelled || me->token)
		look_now(me);
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
	return (has_cut(me) && !me->firing->delivery.taken) || errors_has_cause(value, (PyObject *)me);
}

static PyObject *leave_struck(struct scope *me, PyObject *value)
{
	if (value && !is_ours(me, value))
		Py_RETURN_FALSE;
	if (me->kind == SCOPE_SWALLOW) {
		me->caught = true;
		Py_RETURN_TRUE;
	}
	PyObject *scope = value ? errors_scope(value) : NULL;
	bool itself = scope == (PyObject *)me;
	Py_XDECREF(scope);
	if (itself)
		Py_RETURN_FALSE;
	errors_raise(me->reason, me->span, (PyObject *)me, value);
	return NULL;
}

static PyObject *scope_exit(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	struct scope *me = (struct scope *)(void *)self;
	if (!me->lane) {
		PyErr_SetString(PyExc_RuntimeError, "this scope is not open");
		return NULL;
	}
	if (me->lane != lane_self()) {
		PyErr_SetString(PyExc_RuntimeError,
		                "a scope is left by the thread that entered it: is it in a generator that moved?");
		return NULL;
	}
	withdraw(me);
	struct lane *lane = me->lane;
	take_out(me);
	if (me->struck)
		lane->taken_at = 0; /* what was to be cleared up is */
	if (me->kind == SCOPE_SHIELD && lane->top)
		service_look_at(lane_step(lane, unstick_now()));
	if (!me->struck)
		Py_RETURN_FALSE;
	PyObject *value = given > 1 ? args[1] : NULL;
	return leave_struck(me, value == Py_None ? NULL : value);
}

static void scope_dealloc(PyObject *self)
{
	struct scope *me = (struct scope *)(void *)self;
	PyTypeObject *type = Py_TYPE(self);
	if (me->lane) { /* in a generator that was thrown away */
		withdraw(me);
		take_out(me);
	}
	free(me->firing);
	Py_XDECREF(me->token);
	if (spare)
		PyObject_Free(self);
	else
		spare = me;
	Py_DECREF(type);
}

/* ---- its methods */

static PyObject *scope_cancel(PyObject *self, PyObject *unused)
{
	struct scope *me = (struct scope *)(void *)self;
	(void)unused;
	me->cancelled = true;
	if (me->lane)
		look_now(me);
	Py_RETURN_NONE;
}

static PyObject *scope_reschedule(PyObject *self, PyObject *when)
{
	struct scope *me = (struct scope *)(void *)self;
	unstick_time deadline;
	if (!python_moment(when, &deadline))
		return NULL;
	if (me->reason || (me->entered && !me->lane)) {
		PyErr_SetString(PyExc_RuntimeError,
		                me->reason ? "the scope has fired: it cannot be rescheduled" : "the scope is over");
		return NULL;
	}
	me->deadline = deadline;
	me->span = deadline == UNSTICK_NEVER ? INT64_MAX : deadline - unstick_now();
	if (me->lane && me->span <= 0)
		look_now(me);
	else if (me->lane)
		service_look_at(deadline);
	Py_RETURN_NONE;
}

static PyObject *get_deadline(PyObject *self, void *unused)
{
	(void)unused;
	return python_from_moment(((struct scope *)(void *)self)->deadline);
}

static PyObject *get_caught(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(((struct scope *)(void *)self)->caught);
}

static PyObject *get_fired(PyObject *self, void *unused)
{
	(void)unused;
	struct scope *me = (struct scope *)(void *)self;
	return PyBool_FromLong(me->struck || has_cut(me));
}

static PyObject *get_outcome(PyObject *self, void *unused)
{
	(void)unused;
	struct scope *me = (struct scope *)(void *)self;
	if (!me->firing)
		Py_RETURN_NONE;
	return python_from_outcome(&me->firing->delivery.outcome);
}

static PyMethodDef methods[] = {
        {"__enter__", scope_enter, METH_NOARGS, NULL},
        {"__exit__", (PyCFunction)(void (*)(void))scope_exit, METH_FASTCALL, NULL},
        {"cancel", scope_cancel, METH_NOARGS, "Cancel the scope, from any thread: whatever it is doing comes out with Cancelled."},
        {"reschedule", scope_reschedule, METH_O,
         "Move the deadline to a moment of time.monotonic(); None: no deadline. RuntimeError once it has fired."},
        {"shield", scope_shield, METH_NOARGS, "with scope.shield(): no scope around it cuts this block short. For clean-up."},
        {NULL, NULL, 0, NULL},
};

static PyGetSetDef getters[] = {
        {"deadline", get_deadline, NULL, "The moment at which it fires, as time.monotonic(); None: never, or not entered.", NULL},
        {"cancelled_caught", get_caught, NULL, "True if move_on_after() has ended its block.", NULL},
        {"fired", get_fired, NULL, "True if something in the block was cut short by this scope.", NULL},
        {"_outcome", get_outcome, NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
        {Py_tp_doc, "A block of code that can be cut short. Made by unstick.timeout(), unstick.move_on_after(), unstick.shield()."},
        {Py_tp_dealloc, scope_dealloc},
        {Py_tp_methods, methods},
        {Py_tp_getset, getters},
        {0, NULL},
};
static PyType_Spec spec = {
        .name = "unstick._unstick.Scope", .basicsize = sizeof(struct scope), .flags = Py_TPFLAGS_DEFAULT, .slots = slots};

int scope_initialise(PyObject *module)
{
	scope_type = (PyTypeObject *)(void *)PyType_FromSpec(&spec);
	if (!scope_type)
		return -1;
	PyObject *version = PySys_GetObject("hexversion"); /* borrowed */
	checks_at_calls_only = version && PyLong_AsLong(version) >= 0x030a0000;
	Py_INCREF(scope_type);
	return PyModule_AddObject(module, "Scope", (PyObject *)scope_type);
}
