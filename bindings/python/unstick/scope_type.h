/* SPDX-License-Identifier: MIT
 *
 * The class Scope: how scopes are made, and what Python sees of them. What they do is scope.c's.
 */
#ifndef UNSTICK_PYTHON_SCOPE_TYPE_H
#define UNSTICK_PYTHON_SCOPE_TYPE_H

#include "python.h"

int scope_type_initialise(PyObject *module);

PyObject *scope_timeout(PyObject *module, PyObject *const *args, Py_ssize_t given, PyObject *names);
PyObject *scope_move_on_after(PyObject *module, PyObject *const *args, Py_ssize_t given, PyObject *names);
PyObject *scope_shield(PyObject *module, PyObject *unused);
/* For a thread that runs other people's code, and its own around it in a shield. */
PyObject *scope_work(PyObject *module, PyObject *unused);

#endif
