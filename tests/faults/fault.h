/* SPDX-License-Identifier: MIT
 *
 * The harness of the fault tests. A program has a table of faults and calls fault_main(); each runs in a process of its own (and a
 * process group of its own), so that it may break what it likes: handlers, limits, descriptors, mounts, credentials. The parent
 * watches the clock; it says what a case that does not end was stuck in, and ends it. What a case leaves behind (children, files, a
 * frozen cgroup, a clock that was set) the parent clears up, however the case ended. Output is TAP. Arguments of a program, if any,
 * are the numbers of the faults to run. No case asserts a time: it waits on states that /proc shows, and the watchdog is the only
 * clock.
 */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#if defined(__SANITIZE_THREAD__)
#define FAULT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FAULT_TSAN 1
#endif
#endif
#ifndef FAULT_TSAN
#define FAULT_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FAULT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FAULT_ASAN 1
#endif
#endif
#ifndef FAULT_ASAN
#define FAULT_ASAN 0
#endif

struct fault {
	int number;       /* by which the fault is known in the project's list */
	const char *what; /* the case: a statement that is true when it passes */
	void (*run)(void);
};

int fault_main(int argc, char **argv, const struct fault *faults, size_t count);

/* The one that runs: for a function that several have. */
const struct fault *fault_current(void);

/* All of these from any thread of the case, and from its children. */
_Noreturn void fault_fail(const char *file, int line, const char *condition, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
_Noreturn void fault_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fault_note(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a line of diagnostics */

#define CHECK(condition, ...)                                                    \
	do {                                                                     \
		if (!(condition))                                                \
			fault_fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
	} while (0)

/* The result of a foreign read, write or the like. TSan runs handlers only after such a call has returned, when nothing can give it
 * an errno any more: there a case that depends on it is skipped when the plain EINTR shows. */
static inline long after_foreign(long result)
{
	if (FAULT_TSAN && result == -EINTR)
		fault_skip("TSan runs handlers after the call, when no errno can be given to it");
	return result;
}

/* In the parent, after the case: */
void fault_remove_later(const char *path); /* a file or an empty directory */
void fault_thaw_later(const char *dir, const char *file,
                      const char *text); /* writes text to dir/file, then removes the cgroup dir */
void fault_clock_later(bool moved);      /* CLOCK_REALTIME goes back to what it would be without the case */

/* What is being waited for, for the watchdog's message. */
void fault_waiting_for(const char *format, ...) __attribute__((format(printf, 1, 2)));

void fault_pause(void); /* a millisecond, between two looks at a state */

/* Until `condition`, an expression that looks at a state, is true. */
#define WAIT_UNTIL(condition)                        \
	do {                                         \
		fault_waiting_for("%s", #condition); \
		while (!(condition))                 \
			fault_pause();               \
		fault_waiting_for("%s", "");         \
	} while (0)

/* /proc as it was when the case began, also when it has been unmounted since. `file` of a thread of `pid` (0: this process): false
 * if it cannot be read. */
void proc_reopen(void); /* after a mount of another /proc */
bool proc_read(pid_t pid, pid_t tid, const char *file, char *buf, size_t size);
char proc_state(pid_t pid, pid_t tid);                        /* state letter, '?' unknown */
bool proc_in_call(pid_t pid, pid_t tid, long nr);             /* blocked in it */
bool proc_status_bit(pid_t tid, const char *key, int signal); /* SigPnd:, SigBlk:, ShdPnd: of a thread of this process */

#endif
