/* SPDX-License-Identifier: MIT
 *
 * The pairs of fds of a load; see rig_load.h.
 */
#include "rig_load.h"

#include "os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

int load_tcp_listen(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 1) < 0)
		die_errno("TCP on loopback", errno);
	return listener;
}

static void send_at_once(int fd)
{
	int on = 1;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		die_errno("TCP_NODELAY", errno);
}

void load_tcp_pair(int listener, int fds[2])
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fds[0] < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
	    connect(fds[0], (struct sockaddr *)&address, size) < 0)
		die_errno("TCP on loopback", errno);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fds[1] < 0)
		die_errno("accept", errno);
	send_at_once(fds[0]);
	send_at_once(fds[1]);
}

static void open_pair(struct load *load, unsigned pair, int listener)
{
	int fds[2];
	if (load->kind == LOAD_TCP)
		load_tcp_pair(listener, fds);
	else if (load->kind == LOAD_UNIX && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		die_errno("socketpair", errno);
	else if (load->kind == LOAD_PIPE)
		os_pipe(fds);
	load->from[pair] = fds[0];
	load->to[pair] = fds[1];
}

void load_open(struct load *load, enum load_kind kind)
{
	load->kind = kind;
	if (kind == LOAD_NOP)
		return;
	int listener = kind == LOAD_TCP ? load_tcp_listen() : -1;
	for (unsigned pair = 0; pair < LOAD_PAIRS; pair++)
		open_pair(load, pair, listener);
	if (listener >= 0)
		close(listener);
}

void load_close(struct load *load)
{
	for (unsigned pair = 0; load->kind != LOAD_NOP && pair < LOAD_PAIRS; pair++) {
		close(load->from[pair]);
		close(load->to[pair]);
	}
}
