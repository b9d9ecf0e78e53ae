/* SPDX-License-Identifier: MIT */
#include "errors.h"

#include <errno.h>
#include <stdio.h>

static PyObject *timeout, *interrupted, *cancelled;

static PyObject *make(int reason, int64_t span)
{
	char text[64];
	if (reason == -ECANCELED)
		return PyObject_CallFunction(cancelled, "s", "the scope was cancelled");
	if (span == INT64_MAX)
		return PyObject_CallFunction(timeout, "is", ETIMEDOUT, "the token's time was over");
	snprintf(text, sizeof text, "not done after %.3f s", (double)span / 1e9);
	return PyObject_CallFunction(timeout, "is", ETIMEDOUT, text);
}

void errors_raise(int reason, int64_t span, PyObject *scope, PyObject *cause)
{
	PyObject *value = make(reason, span);
	if (value && PyObject_SetAttrString(value, "scope", scope) == 0) {
		if (cause) {
			Py_INCREF(cause);
			PyException_SetCause(value, cause); /* takes it */
		}
		PyErr_SetObject((PyObject *)Py_TYPE(value), value);
	}
	Py_XDECREF(value);
}

PyObject *errors_scope(PyObject *value)
{
	if (PyObject_IsInstance(value, timeout) <= 0 && PyObject_IsInstance(value, interrupted) <= 0)
		return NULL;
	PyObject *scope = PyObject_GetAttrString(value, "scope");
	if (!scope)
		PyErr_Clear();
	return scope;
}

bool errors_has_cause(PyObject *value, PyObject *scope)
{
	enum { LONGEST = 64 };
	bool found = false;
	Py_INCREF(value);
	for (unsigned i = 0; value && !found && i < LONGEST; i++) {
		PyObject *of = errors_scope(value);
		found = of == scope;
		Py_XDECREF(of);
		PyObject *next = PyException_GetCause(value);
		if (!next)
			next = PyException_GetContext(value);
		Py_DECREF(value);
		value = next;
	}
	Py_XDECREF(value);
	return found;
}

static int add(PyObject *module, const char *name, PyObject *error)
{
	if (!error)
		return -1;
	Py_INCREF(error);
	return PyModule_AddObject(module, name, error);
}

int errors_initialise(PyObject *module)
{
	PyObject *members = Py_BuildValue("{sO}", "scope", Py_None);
	if (!members)
		return -1;
	timeout = PyErr_NewExceptionWithDoc("unstick.Timeout",
	                                    "The time of a scope was over. A TimeoutError; `scope` says which scope's it was.",
	                                    PyExc_TimeoutError, members);
	Py_DECREF(members);
	members = Py_BuildValue("{sO}", "scope", Py_None);
	interrupted =
	        PyErr_NewExceptionWithDoc("unstick.Interrupted",
	                                  "What unstick.interrupt() raises in a thread. A BaseException, as KeyboardInterrupt: "
	                                  "`except Exception` does not stop it.",
	                                  PyExc_BaseException, members);
	Py_XDECREF(members);
	if (!timeout || !interrupted)
		return -1;
	cancelled = PyErr_NewExceptionWithDoc("unstick.Cancelled", "The scope, or its token, was cancelled. A BaseException.",
	                                      interrupted, NULL);
	return add(module, "Timeout", timeout) || add(module, "Interrupted", interrupted) || add(module, "Cancelled", cancelled)
	               ? -1
	               : 0;
}
