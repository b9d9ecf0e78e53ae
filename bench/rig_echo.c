/* SPDX-License-Identifier: MIT
 *
 * The client of the echo servers; see rig_echo.h.
 */
#include "rig_echo.h"

#include "os.h"
#include "rig_engine.h"
#include "rig_load.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS 8

struct peer {
	int fd;
	unsigned to_send; /* messages */
	size_t missing;   /* bytes of the one under way */
};

struct client {
	const char *name;
	const struct echo_way *way;
	void *server;
	int epoll;
	struct peer peers[ECHO_CONNECTIONS];
};

/* All cases are open at once: some thousand sockets. */
void echo_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	(void)benchmark;
	(void)config;
	rig_note_missing();
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die_errno("RLIMIT_NOFILE", errno);
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die_errno("RLIMIT_NOFILE", errno);
}

static void connect_peers(struct client *client, int theirs[ECHO_CONNECTIONS])
{
	int listener = load_tcp_listen();
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++) {
		int fds[2];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &client->peers[i]};
		load_tcp_pair(listener, fds);
		client->peers[i].fd = fds[0];
		theirs[i] = fds[1];
		if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, fds[0], &event) < 0)
			die_errno("epoll_ctl", errno);
	}
	close(listener);
}

void *echo_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	int theirs[ECHO_CONNECTIONS];
	struct client *client = os_alloc(1, sizeof(*client));
	client->name = bench_case->name;
	client->way = bench_case->spec;
	client->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll < 0)
		die_errno("epoll_create1", errno);
	connect_peers(client, theirs);
	rig_far_begin(config);
	client->server = client->way->start(theirs);
	rig_far_end(config);
	return client;
}

static void send_one(struct peer *peer)
{
	static const char message[ECHO_MESSAGE];
	if (send(peer->fd, message, ECHO_MESSAGE, MSG_NOSIGNAL) != ECHO_MESSAGE)
		die_errno("send", errno);
	peer->to_send--;
	peer->missing = ECHO_MESSAGE;
}

/* True: that was its last message. */
static bool take(const struct client *client, struct peer *peer)
{
	char bytes[ECHO_MESSAGE];
	ssize_t n = recv(peer->fd, bytes, peer->missing, 0);
	if (n <= 0)
		die(client->name, "the server has closed a connection", "please report it");
	peer->missing -= (size_t)n;
	if (peer->missing > 0)
		return false;
	if (peer->to_send == 0)
		return true;
	send_one(peer);
	return false;
}

static void talk(struct client *client, unsigned turns)
{
	struct epoll_event events[ECHO_CONNECTIONS];
	unsigned talking = ECHO_CONNECTIONS;
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++) {
		client->peers[i].to_send = turns;
		send_one(&client->peers[i]);
	}
	while (talking > 0) {
		int count = epoll_wait(client->epoll, events, ECHO_CONNECTIONS, 30000);
		if (count <= 0)
			die(client->name, "no echo within 30 s", "please report it: this is a lost wake-up");
		for (int i = 0; i < count; i++)
			talking -= take(client, events[i].data.ptr);
	}
}

void echo_block_run(void *instance, unsigned count, struct samples *samples)
{
	for (unsigned i = 0; i < count; i++) {
		talk(instance, 1);
		int64_t start = os_now();
		talk(instance, TURNS);
		samples_add(samples, (double)(os_now() - start) / (TURNS * ECHO_CONNECTIONS));
	}
}

void echo_close(void *instance)
{
	struct client *client = instance;
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++)
		close(client->peers[i].fd);
	client->way->finish(client->server);
	close(client->epoll);
	free(client);
}
