/* SPDX-License-Identifier: MIT
 *
 * Race: a cancel or a deadline against data that arrives, by the million. Every operation must come to exactly one end, and the bytes that all of
 * them got, one after the other, must be those that were sent: none lost, none twice, none out of order.
 *
 * A case has many lanes (a pipe or a socket pair each). One thread begins an operation on each, then goes over them: writes, and cancels, in
 * either order, with a moment between. For deadlines all lanes have the same one, and the writes begin shortly before it. The callbacks check the
 * bytes, on the engine's worker, at the same time. What an operation does not take is the next one's. A parent watches that things move on.
 *
 * usage: engine_race [--rounds N] [--stuck-after SECONDS]      N operations in all; plain TAP
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
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
#include <sys/wait.h>
#include <unistd.h>

#include "unstick.h"

enum { LANES = 64, LONGEST = 16 };
/* Of bytes that have not been taken. As small writes they must all fit: a unix socket counts some 800 bytes for each. */
enum { BACKLOG = 128 };
enum transport { PIPE, UNIX, TCP };

static const struct race {
	const char *name;
	enum transport transport;
	bool by_deadline, wait_all;
} races[] = {
        {"cancel against data on a pipe", PIPE, false, false},
        {"deadline against data on a pipe", PIPE, true, false},
        {"cancel against data on a unix socket", UNIX, false, false},
        {"deadline against data on a unix socket", UNIX, true, false},
        {"cancel against data on a unix socket, MSG_WAITALL", UNIX, false, true},
        {"deadline against data on a unix socket, MSG_WAITALL", UNIX, true, true},
        {"cancel against data on TCP", TCP, false, false},
        {"deadline against data on TCP", TCP, true, false},
        {"cancel against data on TCP, MSG_WAITALL", TCP, false, true},
        {"deadline against data on TCP, MSG_WAITALL", TCP, true, true},
};
enum { RACES = sizeof races / sizeof races[0] };

/* Shared with the parent. */
struct counts {
	_Atomic long rounds, cut, parts, bytes, disordered, lost, twice, wrong, early;
	_Atomic long last_wrong;
};

static struct counts *counts;

struct lane {
	int fds[2]; /* [0] reads */
	struct unstick_op *op;
	struct unstick_token *token; /* of the round, seldom */
	size_t len;
	uint64_t sent;
	_Atomic uint64_t got;
	_Atomic bool busy; /* an operation is under way */
	unstick_time deadline;
	unsigned char bytes[LONGEST];
};

static struct lane lanes[LANES];
static const struct race *race;
static unsigned seed;

static uint32_t next_random(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static void spin(unsigned turns)
{
	for (volatile unsigned i = 0; i < turns; i++)
		;
}

/* The byte at a place of the stream: a loss of any number of them shows. */
static unsigned char byte_at(uint64_t place)
{
	return (unsigned char)(place ^ place >> 8 ^ place >> 16);
}

_Noreturn static void give_up(const char *what, int error)
{
	printf("# %s: %s\n", what, strerror(error));
	exit(2);
}

/* ---- what the operations come to, on the worker */

static void check_bytes(struct lane *lane, const unsigned char *bytes, size_t n)
{
	uint64_t place = atomic_load_explicit(&lane->got, memory_order_relaxed);
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != byte_at(place + i))
			atomic_fetch_add(&counts->disordered, 1);
	atomic_store(&lane->got, place + n);
}

static bool is_right(const struct lane *lane, const struct unstick_op *op, long result)
{
	if (result > (long)lane->len || result == 0 || unstick_op_result(op) != result)
		return false;
	return result > 0 || result == (race->by_deadline ? -ETIMEDOUT : -ECANCELED);
}

