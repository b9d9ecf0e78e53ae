/* SPDX-License-Identifier: MIT
 *
 * unstick.Token: the library's token as a Python object. C code may fire it, or have it as a parent; scopes on it then fire.
 */
#ifndef UNSTICK_PYTHON_TOKEN_H
#define UNSTICK_PYTHON_TOKEN_H

#include "python.h"

/* Is it a Token? Sets a TypeError if not. */
bool token_check(PyObject *object);
/* 0, -ECANCELED, -ETIMEDOUT */
int token_fired(PyObject *token);

int token_initialise(PyObject *module);

#endif
