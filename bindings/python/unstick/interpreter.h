/* SPDX-License-Identifier: MIT
 *
 * The interpreter that unstick was imported in, beside others in the same process (PEP 554, PEP 684). Since 3.12 they may have a GIL
 * each: then what we know by holding ours is true of our own threads only, while sys._current_frames() goes to those of all
 * interpreters, makes frame objects in the midst of what they run, and has them freed by an allocator that is not theirs (seen with 3.12.1
 * and 3.13.0: "free(): invalid pointer").
 *
 * So from 3.12 on a thread is looked for among those of this interpreter. Its identity is a field of a structure that is private;
 * where it lies is found out, not assumed: beside the thread's tid, in the caller's own.
 */
#ifndef UNSTICK_PYTHON_INTERPRETER_H
#define UNSTICK_PYTHON_INTERPRETER_H

#include "python.h"

/* Is the caller's interpreter the one that unstick was imported in first? The only one of these that needs no GIL of ours. */
bool interpreter_is_ours(void);

/* Does the GIL that the caller has keep the threads of all interpreters from running? Before 3.12 always; else while there is no other. */
bool interpreter_gil_is_for_all(void);

/* The frame that a thread of ours is in, as sys._current_frames() has it: a new reference; NULL: none, and no error is set. */
PyObject *interpreter_frame(unsigned long ident);

/* sys.NAME()[ident], for a function that tells of all threads: a new reference; NULL: none, and no error is set. */
PyObject *interpreter_ask_of_all(const char *name, unsigned long ident);

void interpreter_initialise(void);

#endif
