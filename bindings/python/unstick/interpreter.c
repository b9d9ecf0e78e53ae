/* SPDX-License-Identifier: MIT */
#include "interpreter.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* So much of a thread's state is looked through: less than it has in any version since 3.12 (Include/cpython/pystate.h). */
enum { STATE_WORDS = 32 };

static void *ours;
static bool gils_are_separate; /* since 3.12 */

/* Public, if not in the limited API of 3.8 (Doc/c-api/init.rst, "Advanced Debugger Support"); the first and the last since 3.9, the first in
 * 3.8 with another name. */
static void *(*interpreter_get)(void);
static void *(*interpreter_head)(void);
static void *(*interpreter_next)(void *interpreter);
static void *(*thread_head)(void *interpreter);
static void *(*thread_next)(void *thread);
static PyObject *(*thread_frame)(void *thread);

static size_t ident_at; /* where a thread's state has its ident; 0: not known */

bool interpreter_is_ours(void)
{
	return !interpreter_get || interpreter_get() == ours;
}

/* A new one is made by somebody who has a GIL: ours, or that of one that is there already. */
bool interpreter_gil_is_for_all(void)
{
	if (!gils_are_separate)
		return true;
	return interpreter_head && interpreter_next && interpreter_head() == ours && !interpreter_next(ours);
}

PyObject *interpreter_ask_of_all(const char *name, unsigned long ident)
{
	PyObject *function = PySys_GetObject(name); /* borrowed */
	PyObject *all = function ? PyObject_CallFunctionObjArgs(function, NULL) : NULL;
	PyObject *key = all ? PyLong_FromUnsignedLong(ident) : NULL;
	PyObject *one = key ? PyDict_GetItemWithError(all, key) : NULL; /* borrowed */
	Py_XINCREF(one);
	Py_XDECREF(key);
	Py_XDECREF(all);
	PyErr_Clear();
	return one;
}

static unsigned long word_at(const void *thread, size_t at)
{
	unsigned long word;
	memcpy(&word, (const char *)thread + at, sizeof word);
	return word;
}

/* docs/memory-model.md, P7 */
static void *find(unsigned long ident)
{
	void *thread = thread_head(ours);
	while (thread && word_at(thread, ident_at) != ident)
		thread = thread_next(thread);
	return thread;
}

PyObject *interpreter_frame(unsigned long ident)
{
	if (ident_at) {
		void *thread = find(ident);
		return thread ? thread_frame(thread) : NULL;
	}
	return interpreter_gil_is_for_all() ? interpreter_ask_of_all("_current_frames", ident) : NULL;
}

/* ---- */

static void look_up(const char *name, void *function)
{
	void *found = dlsym(RTLD_DEFAULT, name);
	memcpy(function, &found, sizeof found); /* ISO C has no cast for it */
}

/* The caller's ident, and beside it its tid: in one place only, else it is not known. */
static size_t find_ident(const void *thread)
{
	unsigned long ident = PyThread_get_thread_ident(), tid = (unsigned long)syscall(SYS_gettid);
	size_t found = 0;
	for (size_t at = sizeof ident; at < STATE_WORDS * sizeof ident; at += sizeof ident) {
		if (word_at(thread, at) != ident || word_at(thread, at + sizeof ident) != tid)
			continue;
		if (found)
			return 0;
		found = at;
	}
	return found;
}

void interpreter_initialise(void)
{
	PyObject *version = PySys_GetObject("hexversion"); /* borrowed */
	look_up("PyInterpreterState_Get", &interpreter_get);
	if (!interpreter_get)
		look_up("_PyInterpreterState_Get", &interpreter_get);
	look_up("PyInterpreterState_Head", &interpreter_head);
	look_up("PyInterpreterState_Next", &interpreter_next);
	look_up("PyInterpreterState_ThreadHead", &thread_head);
	look_up("PyThreadState_Next", &thread_next);
	look_up("PyThreadState_GetFrame", &thread_frame);
	ours = interpreter_get ? interpreter_get() : NULL;
	gils_are_separate = version && PyLong_AsLong(version) >= 0x030c0000;
	if (gils_are_separate && ours && thread_head && thread_next && thread_frame)
		ident_at = find_ident(PyThreadState_Get());
}
