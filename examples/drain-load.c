/* SPDX-License-Identifier: MIT
 *
 * usage: drain-load [--connections N] [--deadline SECONDS] [--slack SECONDS] [--without] PATH-OF-DRAIN-SERVER
 *
 * Tries drain-server: starts it, opens N connections (2,000), brings half of them into calls that do not end, each with input that the
 * server never comes to read, lets the other half talk, asks the server how many bytes of answers the kernel has taken from it for each,
 * sends SIGTERM, and reads all connections to their end. Exit status 0 if
 *
 *     every byte that had been written before SIGTERM arrived, and each connection's bytes are what they must be, in order;
 *     no connection was reset;
 *     the server exited with status 0, at most SLACK (1 second, for a busy machine) after its deadline.
 *
 * With --without the server does without unstick, and status 0 means that it hung: it still ran at deadline and slack. It is killed.
 */
#include "drain-client.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unstick.h>

enum {
	TICK_MS = 100,    /* who has its answer asks again */
	SETTLE_S = 120,   /* for all threads to get stuck; nothing is asserted of it */
	MOST_CALLS = 512, /* numbers of system calls that are counted */
};

static unsigned count = 2000;
static double deadline_s = 3, slack_s = 1;
static bool without;
static const char *program;
static pid_t server;
static FILE *server_said;
static int port, tls_port;
static struct client *clients;

static void give_up(const char *why)
{
	fprintf(stderr, "drain-load: %s: %s\n", why, errno ? strerror(errno) : "not so");
	if (server > 0)
		kill(server, SIGKILL);
	exit(2);
}

static void must(bool good, const char *what)
{
	if (!good)
		give_up(what);
}

/* ---- The server ---- */

static void start_server(void)
{
	char deadline[32];
	int out[2];

	snprintf(deadline, sizeof(deadline), "%g", deadline_s);
	must(pipe(out) == 0, "pipe");
	server = fork();
	if (server == 0) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(program, program, "--deadline", deadline, without ? "--without" : NULL, NULL);
		_exit(127);
	}
	close(out[1]);
	server_said = fdopen(out[0], "r");
	must(server > 0 && server_said, "start");
	must(fscanf(server_said, "listening on 127.0.0.1 port %d, with TLS port %d", &port, &tls_port) == 2, "the server's ports");
	(void)fgetc(server_said); /* the line's end: not in the format, which would then wait for what follows it */
}

struct calls {
	unsigned threads[MOST_CALLS]; /* blocked in the call of that number */
	char names[MOST_CALLS][24];
};

/* What the server's threads are doing. */
static void look_at_server(struct calls *calls)
{
	char path[40];
	struct unstick_report report;

	memset(calls, 0, sizeof(*calls));
	snprintf(path, sizeof(path), "/proc/%d/task", (int)server);
	DIR *tasks = opendir(path);
	must(tasks != NULL, path);
	for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
		pid_t tid = atoi(entry->d_name); /* "." and ".." are 0 */
		if (tid == 0 || unstick_look(server, tid, &report) < 0 || report.nr < 0 || report.nr >= MOST_CALLS)
			continue;
		calls->threads[report.nr]++;
		memcpy(calls->names[report.nr], report.call, sizeof(report.call));
	}
	closedir(tasks);
}

static void print_calls(const struct calls *calls, const char *when)
{
	printf("threads of the server %s:", when);
	for (int nr = 0; nr < MOST_CALLS; nr++) {
		if (calls->threads[nr] > 0)
			printf(" %u in %s", calls->threads[nr], calls->names[nr]);
	}
	putchar('\n');
}

/* Until as many threads are in each call as there are connections that got one stuck in it. */
static void wait_until_stuck(struct calls *calls)
{
	const struct timespec moment = {.tv_nsec = 20000000};
	unsigned wanted[MOST_CALLS] = {0};
	unstick_time until = unstick_after_ms(SETTLE_S * 1000LL);

	for (unsigned i = 0; i < count; i++)
		wanted[clients[i].way->nr] += !clients[i].way->talks;
	for (bool all = false; !all;) {
		look_at_server(calls);
		all = true;
		for (int nr = 0; nr < MOST_CALLS; nr++)
			all = all && calls->threads[nr] >= wanted[nr];
		if (!all && unstick_now() > until) {
			print_calls(calls, "that did not all get stuck");
			give_up("wait");
		}
		nanosleep(&moment, NULL);
	}
}

