/* SPDX-License-Identifier: MIT
 *
 * What a thread of drain-server does for its client: it reads a line, a command, and answers, and reads the next. Most commands get it
 * stuck, each in another call, as the code of real servers does, and do no more than look at what the call returns: when it is cut, -1 and
 * ECANCELED. Then the connection is ended. Only two know that they may be cut: one that might never block, and one that has something to
 * clear up.
 */
#include "drain.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { SEND_BUFFER = 128 * 1024 };

/* ---- All that are being served ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t none_left = PTHREAD_COND_INITIALIZER;
static struct connection *first;
static unsigned long long ended, ended_wrote; /* connections, and the bytes they wrote */

/* Answers go out at once; and of a peer that does not read, thousands of which there may be, the kernel keeps no megabytes. */
static void tune(int fd)
{
	const int yes = 1, size = SEND_BUFFER;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		perror("drain-server: setsockopt"); /* slower, but no reason to turn it away */
}

struct connection *connection_new(int fd, bool secure)
{
	static atomic_uint last_id;
	struct connection *c = calloc(1, sizeof(*c));

	if (c) {
		tune(fd);
		c->id = ++last_id;
		c->stream.fd = fd;
		c->stream.secure = secure;
	} else {
		close(fd);
	}
	return c;
}

struct connection *connection_free(struct connection *c)
{
	close(c->stream.fd);
	free(c);
	return NULL;
}

static void begin(struct connection *c)
{
	pthread_mutex_lock(&lock);
	c->next = first;
	c->back = &first;
	if (first)
		first->back = &c->next;
	first = c;
	pthread_mutex_unlock(&lock);
}

static void end(struct connection *c)
{
	pthread_mutex_lock(&lock);
	*c->back = c->next;
	if (c->next)
		c->next->back = c->back;
	ended++;
	ended_wrote += c->stream.written;
	if (!first)
		pthread_cond_broadcast(&none_left);
	pthread_mutex_unlock(&lock);
	free(c);
}

bool connections_wait(unstick_time until)
{
	const struct timespec when = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
	int error = 0;

	pthread_mutex_lock(&lock);
	while (first && error == 0)
		error = pthread_cond_clockwait(&none_left, &lock, CLOCK_MONOTONIC, &when);
	bool all = !first;
	pthread_mutex_unlock(&lock);
	return all;
}

void connections_print_totals(void)
{
	pthread_mutex_lock(&lock);
	printf("%llu connections ended, %llu bytes written\n", ended, ended_wrote);
	pthread_mutex_unlock(&lock);
}

/* ---- Commands: each says its name first, then does what it is for, if it can. False: the connection ends. ---- */

static int silent[2] = {-1, -1}; /* a pipe that nobody writes to; it ends with the server, and so do the children that read it */
static int held = -1;            /* a file that is locked */
static pthread_mutex_t never_free = PTHREAD_MUTEX_INITIALIZER;

bool connections_prepare(void)
{
	held = memfd_create("held", MFD_CLOEXEC);
	return pipe2(silent, O_CLOEXEC) == 0 && held >= 0 && flock(held, LOCK_EX) == 0 && pthread_mutex_lock(&never_free) == 0;
}

static bool say(struct connection *c, const char *text)
{
	return stream_write(&c->stream, text, strlen(text));
}

static bool do_echo(struct connection *c, const char *text)
{
	return say(c, text) && say(c, "\n");
}

/* Where the peer does not read, it gets stuck in send(), or SSL_write(). Where the peer does, it never gets stuck, so that there is
 * nothing to cut: a loop like this one looks itself. */
static bool do_bulk(struct connection *c, const char *count)
{
	char letters[26 * 512];
	bool good = say(c, "bulk\n");

	for (size_t i = 0; i < sizeof(letters); i++)
		letters[i] = (char)('a' + i % 26);
	for (unsigned long long left = strtoull(count, NULL, 10); good && left > 0 && unstick_check() == 0;) {
		size_t n = left < sizeof(letters) ? (size_t)left : sizeof(letters);
		good = stream_write(&c->stream, letters, n);
		left -= n;
	}
	return good;
}

static bool do_sleep(struct connection *c, const char *unused)
{
	const struct timespec days = {.tv_sec = 1000000};

	(void)unused;
	return say(c, "sleep\n") && nanosleep(&days, NULL) == 0;
}

