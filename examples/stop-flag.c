/* SPDX-License-Identifier: MIT
 *
 * The classic worker, and why it does not stop:
 *
 *     while (!stop) {                     nobody gets here again
 *             n = read(fd, ...);          while this waits
 *             ...
 *     }
 *
 * The flag becomes a token. Checking it costs about the same, and cancelling it also ends the read(). A worker that
 * computes without making calls stops at its own checkpoints, as it did with the flag.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unstick.h>

struct worker {
	const char *name;
	struct unstick_token *stop; /* was: volatile bool *stop */
	void (*work)(struct worker *);
	int fd;
	_Atomic pid_t tid; /* set last: from then on the worker works */
	atomic_ulong rounds;
	ssize_t read_gave;
	int read_errno;
	int error;
	unstick_time ended;
};

static void read_messages(struct worker *w)
{
	char message[64];

	while (unstick_check() == 0) { /* was: while (!stop) */
		w->read_gave = read(w->fd, message, sizeof(message));
		w->read_errno = w->read_gave < 0 ? errno : 0;
		if (w->read_gave <= 0)
			return;
		w->rounds++;
	}
}

static void compute(struct worker *w)
{
	while (unstick_check() == 0) {
		for (unsigned i = 0; i < 1000; i++)
			w->rounds += i & 1;
	}
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct unstick_scope scope;

	unstick_scope_start(&scope, w->stop, UNSTICK_NEVER);
	w->tid = gettid();
	w->work(w);
	w->error = unstick_scope_end(&scope);
	w->ended = unstick_now();
	return NULL;
}

/* True once the worker waits in read(); false if it cannot be seen within five seconds. */
static bool wait_until_in_read(struct worker *w)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	struct unstick_report report;

	for (int i = 0; i < 5000; i++) {
		if (w->tid != 0 && w->rounds > 0 && unstick_look(0, w->tid, &report) == 0 && report.nr == SYS_read) {
			printf("%s: thread %d waits in %s on fd %d (%s)\n", w->name, (int)report.tid, report.call, report.fd,
			       report.object);
			return true;
		}
		nanosleep(&moment, NULL);
	}
	return false;
}

static bool wait_until_computing(struct worker *w)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	for (int i = 0; i < 5000; i++) {
		if (w->rounds > 0) {
			printf("%s: thread %d computes, %lu rounds so far\n", w->name, (int)w->tid, w->rounds);
			return true;
		}
		nanosleep(&moment, NULL);
	}
	return false;
}

static bool stopped(const struct worker *w, unstick_time cancelled)
{
	printf("%s: ended %.3f ms after the cancel, scope %d (%s)", w->name, (double)(w->ended - cancelled) / 1e6, w->error,
	       strerror(-w->error));
	if (w->read_gave < 0)
		printf(", read gave %zd (%s)", w->read_gave, strerror(w->read_errno));
	putchar('\n');
	return w->error == -ECANCELED && (w->read_gave >= 0 || w->read_errno == ECANCELED);
}

int main(void)
{
	struct unstick_token *stop;
	int messages[2];
	pthread_t threads[2];

	if (unstick_token_new(&stop, NULL) < 0 || pipe(messages) < 0 || write(messages[1], "hello", 5) != 5)
		return 1;
	struct worker reader = {.name = "reader", .stop = stop, .work = read_messages, .fd = messages[0]};
	struct worker computer = {.name = "computer", .stop = stop, .work = compute};
	if (pthread_create(&threads[0], NULL, run, &reader) != 0 || pthread_create(&threads[1], NULL, run, &computer) != 0)
		return 1;

	bool good = wait_until_in_read(&reader) && wait_until_computing(&computer);
	if (!good)
		fprintf(stderr, "a worker did not get to its work\n");
	unstick_time cancelled = unstick_now();
	unstick_token_cancel(stop); /* was: stop = true */
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);

	good = stopped(&reader, cancelled) && good;
	good = stopped(&computer, cancelled) && good;
	unstick_token_unref(stop);
	close(messages[0]);
	close(messages[1]);
	puts(good ? "both workers stopped" : "FAILED: not what was promised");
	return good ? 0 : 1;
}
