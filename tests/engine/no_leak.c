/* SPDX-License-Identifier: MIT
 *
 * Operations that make an fd, cancelled while it is being made: the fd either is the result, or has never been. The number of open fds is
 * counted before and after; and a connection whose accept was cancelled is still there for the next one.
 *
 * usage: engine_no_leak [--rounds N]      of each; plain TAP
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "unstick.h"

static struct unstick_engine *engine;
static unsigned seed = 1;
static long won, cut, wrong;

static unsigned next_random(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static void spin(unsigned turns)
{
	for (volatile unsigned i = 0; i < turns; i++)
		;
}

static int count_fds(void)
{
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static struct unstick_op *begin(const struct unstick_request *request)
{
	struct unstick_op *op = NULL;
	int error = unstick_engine_submit(engine, request, &op);
	if (error) {
		printf("# submit: %s\n", strerror(-error));
		exit(2);
	}
	return op;
}

/* The peer comes, and the cancel, in either order and with any time between. What it came to: an fd or -ECANCELED. */
static long race(struct unstick_op *op, int (*peer)(const void *), const void *where, int *other)
{
	bool cancel_first = next_random() % 2;
	spin(next_random() % 20000);
	if (cancel_first)
		unstick_op_cancel(op);
	else
		*other = peer(where);
	spin(next_random() % (next_random() % 2 ? 200 : 20000));
	if (cancel_first)
		*other = peer(where);
	else
		unstick_op_cancel(op);
	if (unstick_op_wait(op, UNSTICK_NEVER) != 0)
		exit(2);
	long result = unstick_op_result(op);
	unstick_op_unref(op);
	won += result >= 0;
	cut += result == -ECANCELED;
	wrong += result < 0 && result != -ECANCELED;
	return result;
}

/* ---- accept */

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size;
static int listener;

static int come_as_client(const void *unused)
{
	(void)unused;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&address, address_size) != 0)
		wrong++;
	return fd;
}

static void accept_round(void)
{
	int client = -1;
	long fd = race(begin(&UNSTICK_ACCEPT(listener, SOCK_CLOEXEC)), come_as_client, NULL, &client);
	if (fd < 0)
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK); /* it must still be there */
	char byte = 0;
	wrong += fd < 0 || write(client, "x", 1) != 1 || read((int)fd, &byte, 1) != 1 || byte != 'x';
	close((int)fd);
	close(client);
}

static void start_accept(void)
{
	address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	                           (size_t)snprintf(address.sun_path + 1, 40, "unstick-no-leak-%d", (int)getpid()));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, address_size) != 0 || listen(listener, 8) != 0)
		exit(2);
}

/* ---- openat of a FIFO */

static char dir[] = "/tmp/unstick-no-leak-XXXXXX", path[64];

static int open_other_end(const void *unused)
{
	(void)unused;
	return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

static void openat_round(void)
{
	int other = -1;
	long fd = race(begin(&UNSTICK_OPENAT(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0)), open_other_end, NULL, &other);
	if (fd >= 0)
		close((int)fd);
	wrong += other < 0;
	close(other);
}

static void start_openat(void)
{
	if (!mkdtemp(dir))
		exit(2);
	snprintf(path, sizeof path, "%s/fifo", dir);
	if (mkfifo(path, 0600) != 0)
		exit(2);
}

/* ---- running them */

/* An fd that the library closes may be closed a little after its operation has ended. */
static int fds_after(int before)
{
	int now = count_fds();
	for (int i = 0; i < 10000 && now > before; i++) {
		sched_yield();
		now = count_fds();
	}
	return now;
}

static bool play(unsigned number, const char *name, void (*round_)(void), long rounds)
{
	for (int i = 0; i < 200; i++) /* until the library has all the fds of its own */
		round_();
	int before = count_fds();
	won = cut = wrong = 0;
	for (long i = 0; i < rounds; i++)
		round_();
	int after = fds_after(before);
	bool ok = wrong == 0 && after <= before && won > 0 && cut > 0;
	printf("%sok %u - %s: %ld rounds, %ld cut short, %ld fds made, %d leaked, %ld wrong\n", ok ? "" : "not ", number, name,
	       rounds, cut, won, after - before, wrong);
	return ok;
}

int main(int argc, char **argv)
{
	long rounds = 5000;
	if (argc > 2 && !strcmp(argv[1], "--rounds"))
		rounds = atol(argv[2]);
	if (unstick_engine_new(&engine, NULL) != 0)
		return 2;
	start_accept();
	start_openat();
	bool good = play(1, "cancelled accept", accept_round, rounds);
	good = play(2, "cancelled openat of a FIFO", openat_round, rounds) && good;
	good = unstick_engine_close(engine, UNSTICK_NEVER, NULL) == 0 && good;
	unstick_engine_free(engine);
	unlink(path);
	rmdir(dir);
	printf("1..2\n");
	return !good;
}
