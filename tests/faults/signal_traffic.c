/* SPDX-License-Identifier: MIT
 *
 * Other signals, other senders, other takers of signals (faults 6 to 9): storms, a queue without room, sigwait(3) and signalfd(2)
 * that eat ours. Nothing may be lost, and nobody may get an errno of ours who was not cancelled.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include "victim.h"

enum { STORM = 30000, ROUNDS = 300 };

static int fds[2];

/* ---- fault 6 */

static _Atomic int storm_runs;

static void count_storm(int number)
{
	(void)number;
	atomic_fetch_add(&storm_runs, 1);
}

struct storm {
	pid_t pid, tid;
	int signal;
};

/* In a process of its own: a storm by kill(1) comes from outside. */
static bool storm(int command, void *arg)
{
	const struct storm *at = arg;
	(void)command;
	for (int i = 0; i < STORM; i++) {
		if (syscall(SYS_tgkill, at->pid, at->tid, at->signal) != 0 && errno != EAGAIN)
			return false;
	}
	return true;
}

static struct storm *new_storm(void)
{
	struct storm *at = malloc(sizeof(*at));
	CHECK(at != NULL, "malloc");
	return at;
}

/* Reads byte after byte, by its own or foreign calls, in a scope each, while the storm goes on; then is cancelled in the storm. */
static long read_bytes(struct victim *victim)
{
	bool own = victim->arg != NULL;
	char byte;
	long result;
	do {
		result = own ? unstick_read(victim->fd, &byte, 1) : or_errno(read(victim->fd, &byte, 1));
		if (!own && atomic_load(&victim->stop))
			after_foreign(result);
		if (result == 1)
			atomic_fetch_add(&victim->count, 1);
		CHECK(result == 1 || result == -EINTR || atomic_load(&victim->stop), "%ld in the storm, before the cancel", result);
		/* Our signal number from outside is not a handler of the program. */
		CHECK(!(own && result == -EINTR && storm_runs == 0), "an own call came back with EINTR for our signal");
	} while (result == 1 || result == -EINTR);
	return result;
}

