/* SPDX-License-Identifier: MIT */
#ifndef UNSTICK_PYTHON_INTERRUPT_H
#define UNSTICK_PYTHON_INTERRUPT_H

#include "python.h"

/* interrupt(ident, native_id, exception, seconds) -> (outcome, raised) */
PyObject *interrupt_thread(PyObject *module, PyObject *args);

#endif
