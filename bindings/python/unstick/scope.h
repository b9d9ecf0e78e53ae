/* SPDX-License-Identifier: MIT
 *
 * with unstick.timeout(5): ...    the Python object, and its place in its thread's lane.
 *
 * __enter__, __exit__ and firing are C, with no bytecode between "is it over?" and the act: a scope that has been left can
 * hit nobody. There is nothing of the library in a scope that does not fire: a deadline, a link, and a look at the service's alarm.
 */
#ifndef UNSTICK_PYTHON_SCOPE_H
#define UNSTICK_PYTHON_SCOPE_H

#include "lane.h"

enum scope_kind { SCOPE_RAISE, SCOPE_SWALLOW, SCOPE_SHIELD };

struct scope {
	PyObject_HEAD enum scope_kind kind;
	struct lane *lane; /* NULL: not open */
	struct scope *outer;
	int64_t span;          /* ns, from entering; INT64_MAX: none */
	unstick_time deadline; /* once entered */
	PyObject *token;       /* a Token, or NULL */
	bool entered, cancelled, caught;
	bool struck;                   /* a call was ended, or an exception raised, because of it */
	bool spent;                    /* it fires no more */
	int reason;                    /* 0, -ETIMEDOUT, -ECANCELED: final once it is not 0 */
	struct scope_delivery *firing; /* NULL: it has never been fired, as most */
};

/* Apart from the scope, which is made for each block: a delivery is large. */
struct scope_delivery {
	struct delivery delivery;
	struct scope *scope; /* that it belongs to */
};

/* 0, or why it is to be fired. */
int scope_reason(struct scope *me, unstick_time now);
/* It does not fire any more. */
void scope_disable(struct scope *me);

/* Its delivery, if that is under way. */
static inline struct delivery *scope_under_way(const struct scope *me)
{
	return me->firing && me->firing->delivery.open ? &me->firing->delivery : NULL;
}
/* Opens its delivery. NULL: no memory for it. */
struct delivery *scope_fire(struct scope *me);

int scope_initialise(PyObject *module);

PyObject *scope_timeout(PyObject *module, PyObject *const *args, Py_ssize_t given, PyObject *names);
PyObject *scope_move_on_after(PyObject *module, PyObject *const *args, Py_ssize_t given, PyObject *names);
PyObject *scope_shield(PyObject *module, PyObject *unused);

#endif
