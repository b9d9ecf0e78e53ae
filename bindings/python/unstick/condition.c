/* SPDX-License-Identifier: MIT */
#include "condition.h"

#include "frames.h"
#include "interpreter.h"

/* What is looked for, and the types that are known to run no bytecode. wait_code is NULL if somebody has put something else in place of
 * threading.Condition: then there are no conditions. */
static PyObject *wait_code, *lock_type, *rlock_type, *deque_type;
static PyObject *no_arguments, *not_blocking;

/* ---- where the thread is */

/* Takes `frame`. */
static PyObject *if_wait(PyObject *frame)
{
	PyObject *code = frame && frame != Py_None ? PyObject_GetAttrString(frame, "f_code") : NULL;
	bool is_it = code && code == wait_code;
	Py_XDECREF(code);
	if (is_it)
		return frame;
	Py_XDECREF(frame);
	return NULL;
}

/* wait(), or what it calls to let go of the condition's lock and to take it again, which is Python for a plain lock. Not a signal
 * handler that runs on top of it. */
static PyObject *wait_frame(unsigned long ident, bool *on_top)
{
	PyObject *top = wait_code ? interpreter_frame(ident) : NULL;
	if (!top)
		return NULL;
	PyObject *caller = frames_is_in(top, "threading") ? PyObject_GetAttrString(top, "f_back") : NULL;
	PyObject *found = if_wait(top);
	*on_top = found;
	if (found) {
		Py_XDECREF(caller);
		return found;
	}
	return if_wait(caller);
}

/* ---- what it waits for */

/* A new reference; NULL if it is not of that type. */
static PyObject *exact(PyObject *object, PyObject *type)
{
	if (!object || (PyObject *)Py_TYPE(object) != type)
		return NULL;
	Py_INCREF(object);
	return object;
}

static PyObject *method(PyObject *object, const char *name)
{
	return object ? PyObject_GetAttrString(object, name) : NULL;
}

/* Past __getattribute__ and properties of classes derived from Condition, which are Python. */
static PyObject *names_of(PyObject *object)
{
	PyObject *name = object ? PyUnicode_FromString("__dict__") : NULL;
	PyObject *names = name ? PyObject_GenericGetAttr(object, name) : NULL;
	Py_XDECREF(name);
	if (names && PyDict_Check(names))
		return names;
	Py_XDECREF(names);
	return NULL;
}

static void fill(struct condition_wait *me, PyObject *names, PyObject *waiter)
{
	PyObject *lock = PyDict_GetItemString(names, "_lock"); /* borrowed */
	lock = lock && (PyObject *)Py_TYPE(lock) == rlock_type ? exact(lock, rlock_type) : exact(lock, lock_type);
	me->list = exact(PyDict_GetItemString(names, "_waiters"), deque_type);
	me->waiter = exact(waiter, lock_type);
	me->acquire = method(lock, "acquire");
	me->release = method(lock, "release");
	me->is_held = method(me->waiter, "locked");
	me->wake = method(me->waiter, "release");
	Py_XDECREF(lock);
}

bool condition_find(struct condition_wait *ret, unsigned long ident)
{
	*ret = (struct condition_wait){.list = NULL};
	bool on_top = false;
	PyObject *frame = wait_frame(ident, &on_top);
	bool waits = frame;
	/* With "gotit" it has come to its try statement, and takes the condition's lock again whatever is raised; before, or in what
	 * takes the lock, it would come out without. */
	PyObject *locals = on_top ? PyObject_GetAttrString(frame, "f_locals") : NULL; /* 3.13: no dict (PEP 667) */
	PyObject *in_try = locals ? PyMapping_GetItemString(locals, "gotit") : NULL;
	PyObject *condition = in_try ? PyMapping_GetItemString(locals, "self") : NULL;
	PyObject *waiter = condition ? PyMapping_GetItemString(locals, "waiter") : NULL;
	PyObject *names = waiter ? names_of(condition) : NULL;
	if (names)
		fill(ret, names, waiter);
	Py_XDECREF(names);
	Py_XDECREF(waiter);
	Py_XDECREF(condition);
	Py_XDECREF(in_try);
	Py_XDECREF(locals);
	Py_XDECREF(frame);
	PyErr_Clear();
	return waits;
}

void condition_forget(struct condition_wait *me)
{
	Py_CLEAR(me->list);
	Py_CLEAR(me->waiter);
	Py_CLEAR(me->acquire);
	Py_CLEAR(me->release);
	Py_CLEAR(me->is_held);
	Py_CLEAR(me->wake);
}

/* ---- taken off and woken. Neither of these makes an object that the garbage collector counts, which could run finalisers. */

/* Did it answer True? */
static bool call(PyObject *function, PyObject *arguments)
{
	PyObject *answer = PyObject_Call(function, arguments, NULL);
	bool yes = answer == Py_True;
	if (!answer)
		PyErr_Clear();
	Py_XDECREF(answer);
	return yes;
}

/* By identity: list.remove() would call the __eq__ of what else is there. */
static bool remove_from(PyObject *list, PyObject *one)
{
	for (Py_ssize_t i = 0, size = PySequence_Size(list); i < size; i++) {
		PyObject *item = PySequence_GetItem(list, i);
		Py_XDECREF(item);
		if (item == one && PySequence_DelItem(list, i) == 0)
			return true;
	}
	PyErr_Clear();
	return false;
}

bool condition_take_off(struct condition_wait *me)
{
	if (!me->list || !me->acquire || !me->release || !me->is_held || !me->wake)
		return false;
	if (!call(me->acquire, not_blocking))
		return false; /* somebody may be about to notify this one */
	/* In the midst of a notify(), which this thread makes itself, it may be on the list and released. */
	if (call(me->is_held, no_arguments) && remove_from(me->list, me->waiter))
		return true;
	call(me->release, no_arguments);
	return false;
}

void condition_wake(struct condition_wait *me)
{
	call(me->wake, no_arguments);
	call(me->release, no_arguments);
}

/* ---- */

static PyObject *imported(const char *module, const char *name)
{
	PyObject *from = PyImport_ImportModule(module);
	PyObject *value = from ? PyObject_GetAttrString(from, name) : NULL;
	Py_XDECREF(from);
	return value;
}

static PyObject *code_of_wait(void)
{
	PyObject *condition = imported("threading", "Condition");
	PyObject *function = condition ? PyObject_GetAttrString(condition, "wait") : NULL;
	PyObject *code = function ? PyObject_GetAttrString(function, "__code__") : NULL;
	Py_XDECREF(function);
	Py_XDECREF(condition);
	PyErr_Clear();
	return code;
}

int condition_initialise(void)
{
	wait_code = code_of_wait();
	lock_type = imported("_thread", "LockType");
	rlock_type = imported("_thread", "RLock");
	deque_type = imported("_collections", "deque");
	no_arguments = PyTuple_New(0);
	not_blocking = PyTuple_Pack(1, Py_False);
	return lock_type && rlock_type && deque_type && no_arguments && not_blocking ? 0 : -1;
}
