/* SPDX-License-Identifier: MIT
 *
 * usage: crowd COUNT
 *
 * So many threads, each blocked: in turn in pause(), in a read from a pipe of its own, in a recv on a unix socket of its own. Prints its
 * PID once all are, and stays until its stdin ends.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static sem_t started;

static void block_in_read(void)
{
	int fds[2];
	char byte;

	if (pipe(fds))
		exit(1);
	sem_post(&started);
	exit(read(fds[0], &byte, 1) != 1); /* nobody writes */
}

static void block_in_recv(void)
{
	int fds[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
		exit(1);
	sem_post(&started);
	exit(recv(fds[0], &byte, 1, 0) != 1);
}

static void *block(void *arg)
{
	switch ((uintptr_t)arg % 3) {
	case 0:
		sem_post(&started);
		pause();
		break;
	case 1:
		block_in_read();
		break;
	default:
		block_in_recv();
	}
	return NULL;
}

static void start(uintptr_t index)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 16384);
	if (pthread_create(&thread, &attributes, block, (void *)index)) { // NOLINT: a number, not a pointer
		perror("crowd: a thread");
		exit(77);
	}
	pthread_attr_destroy(&attributes);
	sem_wait(&started);
}

int main(int argc, char **argv)
{
	uintptr_t count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	struct rlimit limit;
	char byte;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < 2 * count) {
		fprintf(stderr, "crowd: %lu threads need %lu fds, and %lu are allowed\n", (unsigned long)count,
		        (unsigned long)(2 * count), (unsigned long)limit.rlim_cur);
		return 77;
	}
	sem_init(&started, 0, 0);
	for (uintptr_t i = 0; i < count; i++)
		start(i);
	printf("%d\n", (int)getpid());
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	_exit(0);
}
