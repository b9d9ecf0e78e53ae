/* SPDX-License-Identifier: MIT
 *
 * Somebody has taken our signal's handler away (faults 3 and 4), or made it restart calls (fault 5). It is told whose it is now; it
 * is never put back behind the program's back; what needs no signal works still.
 */
#include <dlfcn.h>
#include <string.h>
#include "victim.h"

static int fds[2];
static struct sigaction ours;
static _Atomic int others_runs;

/* Not static: dladdr(3) must know its name. */
void somebody_elses_handler(int number);
void somebody_elses_handler(int number)
{
	(void)number;
	atomic_fetch_add(&others_runs, 1);
}

static void replace(void (*handler)(int), int flags)
{
	const struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	CHECK(sigaction(unstick_signal(), &action, &ours) == 0, "sigaction");
}

static void expect_still(void (*handler)(int))
{
	struct sigaction now;
	CHECK(sigaction(unstick_signal(), NULL, &now) == 0, "sigaction");
	CHECK(!(now.sa_flags & SA_SIGINFO) && now.sa_handler == handler, "the handler was reinstalled");
}

/* The handler is `handler` when the token fires: it is told, with `who` in the line; the call then ends by itself. */
static void expect_told(long (*call)(struct victim *), void (*handler)(int), const char *who)
{
	struct victim victim = {.call = call};
	log_start(0);
	make_pipe(fds);
	victim.fd = fds[0];
	victim.token = make_token();
	victim_block(&victim, SYS_read);
	replace(handler, SA_RESTART);
	unstick_token_cancel(victim.token);
	victim_wait_outcome(&victim, UNSTICK_HANDLER_REPLACED);
	struct unstick_outcome outcome = victim_outcome(&victim);
	CHECK(outcome.handler == (const void *)(uintptr_t)handler && outcome.nr == SYS_read, "%s", outcome_text(&outcome));
	CHECK(strstr(outcome_text(&outcome), who) != NULL, "%s", outcome_text(&outcome));
	WAIT_UNTIL(log_has(who));
	expect_still(handler);
	feed(fds[1]);
	victim_join(&victim);
	CHECK(victim.result == 1 && victim.end == 0, "%ld, %d", victim.result, victim.end);
	expect_still(handler);
}

static void foreign_default(void)
{
	expect_told(foreign_read, SIG_DFL, "SIG_DFL");
}

static void own_default(void)
{
	expect_told(own_read, SIG_DFL, "SIG_DFL");
}

static void foreign_ignored(void)
{
	expect_told(foreign_read, SIG_IGN, "SIG_IGN");
}

static void foreign_others(void)
{
	expect_told(foreign_read, somebody_elses_handler, "somebody_elses_handler");
	CHECK(others_runs >= 1, "%d", others_runs);
}

static void own_others(void)
{
	expect_told(own_read, somebody_elses_handler, "somebody_elses_handler");
}

static void interrupt_tells(void (*handler)(int))
{
	struct victim victim = {.call = foreign_read};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	replace(handler, SA_RESTART);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	CHECK(unstick_thread_interrupt(thread, unstick_after_ms(50), &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_HANDLER_REPLACED && outcome.error == 0, "%s", outcome_text(&outcome));
	CHECK(outcome.handler == (const void *)(uintptr_t)handler, "%s", outcome_text(&outcome));
	expect_still(handler);
	feed(fds[1]);
	victim_join(&victim);
	CHECK(victim.result == 1, "%ld", victim.result);
	unstick_thread_unref(thread);
}

static void interrupt_default(void)
{
	interrupt_tells(SIG_DFL);
}

static void interrupt_others(void)
{
	interrupt_tells(somebody_elses_handler);
}

/* Polls and sleeps end by their own timeouts, in a process whose handler has gone. */
static void deadlines_still_end(void)
{
	static long (*const calls[])(struct victim *) = {own_poll, own_sleep};
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	replace(SIG_DFL, 0);
	make_pipe(fds);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct victim victim = {.call = calls[i], .deadline = unstick_after_ms(20), .fd = fds[0]};
		victim_start(&victim);
		victim_join(&victim);
		CHECK(victim.result == -ETIMEDOUT && victim.end == -ETIMEDOUT, "%ld, %d", victim.result, victim.end);
	}
}

