/* SPDX-License-Identifier: MIT
 *
 * Cancels where they come at the wrong moment, or several at once: nested scopes (fault 24), before, during and after (25), two
 * cancellers (26). What is not lost is checked together with what must not be hit.
 */
#include <poll.h>
#include <sched.h>
#include <string.h>
#include "victim.h"

enum { ROUNDS = FAULT_TSAN || FAULT_ASAN ? 500 : 3000, SCOPES = 16 };

static int fds[2];

static long read_both(bool own)
{
	char byte;
	return own ? unstick_read(fds[0], &byte, 1) : after_foreign(or_errno(read(fds[0], &byte, 1)));
}

/* Nothing of an ended scope comes after it: a short poll and a read with data are undisturbed. */
static void expect_quiet(void)
{
	struct pollfd nothing = {.fd = -1};
	int ready = poll(&nothing, 1, 2);
	CHECK(ready == 0, "after the scope: %s", strerror(errno));
	CHECK(unstick_check() == 0, "after the scope");
}

/* ---- fault 24 */

static void inner_deadline(bool own)
{
	struct unstick_scope outer, inner;
	struct unstick_token *token = make_token();
	make_pipe(fds);
	CHECK(unstick_scope_begin(&outer, token, UNSTICK_NEVER) == 0, "outer");
	CHECK(unstick_scope_begin(&inner, NULL, unstick_after_ms(10)) == 0, "inner");
	CHECK(read_both(own) == -ETIMEDOUT, "the inner deadline");
	CHECK(unstick_scope_end(&inner) == -ETIMEDOUT, "inner");
	expect_quiet();
	CHECK(unstick_scope_end(&outer) == 0, "the outer scope was not cut short");
}

static void inner_deadline_foreign(void)
{
	inner_deadline(false);
}

static void inner_deadline_own(void)
{
	inner_deadline(true);
}

/* The outer one cuts calls of the inner one short, and both say so. */
static void outer_deadline(bool own)
{
	struct unstick_scope outer, inner, unfired;
	make_pipe(fds);
	CHECK(unstick_scope_begin(&unfired, NULL, unstick_after_ms(3600000)) == 0, "outermost");
	CHECK(unstick_scope_begin(&outer, NULL, unstick_after_ms(10)) == 0, "outer");
	CHECK(unstick_scope_begin(&inner, make_token(), unstick_after_ms(3600000)) == 0, "inner");
	CHECK(read_both(own) == -ETIMEDOUT, "the outer deadline");
	CHECK(unstick_scope_end(&inner) == -ETIMEDOUT, "inner");
	CHECK(read_both(own) == -ETIMEDOUT, "the outer deadline, again");
	CHECK(unstick_scope_end(&outer) == -ETIMEDOUT, "outer");
	expect_quiet();
	CHECK(unstick_scope_end(&unfired) == 0, "outermost");
}

static void outer_deadline_foreign(void)
{
	outer_deadline(false);
}

static void outer_deadline_own(void)
{
	outer_deadline(true);
}

/* Sixteen of them, each on a token below the one before; the seventeenth is inert and says so. */
static void full_depth(void)
{
	struct unstick_scope scope[SCOPES + 1];
	struct unstick_token *token[SCOPES];
	make_pipe(fds);
	for (int i = 0; i < SCOPES; i++) {
		CHECK(unstick_token_new(&token[i], i > 0 ? token[i - 1] : NULL) == 0, "token %d", i);
		CHECK(unstick_scope_begin(&scope[i], token[i], UNSTICK_NEVER) == 0, "scope %d", i);
	}
	CHECK(unstick_scope_begin(&scope[SCOPES], NULL, 0) == -EOVERFLOW, "one too many");
	feed(fds[1]);
	CHECK(read_both(true) == 1, "an inert scope cut a call short");
	CHECK(unstick_scope_end(&scope[SCOPES]) == -EOVERFLOW, "one too many");
	unstick_token_cancel(token[SCOPES / 2]);
	for (int i = SCOPES - 1; i >= 0; i--) {
		bool cut = i >= SCOPES / 2;
		if (!cut)
			feed(fds[1]);
		CHECK(read_both(i % 2) == (cut ? -ECANCELED : 1), "scope %d", i);
		CHECK(unstick_scope_end(&scope[i]) == (cut ? -ECANCELED : 0), "scope %d", i);
	}
	expect_quiet();
}