/* The storm's target is not known before the victim runs, and a child that is forked then has it. */
static void in_storm(bool our_signal, bool own)
{
	struct victim victim = {.call = read_bytes, .arg = own ? &victim : NULL, .token = make_token()};
	struct sigaction action = {.sa_handler = count_storm};
	struct storm *at = new_storm();
	struct helper helper;
	unstick_time begun;
	make_pipe(fds);
	victim.fd = fds[0];
	CHECK(unstick_init(NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
	victim_block(&victim, SYS_read);
	*at = (struct storm){.pid = getpid(), .tid = victim.tid, .signal = our_signal ? unstick_signal() : SIGUSR1};
	helper_start(&helper, storm, at);
	begun = unstick_now();
	helper_tell(&helper, 's');
	for (long i = 1; i <= ROUNDS; i++) {
		feed(fds[1]);
		WAIT_UNTIL(atomic_load(&victim.count) == i);
		CHECK(victim.end == 0, "%d", victim.end);
	}
	CHECK(helper_answer(&helper), "the storm failed");
	fault_note("%.0f signals a second, the program's handler ran %d times", STORM * 1e9 / (double)(unstick_now() - begun),
	           storm_runs);
	helper_tell(&helper, 's');
	atomic_store(&victim.stop, true);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
	helper_answer(&helper);
	free(at);
}

static void storm_other_foreign(void)
{
	in_storm(false, false);
}

static void storm_other_own(void)
{
	in_storm(false, true);
}

static void storm_ours_foreign(void)
{
	in_storm(true, false);
}

static void storm_ours_own(void)
{
	in_storm(true, true);
}

/* ---- fault 7 */

static void no_queue(void)
{
	const struct rlimit none = {0, 0};
	CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0, "setrlimit: %s", strerror(errno));
}

static void freed_without_queue(long (*call)(struct victim *))
{
	struct victim victim = {.call = call, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	CHECK(unstick_init(NULL) == 0 && unstick_signal() == SIGURG, "signal %d", unstick_signal());
	no_queue();
	victim_block(&victim, SYS_read);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
}

static void urg_foreign(void)
{
	freed_without_queue(foreign_read);
}

static void urg_own(void)
{
	freed_without_queue(own_read);
}

static void urg_interrupt(void)
{
	struct victim victim = {.call = foreign_read, .after = linger};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	make_pipe(fds);
	victim.fd = fds[0];
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	no_queue();
	victim_block(&victim, SYS_read);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	CHECK(unstick_thread_interrupt(thread, unstick_after_ms(2000), &outcome) == 0, "unstick_thread_interrupt");
	victim_let_go(&victim);
	CHECK(victim.result == -ECANCELED, "the call ended with %ld, though: %s", victim.result, outcome_text(&outcome));
	CHECK(outcome.kind == UNSTICK_WOKEN && outcome.error == -ECANCELED, "%s", outcome_text(&outcome));
	unstick_thread_unref(thread);
}

/* A real-time signal cannot be sent at all: that is told, and deadlines of polls end them still. */
static void realtime_tells(void)
{
	struct victim victim = {.call = foreign_read, .token = make_token()};
	struct victim timed = {.call = own_poll};
	setenv("UNSTICK_SIGNAL", "RTMIN+5", 1);
	make_pipe(fds);
	victim.fd = timed.fd = fds[0];
	CHECK(unstick_init(NULL) == 0 && unstick_signal() == SIGRTMIN + 5, "signal %d", unstick_signal());
	no_queue();
	victim_block(&victim, SYS_read);
	unstick_token_cancel(victim.token);
	victim_wait_outcome(&victim, UNSTICK_SIGNAL_BLOCKED);
	struct unstick_outcome outcome = victim_outcome(&victim);
	CHECK(outcome.signals == 0 && outcome.nr == SYS_read, "%s", outcome_text(&outcome));
	timed.deadline = unstick_after_ms(20);
	victim_start(&timed);
	victim_join(&timed);
	CHECK(timed.result == -ETIMEDOUT, "%ld", timed.result);
	feed(fds[1]);
	victim_join(&victim);
	CHECK(victim.result == 1 && victim.end == 0, "%ld, %d", victim.result, victim.end);
}

/* ---- faults 8 and 9 */

static void block_ours(struct victim *victim)
{
	sigset_t set;
	(void)victim;
	sigemptyset(&set);
	sigaddset(&set, unstick_signal());
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Waits for our signal: each poke ends the wait with it. The loop asks for the scope. */
static long sigwait_ours(struct victim *victim)
{
	sigset_t set;
	int number, error = 0, cut;
	sigemptyset(&set);
	sigaddset(&set, unstick_signal());
	while ((cut = unstick_check()) == 0) {
		error = sigwait(&set, &number);
		CHECK(error == 0 || error == ECANCELED, "sigwait: %d", error);
		CHECK(error != 0 || number == unstick_signal(), "sigwait: signal %d", number);
		atomic_fetch_add(&victim->count, 1);
	}
	return cut;
}

static long sigwait_other(struct victim *victim)
{
	sigset_t set;
	int number;
	(void)victim;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return -sigwait(&set, &number);
}

static void eaten(long (*call)(struct victim *), long nr, void (*before)(struct victim *))
{
	struct victim victim = {.call = call, .before = before, .token = make_token()};
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	victim_block(&victim, nr);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
}

static void sigwait_eats(void)
{
	eaten(sigwait_ours, SYS_rt_sigtimedwait, NULL);
}

static void sigwait_eats_blocked(void)
{
	eaten(sigwait_ours, SYS_rt_sigtimedwait, block_ours);
}

static void sigwait_is_freed(void)
{
	eaten(sigwait_other, SYS_rt_sigtimedwait, NULL);
}

static void *wait_for_all(void *unused)
{
	sigset_t all;
	int number;
	sigfillset(&all);
	while (sigwait(&all, &number) == 0 && number != SIGUSR2)
		CHECK(number == SIGUSR2, "the signal thread got signal %d", number);
	return unused;
}

/* A program with one thread that takes all signals: ours go to a thread, not to the process, so it does not take them. */
static void signal_thread(void)
{
	struct victim victim = {.call = foreign_read, .token = make_token()};
	pthread_t thread;
	sigset_t all, before;
	make_pipe(fds);
	victim.fd = fds[0];
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	CHECK(pthread_create(&thread, NULL, wait_for_all, NULL) == 0, "pthread_create");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	victim_block(&victim, SYS_read);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED, "%ld", victim.result);
	pthread_kill(thread, SIGUSR2);
	pthread_join(thread, NULL);
}

static long read_signalfd(struct victim *victim)
{
	struct signalfd_siginfo info;
	long result = 0;
	while (unstick_check() == 0) {
		result = or_errno(read(victim->fd, &info, sizeof(info)));
		if (result == sizeof(info))
			CHECK(info.ssi_signo == (unsigned)unstick_signal(), "signal %u", info.ssi_signo);
		atomic_fetch_add(&victim->count, 1);
	}
	CHECK(result == sizeof(info) || result == -ECANCELED, "%ld", result);
	return unstick_check();
}

static void signalfd_eats(void)
{
	struct victim victim = {.call = read_signalfd, .before = block_ours, .token = make_token()};
	sigset_t set;
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	sigemptyset(&set);
	sigaddset(&set, unstick_signal());
	victim.fd = signalfd(-1, &set, SFD_CLOEXEC);
	CHECK(victim.fd >= 0, "signalfd: %s", strerror(errno));
	victim_block(&victim, SYS_read);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
}

/* As PostgreSQL has it: SIGURG blocked and read from a signalfd, before unstick comes. It takes another signal then. */
static void signalfd_first(void)
{
	struct victim victim = {.call = foreign_read, .token = make_token()};
	sigset_t set;
	struct signalfd_siginfo info;
	sigemptyset(&set);
	sigaddset(&set, SIGURG);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int taker = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	CHECK(unstick_signal() >= SIGRTMIN, "signal %d", unstick_signal());
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
	CHECK(read(taker, &info, sizeof(info)) == -1 && errno == EAGAIN, "the program's signalfd got signal %u", info.ssi_signo);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {6, "a storm of another signal: foreign reads keep their bytes, get no errno, and are cancelled",
	         storm_other_foreign},
	        {6, "a storm of another signal: own reads keep their bytes, and are cancelled", storm_other_own},
	        {6, "a storm of our signal from outside: foreign reads get no errno, and are cancelled", storm_ours_foreign},
	        {6, "a storm of our signal from outside: own reads do not see it, and are cancelled", storm_ours_own},
	        {7, "no room for pending signals: SIGURG frees a foreign call", urg_foreign},
	        {7, "no room for pending signals: SIGURG frees an own call", urg_own},
	        {7, "no room for pending signals: an interrupt by SIGURG frees, and says so", urg_interrupt},
	        {7, "no room for pending signals: a real-time signal cannot be sent, and the outcome tells", realtime_tells},
	        {8, "sigwait eats our signal: its loop sees the scope", sigwait_eats},
	        {8, "sigwait eats our signal, which is blocked: its loop sees the scope", sigwait_eats_blocked},
	        {8, "sigwait for another signal is freed", sigwait_is_freed},
	        {8, "a thread that takes all signals does not take ours", signal_thread},
	        {9, "signalfd eats our signal: its loop sees the scope", signalfd_eats},
	        {9, "a signalfd that was there before keeps SIGURG; another signal frees", signalfd_first},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
