/* SPDX-License-Identifier: MIT */
#include "token.h"

#include <errno.h>

#include "lane.h"
#include "service.h"

struct token {
	PyObject_HEAD struct unstick_token *token;
	struct unstick_watch *watch;
};

static PyObject *token_type;

bool token_check(PyObject *object)
{
	int is = PyObject_IsInstance(object, token_type);
	if (is == 0)
		PyErr_SetString(PyExc_TypeError, "token must be an unstick.Token");
	return is > 0;
}

int token_fired(PyObject *token)
{
	return unstick_token_error(((struct token *)(void *)token)->token);
}

/* On the library's monitor. */
static void has_fired(void *arg, int error)
{
	(void)arg;
	(void)error;
	service_ring();
}

static PyObject *token_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"parent", NULL};
	PyObject *parent = Py_None;
	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O", names, &parent) || (parent != Py_None && !token_check(parent)))
		return NULL;
	struct token *me = (struct token *)(void *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (!me)
		return NULL;
	int error = unstick_token_new(&me->token, parent == Py_None ? NULL : ((struct token *)(void *)parent)->token);
	if (error == 0)
		error = unstick_token_watch(me->token, &me->watch, has_fired, NULL);
	if (error == 0)
		return (PyObject *)me;
	Py_DECREF(me);
	return python_error(error, "unstick.Token");
}

static void token_dealloc(PyObject *self)
{
	struct token *me = (struct token *)(void *)self;
	PyTypeObject *type = Py_TYPE(self);
	unstick_watch_free(me->watch);
	unstick_token_unref(me->token);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *token_cancel(PyObject *self, PyObject *unused)
{
	(void)unused;
	unstick_token_cancel(((struct token *)(void *)self)->token);
	service_look_at(lane_step_all(unstick_now()));
	Py_RETURN_NONE;
}

static PyObject *token_set_deadline(PyObject *self, PyObject *when)
{
	unstick_time deadline;
	if (!python_moment(when, &deadline))
		return NULL;
	int error = unstick_token_set_deadline(((struct token *)(void *)self)->token, deadline);
	if (error == -EALREADY) {
		PyErr_SetString(PyExc_RuntimeError, "the token has fired");
		return NULL;
	}
	if (error)
		return python_error(error, "unstick.Token.set_deadline()");
	Py_RETURN_NONE;
}

static PyObject *get_cancelled(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(token_fired(self) == -ECANCELED);
}

static PyObject *get_fired(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(token_fired(self) != 0);
}

static PyObject *token_fileno(PyObject *self, PyObject *unused)
{
	(void)unused;
	int fd = unstick_token_fd(((struct token *)(void *)self)->token);
	return fd < 0 ? python_error(fd, "unstick.Token.fileno()") : PyLong_FromLong(fd);
}

static PyMethodDef methods[] = {
        {"cancel", token_cancel, METH_NOARGS,
         "cancel($self, /)\n--\n\nFire the token: all scopes on it, or on one below it, are cut short with Cancelled."},
        {"set_deadline", token_set_deadline, METH_O,
         "set_deadline($self, when, /)\n--\n\n"
         "The token fires at this moment, with Timeout; None: never. RuntimeError once it has fired. A moment is what\n"
         "time.monotonic() gives, no span: token.set_deadline(time.monotonic() + 5)."},
        {"fileno", token_fileno, METH_NOARGS,
         "fileno($self, /)\n--\n\nA file descriptor that becomes readable when the token fires, for select. The token's own: do "
         "not read or close it."},
        {NULL, NULL, 0, NULL},
};

static PyGetSetDef getters[] = {
        {"cancelled", get_cancelled, NULL, "True once it was cancelled.", NULL},
        {"fired", get_fired, NULL, "True once it was cancelled, or its time is over.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
        {Py_tp_doc, "Token(parent=None)\n--\n\nA cancel button that many scopes, in many threads, may share. It fires once, and "
                    "with its parent."},
        {Py_tp_new, token_new},
        {Py_tp_dealloc, token_dealloc},
        {Py_tp_methods, methods},
        {Py_tp_getset, getters},
        {0, NULL},
};
static PyType_Spec spec = {
        .name = "unstick._unstick.Token", .basicsize = sizeof(struct token), .flags = PY_TYPE_FLAGS, .slots = slots};

int token_initialise(PyObject *module)
{
	token_type = PyType_FromSpec(&spec);
	if (!token_type)
		return -1;
	Py_INCREF(token_type);
	return PyModule_AddObject(module, "Token", token_type);
}
