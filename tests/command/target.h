/* SPDX-License-Identifier: MIT
 *
 * What the tests of the command share: running it, and the threads that it is pointed at, made by `stuck NAME`
 * (tests/stuck/stuck.c). Both programs are named by the environment: UNSTICK_COMMAND, STUCK_PROGRAM.
 * Failures of the surroundings end the test.
 */
#ifndef TESTS_COMMAND_TARGET_H
#define TESTS_COMMAND_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct target {
	pid_t pid, tid;
	long nr;
	int in, out; /* its stdin and stdout */
};

/* Returns once /proc shows its thread blocked. `way`: "--retry", or NULL. False: it cannot be made here, and it has said why. */
bool target_start(struct target *target, const char *name, const char *way);
/* The thread has come out: its result, an error as -errno. False: not within that time. */
bool target_ended(const struct target *target, int timeout_ms, long *result);
/* Gives its thread what it waits for, if it still waits, lets it undo what it made, and reaps it. Whether all of that went well. */
bool target_end(struct target *target);
/* "1234/1240", in a buffer of its own. */
const char *target_word(const struct target *target);

struct ran {
	int status; /* exit status; 128 + the signal that ended it */
	char out[1 << 17], err[1 << 17];
};

/* As whom the command and `stuck` are started from now on; USER_SELF as at first. */
enum { USER_SELF = -1, USER_NOBODY = 65534 };
extern int user;

/* Runs the command with these arguments, up to NULL. */
void command_run(struct ran *ran, const char *first, ...);
const char *command_path(void);

/* From /proc, with code that is not the library's. */
char thread_state(pid_t pid, pid_t tid);       /* '?' unknown */
int64_t thread_switches(pid_t pid, pid_t tid); /* voluntary; -1 unknown */
bool thread_in_call(pid_t pid, pid_t tid, long nr);
pid_t thread_tracer(pid_t pid, pid_t tid);

void pause_ms(int ms);

/* Until the expression, which looks at a state, is true; false after ten seconds. */
#define COMES_TRUE(condition)                                  \
	({                                                     \
		bool true_ = false;                            \
		for (int i_ = 0; !true_ && i_ < 10000; i_++) { \
			true_ = (condition);                   \
			if (!true_)                            \
				pause_ms(1);                   \
		}                                              \
		true_;                                         \
	})

/* TAP. */
void point(bool ok, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void point_skip(const char *name, const char *why);
int points_end(void); /* the plan; for main() to return */

#endif