static bool do_poll(struct connection *c, const char *unused)
{
	struct pollfd fd = {.fd = silent[0], .events = POLLIN};

	(void)unused;
	return say(c, "poll\n") && poll(&fd, 1, -1) >= 0;
}

static bool do_read(struct connection *c, const char *unused)
{
	char byte;

	(void)unused;
	return say(c, "read\n") && read(silent[0], &byte, 1) >= 0;
}

static bool do_lock(struct connection *c, const char *unused)
{
	char path[32];

	(void)unused;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", held); /* opened anew: a lock belongs to an open file */
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool good = say(c, "lock\n") && fd >= 0 && flock(fd, LOCK_EX) == 0;
	if (fd >= 0)
		close(fd);
	return good;
}

static pid_t spawn_cat(void)
{
	char *const argv[] = {"cat", NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return -1;
	if (posix_spawn_file_actions_adddup2(&actions, silent[0], STDIN_FILENO) != 0 ||
	    posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) != 0)
		pid = -1;
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

/* The wait is cut, the child is not: it must be ended, and waited for where the wait cannot be cut. */
static bool do_child(struct connection *c, const char *unused)
{
	pid_t pid = say(c, "child\n") ? spawn_cat() : -1;

	(void)unused;
	if (pid < 0)
		return false;
	if (waitpid(pid, NULL, 0) == pid)
		return true;
	unstick_shield_begin();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unstick_shield_end();
	return false;
}

/* Only its owner can end this wait: no cancel can. */
static bool do_mutex(struct connection *c, const char *unused)
{
	(void)unused;
	return say(c, "mutex\n") && pthread_mutex_lock(&never_free) == 0;
}

/* How many bytes of answers the kernel has taken so far: "ID BYTES" a line for each connection, then ".". */
static bool do_written(struct connection *c, const char *unused)
{
	char *text = NULL;
	size_t size;
	FILE *lines = open_memstream(&text, &size);

	(void)unused;
	if (!lines)
		return false;
	pthread_mutex_lock(&lock);
	for (struct connection *other = first; other; other = other->next)
		fprintf(lines, "%u %llu\n", other->id, (unsigned long long)other->stream.written);
	pthread_mutex_unlock(&lock);
	fputs(".\n", lines);
	bool good = fclose(lines) == 0 && stream_write(&c->stream, text, size);
	free(text);
	return good;
}

static const struct {
	const char *name;
	bool (*run)(struct connection *c, const char *text);
} commands[] = {
        {"echo", do_echo}, {"bulk", do_bulk},   {"sleep", do_sleep}, {"poll", do_poll},       {"read", do_read},
        {"lock", do_lock}, {"child", do_child}, {"mutex", do_mutex}, {"written", do_written},
};

/* ---- One connection ---- */

/* The next line, without its end, in `input`; its length with the end, 0 if there is none. */
static size_t read_line(struct connection *c)
{
	for (;;) {
		char *newline = memchr(c->input, '\n', c->held);
		if (newline) {
			*newline = '\0';
			return (size_t)(newline - c->input) + 1;
		}
		ssize_t n = stream_read(&c->stream, c->input + c->held, sizeof(c->input) - c->held);
		if (n <= 0) /* its end; an error, also that of a cut; or no room left, in a line that is too long */
			return 0;
		c->held += (size_t)n;
	}
}

static bool run_command(struct connection *c)
{
	size_t name = strcspn(c->input, " ");
	const char *text = c->input[name] == ' ' ? c->input + name + 1 : "";

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strlen(commands[i].name) == name && strncmp(commands[i].name, c->input, name) == 0)
			return commands[i].run(c, text);
	}
	return say(c, "what?\n");
}

static void converse(struct connection *c)
{
	char hello[32];
	size_t length;

	snprintf(hello, sizeof(hello), "hello %u\n", c->id);
	bool good = say(c, hello);
	while (good && !server_stopping && (length = read_line(c)) > 0) {
		good = run_command(c);
		c->held -= length;
		memmove(c->input, c->input + length, c->held);
	}
}

void *connection_serve(void *connection)
{
	struct connection *c = connection;

	begin(c);
	if (stream_open(&c->stream))
		converse(c);
	stream_close(&c->stream);
	end(c);
	return NULL;
}
