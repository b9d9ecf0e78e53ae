/* SPDX-License-Identifier: MIT
 *
 * Torture: cancels at random moments, by the million. The windows it opens: token fired before, inside and after the window of an own
 * call; before, inside and after a foreign call that retries EINTR; against scope_end, with a blocking call right after it.
 *
 * Each pair of threads plays rounds. The victim begins a scope on a new token, makes its call, ends the scope, and then makes a bare
 * blocking read that nothing of the scope may hit: an EINTR there is a stale hit, an error a worse one. The canceller fires the token
 * somewhere in between and only then feeds that read, so that whatever its poke sent has to arrive before.
 * A lost cancel blocks its victim; a parent sees that nothing moves any more and says where it is stuck.
 *
 * usage: torture [--own N] [--begin N] [--foreign N] [--storm N] [--data N] [--pairs N] [--stuck-after SECONDS]      plain TAP
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unstick.h"

enum { MAX_PAIRS = 8 };

#ifdef __SANITIZE_THREAD__
enum { SANITIZED = 1 }; /* TSan runs handlers later, outside the window: then the second look is what frees */
#else
enum { SANITIZED = 0 };
#endif

static unsigned stuck_after_s = 30;

enum kind { OWN, BEGIN, FOREIGN, STORM, DATA, KINDS };

static const char *const kind_names[] = {
        "own calls: every cancel frees, at the first signal", "cancel against scope_begin: every cancel frees, at the first signal",
        "foreign calls that retry EINTR: every cancel frees", "cancel storm against scope_end: nothing reaches the call after it",
        "cancel against arriving data: no byte lost",
};

/* Shared with the parent. */
struct counts {
	_Atomic long rounds, stale, wrong, second_looks, lost_bytes, cut;
	_Atomic long first_wrong; /* a result, for the report */
};

static struct counts *counts;

struct pair {
	enum kind kind;
	long rounds;
	unsigned seed;
	int silent[2]; /* a pipe, empty: what the victim's calls wait on; DATA: what the canceller writes to */
	int sockets[2];
	int go[2];
	_Atomic(struct unstick_token *) token; /* of the round; NULL between */
	_Atomic bool near;                     /* the canceller is about to fire it */
	unsigned char next_sent, next_got;     /* DATA: the bytes count up; the canceller's, the victim's */
};

