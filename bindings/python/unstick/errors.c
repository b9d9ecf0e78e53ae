/* SPDX-License-Identifier: MIT */
#include "errors.h"

#include <errno.h>

static PyObject *timeout, *interrupted, *cancelled;

static PyObject *make(enum errors_kind kind, const char *text)
{
	if (kind == ERRORS_TIMEOUT)
		return PyObject_CallFunction(timeout, "is", ETIMEDOUT, text);
	return PyObject_CallFunction(kind == ERRORS_CANCELLED ? cancelled : interrupted, "s", text);
}

bool errors_insists(PyObject *value)
{
	return (PyObject *)Py_TYPE(value) == interrupted;
}

void errors_raise(enum errors_kind kind, const char *text, PyObject *scope, PyObject *cause)
{
	PyObject *value = make(kind, text);
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

/* ---- the classes */

/* Without the scope, which means nothing in another process. */
static PyObject *reduce(PyObject *self, PyObject *unused)
{
	(void)unused;
	PyObject *arguments = PyObject_GetAttrString(self, "args"), *names = PyObject_GetAttrString(self, "__dict__");
	PyObject *others = names ? PyDict_Copy(names) : NULL;
	PyObject *reduced = NULL;
	if (arguments && others && (PyDict_DelItemString(others, "scope") == 0 || (PyErr_Clear(), true)))
		reduced = Py_BuildValue("(OOO)", (PyObject *)Py_TYPE(self), arguments, others);
	Py_XDECREF(arguments);
	Py_XDECREF(names);
	Py_XDECREF(others);
	return reduced;
}

/* For people: without "[Errno 110]". */
static PyObject *timeout_str(PyObject *self, PyObject *unused)
{
	(void)unused;
	PyObject *text = PyObject_GetAttrString(self, "strerror");
	if (text && PyUnicode_Check(text))
		return text;
	Py_CLEAR(text);
	PyErr_Clear();
	PyObject *arguments = PyObject_GetAttrString(self, "args");
	Py_ssize_t count = arguments ? PyTuple_Size(arguments) : -1;
	if (count >= 0)
		text = count == 0 ? PyUnicode_FromString("") : PyObject_Str(count == 1 ? PyTuple_GetItem(arguments, 0) : arguments);
	Py_XDECREF(arguments);
	return text;
}

static PyMethodDef reduce_method = {"__reduce__", reduce, METH_NOARGS, NULL};
static PyMethodDef str_method = {"__str__", timeout_str, METH_NOARGS, NULL};

static int add_method(PyObject *type, PyMethodDef *method)
{
	PyObject *descriptor = PyDescr_NewMethod((PyTypeObject *)(void *)type, method);
	int error = descriptor ? PyObject_SetAttrString(type, method->ml_name, descriptor) : -1;
	Py_XDECREF(descriptor);
	return error;
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
	if (add_method(timeout, &reduce_method) || add_method(interrupted, &reduce_method) || add_method(timeout, &str_method))
		return -1;
	return add(module, "Timeout", timeout) || add(module, "Interrupted", interrupted) || add(module, "Cancelled", cancelled)
	               ? -1
	               : 0;
}
