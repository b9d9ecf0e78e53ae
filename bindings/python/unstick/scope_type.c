/* SPDX-License-Identifier: MIT */
#include "scope_type.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scope.h"
#include "service.h"
#include "token.h"

static PyTypeObject *scope_type;
static struct scope *spare; /* one that was dropped, with its reference to the type */

/* ---- made */

static PyObject *scope_new(enum scope_kind kind, int64_t span, PyObject *token)
{
	/* Copied in a few moves: gcc makes of a memset() of this size a `rep stos`, which takes longer. */
	static const struct scope fresh = {.deadline = UNSTICK_NEVER};
	struct scope *me = spare;
	if (me) {
		spare = NULL;
		me->ob_base.ob_refcnt = 1; /* the rest of its head is as it was */
	} else {
		me = PyObject_Malloc(sizeof *me);
		if (!me)
			return PyErr_NoMemory();
		PyObject_Init((PyObject *)me, scope_type);
	}
	memcpy((char *)me + sizeof(PyObject), (const char *)&fresh + sizeof(PyObject), sizeof *me - sizeof(PyObject));
	me->kind = kind;
	me->span = span;
	if (token != Py_None) {
		Py_INCREF(token);
		me->token = token;
	}
	return (PyObject *)me;
}

/* (seconds, *, token=None). The caller has set both to what they are if not given by name. false: an error is set. */
static bool parse(const char *function, PyObject *const *args, Py_ssize_t given, PyObject *names, PyObject **seconds,
                  PyObject **token)
{
	Py_ssize_t named = names ? PyTuple_Size(names) : 0;
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
	PyObject *seconds = given > 0 ? args[0] : NULL, *token = Py_None;
	int64_t span;
	bool plain = given == 1 && !names;
	if (!plain && !parse(kind == SCOPE_RAISE ? "timeout" : "move_on_after", args, given, names, &seconds, &token))
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

PyObject *scope_work(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	PyObject *work = scope_new(SCOPE_SWALLOW, INT64_MAX, Py_None);
	if (work)
		((struct scope *)(void *)work)->admits = true;
	return work;
}

static void scope_dealloc(PyObject *self)
{
	struct scope *me = (struct scope *)(void *)self;
	if (me->lane)
		scope_abandon(me);
	if (me->firing) /* few have one: no call for the others */
		free(me->firing);
	Py_XDECREF(me->token);
	if (!spare) {
		spare = me;
		return;
	}
	PyTypeObject *type = Py_TYPE(self);
	PyObject_Free(self);
	Py_DECREF(type);
}

/* ---- its methods */

static PyObject *scope_cancel(PyObject *self, PyObject *unused)
{
	struct scope *me = (struct scope *)(void *)self;
	(void)unused;
	me->cancelled = true;
	if (me->lane)
		scope_look_now(me);
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
		scope_look_now(me);
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
	return PyBool_FromLong(me->struck || scope_has_cut(me));
}

static PyObject *get_cancelled(PyObject *self, void *unused)
{
	(void)unused;
	struct scope *me = (struct scope *)(void *)self;
	return PyBool_FromLong(me->cancelled || me->reason == -ECANCELED);
}

static PyObject *get_overrun(PyObject *self, void *unused)
{
	(void)unused;
	struct scope *me = (struct scope *)(void *)self;
	int64_t overrun = me->firing ? me->firing->overrun : 0;
	if (me->lane && me->deadline != UNSTICK_NEVER)
		overrun = unstick_now() - me->deadline;
	return PyFloat_FromDouble(overrun > 0 ? (double)overrun / 1e9 : 0.0);
}

static PyObject *get_outcome(PyObject *self, void *unused)
{
	(void)unused;
	struct scope *me = (struct scope *)(void *)self;
	if (!me->firing)
		Py_RETURN_NONE;
	return python_from_outcome(&me->firing->delivery.outcome);
}

static const char *stage(const struct scope *me)
{
	return me->struck || scope_has_cut(me) ? "fired" : me->lane ? "open" : me->entered ? "left" : "not entered";
}

static PyObject *scope_repr(PyObject *self)
{
	static const char *const names[] = {
	        [SCOPE_RAISE] = "timeout", [SCOPE_SWALLOW] = "move_on_after", [SCOPE_SHIELD] = "shield"};
	struct scope *me = (struct scope *)(void *)self;
	char span[32] = "";
	if (me->kind != SCOPE_SHIELD && me->span == INT64_MAX)
		strcpy(span, "None");
	else if (me->kind != SCOPE_SHIELD)
		snprintf(span, sizeof span, "%.6g", (double)me->span / 1e9);
	return PyUnicode_FromFormat("<unstick.%s(%s): %s>", names[me->kind], span, stage(me));
}

static PyObject *scope_refuse(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	(void)type;
	(void)args;
	(void)keywords;
	PyErr_SetString(PyExc_TypeError, "scopes are made by unstick.timeout(), move_on_after() and shield()");
	return NULL;
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
        {"cancelled", get_cancelled, NULL, "True if it was cancelled, by cancel() or by its token; not if its time was over.",
         NULL},
        {"overrun", get_overrun, NULL, "Seconds for which the block went on after the deadline; 0.0: none.", NULL},
        {"_outcome", get_outcome, NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
        {Py_tp_doc, "A block of code that can be cut short. Made by unstick.timeout(), unstick.move_on_after(), unstick.shield()."},
        {Py_tp_new, scope_refuse},
        {Py_tp_dealloc, scope_dealloc},
        {Py_tp_repr, scope_repr},
        {Py_tp_methods, methods},
        {Py_tp_getset, getters},
        {0, NULL},
};
static PyType_Spec spec = {
        .name = "unstick._unstick.Scope", .basicsize = sizeof(struct scope), .flags = PY_TYPE_FLAGS, .slots = slots};

int scope_type_initialise(PyObject *module)
{
	scope_type = (PyTypeObject *)(void *)PyType_FromSpec(&spec);
	if (!scope_type)
		return -1;
	Py_INCREF(scope_type);
	return PyModule_AddObject(module, "Scope", (PyObject *)scope_type);
}
