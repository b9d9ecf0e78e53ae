/* SPDX-License-Identifier: MIT
 *
 * What a call has moved or made is reported, cancel or not (faults 27 and 28): all bytes and connections are accounted for. And a
 * descriptor that is closed, or stands for another file by the time of the cancel (fault 29).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include "victim.h"

enum { LARGE = 1 << 20, ROUNDS = FAULT_TSAN || FAULT_ASAN ? 300 : 1500 };

static int fds[2];

/* ---- fault 27 */

static char large[LARGE];

static long write_large(struct victim *victim)
{
	long moved = 0, result;
	bool own = victim->arg != NULL;
	do {
		size_t left = sizeof(large) - (size_t)moved;
		result = own ? unstick_write(victim->fd, large + moved, left)
		             : after_foreign(or_errno(write(victim->fd, large + moved, left)));
		if (result > 0)
			moved += result;
	} while ((result > 0 || result == -EINTR) && moved < LARGE);
	CHECK(result == -ECANCELED, "%ld after %ld bytes", result, moved);
	return moved;
}

static void expect_all_moved(struct victim *victim, int from)
{
	char buf[65536];
	long got = 0, n;
	victim_wait_blocked(victim, SYS_write);
	unstick_token_cancel(victim->token);
	victim_join(victim);
	CHECK(victim->end == -ECANCELED, "%d", victim->end);
	CHECK(fcntl(from, F_SETFL, O_NONBLOCK) == 0, "fcntl");
	while ((n = read(from, buf, sizeof(buf))) > 0)
		got += n;
	CHECK(got > 0 && victim->result == got, "%ld bytes came through, %ld were reported", got, victim->result);
}

static void partial_write(bool own, bool socket)
{
	struct victim victim = {.call = write_large, .arg = own ? large : NULL, .token = make_token()};
	if (socket)
		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
	else
		make_pipe(fds);
	victim.fd = fds[1];
	victim_start(&victim);
	expect_all_moved(&victim, fds[0]);
}

static void partial_pipe_foreign(void)
{
	partial_write(false, false);
}

static void partial_pipe_own(void)
{
	partial_write(true, false);
}

static void partial_socket_foreign(void)
{
	partial_write(false, true);
}

static void partial_socket_own(void)
{
	partial_write(true, true);
}

static long receive_all(struct victim *victim)
{
	char buf[100];
	return victim->arg != NULL ? unstick_recv(victim->fd, buf, sizeof(buf), MSG_WAITALL)
	                           : after_foreign(or_errno(recv(victim->fd, buf, sizeof(buf), MSG_WAITALL)));
}

/* It waits for a hundred bytes and has three: those it reports; the scope has cut nothing short. */
static void partial_receive(bool own)
{
	struct victim victim = {.call = receive_all, .arg = own ? large : NULL, .token = make_token()};
	int left;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
	victim.fd = fds[0];
	CHECK(write(fds[1], "abc", 3) == 3, "write");
	victim_start(&victim);
	do {
		victim_wait_blocked(&victim, SYS_recvfrom);
		CHECK(ioctl(fds[0], FIONREAD, &left) == 0, "ioctl");
	} while (left > 0);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == 3 && victim.end == 0, "%ld, %d", victim.result, victim.end);
}

static void partial_receive_foreign(void)
{
	partial_receive(false);
}

static void partial_receive_own(void)
{
	partial_receive(true);
}

/* ---- fault 28: two threads start together, one makes the call's wait come true, the other cancels */

static pthread_barrier_t together;
static struct unstick_token *token;
static int listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void spin(int turns)
{
	for (volatile int i = 0; i < turns; i++)
		;
}

static void connect_once(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0, "connect: %s", strerror(errno));
	close(fd);
}

static long give(struct victim *giver)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&together);
		spin(i % 16 * 4000);
		if (giver->arg != NULL)
			connect_once();
		else
			feed(fds[1]);
		pthread_barrier_wait(&together);
	}
	return 0;
}

static long cancel(struct victim *canceller)
{
	(void)canceller;
	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&together);
		spin(i * 13 % 2000);
		unstick_token_cancel(token);
		pthread_barrier_wait(&together);
	}
	return 0;
}