/* ---- Before SIGTERM ---- */

static void open_all(void)
{
	struct rlimit fds;

	if (getrlimit(RLIMIT_NOFILE, &fds) == 0) {
		fds.rlim_cur = fds.rlim_max;
		setrlimit(RLIMIT_NOFILE, &fds);
		if (fds.rlim_max < count + 64) {
			count = (unsigned)fds.rlim_max - 64;
			printf("only %u connections: the limit of open files is %llu\n", count, (unsigned long long)fds.rlim_max);
		}
	}
	clients = calloc(count, sizeof(*clients));
	must(clients != NULL, "memory");
	for (unsigned i = 0; i < count; i++) {
		errno = 0;
		must(client_open(&clients[i], client_way(i, tls_port > 0), port, tls_port), "open a connection");
	}
}

/* Asks how much has been written; clients know from then on what they must get. */
static unsigned long long ask_what_was_written(void)
{
	struct client asks = {0};
	unsigned id;
	unsigned long long written, total = 0;

	must(client_open(&asks, client_way(0, false), port, 0) && client_say(&asks, "written\n"), "ask");
	FILE *answer = fdopen(asks.fd, "r");
	must(answer != NULL, "ask");
	while (fscanf(answer, "%u %llu", &id, &written) == 2) {
		for (unsigned i = 0; i < count; i++) {
			if (clients[i].id != id)
				continue;
			clients[i].promised = written;
			total += written;
		}
	}
	fclose(answer);
	return total;
}

/* ---- After SIGTERM ---- */

/* Bulk data is read late: at first it would get the server's thread going again. When the first of the stuck connections has been ended,
 * and so all are being ended, those that are not read send once more, and only at the tick after that they are read: a server that
 * had closed by then would have made them lose all of it. */
enum stage { STUCK, CUT, NAGGED, READ };

static bool is_read(const struct client *c, enum stage stage)
{
	return !c->ended && (!c->way->floods || stage == READ);
}

static unsigned wait_for_input(struct pollfd *fds, enum stage stage, int pidfd)
{
	unsigned open = 0;

	for (unsigned i = 0; i < count; i++) {
		fds[i] = (struct pollfd){.fd = is_read(&clients[i], stage) ? clients[i].fd : -1, .events = POLLIN};
		open += !clients[i].ended;
	}
	fds[count] = (struct pollfd){.fd = pidfd, .events = POLLIN};
	must(poll(fds, count + 1, TICK_MS) >= 0, "poll");
	return open;
}

/* True: one of those that were stuck has ended. */
static bool read_ready(const struct pollfd *fds)
{
	bool cut = false;

	for (unsigned i = 0; i < count; i++) {
		if (fds[i].fd < 0 || fds[i].revents == 0)
			continue;
		client_read(&clients[i]);
		cut = cut || (clients[i].ended && !clients[i].way->talks);
	}
	return cut;
}

static enum stage tick(enum stage stage)
{
	for (unsigned i = 0; i < count; i++) {
		struct client *c = &clients[i];
		if (c->way->talks && !c->ended)
			client_talk(c);
		if (stage == CUT && c->way->floods && c->way->kind == PLAIN)
			client_nag(c);
	}
	return stage == CUT ? NAGGED : stage == NAGGED ? READ : stage;
}

struct end {
	bool exited;
	int status;
	double seconds; /* from SIGTERM */
};

/* Reads and talks until all connections have ended and so has the server, or until the moment. */
static struct end converse(int pidfd, unstick_time begun, unstick_time until)
{
	struct pollfd *fds = calloc(count + 1, sizeof(*fds));
	struct end end = {.exited = false};
	enum stage stage = STUCK;
	unstick_time next_tick = 0;

