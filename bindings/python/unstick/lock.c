/* SPDX-License-Identifier: MIT */
#include "lock.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lock {
	PyObject_HEAD bool held;
	unsigned waiters;
	int fd;    /* eventfd; -1: nobody has ever waited */
	pid_t pid; /* whose fd and waiters they are: a child after fork(2) must not take the parent's wakes */
};

/* ---- waiting */

static bool get_fd(struct lock *me)
{
	pid_t pid = getpid();
	if (me->fd >= 0 && me->pid == pid)
		return true;
	if (me->fd >= 0)
		close(me->fd);
	me->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	me->pid = pid;
	me->waiters = 0;
	if (me->fd < 0)
		python_error(-errno, "unstick.Lock: no eventfd to wait on");
	return me->fd >= 0;
}

static struct timespec left_until(unstick_time until)
{
	int64_t left = until - unstick_now();
	if (left < 0)
		left = 0;
	return (struct timespec){.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
}

/* Until it may be free, or `until`. false: an error is set. */
static bool wait_once(struct lock *me, unstick_time until)
{
	if (!get_fd(me))
		return false;
	struct pollfd poll = {.fd = me->fd, .events = POLLIN};
	struct timespec left = left_until(until);
	int ready, error;
	me->waiters++;
	Py_BEGIN_ALLOW_THREADS ready = ppoll(&poll, 1, until == UNSTICK_NEVER ? NULL : &left, NULL);
	error = errno;
	Py_END_ALLOW_THREADS me->waiters--;
	if (ready < 0 && error == EINTR)
		return PyErr_CheckSignals() == 0;
	if (ready < 0) {
		errno = error;
		PyErr_SetFromErrno(PyExc_OSError);
		return false;
	}
	eventfd_t ignored;
	if (ready > 0)
		eventfd_read(me->fd, &ignored);
	return true;
}

/* True, False, or NULL. */
static PyObject *take_until(struct lock *me, unstick_time until)
{
	while (me->held) {
		if (until != UNSTICK_NEVER && unstick_now() >= until)
			Py_RETURN_FALSE;
		if (!wait_once(me, until))
			return NULL;
	}
	me->held = true;
	Py_RETURN_TRUE;
}

/* ---- methods */

static PyObject *lock_acquire(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"blocking", "timeout", NULL};
	int blocking = 1;
	double timeout = -1;
	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|pd", names, &blocking, &timeout))
		return NULL;
	if (!blocking && timeout != -1) {
		PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
		return NULL;
	}
	if (isnan(timeout) || (timeout < 0 && timeout != -1)) {
		PyErr_SetString(PyExc_ValueError, "timeout value must be a non-negative number");
		return NULL;
	}
	unstick_time until = !blocking                       ? 0
	                     : timeout < 0 || timeout >= 9e9 ? UNSTICK_NEVER
	                                                     : unstick_after_ns((int64_t)(timeout * 1e9));
	return take_until((struct lock *)(void *)self, until);
}

static PyObject *lock_enter(PyObject *self, PyObject *unused)
{
	(void)unused;
	return take_until((struct lock *)(void *)self, UNSTICK_NEVER);
}

static PyObject *lock_release(PyObject *self, PyObject *unused)
{
	struct lock *me = (struct lock *)(void *)self;
	(void)unused;
	if (!me->held) {
		PyErr_SetString(PyExc_RuntimeError, "release unlocked lock");
		return NULL;
	}
	me->held = false;
	if (me->waiters && me->pid == getpid())
		eventfd_write(me->fd, 1);
	Py_RETURN_NONE;
}

static PyObject *lock_locked(PyObject *self, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(((struct lock *)(void *)self)->held);
}

static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = {NULL};
	if (!PyArg_ParseTupleAndKeywords(args, keywords, "", names))
		return NULL;
	struct lock *me = (struct lock *)(void *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (me)
		me->fd = -1;
	return (PyObject *)me;
}

static void lock_dealloc(PyObject *self)
{
	struct lock *me = (struct lock *)(void *)self;
	PyTypeObject *type = Py_TYPE(self);
	if (me->fd >= 0)
		close(me->fd);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMethodDef methods[] = {
        {"acquire", (PyCFunction)(void (*)(void))lock_acquire, METH_VARARGS | METH_KEYWORDS,
         "acquire($self, blocking=True, timeout=-1)\n--\n\nAs threading.Lock.acquire(); a wait in it can be interrupted, and has "
         "the "
         "limits of scopes."},
        {"release", lock_release, METH_NOARGS, "release($self, /)\n--\n\nAs threading.Lock.release()."},
        {"locked", lock_locked, METH_NOARGS, "locked($self, /)\n--\n\nTrue while somebody holds it."},
        {"__enter__", lock_enter, METH_NOARGS, NULL},
        {"__exit__", lock_release, METH_VARARGS, NULL},
        {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
        {Py_tp_doc,
         "Lock()\n--\n\nAs threading.Lock, but a thread that waits for it can be interrupted, cancelled and limited in time."},
        {Py_tp_new, lock_new},
        {Py_tp_dealloc, lock_dealloc},
        {Py_tp_methods, methods},
        {0, NULL},
};
static PyType_Spec spec = {
        .name = "unstick._unstick.Lock", .basicsize = sizeof(struct lock), .flags = PY_TYPE_FLAGS, .slots = slots};

int lock_initialise(PyObject *module)
{
	PyObject *type = PyType_FromSpec(&spec);
	return type ? PyModule_AddObject(module, "Lock", type) : -1;
}
