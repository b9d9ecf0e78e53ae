/* SPDX-License-Identifier: MIT */
#include "arrival.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "delivery.h"
#include "errors.h"
#include "interpreter.h"

PyObject *arrival_type;
static bool (*stray)(void);
int arrival_errno = -ECANCELED;

/* ---- the slot's class */

/* 3.12 puts a note on an exception that is raised while another is made, and takes what the class makes as it is; before, that
 * must be an instance of the class. */
static PyObject *raised_or_made(void)
{
	PyObject *type, *value, *traceback, *version = PySys_GetObject("hexversion"); /* borrowed */
	if (!version || PyLong_AsLong(version) < 0x030c0000)
		return NULL;
	PyErr_Fetch(&type, &value, &traceback);
	Py_XDECREF(type);
	Py_XDECREF(traceback);
	return value;
}

static PyObject *arrive(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	(void)type;
	(void)args;
	(void)keywords;
	if (!delivery_take(DELIVERY_BY_SLOT) && !(stray && stray())) /* somebody called it, or it came after its withdrawal (3.8) */
		errors_raise(ERRORS_INSISTENT, "nothing is on its way to this thread any more", Py_None, NULL);
	return raised_or_made();
}

static PyType_Slot arrival_slots[] = {
        {Py_tp_doc, "What the asynchronous slot of a thread holds; never an instance."},
        {Py_tp_new, arrive},
        {0, NULL},
};
static PyType_Spec arrival_spec = {.name = "unstick._unstick.Arrival", .flags = PY_TYPE_FLAGS, .slots = arrival_slots};

/* ---- the hook */

static PyObject *alloc_timeout_error(PyTypeObject *type, Py_ssize_t items)
{
	if (interpreter_is_ours() && delivery_list && delivery_take(DELIVERY_BY_CALL))
		return NULL;
	return PyType_GenericAlloc(type, items);
}

static PyType_Slot probe_slots[] = {{Py_tp_alloc, alloc_timeout_error}, {0, NULL}};
static PyType_Spec probe_spec = {.name = "unstick._unstick.Probe", .flags = PY_TYPE_FLAGS, .slots = probe_slots};

/* The offset of the only word of `type` that is `wanted`; 0: there is none, or more than one. */
static size_t find_word(const PyObject *type, size_t size, uintptr_t wanted)
{
	size_t found = 0;
	for (size_t at = sizeof(PyObject); at + sizeof wanted <= size; at += sizeof wanted) {
		uintptr_t word;
		memcpy(&word, (const char *)type + at, sizeof word);
		if (word != wanted)
			continue;
		if (found)
			return 0;
		found = at;
	}
	return found;
}

/* sizeof(PyTypeObject) in this interpreter. */
static size_t size_of_types(void)
{
	PyObject *size = PyObject_GetAttrString((PyObject *)&PyType_Type, "__basicsize__");
	size_t bytes = size ? PyLong_AsSize_t(size) : 0;
	Py_XDECREF(size);
	if (!PyErr_Occurred())
		return bytes;
	PyErr_Clear();
	return 0;
}

static void hook_timeout_error(void)
{
	const char *wish = getenv("UNSTICK_PYTHON_HOOK");
	if (wish && strcmp(wish, "0") == 0)
		return;
	PyObject *probe = PyType_FromSpec(&probe_spec);
	if (!probe) {
		PyErr_Clear();
		return;
	}
	uintptr_t ours = (uintptr_t)alloc_timeout_error, usual = (uintptr_t)PyType_GenericAlloc;
	size_t at = find_word(probe, size_of_types(), ours);
	char *field = (char *)PyExc_TimeoutError + at;
	if (at && memcmp(field, &usual, sizeof usual) == 0) {
		memcpy(field, &ours, sizeof ours);
		arrival_errno = -ETIMEDOUT;
	}
	Py_DECREF(probe);
}

void arrival_set_stray(bool (*function)(void))
{
	stray = function;
}

int arrival_initialise(PyObject *module)
{
	PyObject *bases = PyTuple_Pack(1, PyExc_BaseException);
	arrival_type = bases ? PyType_FromSpecWithBases(&arrival_spec, bases) : NULL;
	Py_XDECREF(bases);
	if (!arrival_type)
		return -1;
	hook_timeout_error();
	return PyModule_AddIntConstant(module, "hooked", arrival_errno == -ETIMEDOUT);
}
