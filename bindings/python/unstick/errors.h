/* SPDX-License-Identifier: MIT
 *
 * unstick.Timeout, Interrupted, Cancelled, and whose they are: those that a scope raises have it as their `scope`.
 */
#ifndef UNSTICK_PYTHON_ERRORS_H
#define UNSTICK_PYTHON_ERRORS_H

#include "python.h"

int errors_initialise(PyObject *module);

enum errors_kind { ERRORS_TIMEOUT, ERRORS_CANCELLED, ERRORS_INSISTENT /* an Interrupted, to be made a Timeout */ };

/* Sets the error. `cause` may be NULL. */
void errors_raise(enum errors_kind kind, const char *text, PyObject *scope, PyObject *cause);
/* Is it of that kind? */
bool errors_insists(PyObject *value);
/* The scope that has raised `value`, a new reference; NULL: none. */
PyObject *errors_scope(PyObject *value);
/* Is an exception of the scope among the causes and contexts of `value`? */
bool errors_has_cause(PyObject *value, PyObject *scope);

#endif
