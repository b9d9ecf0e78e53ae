/* SPDX-License-Identifier: MIT
 *
 * unstick.Timeout, Interrupted, Cancelled, and whose they are: those that a scope raises have it as their `scope`.
 */
#ifndef UNSTICK_PYTHON_ERRORS_H
#define UNSTICK_PYTHON_ERRORS_H

#include "python.h"

int errors_initialise(PyObject *module);

/* Sets the error: Timeout for -ETIMEDOUT, Cancelled for -ECANCELED. `cause` may be NULL. */
void errors_raise(int reason, int64_t span, PyObject *scope, PyObject *cause);
/* The scope that has raised `value`, a new reference; NULL: none. */
PyObject *errors_scope(PyObject *value);
/* Is an exception of the scope among the causes and contexts of `value`? */
bool errors_has_cause(PyObject *value, PyObject *scope);

#endif