static uint32_t next_random(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void spin(unsigned turns)
{
	for (volatile unsigned i = 0; i < turns; i++)
		;
}

/* Side by side with the canceller, so that the two really race; seldom a yield, should they share a processor. */
static void wait_until_near(struct pair *pair)
{
	for (unsigned i = 1; !atomic_load(&pair->near); i++)
		if (i % 256 == 0)
			sched_yield();
	atomic_store(&pair->near, false);
}

/* ---- the victim's calls. Each returns a result or -errno. */

static long own_call(struct pair *pair, unsigned *seed)
{
	char c[8];
	struct pollfd one = {.fd = pair->silent[0], .events = POLLIN};
	struct timespec hour = {.tv_sec = 3600};
	switch (next_random(seed) % 4) {
	case 0:
		return unstick_recv(pair->sockets[0], c, sizeof c, 0);
	case 1:
		return unstick_poll(&one, 1, -1);
	case 2:
		return unstick_nanosleep(&hour, NULL);
	default:
		return unstick_read(pair->silent[0], c, sizeof c);
	}
}

static long once_foreign(struct pair *pair, unsigned which)
{
	char c[8];
	struct pollfd one = {.fd = pair->silent[0], .events = POLLIN};
	struct timespec hour = {.tv_sec = 3600};
	switch (which) {
	case 0:
		return recv(pair->sockets[0], c, sizeof c, 0);
	case 1:
		return poll(&one, 1, -1);
	case 2:
		return nanosleep(&hour, NULL);
	default:
		return read(pair->silent[0], c, sizeof c);
	}
}

static long foreign_call(struct pair *pair, unsigned *seed)
{
	unsigned which = next_random(seed) % 4;
	long result;
	do {
		result = once_foreign(pair, which);
	} while (result == -1 && errno == EINTR);
	return result == -1 ? -errno : result;
}

/* Runs into its end, without ever blocking. */
static long storm_call(unsigned *seed)
{
	spin(next_random(seed) % 2000);
	int error = unstick_check();
	return error ? error : 0;
}

static void check_bytes(struct pair *pair, const unsigned char *bytes, long count)
{
	for (long i = 0; i < count; i++)
		if (bytes[i] != pair->next_got++)
			atomic_fetch_add(&counts->lost_bytes, 1);
}

static long data_call(struct pair *pair)
{
	unsigned char c[64];
	long result = unstick_read(pair->silent[0], c, sizeof c);
	check_bytes(pair, c, result);
	return result;
}

/* What the round's call has not taken, so that the next one begins with an empty pipe. */
static void take_rest(struct pair *pair)
{
	unsigned char c[64];
	struct pollfd one = {.fd = pair->silent[0], .events = POLLIN};
	while (poll(&one, 1, 0) == 1 && (one.revents & POLLIN))
		check_bytes(pair, c, read(pair->silent[0], c, sizeof c));
}

static long make_call(struct pair *pair, unsigned *seed)
{
	switch (pair->kind) {
	case OWN:
	case BEGIN:
		return own_call(pair, seed);
	case FOREIGN:
		return foreign_call(pair, seed);
	case DATA:
		return data_call(pair);
	default:
		return storm_call(seed);
	}
}

/* ---- the round */

static bool is_right(enum kind kind, long result, int end)
{
	if (kind == OWN || kind == BEGIN || kind == FOREIGN)
		return result == -ECANCELED && end == -ECANCELED;
	if (kind == DATA && result > 0)
		return end == 0;
	return (result == -ECANCELED && end == -ECANCELED) || (result == 0 && end == 0);
}

/* What nothing of the ended scope may hit: a bare blocking call; in a storm every other time inside a scope on another token, which the
 * poke must not take for the first. */
static bool rest_undisturbed(struct pair *pair, struct unstick_token *quiet, long round)
{
	struct unstick_scope other;
	char c;
	bool inside = pair->kind == STORM && round % 2;
	if (inside)
		unstick_scope_start(&other, quiet, UNSTICK_NEVER);
	bool good = syscall(SYS_read, pair->go[0], &c, 1) == 1;
	if (!good)
		atomic_store(&counts->first_wrong, -errno);
	return (!inside || unstick_scope_end(&other) == 0) && good;
}

/* A call that was preempted on its way to sleep, already marked as sleeping, with the first signal pending, looks blocked for as long as the
 * processor is somebody else's: a second signal is then sent for nothing. Seen twice in 500,000 rounds beside compilers on both processors, never
 * on a quiet machine. Without the window's pc check 53 wakes in a million are lost to the first signal (facts of the design). */
enum { ROUNDS_A_FALSE_LOOK = 100000 };

static void count_second_looks(struct unstick_thread *self)
{
	struct unstick_outcome outcome;
	if (unstick_thread_outcome(self, &outcome) == 0 && outcome.signals > 1)
		atomic_fetch_add(&counts->second_looks, 1);
}

static void *victim(void *argument)
{
	struct pair *pair = argument;
	unsigned seed = pair->seed;
	struct unstick_thread *self = unstick_thread_self();
	struct unstick_token *quiet;
	if (unstick_token_new(&quiet, NULL))
		exit(2);
	for (long round = 0; round < pair->rounds; round++) {
		struct unstick_token *token;
		struct unstick_scope scope;
		if (unstick_token_new(&token, NULL))
			exit(2);
		atomic_store(&pair->token, token);
		if (pair->kind == BEGIN) {
			wait_until_near(pair);
			spin(next_random(&seed) % 64);
		}
		unstick_scope_start(&scope, token, UNSTICK_NEVER);
		if (pair->kind == STORM)
			wait_until_near(pair);
		long result = make_call(pair, &seed);
		int end = unstick_scope_end(&scope);
		if (pair->kind != STORM && pair->kind != BEGIN)
			wait_until_near(pair);
		if (!rest_undisturbed(pair, quiet, round)) {
			atomic_fetch_add(&counts->stale, 1);
			round = pair->rounds; /* the canceller is a byte ahead from here on */
		}
		if (pair->kind == DATA)
			take_rest(pair);
		if (!is_right(pair->kind, result, end))
			atomic_fetch_add(&counts->wrong, 1), atomic_store(&counts->first_wrong, result);
		if (result == -ECANCELED)
			atomic_fetch_add_explicit(&counts->cut, 1, memory_order_relaxed);
		if (pair->kind == OWN || pair->kind == BEGIN || pair->kind == FOREIGN)
			count_second_looks(self);
		unstick_token_unref(token);
		atomic_fetch_add_explicit(&counts->rounds, 1, memory_order_relaxed);
	}
	unstick_token_unref(quiet);
	unstick_thread_unref(self);
	return NULL;
}

static void send_bytes(struct pair *pair, unsigned count)
{
	unsigned char c[8];
	for (unsigned i = 0; i < count; i++)
		c[i] = pair->next_sent++;
	if (write(pair->silent[1], c, count) != (ssize_t)count)
		exit(2);
}

static void *canceller(void *argument)
{
	struct pair *pair = argument;
	unsigned seed = pair->seed ^ 0x5bd1e995u;
	const unsigned longest = pair->kind == FOREIGN ? 12000 : pair->kind == BEGIN ? 64 : 2000;
	for (long round = 0; round < pair->rounds; round++) {
		struct unstick_token *token;
		for (unsigned i = 1; !(token = atomic_exchange(&pair->token, NULL)); i++)
			if (i % 256 == 0)
				sched_yield();
		atomic_store(&pair->near, true);
		spin(next_random(&seed) % longest);
		bool cancel_first = pair->kind != DATA || next_random(&seed) % 2;
		if (cancel_first)
			unstick_token_cancel(token);
		if (pair->kind == DATA)
			send_bytes(pair, 1 + next_random(&seed) % 8);
		if (!cancel_first)
			unstick_token_cancel(token);
		if (write(pair->go[1], "g", 1) != 1)
			exit(2);
	}
	return NULL;
}

static void play(struct pair *pair)
{
	pthread_t threads[2];
	if (pipe(pair->silent) || pipe(pair->go) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair->sockets))
		exit(2);
	if (pthread_create(&threads[0], NULL, victim, pair) || pthread_create(&threads[1], NULL, canceller, pair))
		exit(2);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	if (pair->next_got != pair->next_sent)
		atomic_fetch_add(&counts->lost_bytes, 1);
}

