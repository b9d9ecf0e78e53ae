/* SPDX-License-Identifier: MIT
 *
 * What Python tells of another thread. These ask the interpreter, which may let other threads run meanwhile.
 */
#ifndef UNSTICK_PYTHON_FRAMES_H
#define UNSTICK_PYTHON_FRAMES_H

#include "python.h"

/* Between these the garbage collector does not run: its finalisers are Python code, in whose midst other threads would run. */
bool frames_pause_collector(void);
void frames_resume_collector(bool paused);

/* Is the frame's code in that module? */
bool frames_is_in(PyObject *frame, const char *module);

/* Is it in threading or queue? They hold locks in Python code that leaves them held if something is raised in its midst
 * (Condition.__exit__, the begin and the end of a thread). Not while it waits for another thread to end. */
bool frames_hold_locks(unsigned long ident);

/* Is it in code written in C that a call, or the step of a loop, has led to? Then what that has got (bytes, a file) is in no variable yet, and
 * an exception in its place loses it. A guess from the instruction that is being executed. */
bool frames_in_call(unsigned long ident);

/* Is it in threading.Thread.start()? Until the new thread runs both have the same ident to CPython before 3.12, and what is put into the slot
 * of the one may come to the other (Python/pystate.c, PyThreadState_SetAsyncExc()). */
bool frames_start_thread(unsigned long ident);

/* Does the thread handle an exception now? Then it is taken to be cleaning up. Before 3.10, and beside other
 * interpreters since 3.12, that cannot be told: true. */
bool frames_handle_exception(unsigned long ident);

/* Is it in ssl.SSLSocket.read()? That takes a failed read for the end of the data (3.10 to 3.12): b'', and no exception. */
bool frames_swallow_errors(unsigned long ident);

int frames_initialise(void);

#endif
