/* SPDX-License-Identifier: MIT
 *
 * The module unstick._unstick, and what goes between Python and the library. unstick/__init__.py is the interface.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "arrival.h"
#include "condition.h"
#include "delivery.h"
#include "errors.h"
#include "frames.h"
#include "interpreter.h"
#include "interrupt.h"
#include "lock.h"
#include "main_thread.h"
#include "scope.h"
#include "scope_type.h"
#include "service.h"
#include "token.h"

/* ---- conversions */

static bool to_ns(PyObject *seconds, int64_t *ret)
{
	bool whole = PyLong_CheckExact(seconds) || PyLong_Check(seconds); /* the second is a call */
	double value = whole ? PyLong_AsDouble(seconds) : PyFloat_AsDouble(seconds);
	if (value == -1.0 && PyErr_Occurred())
		return false;
	if (isnan(value)) {
		PyErr_SetString(PyExc_ValueError, "a time must be a number of seconds or None, not NaN");
		return false;
	}
	*ret = value >= 9e9 ? INT64_MAX : value <= -9e9 ? -INT64_C(9000000000000000000) : (int64_t)(value * 1e9);
	return true;
}

bool python_span(PyObject *seconds, int64_t *ret)
{
	*ret = INT64_MAX;
	return seconds == Py_None || to_ns(seconds, ret);
}

bool python_moment(PyObject *seconds, unstick_time *ret)
{
	return python_span(seconds, ret);
}

PyObject *python_from_moment(unstick_time when)
{
	if (when == UNSTICK_NEVER)
		Py_RETURN_NONE;
	return PyFloat_FromDouble((double)when / 1e9);
}

PyObject *python_error(int error, const char *what)
{
	PyObject *args = Py_BuildValue("(iN)", -error, PyUnicode_FromFormat("%s: %s", what, strerror(-error)));
	if (args) {
		PyErr_SetObject(PyExc_OSError, args);
		Py_DECREF(args);
	}
	return NULL;
}

/* The call's name is in no function of the library's; the printed outcome has it: "7 in read on fd 3 ...: ..." */
static PyObject *call_name(const char *text)
{
	const char *begin = strstr(text, " in "), *colon = strchr(text, ':');
	if (!begin || (colon && colon < begin))
		Py_RETURN_NONE;
	begin += strlen(" in ");
	return PyUnicode_DecodeASCII(begin, (Py_ssize_t)strcspn(begin, " :"), "replace");
}

PyObject *python_from_outcome(const struct unstick_outcome *outcome)
{
	char text[512];
	char state[2] = {outcome->state, '\0'};
	unstick_outcome_print(outcome, text, sizeof text);
	return Py_BuildValue("(siiilNissIds)", unstick_kind_name(outcome->kind), -outcome->error, (int)outcome->tid,
	                     (int)outcome->child, outcome->nr, call_name(text), outcome->fd, state, outcome->wait, outcome->signals,
	                     (double)outcome->ns / 1e9, text);
}

/* look(pid, tid) -> (name, state, freeable, nr, call, fd, object, wait, seconds, expect, why) */
static PyObject *look(PyObject *module, PyObject *args)
{
	struct unstick_report report;
	int pid, tid, error;
	(void)module;
	if (!PyArg_ParseTuple(args, "ii", &pid, &tid))
		return NULL;
	Py_BEGIN_ALLOW_THREADS error = unstick_look(pid, tid, &report);
	Py_END_ALLOW_THREADS if (error) return python_error(error, "unstick.look()");
	char state[2] = {report.state, '\0'};
	PyObject *name = PyUnicode_DecodeLocale(report.name, "surrogateescape"),
	         *object = PyUnicode_DecodeLocale(report.object, "surrogateescape");
	return Py_BuildValue("(NsilsiNsdss)", name, state, (int)report.freeable, report.nr, report.call, report.fd, object,
	                     report.wait, report.blocked_ns < 0 ? -1.0 : (double)report.blocked_ns / 1e9,
	                     unstick_kind_name(report.expect), report.why);
}

static PyObject *in_first_interpreter(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyBool_FromLong(interpreter_is_ours());
}

static PyObject *gil_is_for_all(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyBool_FromLong(interpreter_gil_is_for_all());
}

static PyObject *frame(PyObject *module, PyObject *ident)
{
	unsigned long number = PyLong_AsUnsignedLong(ident);
	PyObject *found = PyErr_Occurred() ? NULL : interpreter_frame(number);
	(void)module;
	if (found || PyErr_Occurred())
		return found;
	Py_RETURN_NONE;
}

