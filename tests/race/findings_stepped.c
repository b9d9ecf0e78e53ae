/* SPDX-License-Identifier: MIT
 *
 * What a hostile reader of the library found between two of its instructions: a call is made again and again, and at its first, second,
 * third ... instruction boundary something else happens. The thread steps itself, with the trap flag and a SIGTRAP handler, so only calls
 * that do not block SIGTRAP can be stepped; where the library masks all signals (a poke), a storm of signals takes its place.
 */
#include <sched.h>
#include <ucontext.h>

#include "case.h"

enum { MAX_STEPS = 20000, TRAP_FLAG = 0x100, STORM = 4000 };

/* Instrumented code has many times the boundaries: of those, one in so many. */
#if defined(__SANITIZE_ADDRESS__)
enum { STRIDE = 31 };
#else
enum { STRIDE = 1 };
#endif

/* ---- stepping */

static volatile unsigned steps, target;
static volatile bool stepping;
static void (*at_target)(void);

/* All signals are blocked in it: what at_target() sends arrives at the boundary itself. */
static void on_trap(int signal, siginfo_t *info, void *raw)
{
	ucontext_t *context = raw;
	int saved = errno;
	(void)signal;
	(void)info;
	bool here = stepping && ++steps == target;
	if (here || !stepping)
		context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	if (here) {
		stepping = false;
		at_target();
	}
	errno = saved;
}

static void on_begin(int signal, siginfo_t *info, void *raw)
{
	ucontext_t *context = raw;
	(void)signal;
	(void)info;
	stepping = true;
	context->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void prepare_stepping(void (*fn)(void))
{
	struct sigaction trap = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO},
	                 begin = {.sa_sigaction = on_begin, .sa_flags = SA_SIGINFO};
	sigfillset(&trap.sa_mask);
	require(sigaction(SIGTRAP, &trap, NULL) == 0 && sigaction(SIGUSR2, &begin, NULL) == 0, "sigaction");
	at_target = fn;
}

/* From here on each instruction counts, until the target is reached or end_steps(). */
static void begin_steps(void)
{
	steps = 0;
	syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2);
}

/* Returns whether the target lay before this. */
static bool end_steps(void)
{
	bool reached = !stepping;
	stepping = false;
	return reached;
}

static void renew_token(void)
{
	unstick_token_unref(token);
	require(unstick_token_new(&token, NULL) == 0, "token");
}

/* ---- our signal at every instruction of an own call that is cut: at the cut, too */

static void send_ours(void)
{
	syscall(SYS_tgkill, getpid(), gettid(), unstick_signal());
}

static bool blocks_ours(void)
{
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	return sigismember(&mask, unstick_signal());
}

static void signal_in_cut_call(void)
{
	struct unstick_scope scope;
	bool reached = true;
	char c;
	prepare_stepping(send_ours);
	unstick_token_cancel(token);
	for (target = 1; reached && target < MAX_STEPS; target += STRIDE) {
		unstick_scope_start(&scope, token, UNSTICK_NEVER);
		begin_steps();
		ssize_t n = unstick_read(silent[0], &c, 1);
		reached = end_steps();
		require(n == -ECANCELED, "the read was cut");
		require(!blocks_ours(), "our signal is not left blocked");
		require(unstick_scope_end(&scope) == -ECANCELED, "the scope was cut");
	}
	require(!reached && target > 20, "the whole call was stepped");
}

/* ---- an own call in a handler at every instruction of a scope's end */

static void write_one(void)
{
	ssize_t n = unstick_write(silent[1], "x", 1);
	require(n == 1 || n == -ECANCELED, "the handler's write");
}

static void own_call_in_end(void)
{
	struct unstick_scope scope;
	bool reached = true;
	int fds[2];
	char c;
	require(pipe(fds) == 0, "pipe");
	prepare_stepping(write_one);
	for (target = 1; reached && target < MAX_STEPS; target += STRIDE) {
		renew_token();
		unstick_scope_start(&scope, token, UNSTICK_NEVER);
		unstick_token_cancel(token);
		require(unstick_read(fds[0], &c, 1) == -ECANCELED, "the read was cut");
		begin_steps();
		int error = unstick_scope_end(&scope);
		reached = end_steps();
		require(error == -ECANCELED, "the scope tells");
	}
	require(!reached && target > 20, "the whole end was stepped");
}