static void ended(struct unstick_op *op, long result, void *argument)
{
	struct lane *lane = argument;
	if (!atomic_load(&lane->busy)) {
		atomic_fetch_add(&counts->twice, 1);
		return;
	}
	if (!is_right(lane, op, result))
		atomic_fetch_add(&counts->wrong, 1), atomic_store(&counts->last_wrong, result);
	if (result == -ETIMEDOUT && unstick_now() < lane->deadline)
		atomic_fetch_add(&counts->early, 1);
	if (result > 0)
		check_bytes(lane, lane->bytes, (size_t)result);
	if (result > 0 && race->wait_all && result < (long)lane->len)
		atomic_fetch_add_explicit(&counts->parts, 1, memory_order_relaxed);
	if (result < 0)
		atomic_fetch_add_explicit(&counts->cut, 1, memory_order_relaxed);
	atomic_store(&lane->busy, false);
}

/* ---- the rounds */

static struct unstick_request next_request(struct lane *lane, unstick_time deadline)
{
	lane->len = 1 + next_random() % LONGEST;
	lane->deadline = deadline;
	struct unstick_request request = race->transport == PIPE ? UNSTICK_READ(lane->fds[0], lane->bytes, lane->len)
	                                                         : UNSTICK_RECV(lane->fds[0], lane->bytes, lane->len);
	request.op_flags = race->wait_all ? MSG_WAITALL : 0;
	request.deadline = deadline == UNSTICK_NEVER ? 0 : deadline;
	request.done = ended;
	request.arg = lane;
	if (!race->by_deadline && next_random() % 16 == 0 && unstick_token_new(&lane->token, NULL) != 0)
		give_up("token", ENOMEM);
	request.token = lane->token;
	return request;
}

static void begin_all(struct unstick_engine *engine, unstick_time deadline)
{
	struct unstick_request requests[LANES];
	struct unstick_op *ops[LANES];
	for (unsigned i = 0; i < LANES; i++) {
		requests[i] = next_request(&lanes[i], deadline);
		atomic_store(&lanes[i].busy, true);
	}
	int begun = unstick_engine_submit_many(engine, requests, LANES, ops);
	if (begun != LANES)
		give_up("submit_many", begun < 0 ? -begun : EIO);
	for (unsigned i = 0; i < LANES; i++)
		lanes[i].op = ops[i];
}

static void send_some(struct lane *lane)
{
	unsigned char bytes[LONGEST];
	size_t n = 1 + next_random() % LONGEST;
	if (lane->sent - atomic_load(&lane->got) > BACKLOG)
		return;
	for (size_t i = 0; i < n; i++)
		bytes[i] = byte_at(lane->sent + i);
	lane->sent += n;
	if (write(lane->fds[1], bytes, n) != (ssize_t)n)
		give_up("write", errno);
}

static void cancel(struct lane *lane)
{
	if (lane->token)
		unstick_token_cancel(lane->token);
	else
		unstick_op_cancel(lane->op);
}

/* Writes and cancels, in either order; now and then only cancels. */
static void attack(struct lane *lane)
{
	unsigned how = next_random() % 16;
	if (how < 7)
		send_some(lane);
	spin(next_random() % 400);
	if (!race->by_deadline)
		cancel(lane);
	if (how >= 7 && how < 14) {
		spin(next_random() % 100);
		send_some(lane);
	}
}

static void end_all(void)
{
	for (unsigned i = 0; i < LANES; i++) {
		for (unsigned turn = 1; atomic_load(&lanes[i].busy); turn++)
			if (turn % 64 == 0)
				sched_yield();
		lanes[i].op = unstick_op_unref(lanes[i].op);
		lanes[i].token = unstick_token_unref(lanes[i].token);
	}
	atomic_fetch_add(&counts->rounds, LANES);
}

/* Deadlines are looked at in steps of 2^19 ns at present: one shortly before a step is the sharpest. Any other would be right, too. */
static unstick_time next_deadline(void)
{
	unstick_time step = (unstick_time)1 << 19, now = unstick_now();
	return (now / step + 1) * step - 1;
}

static void play_round(struct unstick_engine *engine)
{
	unstick_time deadline = race->by_deadline ? next_deadline() : UNSTICK_NEVER;
	begin_all(engine, deadline);
	if (race->by_deadline) {
		unstick_time from = deadline - 150000 + (unstick_time)(next_random() % 250000);
		while (unstick_now() < from)
			sched_yield();
	} else {
		spin(next_random() % 20000);
	}
	unsigned first = next_random();
	for (unsigned i = 0; i < LANES; i++)
		attack(&lanes[(first + i) % LANES]);
	end_all();
}

