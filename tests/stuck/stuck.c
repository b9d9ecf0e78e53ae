/* SPDX-License-Identifier: MIT
 *
 * stuck NAME: a process with one thread that is really stuck, for tests of the command, of Python, of whatever looks from outside.
 *
 *     stuck [--thread] [--retry | --own] [--ready-fd N] NAME      stuck --list
 *
 * Prints "NAME PID TID NR" once /proc shows it blocked, to stdout, or to --ready-fd, which is then closed. If somebody frees the thread,
 * prints "ended RESULT" (an error as -errno). Stays until stdin ends or SIGTERM comes, then undoes what it made, children included.
 * The main thread is the one that is stuck, unless --thread; a second thread looks after it.
 * Exit status: 0; 1 it did not get stuck or could not be undone; 2 usage; 77 it cannot be made here (the reason is on stderr).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "situations.h"

static struct {
	struct stuck *stuck;
	const char *name;
	int ready_fd;
	int stop[2];  /* pipe: SIGTERM writes a byte */
	int ended[2]; /* pipe: the thread has come out */
} self = {.ready_fd = STDOUT_FILENO};

static void on_sigterm(int signo)
{
	int saved = errno;
	char byte = (char)signo;
	if (write(self.stop[1], &byte, 1) != 1)
		_exit(1);
	errno = saved;
}

static void came_out(void *arg)
{
	(void)arg;
	if (write(self.ended[1], "x", 1) != 1)
		_exit(1);
}

static void list(void)
{
	const struct situation *s;
	for (size_t i = 0; (s = situation_at(i)); i++)
		printf("%s\t%s\t%ld\t%s%s\n", s->name, s->group, s->nr[0], s->summary, s->own ? "" : " (libc only)");
}

static int announce(void)
{
	int r = stuck_wait_blocked(self.stuck);
	if (r && r != -EALREADY) {
		fprintf(stderr, "stuck: %s: call %ld, state %c: %s\n", self.name, stuck_nr(self.stuck), stuck_state(self.stuck),
		        strerror(-r));
		return 1;
	}
	if (r == 0) {
		dprintf(self.ready_fd, "%s %d %d %ld\n", self.name, (int)getpid(), (int)stuck_tid(self.stuck),
		        stuck_nr(self.stuck));
		if (self.ready_fd != STDOUT_FILENO)
			close(self.ready_fd);
	}
	return 0;
}

/* Until stdin ends or SIGTERM; says so when the thread comes out meanwhile. */
static void stay(void)
{
	struct pollfd fds[3] = {{.fd = STDIN_FILENO, .events = POLLIN},
	                        {.fd = self.stop[0], .events = POLLIN},
	                        {.fd = self.ended[0], .events = POLLIN}};
	for (;;) {
		char sink[256];
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[1].revents || (fds[0].revents && read(STDIN_FILENO, sink, sizeof sink) <= 0))
			return;
		if (fds[2].revents) {
			stuck_wait_done(self.stuck, 1000);
			dprintf(STDOUT_FILENO, "ended %ld\n", stuck_result(self.stuck));
			fds[2].fd = -1;
		}
	}
}

/* Ends the process, as the main thread may be beyond reach. */
static void *look_after(void *arg)
{
	int status = announce();
	(void)arg;
	if (!status)
		stay();
	/* Freed, it needs no release, and there may be nothing left to give it. */
	int r = stuck_is_done(self.stuck) ? 0 : stuck_release(self.stuck);
	if (r || stuck_wait_done(self.stuck, 2000)) {
		fprintf(stderr, "stuck: %s: not released\n", self.name);
		if (stuck_child(self.stuck) > 0)
			kill(stuck_child(self.stuck), SIGKILL);
		stuck_sweep(getpid());
		_exit(1);
	}
	return (void *)(intptr_t)status;
}

static int run(bool thread)
{
	pthread_t keeper;
	void *status;
	int r = thread ? stuck_start(self.stuck) : 0;
	if (!r)
		r = pthread_create(&keeper, NULL, look_after, NULL);
	if (r) {
		fprintf(stderr, "stuck: no thread: %s\n", strerror(abs(r)));
		return 1;
	}
	if (!thread)
		stuck_run(self.stuck);
	pthread_join(keeper, &status);
	return stuck_free(self.stuck) || status ? 1 : 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: stuck [--thread] [--retry | --own] [--ready-fd N] NAME\n       stuck --list\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	        {"thread", no_argument, NULL, 't'}, {"retry", no_argument, NULL, 'r'},          {"own", no_argument, NULL, 'o'},
	        {"list", no_argument, NULL, 'l'},   {"ready-fd", required_argument, NULL, 'f'}, {0}};
	enum stuck_way way = STUCK_FOREIGN;
	bool thread = false;
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't':
			thread = true;
			break;
		case 'r':
			way = STUCK_RETRY;
			break;
		case 'o':
			way = STUCK_OWN;
			break;
		case 'f':
			self.ready_fd = atoi(optarg);
			break;
		case 'l':
			list();
			return 0;
		default:
			return usage();
		}
	}
	if (optind != argc - 1)
		return usage();
	self.name = argv[optind];
	const struct situation *what = situation_find(self.name);
	if (!what || !situation_has(what, way)) {
		fprintf(stderr, "stuck: no such situation%s: %s\n", what ? " in this way" : "", self.name);
		return 2;
	}
	struct sigaction action = {.sa_handler = on_sigterm, .sa_flags = SA_RESTART};
	if (pipe2(self.stop, O_CLOEXEC) || pipe2(self.ended, O_CLOEXEC) || sigaction(SIGTERM, &action, NULL))
		return 1;
	if (stuck_new(&self.stuck, what, way)) {
		fprintf(stderr, "stuck: %s cannot be made here: %s\n", self.name, stuck_why_not());
		return 77;
	}
	stuck_set_hooks(self.stuck, NULL, came_out, NULL);
	return run(thread);
}
