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
	bool by_token;                 /* the reason is the token's */
	bool admits;                   /* interrupt() too, though there is a shield around it */
	bool struck;                   /* a call was ended, or an exception raised, because of it */
	bool spent;                    /* it fires no more */
	int reason;                    /* 0, -ETIMEDOUT, -ECANCELED: final once it is not 0 */
	struct scope_delivery *firing; /* NULL: it has never been fired, as most */
};

/* Apart from the scope, which is made for each block: a delivery is large. */
struct scope_delivery {
	struct delivery delivery;
	struct scope *scope;    /* that it belongs to */
	unstick_time struck_at; /* its first exception; 0: none yet */
	int64_t overrun;        /* ns by which it was left too late, once it is */
	bool told;              /* that it is overdue */
};

/* 0, or why it is to be fired. */
int scope_reason(struct scope *me, unstick_time now);
/* It does not fire any more. Without the GIL, in a forked child: no object is touched. */
void scope_disable(struct scope *me);

/* Its delivery, if that is under way. */
static inline struct delivery *scope_under_way(const struct scope *me)
{
	return me->firing && me->firing->delivery.open ? &me->firing->delivery : NULL;
}
/* Opens its delivery. NULL: no memory for it. */
struct delivery *scope_fire(struct scope *me);
/* A call was ended for it, or is being ended now. */
bool scope_has_cut(const struct scope *me);
/* A line for whoever wants to know (UNSTICK_LOG=stderr), once, if its block cannot be ended for long. */
void scope_tell_overdue(struct scope *me, unstick_time now);

/* __enter__ and __exit__ */
PyObject *scope_enter(PyObject *self, PyObject *unused);
PyObject *scope_exit(PyObject *self, PyObject *const *args, Py_ssize_t given);
/* Something about an open scope has changed. */
void scope_look_now(struct scope *me);
/* It is in a generator that was thrown away. */
void scope_abandon(struct scope *me);

void scope_initialise(void);

#endif
