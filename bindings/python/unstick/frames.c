/* SPDX-License-Identifier: MIT */
#include "frames.h"

#include "interpreter.h"

/* Did it answer True? */
static bool collector(const char *name)
{
	static PyObject *module;
	if (!module)
		module = PyImport_ImportModule("gc");
	PyObject *answer = module ? PyObject_CallMethod(module, name, NULL) : NULL;
	bool yes = answer == Py_True;
	Py_XDECREF(answer);
	PyErr_Clear();
	return yes;
}

bool frames_pause_collector(void)
{
	bool runs = collector("isenabled");
	if (runs)
		collector("disable");
	return runs;
}

void frames_resume_collector(bool paused)
{
	if (paused)
		collector("enable");
}

bool frames_handle_exception(unsigned long ident)
{
	if (!PySys_GetObject("_current_exceptions") || !interpreter_gil_is_for_all())
		return true;
	PyObject *one = interpreter_ask_of_all("_current_exceptions", ident);
	/* 3.12: the exception or None; before: a tuple of three */
	bool handles = one && (PyTuple_Check(one) ? PyTuple_Size(one) > 0 && PyTuple_GetItem(one, 0) != Py_None : one != Py_None);
	Py_XDECREF(one);
	return handles;
}

/* Takes `of`. */
static PyObject *attribute(PyObject *of, const char *name)
{
	PyObject *value = of ? PyObject_GetAttrString(of, name) : NULL;
	Py_XDECREF(of);
	return value;
}

static bool is_text(PyObject *object, const char *text)
{
	return object && PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, text) == 0;
}

bool frames_is_in(PyObject *frame, const char *module)
{
	PyObject *names = PyObject_GetAttrString(frame, "f_globals");
	bool is_in = names && PyDict_Check(names) && is_text(PyDict_GetItemString(names, "__name__"), module);
	Py_XDECREF(names);
	PyErr_Clear();
	return is_in;
}

static bool is_function(PyObject *frame, const char *name)
{
	Py_INCREF(frame);
	PyObject *function = attribute(attribute(frame, "f_code"), "co_name");
	bool is_it = is_text(function, name);
	Py_XDECREF(function);
	PyErr_Clear();
	return is_it;
}

/* _weakrefset: the set in which threading keeps threads. is_alive() goes to _wait_for_tstate_lock() as join() does, and takes
 * the thread for ended if something is raised there (3.10 to 3.12). */
static bool is_delicate(PyObject *frame)
{
	if (!frames_is_in(frame, "threading") && !frames_is_in(frame, "queue") && !frames_is_in(frame, "_weakrefset"))
		return false;
	PyObject *caller = PyObject_GetAttrString(frame, "f_back");
	bool joins = is_function(frame, "join") ||
	             (is_function(frame, "_wait_for_tstate_lock") && caller && is_function(caller, "join"));
	Py_XDECREF(caller);
	PyErr_Clear();
	return !joins;
}

bool frames_hold_locks(unsigned long ident)
{
	PyObject *frame = interpreter_frame(ident);
	bool may = !frame || is_delicate(frame);
	Py_XDECREF(frame);
	return may;
}

bool frames_start_thread(unsigned long ident)
{
	enum { DEEP = 4 }; /* start(), Event.wait(), Condition.wait(), what that calls */
	PyObject *frame = interpreter_frame(ident);
	bool starts = false;
	for (unsigned i = 0; frame && frame != Py_None && !starts && i < DEEP; i++) {
		starts = is_function(frame, "start") && frames_is_in(frame, "threading");
		frame = attribute(frame, "f_back");
	}
	Py_XDECREF(frame);
	PyErr_Clear();
	return starts;
}

static bool leads_to_c[256]; /* by the number of the instruction */

/* The instruction that the frame is at, -1 if it has not begun. */
static int instruction(PyObject *frame)
{
	PyObject *index = PyObject_GetAttrString(frame, "f_lasti"), *code = PyObject_GetAttrString(frame, "f_code");
	PyObject *all = attribute(code, "co_code");
	Py_ssize_t at = index ? PyLong_AsSsize_t(index) : -1, size = all && PyBytes_Check(all) ? PyBytes_Size(all) : 0;
	/* 3.11: cache entries, which are 0, follow some instructions */
	while (at >= 2 && at < size && PyBytes_AsString(all)[at] == 0)
		at -= 2;
	int found = at >= 0 && at < size ? (unsigned char)PyBytes_AsString(all)[at] : -1;
	Py_XDECREF(index);
	Py_XDECREF(all);
	PyErr_Clear();
	return found;
}

bool frames_in_call(unsigned long ident)
{
	PyObject *frame = interpreter_frame(ident);
	/* Not our own wait in interrupt(), which looks at the slot and returns: there is nothing to lose. */
	int found = frame && !frames_is_in(frame, "unstick._threads") ? instruction(frame) : -1;
	Py_XDECREF(frame);
	return found >= 0 && leads_to_c[found];
}

int frames_initialise(void)
{
	static const char *const names[] = {"CALL",    "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_FUNCTION_EX",
	                                    "CALL_KW", "CALL_METHOD",   "PRECALL",          "FOR_ITER"};
	PyObject *module = PyImport_ImportModule("opcode");
	PyObject *numbers = attribute(module, "opmap");
	for (size_t i = 0; numbers && i < sizeof names / sizeof names[0]; i++) {
		PyObject *number = PyMapping_GetItemString(numbers, names[i]);
		long is = number ? PyLong_AsLong(number) : -1;
		if (is >= 0 && is < 256)
			leads_to_c[is] = true;
		Py_XDECREF(number);
		PyErr_Clear(); /* not in this version */
	}
	Py_XDECREF(numbers);
	return numbers ? 0 : -1;
}

bool frames_swallow_errors(unsigned long ident)
{
	PyObject *frame = interpreter_frame(ident);
	if (!frame)
		return false;
	bool in_ssl = frames_is_in(frame, "ssl");
	bool swallows = in_ssl && is_function(frame, "read");
	Py_DECREF(frame);
	return swallows;
}
