/* SPDX-License-Identifier: MIT
 *
 * The ways to end a blocked call that need no unstick: baselines and competitors of the cancel benchmarks.
 * Each is as short as the way allows, and unsafe in a program for the reasons that facts about lost wake-ups give: here the
 * victim is known to be blocked before it is woken.
 */
#include "victim.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- a signal whose handler does nothing, without SA_RESTART ---- */

static void read_until_signal(struct victim *victim)
{
	char byte;
	ssize_t n = read(victim->pipe[0], &byte, 1);
	int error = errno;
	victim_note(victim);
	victim_expect(victim, n < 0 && error == EINTR, "read() ended, but not with EINTR");
}

static void wake_by_signal(struct victim *victim)
{
	os_tgkill(atomic_load(&victim->tid));
}

const struct victim_spec victim_tgkill = {.nr = SYS_read, .block = read_until_signal, .wake = wake_by_signal};

/* ---- the same after one look at what the thread is doing ---- */

static void wake_after_look(struct victim *victim)
{
	char text[256];
	pid_t tid = atomic_load(&victim->tid);
	if (os_look(tid, text, sizeof(text)) > 0)
		os_tgkill(tid);
}

const struct victim_spec victim_look_tgkill = {.nr = SYS_read, .block = read_until_signal, .wake = wake_after_look};

/* ---- pthread_cancel(): over when a clean-up handler of the thread runs ---- */

static void note_cleanup(void *arg)
{
	victim_note(arg);
}

static void read_until_cancelled(struct victim *victim)
{
	char byte;
	pthread_cleanup_push(note_cleanup, victim);
	ssize_t n = read(victim->pipe[0], &byte, 1);
	victim_expect(victim, n < 0 && errno == EINTR, "read() has returned in a cancelled thread");
	pthread_cleanup_pop(0);
}

static void wake_by_pthread_cancel(struct victim *victim)
{
	pthread_cancel(victim->thread);
}

const struct victim_spec victim_pthread_cancel = {
        .nr = SYS_read, .one_shot = true, .block = read_until_cancelled, .wake = wake_by_pthread_cancel};

/* ---- a futex: no I/O, the floor under every way to wake a thread ---- */

static void prepare_futex(struct victim *victim)
{
	atomic_store(&victim->word, 0);
	victim->blocked_arg0 = (unsigned long)&victim->word;
}

static void sleep_on_futex(struct victim *victim)
{
	while (atomic_load(&victim->word) == 0)
		os_futex_wait(&victim->word, 0, INT64_MAX);
	victim_note(victim);
}

static void wake_futex(struct victim *victim)
{
	atomic_store(&victim->word, 1);
	os_futex_wake(&victim->word, 1);
}

const struct victim_spec victim_futex = {.nr = SYS_futex, .prepare = prepare_futex, .block = sleep_on_futex, .wake = wake_futex};

/* ---- poll() on the pipe and an eventfd before each read(): the way of code that was written for it ---- */

static void prepare_poll(struct victim *victim)
{
	victim->blocked_arg0 = 0;
}

static void poll_then_read(struct victim *victim)
{
	char byte;
	struct pollfd fds[] = {{.fd = victim->pipe[0], .events = POLLIN}, {.fd = victim->event, .events = POLLIN}};
	int ready = poll(fds, 2, -1);
	ssize_t n = ready > 0 && fds[1].revents == 0 ? read(victim->pipe[0], &byte, 1) : 0;
	victim_note(victim);
	victim_expect(victim, ready == 1 && n == 0 && fds[1].revents == POLLIN, "poll() ended without an event on its eventfd");
}

static void wake_poll(struct victim *victim)
{
	uint64_t one = 1;
	if (write(victim->event, &one, sizeof(one)) < 0)
		die_errno("eventfd write", errno);
}

static void settle_poll(struct victim *victim)
{
	uint64_t count;
	if (read(victim->event, &count, sizeof(count)) < 0)
		die_errno("eventfd read", errno);
}

const struct victim_spec victim_poll = {
        .nr = SYS_poll, .prepare = prepare_poll, .block = poll_then_read, .wake = wake_poll, .settle = settle_poll};