/* ---- a cancel and a wait at every instruction of a scope's end */

static _Atomic bool go, waiting, waited;

static void *wait_for_token(void *unused)
{
	atomic_store(&worker_tid, gettid());
	require(unstick_token_wait(token, UNSTICK_NEVER) == 0, "the wait succeeds");
	atomic_store(&waited, true);
	return unused;
}

/* Until the waiter sleeps on what the end is to tell, or need not wait. */
static void until_asleep(void)
{
	struct unstick_report report = {.state = 'R'};
	while (!atomic_load(&waited) && !(report.state == 'S' && report.nr == SYS_futex)) {
		sched_yield();
		if (unstick_look(0, atomic_load(&worker_tid), &report))
			return; /* it has ended */
	}
}

static void *cancel_and_wait(void *unused)
{
	while (!atomic_load(&go))
		sched_yield();
	unstick_token_cancel(token);
	pthread_t waiter = start(wait_for_token, NULL);
	until_asleep();
	atomic_store(&waiting, true);
	pthread_join(waiter, NULL);
	return unused;
}

static void let_cancel(void)
{
	atomic_store(&go, true);
	while (!atomic_load(&waiting))
		sched_yield();
}

static void cancel_in_end(void)
{
	struct unstick_scope scope;
	bool reached = true;
	prepare_stepping(let_cancel);
	for (target = 1; reached && target < MAX_STEPS; target += STRIDE) {
		pthread_t canceller;
		atomic_store(&go, false), atomic_store(&waiting, false), atomic_store(&waited, false);
		renew_token();
		require(pthread_create(&canceller, NULL, cancel_and_wait, NULL) == 0, "canceller");
		unstick_scope_start(&scope, token, UNSTICK_NEVER);
		begin_steps();
		int error = unstick_scope_end(&scope);
		reached = end_steps();
		require(error == 0, "nothing was cut");
		atomic_store(&go, true); /* past the end */
		pthread_join(canceller, NULL);
	}
	require(!reached && target > 20, "the whole end was stepped");
}

/* ---- a handler that begins a scope, on top of a cancel of the token of one's own scope */

static volatile bool cancelling;
static _Atomic unsigned handled;
static _Atomic bool over;

static void scope_in_handler(int signal)
{
	int saved = errno;
	struct unstick_scope scope;
	(void)signal;
	if (cancelling) {
		unstick_scope_start(&scope, NULL, UNSTICK_NEVER);
		require(unstick_scope_end(&scope) == 0, "the handler's scope");
	}
	atomic_fetch_add(&handled, 1);
	errno = saved;
}

static void *storm(void *thread)
{
	atomic_store(&worker_tid, gettid());
	for (unsigned sent = 0; !atomic_load(&over); sent++) {
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
		while (atomic_load(&handled) <= sent && !atomic_load(&over))
			sched_yield();
	}
	return NULL;
}

static void scope_on_top_of_cancel(void)
{
	struct sigaction action = {.sa_handler = scope_in_handler, .sa_flags = SA_RESTART};
	pthread_t self = pthread_self();
	require(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
	pthread_t thread = start(storm, &self);
	for (unsigned i = 0; i < STORM; i++) {
		struct unstick_scope scope;
		renew_token();
		unstick_scope_start(&scope, token, UNSTICK_NEVER);
		cancelling = true;
		unstick_token_cancel(token);
		cancelling = false;
		require(unstick_check() == -ECANCELED && unstick_scope_end(&scope) == -ECANCELED, "the scope was cut");
	}
	atomic_store(&over, true);
	pthread_join(thread, NULL);
}

/* ---- */

static const struct test_case cases[] = {
        {"our signal at every instruction of a cut own call leaves the mask alone", signal_in_cut_call, CASE_IN_PLACE},
        {"a handler's own call at every instruction of scope_end leaves its error alone", own_call_in_end, CASE_IN_PLACE},
        {"a cancel at every instruction of scope_end: token_wait is told", cancel_in_end, CASE_IN_PLACE},
        {"a handler begins scopes on top of a cancel of one's own scope", scope_on_top_of_cancel, CASE_IN_PLACE},
};

int main(int argc, char **argv)
{
	return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);
}