static long take(bool own, bool connections)
{
	char byte;
	if (connections)
		return own ? unstick_accept4(listener, NULL, NULL, SOCK_CLOEXEC)
		           : or_errno(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	return own ? unstick_read(fds[0], &byte, 1) : or_errno(read(fds[0], &byte, 1));
}

/* Whether something is there to take without a wait; it is taken. */
static bool take_rest(bool connections)
{
	struct pollfd ready = {.fd = connections ? listener : fds[0], .events = POLLIN};
	if (poll(&ready, 1, 0) != 1)
		return false;
	long result = take(true, connections);
	CHECK(result >= 0, "%ld", result);
	if (connections)
		close((int)result);
	return true;
}

static void race(bool own, bool connections)
{
	struct victim giver = {.call = give, .arg = connections ? &listener : NULL}, canceller = {.call = cancel};
	int got = 0, cut = 0;
	pthread_barrier_init(&together, NULL, 3);
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	victim_start(&giver);
	victim_start(&canceller);
	int lowest = dup(0);
	close(lowest);
	for (int i = 0; i < ROUNDS; i++) {
		struct unstick_scope scope;
		token = make_token();
		CHECK(unstick_scope_begin(&scope, token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
		pthread_barrier_wait(&together);
		long result = take(own, connections);
		int end = unstick_scope_end(&scope);
		pthread_barrier_wait(&together);
		CHECK(result >= 0 || result == -ECANCELED || (!own && result == -EINTR), "round %d: %ld", i, result);
		CHECK(result == -EINTR || (end == 0) == (result != -ECANCELED), "round %d: %ld, but the scope says %d", i, result,
		      end);
		if (connections && result >= 0)
			close((int)result);
		bool rest = take_rest(connections);
		CHECK(rest == (result < 0), "round %d: %ld, and %s left", i, result, rest ? "something is" : "nothing is");
		got += result >= 0;
		cut += result < 0;
		unstick_token_unref(token);
	}
	CHECK(dup(0) == lowest, "a descriptor was lost");
	fault_note("%d done, %d cut short", got, cut);
	victim_join(&giver);
	victim_join(&canceller);
}

static void race_reads(bool own)
{
	make_pipe(fds);
	race(own, false);
}

static void race_accepts(bool own)
{
	/* An abstract address: no file to remove. */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "unstick-faults-%d", (int)getpid());
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(listener, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(listener, 16) == 0, "%s",
	      strerror(errno));
	race(own, true);
}

static void byte_foreign(void)
{
	race_reads(false);
}

static void byte_own(void)
{
	race_reads(true);
}

static void accept_foreign(void)
{
	race_accepts(false);
}

static void accept_own(void)
{
	race_accepts(true);
}

/* ---- fault 29 */

enum reuse { CLOSED, BY_PIPE, BY_FILE };

static void reused(long (*call)(struct victim *), enum reuse how)
{
	struct victim victim = {.call = call, .token = make_token()}, other = {.call = foreign_read_again};
	if (FAULT_TSAN)
		fault_skip("TSan reports what is done here on purpose: a close of what another thread reads");
	int other_fds[2], file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	make_pipe(fds);
	make_pipe(other_fds);
	victim.fd = other.fd = fds[0];
	victim_block(&victim, SYS_read);
	if (how == CLOSED)
		CHECK(close(fds[0]) == 0, "close");
	else
		CHECK(dup2(how == BY_FILE ? file : other_fds[0], fds[0]) == fds[0], "dup2");
	if (how == BY_PIPE)
		victim_block(&other, SYS_read);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
	if (how == BY_PIPE) {
		CHECK(proc_in_call(0, other.tid, SYS_read), "the new file's reader was hit");
		feed(other_fds[1]);
		victim_join(&other);
		CHECK(other.result == 1 && other.count == 0, "%ld after %ld EINTR", other.result, other.count);
	}
}

static void closed_foreign(void)
{
	reused(foreign_read, CLOSED);
}

static void closed_own(void)
{
	reused(own_read, CLOSED);
}

static void pipe_foreign(void)
{
	reused(foreign_read, BY_PIPE);
}

static void pipe_own(void)
{
	reused(own_read, BY_PIPE);
}

static void file_foreign(void)
{
	reused(foreign_read, BY_FILE);
}

static void file_own(void)
{
	reused(own_read, BY_FILE);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {27, "a partial foreign write to a pipe is reported, then the cancel", partial_pipe_foreign},
	        {27, "a partial own write to a pipe is reported, then the cancel", partial_pipe_own},
	        {27, "a partial foreign write to a socket is reported, then the cancel", partial_socket_foreign},
	        {27, "a partial own write to a socket is reported, then the cancel", partial_socket_own},
	        {27, "a partial foreign recv with MSG_WAITALL is reported", partial_receive_foreign},
	        {27, "a partial own recv with MSG_WAITALL is reported", partial_receive_own},
	        {28, "a byte and a cancel at once, foreign read: the byte is read or there still", byte_foreign},
	        {28, "a byte and a cancel at once, own read: the byte is read or there still", byte_own},
	        {28, "a connection and a cancel at once, foreign accept: accepted or waiting still", accept_foreign},
	        {28, "a connection and a cancel at once, own accept: accepted or waiting still", accept_own},
	        {29, "the fd of a foreign read is closed: the read is freed", closed_foreign},
	        {29, "the fd of an own read is closed: the read is freed", closed_own},
	        {29, "the fd of a foreign read is a new pipe: the read is freed, the new reader is not hit", pipe_foreign},
	        {29, "the fd of an own read is a new pipe: the read is freed, the new reader is not hit", pipe_own},
	        {29, "the fd of a foreign read is a regular file now: the read is freed", file_foreign},
	        {29, "the fd of an own read is a regular file now: the read is freed", file_own},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