/* ---- the lanes */

static void make_tcp(int fds[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
	    connect(fds[1], (struct sockaddr *)&address, size) != 0)
		give_up("tcp", errno);
	fds[0] = accept(listener, NULL, NULL);
	setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	close(listener);
}

static void make_lane(struct lane *lane)
{
	if (race->transport == TCP)
		make_tcp(lane->fds);
	else if (race->transport == PIPE ? pipe(lane->fds) != 0 : socketpair(AF_UNIX, SOCK_STREAM, 0, lane->fds) != 0)
		give_up("lane", errno);
}

/* All that no operation has taken must still be there, and nothing else. */
static void take_rest(struct lane *lane)
{
	unsigned char bytes[BACKLOG + LONGEST];
	close(lane->fds[1]);
	for (ssize_t n; (n = read(lane->fds[0], bytes, sizeof bytes)) > 0;)
		check_bytes(lane, bytes, (size_t)n);
	atomic_fetch_add(&counts->bytes, (long)lane->sent);
	atomic_fetch_add(&counts->lost, (long)lane->sent - (long)lane->got);
}

_Noreturn static void play(long rounds)
{
	struct unstick_engine *engine;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed = (unsigned)getpid();
	int error = unstick_engine_new(&engine, NULL);
	if (error)
		give_up("unstick_engine_new", -error);
	for (unsigned i = 0; i < LANES; i++)
		make_lane(&lanes[i]);
	while (atomic_load(&counts->rounds) < rounds)
		play_round(engine);
	if (unstick_engine_close(engine, UNSTICK_NEVER, NULL) != 0)
		give_up("close", EIO);
	for (unsigned i = 0; i < LANES; i++)
		take_rest(&lanes[i]);
	unstick_engine_free(engine);
	exit(0);
}

/* ---- a child plays, its parent watches */

/* False: nothing moved any more, it has been killed. */
static bool watch(pid_t pid, int *status, long stuck_after_s)
{
	long before = -1;
	for (long still = 0; still < stuck_after_s * 100;) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		long now = atomic_load(&counts->rounds);
		still = now == before ? still + 1 : 0;
		before = now;
		poll(NULL, 0, 10);
	}
	kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return false;
}

static bool run(unsigned number, long rounds, long stuck_after_s)
{
	int status = 0;
	memset(counts, 0, sizeof *counts);
	fflush(stdout);
	unstick_time begin = unstick_now();
	pid_t pid = fork();
	if (pid == 0)
		play(rounds);
	bool over = watch(pid, &status, stuck_after_s), well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool ok = over && well && !counts->disordered && !counts->lost && !counts->twice && !counts->wrong && !counts->early;
	printf("%sok %u - %s: %ld rounds, %ld cut short", ok ? "" : "not ", number, race->name, counts->rounds, counts->cut);
	if (race->wait_all)
		printf(", %ld with a part", counts->parts);
	printf(", %ld bytes, %ld lost, %ld out of order, %ld ended twice, %d never, %ld wrong", counts->bytes, counts->lost,
	       counts->disordered, counts->twice, !over, counts->wrong);
	if (race->by_deadline)
		printf(", %ld too early", counts->early);
	if (counts->wrong)
		printf(" (the last: %ld)", counts->last_wrong);
	if (!well)
		printf(" (status %x)", (unsigned)status);
	printf(", %.1f s\n", (double)(unstick_now() - begin) / 1e9);
	return ok;
}

int main(int argc, char **argv)
{
	long rounds = 3000 * RACES, stuck_after_s = 20;
	unsigned failed = 0;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--rounds"))
			rounds = atol(argv[i + 1]);
		if (!strcmp(argv[i], "--stuck-after"))
			stuck_after_s = atol(argv[i + 1]);
	}
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		return 2;
	for (unsigned i = 0; i < RACES; i++) {
		race = &races[i];
		failed += !run(i + 1, rounds / RACES, stuck_after_s);
	}
	printf("1..%u\n", (unsigned)RACES);
	return failed != 0;
}
