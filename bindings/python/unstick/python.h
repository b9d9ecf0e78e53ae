/* SPDX-License-Identifier: MIT
 *
 * What every file of the extension includes. Limited API of CPython 3.8: one build serves 3.8 and later. Rules for all of them:
 *   The GIL      guards every structure here, unless a comment says otherwise. A thread that holds it keeps all other threads from
 *                running Python code, which is what makes "exactly one exception" decidable.
 *   Names        of the library are unstick_*; of the extension, the file's name.
 */
#ifndef UNSTICK_PYTHON_H
#define UNSTICK_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "unstick.h"

/* Part of CPython since 3.7, and as it is now; of the limited API since 3.10 (Doc/c-api/structures.rst). */
#ifndef METH_FASTCALL
#define METH_FASTCALL 0x0080
#endif

/* What every type is made with. The headers since 3.10 leave the second out of the first; without it 3.8 and 3.9 do not cache methods. */
#define PY_TYPE_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VERSION_TAG)

#define PY_MS INT64_C(1000000)

/* Seconds as Python has them (a number, or None for never) into a span of ns. false: an error is set. */
bool python_span(PyObject *seconds, int64_t *ret);
/* A moment as time.monotonic() gives it; None: UNSTICK_NEVER. */
bool python_moment(PyObject *seconds, unstick_time *ret);
PyObject *python_from_moment(unstick_time when);

/* An OSError of this negative errno; returns NULL. */
PyObject *python_error(int error, const char *what);

/* (kind, error, tid, child, nr, call, fd, state, wait, signals, seconds, text) */
PyObject *python_from_outcome(const struct unstick_outcome *outcome);

#endif