/* In a shield nothing from outside; a scope begun inside works; after it the outer one is back. */
static void shielded(void)
{
	struct unstick_scope outer, inner;
	struct unstick_token *token = make_token();
	make_pipe(fds);
	CHECK(unstick_scope_begin(&outer, token, UNSTICK_NEVER) == 0, "outer");
	unstick_token_cancel(token);
	CHECK(read_both(true) == -ECANCELED, "own");
	unstick_shield_begin();
	expect_quiet();
	feed(fds[1]);
	CHECK(read_both(true) == 1, "a shielded call was cut short");
	CHECK(unstick_scope_begin(&inner, NULL, unstick_after_ms(5)) == 0, "inner");
	CHECK(read_both(false) == -ETIMEDOUT, "inner deadline");
	CHECK(unstick_scope_end(&inner) == -ETIMEDOUT, "inner");
	expect_quiet();
	unstick_shield_end();
	CHECK(read_both(false) == -ECANCELED, "the outer scope was lost");
	CHECK(unstick_scope_end(&outer) == -ECANCELED, "outer");
}

/* ---- fault 25 */

static void before(bool own)
{
	struct unstick_scope scope;
	struct unstick_token *token = make_token();
	make_pipe(fds);
	unstick_token_cancel(token);
	CHECK(unstick_scope_begin(&scope, token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
	CHECK(read_both(own) == -ECANCELED, "the cancel before the begin was lost");
	CHECK(unstick_scope_end(&scope) == -ECANCELED, "scope");
	CHECK(unstick_scope_begin(&scope, NULL, 0) == 0, "unstick_scope_begin");
	CHECK(read_both(own) == -ETIMEDOUT, "the deadline before the begin was lost");
	CHECK(unstick_scope_end(&scope) == -ETIMEDOUT, "scope");
	CHECK(unstick_scope_begin(&scope, token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
	unstick_shield_begin();
	feed(fds[1]);
	CHECK(read_both(own) == 1, "own");
	unstick_shield_end();
	CHECK(unstick_scope_end(&scope) == 0, "nothing in it was cut short");
	expect_quiet();
}

static void before_foreign(void)
{
	before(false);
}

static void before_own(void)
{
	before(true);
}

/* The cancel comes at any moment between before the begin and after the end. The scope has one read in it: of a byte that is there,
 * or of none; the second must come out, and only with the reason. */
struct racer {
	_Atomic(struct unstick_token *) token;
	_Atomic long delay;
};

static void spin(long turns)
{
	for (volatile long i = 0; i < turns; i++)
		;
}

static long cancel_each(struct victim *canceller)
{
	struct racer *racer = canceller->arg;
	while (!atomic_load(&canceller->stop)) {
		struct unstick_token *token = atomic_exchange(&racer->token, NULL);
		if (token == NULL) {
			sched_yield();
			continue;
		}
		spin(atomic_load(&racer->delay));
		unstick_token_cancel(token);
		unstick_token_unref(token);
		atomic_fetch_add(&canceller->count, 1);
	}
	return 0;
}

static void any_moment(bool own)
{
	struct racer racer = {.token = NULL};
	struct victim canceller = {.call = cancel_each, .arg = &racer};
	long cut = 0, quiet = 0;
	make_pipe(fds);
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	victim_start(&canceller);
	for (int i = 0; i < ROUNDS; i++) {
		struct unstick_scope scope;
		struct unstick_token *token = make_token();
		bool blocks = i % 2;
		if (!blocks)
			feed(fds[1]);
		atomic_store(&racer.delay, i * 7 % 3000);
		atomic_store(&racer.token, unstick_token_ref(token));
		spin(i * 13 % 3000);
		CHECK(unstick_scope_begin(&scope, token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
		long result = read_both(own);
		int end = unstick_scope_end(&scope);
		struct pollfd nothing = {.fd = -1};
		CHECK(poll(&nothing, 1, i % 100 == 0) == 0, "after the scope: %s", strerror(errno));
		CHECK(result == -ECANCELED || (!blocks && (result == 1 || result == -EINTR)), "round %d: %ld", i, result);
		CHECK(result == -EINTR || end == (result == -ECANCELED ? -ECANCELED : 0), "round %d: %ld, but %d", i, result, end);
		if (!blocks && result != 1)
			CHECK(read_both(true) == 1, "the byte was lost");
		cut += result == -ECANCELED;
		quiet += result == 1;
		WAIT_UNTIL(canceller.count == i + 1);
		unstick_token_unref(token);
	}
	fault_note("%ld cut short, %ld done", cut, quiet);
	victim_let_go(&canceller);
}

static void any_moment_foreign(void)
{
	any_moment(false);
}

static void any_moment_own(void)
{
	any_moment(true);
}

static void after(void)
{
	struct unstick_scope scope;
	struct unstick_token *token = make_token();
	make_pipe(fds);
	feed(fds[1]);
	CHECK(unstick_scope_begin(&scope, token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
	CHECK(read_both(true) == 1, "read");
	CHECK(unstick_scope_end(&scope) == 0, "scope");
	unstick_token_cancel(token);
	expect_quiet();
	CHECK(unstick_scope_end(&scope) == 0, "ended twice");
	CHECK(unstick_token_wait(token, 0) == 0, "unstick_token_wait");
}

/* ---- fault 26 */

static pthread_barrier_t together;

static long cancel_together(struct victim *canceller)
{
	struct unstick_token *const *tokens = canceller->arg;
	for (int i = 0; i < ROUNDS / 5; i++) {
		pthread_barrier_wait(&together);
		if (canceller->fd >= 0)
			unstick_token_cancel(tokens[canceller->fd]);
		else
			CHECK(unstick_token_set_deadline(tokens[0], 0) <= 0, "set_deadline");
		pthread_barrier_wait(&together);
	}
	return 0;
}

/* Two threads fire at once, by the tokens of that index (-1: a deadline on the first). One reason comes of it, the same everywhere.
 * */
static void two_at_once(int first, int second, bool own)
{
	struct unstick_token *tokens[2];
	struct victim cancellers[2] = {{.call = cancel_together, .arg = tokens, .fd = first},
	                               {.call = cancel_together, .arg = tokens, .fd = second}};
	int reasons[2] = {0};
	make_pipe(fds);
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	pthread_barrier_init(&together, NULL, 3);
	victim_start(&cancellers[0]);
	victim_start(&cancellers[1]);
	for (int i = 0; i < ROUNDS / 5; i++) {
		struct unstick_scope outer, inner;
		tokens[0] = make_token();
		tokens[1] = make_token();
		CHECK(unstick_scope_begin(&outer, tokens[0], UNSTICK_NEVER) == 0, "outer");
		CHECK(unstick_scope_begin(&inner, tokens[1], UNSTICK_NEVER) == 0, "inner");
		pthread_barrier_wait(&together);
		long result = read_both(own);
		CHECK(result == -ECANCELED || result == -ETIMEDOUT, "round %d: %ld", i, result);
		int inner_end = unstick_scope_end(&inner);
		CHECK(inner_end == result, "%ld, but the scope says %d", result, inner_end);
		long again = second != 1 ? read_both(own) : result;
		CHECK(again == result, "%ld, then %ld", result, again);
		pthread_barrier_wait(&together);
		int outer_end = unstick_scope_end(&outer);
		CHECK(second == 1 || outer_end == result, "%ld, but the outer scope says %d", result, outer_end);
		CHECK(second == 1 || unstick_token_error(tokens[0]) == result, "%ld, but the token says %d", result,
		      unstick_token_error(tokens[0]));
		reasons[result == -ETIMEDOUT]++;
		CHECK(poll(NULL, 0, i % 100 == 0) == 0, "after the scope: %s", strerror(errno));
		unstick_token_unref(tokens[0]);
		unstick_token_unref(tokens[1]);
	}
	fault_note("%d cancelled, %d timed out", reasons[0], reasons[1]);
	victim_join(&cancellers[0]);
	victim_join(&cancellers[1]);
}

static void same_token_foreign(void)
{
	two_at_once(0, 0, false);
}

static void same_token_own(void)
{
	two_at_once(0, 0, true);
}

static void two_tokens_foreign(void)
{
	two_at_once(0, 1, false);
}

static void cancel_and_deadline(void)
{
	two_at_once(0, -1, true);
}

static long read_twice(struct victim *victim)
{
	for (int i = 0; i < 2; i++) {
		long result = foreign_read_again(victim);
		CHECK(result == -ECANCELED, "%ld", result);
		atomic_fetch_add((_Atomic long *)victim->arg, 1);
	}
	return 0;
}

static long interrupt_one(struct victim *interrupter)
{
	struct unstick_thread *thread = interrupter->arg;
	struct unstick_outcome outcome;
	do {
		CHECK(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
	} while (outcome.kind == UNSTICK_NOT_BLOCKED); /* it is on its way from one call to the other */
	CHECK(outcome.kind == UNSTICK_WOKEN && outcome.error == -ECANCELED, "%s", outcome_text(&outcome));
	return 0;
}

/* Two interrupters, two calls: each ends one. */
static void two_interrupters(void)
{
	for (int i = 0; i < ROUNDS / 10; i++) {
		_Atomic long ended = 0;
		struct victim victim = {.call = read_twice, .arg = &ended, .after = linger};
		struct victim interrupters[2];
		struct unstick_thread *thread;
		if (i == 0)
			make_pipe(fds);
		victim.fd = fds[0];
		victim_block(&victim, SYS_read);
		CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
		for (int k = 0; k < 2; k++) {
			interrupters[k] = (struct victim){.call = interrupt_one, .arg = thread};
			victim_start(&interrupters[k]);
		}
		for (int k = 0; k < 2; k++)
			victim_join(&interrupters[k]);
		WAIT_UNTIL(ended == 2);
		victim_let_go(&victim);
		unstick_thread_unref(thread);
	}
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {24, "nested: an inner deadline cuts a foreign read, the outer scope is untouched", inner_deadline_foreign},
	        {24, "nested: an inner deadline cuts an own read, the outer scope is untouched", inner_deadline_own},
	        {24, "nested: an outer deadline cuts a foreign read of the inner scope", outer_deadline_foreign},
	        {24, "nested: an outer deadline cuts an own read of the inner scope", outer_deadline_own},
	        {24, "nested: sixteen scopes on a chain of tokens; the seventeenth is inert", full_depth},
	        {24, "nested: a shield holds off the outer scope, not one inside it", shielded},
	        {25, "a cancel, a deadline before the begin: a foreign read comes out", before_foreign},
	        {25, "a cancel, a deadline before the begin: an own read comes out", before_own},
	        {25, "a cancel at any moment of a foreign read: out or done, and nothing after the end", any_moment_foreign},
	        {25, "a cancel at any moment of an own read: out or done, and nothing after the end", any_moment_own},
	        {25, "a cancel after the end hits nothing", after},
	        {26, "two cancel one token at once, a foreign read", same_token_foreign},
	        {26, "two cancel one token at once, an own read", same_token_own},
	        {26, "two cancel two nested tokens at once, a foreign read", two_tokens_foreign},
	        {26, "a cancel and a deadline at once: one reason, the same everywhere", cancel_and_deadline},
	        {26, "two interrupt one thread at once: each ends one call", two_interrupters},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