static void *play_thread(void *argument)
{
	play(argument);
	return NULL;
}

/* ---- a child plays, its parent watches */

static void play_all(enum kind kind, long rounds, unsigned pairs)
{
	static struct pair all[MAX_PAIRS];
	pthread_t threads[MAX_PAIRS];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < pairs; i++) {
		all[i] = (struct pair){.kind = kind, .rounds = rounds / (long)pairs, .seed = 1 + i + (unsigned)getpid()};
		if (pthread_create(&threads[i], NULL, play_thread, &all[i]))
			exit(2);
	}
	for (unsigned i = 0; i < pairs; i++)
		pthread_join(threads[i], NULL);
	exit(0);
}

static void say_where(pid_t pid)
{
	char command[128];
	snprintf(command, sizeof command,
	         "for t in /proc/%d/task/*; do echo \"# $t $(cat $t/comm $t/syscall $t/wchan | tr '\\n' ' ')\"; done", pid);
	if (system(command) != 0)
		puts("# cannot tell where it is stuck");
}

/* false: it was stuck and has been killed. */
static bool watch(pid_t pid, int *status)
{
	long before = -1;
	for (unsigned still = 0; still < stuck_after_s * 10;) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		long now = atomic_load(&counts->rounds);
		still = now == before ? still + 1 : 0;
		before = now;
		poll(NULL, 0, 100);
	}
	say_where(pid);
	kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return false;
}

static bool run(unsigned number, enum kind kind, long rounds, unsigned pairs)
{
	int status = 0;
	memset(counts, 0, sizeof *counts);
	fflush(stdout);
	unstick_time begin = unstick_now();
	pid_t pid = fork();
	if (pid == 0)
		play_all(kind, rounds, pairs);
	bool ended = watch(pid, &status);
	bool first_signal = kind == OWN || kind == BEGIN; /* FIRED, then the signal, and the window's pc: it is enough */
	bool ok = ended && WIFEXITED(status) && WEXITSTATUS(status) == 0 && !counts->stale && !counts->wrong &&
	          !counts->lost_bytes &&
	          (SANITIZED || !first_signal || counts->second_looks <= 1 + counts->rounds / ROUNDS_A_FALSE_LOOK);
	printf("%sok %u - %s: %ld rounds, %ld cut short, %d lost, %ld stale hits, %ld wrong", ok ? "" : "not ", number,
	       kind_names[kind], counts->rounds, counts->cut, !ended, counts->stale, counts->wrong);
	if (kind == DATA)
		printf(", %ld bytes lost", counts->lost_bytes);
	if (first_signal || kind == FOREIGN)
		printf(", %ld needed a second look", counts->second_looks);
	if (counts->stale || counts->wrong)
		printf(" (the first: %ld)", counts->first_wrong);
	if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		printf(" (status %x)", (unsigned)status);
	printf(", %.1f s\n", (double)(unstick_now() - begin) / 1e9);
	return ok;
}

int main(int argc, char **argv)
{
	long rounds[KINDS] = {20000, 20000, 5000, 20000, 20000}, pairs = 2;
	static const char *const options[] = {"--own", "--begin", "--foreign", "--storm", "--data"};
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--pairs"))
			pairs = atol(argv[i + 1]);
		if (!strcmp(argv[i], "--stuck-after"))
			stuck_after_s = (unsigned)atol(argv[i + 1]);
		for (int kind = 0; kind < KINDS; kind++)
			if (!strcmp(argv[i], options[kind]))
				rounds[kind] = atol(argv[i + 1]);
	}
	if (pairs < 1 || pairs > MAX_PAIRS) {
		fprintf(stderr, "torture: --pairs %ld: not between 1 and %d\n", pairs, MAX_PAIRS);
		return 2;
	}
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		return 2;
	unsigned number = 0, failed = 0;
	for (enum kind kind = OWN; kind < KINDS; kind++)
		if (rounds[kind] > 0 && kind == FOREIGN && SANITIZED)
			printf("ok %u - %s # SKIP TSan runs handlers after the call has returned: it keeps its EINTR\n", ++number,
			       kind_names[kind]);
		else if (rounds[kind] > 0)
			failed += !run(++number, kind, rounds[kind], (unsigned)pairs);
	printf("1..%u\n", number);
	return failed != 0;
}
