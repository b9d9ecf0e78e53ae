/* SPDX-License-Identifier: MIT
 *
 * Our signal does not reach the thread because it is blocked there (faults 1 and 2). Nothing can be freed by it then: what is
 * tested is that unstick says so, sends no more than one signal, leaves nothing behind, and that what needs no signal works still.
 */
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include "victim.h"

static int fds[2];

static void block_all(struct victim *victim)
{
	sigset_t all;
	(void)victim;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

/* After the scope: with the mask open again, nothing of it may come. */
static void unblock_all(struct victim *victim)
{
	sigset_t none;
	struct pollfd nothing = {.fd = -1};
	(void)victim;
	CHECK(!proc_status_bit(own_tid(), "SigPnd:", unstick_signal()), "a signal outlived its scope");
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	CHECK(poll(&nothing, 1, 5) == 0, "%s after the end of the scope", strerror(errno));
}

/* Blocked in `nr`, with the token fired and our signal blocked: it is told; then the call ends by itself with `result`. */
static void expect_told(struct victim *victim, long nr, long result)
{
	log_start(0);
	make_pipe(fds);
	victim->fd = fds[0];
	victim->token = make_token();
	victim_block(victim, nr);
	unstick_token_cancel(victim->token);
	victim_wait_outcome(victim, UNSTICK_SIGNAL_BLOCKED);
	struct unstick_outcome outcome = victim_outcome(victim);
	CHECK(outcome.nr == nr && outcome.signals == 1, "%s", outcome_text(&outcome));
	WAIT_UNTIL(log_has("blocks our signal"));
	CHECK(!atomic_load(&victim->done), "it came out");
	feed(fds[1]);
	victim_join(victim);
	CHECK(victim->result == result, "%ld", victim->result);
	CHECK(victim->end == 0, "%d: nothing was cut short", victim->end);
}

static void foreign_in_scope(void)
{
	struct victim victim = {.call = foreign_read, .before = block_all, .after = unblock_all};
	expect_told(&victim, SYS_read, 1);
}

static void own_in_scope(void)
{
	struct victim victim = {.call = own_read, .before = block_all, .after = unblock_all};
	expect_told(&victim, SYS_read, 1);
}

static void interrupt_tells(void)
{
	struct victim victim = {.call = foreign_read, .before = block_all};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	CHECK(unstick_thread_interrupt(thread, unstick_after_ms(50), &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_SIGNAL_BLOCKED && outcome.error == 0, "%s", outcome_text(&outcome));
	CHECK(outcome.signals == 1 && outcome.nr == SYS_read && outcome.fd == fds[0], "%s", outcome_text(&outcome));
	feed(fds[1]);
	victim_join(&victim);
	CHECK(victim.result == 1, "%ld", victim.result);
	unstick_thread_unref(thread);
}

static void look_tells(void)
{
	struct victim victim = {.call = foreign_read, .before = block_all};
	struct unstick_report report;
	make_pipe(fds);
	victim.fd = fds[0];
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	victim_block(&victim, SYS_read);
	CHECK(unstick_look(0, victim.tid, &report) == 0, "unstick_look");
	CHECK(report.freeable == 0 && report.expect == UNSTICK_SIGNAL_BLOCKED, "%d, %s", report.freeable, report.why);
	feed(fds[1]);
	victim_join(&victim);
}

/* Calls with a timeout need no signal for a deadline. */
static void deadlines_still_end(void)
{
	static long (*const calls[])(struct victim *) = {own_poll, own_sleep};
	make_pipe(fds);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct victim victim = {.call = calls[i],
		                        .before = block_all,
		                        .after = unblock_all,
		                        .deadline = unstick_after_ms(20),
		                        .fd = fds[0]};
		victim_start(&victim);
		victim_join(&victim);
		CHECK(victim.result == -ETIMEDOUT && victim.end == -ETIMEDOUT, "%ld, %d", victim.result, victim.end);
	}
}

/* All threads block all signals from the start, as programs with a signal thread have it. */
static void blocked_from_the_start(void)
{
	struct victim victim = {.call = foreign_read_again};
	block_all(NULL);
	log_start(0);
	CHECK(unstick_signal() != SIGURG, "a SIGURG that is blocked was chosen");
	make_pipe(fds);
	victim.fd = fds[0];
	victim.token = make_token();
	victim_block(&victim, SYS_read);
	unstick_token_cancel(victim.token);
	victim_wait_outcome(&victim, UNSTICK_SIGNAL_BLOCKED);
	feed(fds[1]);
	victim_join(&victim);
	CHECK(victim.result == 1 && victim.end == 0, "%ld, %d", victim.result, victim.end);
	CHECK(!proc_status_bit(own_tid(), "ShdPnd:", unstick_signal()), "a signal outlived its scope");
}

/* ---- fault 2 */

static long foreign_ppoll(struct victim *victim)
{
	struct pollfd ready = {.fd = victim->fd, .events = POLLIN};
	sigset_t all;
	sigfillset(&all);
	return or_errno(ppoll(&ready, 1, NULL, &all));
}

static long own_ppoll(struct victim *victim)
{
	struct pollfd ready = {.fd = victim->fd, .events = POLLIN};
	sigset_t all;
	sigfillset(&all);
	return unstick_ppoll(&ready, 1, NULL, &all);
}

static long foreign_epoll_pwait(struct victim *victim)
{
	struct epoll_event event = {.events = EPOLLIN};
	sigset_t all;
	sigfillset(&all);
	int fd = epoll_create1(EPOLL_CLOEXEC);
	CHECK(epoll_ctl(fd, EPOLL_CTL_ADD, victim->fd, &event) == 0, "epoll_ctl: %s", strerror(errno));
	return or_errno(epoll_pwait(fd, &event, 1, -1, &all));
}

static void foreign_ppoll_in_scope(void)
{
	struct victim victim = {.call = foreign_ppoll, .after = unblock_all};
	expect_told(&victim, SYS_ppoll, 1);
}

static void foreign_epoll_pwait_in_scope(void)
{
	struct victim victim = {.call = foreign_epoll_pwait, .after = unblock_all};
	expect_told(&victim, SYS_epoll_pwait, 1);
}

static void own_ppoll_is_cut(void (*before)(struct victim *))
{
	struct victim victim = {.call = own_ppoll, .before = before, .after = unblock_all, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_ppoll);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
}

static void own_ppoll_in_scope(void)
{
	own_ppoll_is_cut(NULL);
}

static void own_ppoll_of_blocker(void)
{
	own_ppoll_is_cut(block_all);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "all signals blocked: a foreign call in a scope is told as signal_blocked", foreign_in_scope},
	        {1, "all signals blocked: an own call in a scope is told as signal_blocked", own_in_scope},
	        {1, "all signals blocked: an interrupt comes to signal_blocked", interrupt_tells},
	        {1, "all signals blocked: a look says why it cannot be freed", look_tells},
	        {1, "all signals blocked: deadlines of own poll and sleep still end them", deadlines_still_end},
	        {1, "all signals blocked everywhere before the first use: told as signal_blocked", blocked_from_the_start},
	        {2, "a foreign ppoll's mask blocks ours: told as signal_blocked", foreign_ppoll_in_scope},
	        {2, "a foreign epoll_pwait's mask blocks ours: told as signal_blocked", foreign_epoll_pwait_in_scope},
	        {2, "an own ppoll's mask blocks all: it is cut short still", own_ppoll_in_scope},
	        {2, "an own ppoll of a thread that blocks all: it is cut short still", own_ppoll_of_blocker},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