/* A program that installs its own handler and calls the one that it found, as a good neighbour does, does no harm. */
static void chain(int number, siginfo_t *info, void *context)
{
	atomic_fetch_add(&others_runs, 1);
	ours.sa_sigaction(number, info, context);
}

static void chained(long (*call)(struct victim *))
{
	struct victim victim = {.call = call, .token = make_token()};
	struct sigaction action;
	CHECK(unstick_init(NULL) == 0 && sigaction(unstick_signal(), NULL, &ours) == 0, "sigaction");
	action = ours;
	action.sa_sigaction = chain;
	make_pipe(fds);
	victim.fd = fds[0];
	CHECK(sigaction(unstick_signal(), &action, NULL) == 0, "sigaction");
	victim_block(&victim, SYS_read);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
	CHECK(others_runs > 0, "the other handler never ran");
}

static void foreign_chained(void)
{
	chained(foreign_read);
}

static void own_chained(void)
{
	chained(own_read);
}

/* ---- fault 5 */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* it is what old programs call */
static void with_siginterrupt(void)
{
	CHECK(siginterrupt(unstick_signal(), 0) == 0, "siginterrupt");
}
#pragma GCC diagnostic pop

static void with_sigaction(void)
{
	struct sigaction action;
	sigaction(unstick_signal(), NULL, &action);
	action.sa_flags |= SA_RESTART;
	CHECK(sigaction(unstick_signal(), &action, NULL) == 0, "sigaction");
}

static void need_prompt_handlers(void)
{
	if (FAULT_TSAN)
		fault_skip("TSan runs handlers after the call, and before that the kernel makes it again");
}

static void restarting(void (*how)(void), long (*call)(struct victim *), long nr)
{
	struct victim victim = {.call = call, .token = make_token()};
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	how();
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, nr);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
}

static void foreign_siginterrupt(void)
{
	need_prompt_handlers();
	restarting(with_siginterrupt, foreign_read, SYS_read);
}

static void foreign_sigaction(void)
{
	need_prompt_handlers();
	restarting(with_sigaction, foreign_read, SYS_read);
}

static void foreign_poll_sigaction(void)
{
	restarting(with_sigaction, foreign_poll, SYS_poll);
}

static void own_siginterrupt(void)
{
	need_prompt_handlers();
	restarting(with_siginterrupt, own_read, SYS_read);
}

static void own_sigaction(void)
{
	need_prompt_handlers();
	restarting(with_sigaction, own_read, SYS_read);
}

static void interrupt_siginterrupt(void)
{
	struct victim victim = {.call = foreign_read};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	need_prompt_handlers();
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	with_siginterrupt();
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	CHECK(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_WOKEN && outcome.error == -ECANCELED, "%s", outcome_text(&outcome));
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED, "%ld", victim.result);
	unstick_thread_unref(thread);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {3, "handler reset to SIG_DFL: the process lives, a foreign call is told as handler_replaced", foreign_default},
	        {3, "handler reset to SIG_DFL: the process lives, an own call is told as handler_replaced", own_default},
	        {3, "handler set to SIG_IGN: a foreign call is told as handler_replaced", foreign_ignored},
	        {3, "handler reset to SIG_DFL: an interrupt comes to handler_replaced", interrupt_default},
	        {3, "handler reset to SIG_DFL: deadlines of own poll and sleep still end them", deadlines_still_end},
	        {4, "handler replaced: a foreign call is told with the other's name, nothing is reinstalled", foreign_others},
	        {4, "handler replaced: an own call is told with the other's name, nothing is reinstalled", own_others},
	        {4, "handler replaced: an interrupt comes to handler_replaced", interrupt_others},
	        {4, "handler replaced by one that calls ours: a foreign call is freed", foreign_chained},
	        {4, "handler replaced by one that calls ours: an own call is freed", own_chained},
	        {5, "SA_RESTART by siginterrupt: a foreign read is freed", foreign_siginterrupt},
	        {5, "SA_RESTART by sigaction: a foreign read is freed", foreign_sigaction},
	        {5, "SA_RESTART by sigaction: a foreign poll is freed", foreign_poll_sigaction},
	        {5, "SA_RESTART by siginterrupt: an own read is freed", own_siginterrupt},
	        {5, "SA_RESTART by sigaction: an own read is freed", own_sigaction},
	        {5, "SA_RESTART by siginterrupt: an interrupt frees a foreign read", interrupt_siginterrupt},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