	must(fds != NULL, "memory");
	while ((wait_for_input(fds, stage, end.exited ? -1 : pidfd) > 0 || !end.exited) && unstick_now() < until) {
		if (fds[count].revents != 0 && waitpid(server, &end.status, 0) == server) {
			end.exited = true;
			end.seconds = (double)(unstick_now() - begun) / 1e9;
		}
		if ((read_ready(fds) || end.exited) && stage == STUCK)
			stage = CUT;
		if (unstick_now() >= next_tick) {
			stage = tick(stage);
			next_tick = unstick_after_ms(TICK_MS);
		}
	}
	free(fds);
	return end;
}

/* ---- What came of it ---- */

static bool as_promised(void)
{
	unsigned open = 0, reset = 0, wrong = 0, talking = 0;
	unsigned long long promised = 0, received = 0, missing = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct client *c = &clients[i];
		open += !c->ended;
		reset += c->reset;
		wrong += c->wrong;
		talking += c->way->talks;
		promised += c->promised;
		received += c->received;
		missing += c->promised > c->received ? c->promised - c->received : 0;
	}
	printf("connections: %u, %u talking, %u stuck; in the end %u reset, %u with wrong bytes, %u not ended\n", count, talking,
	       count - talking, reset, wrong, open);
	printf("bytes: %llu written before SIGTERM, of these %llu not received; %llu received in all\n", promised, missing,
	       received);
	return open == 0 && reset == 0 && wrong == 0 && missing == 0;
}

static bool ended_as_promised(const struct end *end)
{
	char line[128];

	while (fgets(line, sizeof(line), server_said))
		printf("server: %s", line);
	if (WIFEXITED(end->status))
		printf("server: exit status %d, ", WEXITSTATUS(end->status));
	else
		printf("server: ended by signal %d, ", WTERMSIG(end->status));
	printf("%.3f s after SIGTERM; its deadline was %g s\n", end->seconds, deadline_s);
	return WIFEXITED(end->status) && WEXITSTATUS(end->status) == 0 && end->seconds <= deadline_s + slack_s;
}

static bool kill_hung_server(void)
{
	static struct calls calls;

	look_at_server(&calls);
	printf("server: still there %g s after SIGTERM\n", deadline_s + slack_s);
	print_calls(&calls, "that do not look at its flag");
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return without;
}

static bool parse(int argc, char *argv[])
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--without") == 0)
			without = true;
		else if (argv[i][0] != '-' && i + 1 == argc)
			program = argv[i];
		else if (i + 1 == argc)
			return false;
		else if (strcmp(argv[i], "--connections") == 0)
			count = (unsigned)atoi(argv[++i]);
		else if (strcmp(argv[i], "--deadline") == 0)
			deadline_s = atof(argv[++i]);
		else if (strcmp(argv[i], "--slack") == 0)
			slack_s = atof(argv[++i]);
		else
			return false;
	}
	return program && count > 0 && count <= 8000 && deadline_s > 0 && slack_s >= 0;
}

int main(int argc, char *argv[])
{
	static struct calls calls;

	if (!parse(argc, argv)) {
		fprintf(stderr, "usage: drain-load [--connections N] [--deadline SECONDS] [--slack SECONDS] [--without] "
		                "PATH-OF-DRAIN-SERVER\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	start_server();
	int pidfd = pidfd_open(server, 0);
	must(pidfd >= 0, "pidfd_open");
	open_all();
	wait_until_stuck(&calls);
	print_calls(&calls, "before SIGTERM");
	ask_what_was_written();

	unstick_time begun = unstick_now();
	kill(server, SIGTERM);
	struct end end = converse(pidfd, begun, begun + (unstick_time)((deadline_s + slack_s) * 1e9));
	bool good;
	if (!end.exited)
		good = kill_hung_server();
	else
		good = as_promised() && ended_as_promised(&end) && !without;
	puts(!good ? "FAILED: not what was promised" : without ? "it hung, as was to be shown; killed" : "all that was promised");
	return good ? 0 : 1;
}