static PyObject *stop(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	service_stop();
	Py_RETURN_NONE;
}

/* ---- the module */

static void in_forked_child(void)
{
	delivery_after_fork();
	main_thread_after_fork();
	service_after_fork();
	lane_after_fork();
}

static PyMethodDef functions[] = {
        {"timeout", (PyCFunction)(void (*)(void))scope_timeout, METH_FASTCALL | METH_KEYWORDS,
         "timeout(seconds, *, token=None)\n--\n\n"
         "with timeout(5): the block ends within 5 seconds, or is cut short and raises Timeout.\n\n"
         "The limit holds for all that the block does together, whatever library makes the calls: each blocking call in it\n"
         "comes out, and so does a loop that only computes. None: no limit of its own. With a token the block is also cut\n"
         "short, with Cancelled, when that is cancelled. Works in any thread. Blocks may be nested; only the one whose limit\n"
         "it was raises its Timeout, and exception.scope is that block's scope:\n\n"
         "    try:\n"
         "        with timeout(5), timeout(1) as inner:\n"
         "            ask()\n"
         "    except Timeout as error:\n"
         "        if error.scope is not inner:\n"
         "            raise                 # the five seconds were over\n\n"
         "Not around `yield` or `await`: it would hit whoever runs when it fires. In coroutines use asyncio.timeout()."},
        {"move_on_after", (PyCFunction)(void (*)(void))scope_move_on_after, METH_FASTCALL | METH_KEYWORDS,
         "move_on_after(seconds, *, token=None)\n--\n\n"
         "with move_on_after(5) as scope: as timeout(), but nothing is raised: the program goes on after the block, and\n"
         "scope.cancelled_caught is True. Not around `yield` or `await`."},
        {"shield", scope_shield, METH_NOARGS,
         "shield()\n--\n\nwith shield(): no scope around it cuts this block short. For clean-up that must not be left half done,\n"
         "and for what must not be half begun: an exception can come between any two bytecodes, so also between the return\n"
         "of open() and the assignment. What is on its way comes when the block is left. Holds off interrupt() and kill(), too."},
        {"work", scope_work, METH_NOARGS,
         "work()\n--\n\nIn a shield: a scope in which interrupt() reaches the thread again. It swallows its own cancel()."},
        {"interrupt", interrupt_thread, METH_VARARGS, NULL},
        {"look", look, METH_VARARGS, NULL},
        {"in_first_interpreter", in_first_interpreter, METH_NOARGS, NULL},
        {"gil_is_for_all", gil_is_for_all, METH_NOARGS, NULL},
        {"frame", frame, METH_O, NULL},
        {"stop", stop, METH_NOARGS, NULL},
        {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "unstick._unstick", .m_size = -1, .m_methods = functions};

static int fill(PyObject *module)
{
	int error = lane_initialise();
	if (error) {
		python_error(error, "unstick");
		return -1;
	}
	interpreter_initialise();
	scope_initialise();
	if (frames_initialise() || errors_initialise(module) || arrival_initialise(module) || token_initialise(module) ||
	    scope_type_initialise(module) || lock_initialise(module) || condition_initialise())
		return -1;
	return PyModule_AddStringConstant(module, "version", unstick_version());
}

/* A free-threaded build has other structures behind the same names (3.13: Include/object.h, struct _object). Until this has said that
 * it is none, nothing here may look into an object, as Py_INCREF() does. __init__.py has said the same to most. */
static bool is_free_threaded(void)
{
	PyObject *flags = PySys_GetObject("abiflags");
	return flags && PyUnicode_FindChar(flags, 't', 0, PyUnicode_GetLength(flags), 1) >= 0;
}

/* Python 3.8 leaves its visibility to the compiler's default. */
__attribute__((visibility("default"))) PyObject *PyInit__unstick(void);

PyObject *PyInit__unstick(void)
{
	if (is_free_threaded()) {
		PyErr_SetString(PyExc_ImportError,
		                "unstick relies on the GIL: it does not work in a free-threaded build of Python");
		return NULL;
	}
	PyObject *module = PyModule_Create(&definition);
	if (module && fill(module)) {
		Py_DECREF(module);
		return NULL;
	}
	pthread_atfork(NULL, NULL, in_forked_child);
	return module;
}
