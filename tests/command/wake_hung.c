/* SPDX-License-Identifier: MIT
 *
 * `unstick wake` on waits that a tracer cannot end, or would make worse: D, FUSE requests (S until the first signal or stop, then D), and
 * a read into a page of a userfaultfd (a stop makes a loop of it). Each is refused, named, without its thread being stopped: the state
 * letter and the count of its switches stay; and once what it waits for comes about, it goes on as if nothing had been.
 */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hung.h"

/* What a child that makes a situation tells once its thread is about to block. tid 0: it cannot be made here. */
struct word {
	pid_t tid;
	char why[200];
};

/* A situation of either source. */
struct wait {
	const char *name;
	long nr;
	char state;
	int (*make)(char *why, size_t size);
	void (*block)(void);
	bool (*is_asked)(void); /* NULL: at once */
	void (*end)(void);
};

/* ---- tests/hung, in the child */

static const struct hung_situation *situation;
static struct hung hung;

static int make_hung(char *why, size_t size)
{
	int r = hung_make(&hung, situation);
	if (r == 0)
		r = hung_open(&hung);
	snprintf(why, size, "%s", hung.why);
	return r;
}

static void block_hung(void)
{
	if (hung_block(&hung) < 0 && !situation->fails)
		_exit(3);
}

static bool hung_asked(void)
{
	return hung_is_asked(&hung);
}

static void end_hung(void)
{
	hung_end(&hung);
}

/* ---- a userfaultfd that nobody reads */

static struct {
	int fd, pipe[2];
	void *page;
	size_t size;
} unanswered;

static int make_unanswered(char *why, size_t size)
{
	struct uffdio_api api = {.api = UFFD_API};

	unanswered.size = (size_t)sysconf(_SC_PAGESIZE);
	unanswered.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (unanswered.fd < 0) {
		snprintf(why, size, "no userfaultfd for faults in the kernel: root, or vm.unprivileged_userfaultfd");
		return -errno;
	}
	unanswered.page = mmap(NULL, unanswered.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = {.range = {.start = (uintptr_t)unanswered.page, .len = unanswered.size},
	                                .mode = UFFDIO_REGISTER_MODE_MISSING};
	snprintf(why, size, "userfaultfd or pipe");
	return ioctl(unanswered.fd, UFFDIO_API, &api) || ioctl(unanswered.fd, UFFDIO_REGISTER, &range) || pipe(unanswered.pipe) ||
	                       write(unanswered.pipe[1], "x", 1) != 1
	               ? -errno
	               : 0;
}

static void block_unanswered(void)
{
	if (read(unanswered.pipe[0], unanswered.page, 1) != 1)
		_exit(3);
}

static void end_unanswered(void)
{
	struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)unanswered.page, .len = unanswered.size}};
	ioctl(unanswered.fd, UFFDIO_ZEROPAGE, &zero);
}

static const struct wait userfault = {
        "a read into a page of a userfaultfd", SYS_read, 'S', make_unanswered, block_unanswered, NULL, end_unanswered};

/* ---- the child */

static _Atomic pid_t blocked_tid;

static void *block(void *arg)
{
	const struct wait *wait = arg;
	atomic_store(&blocked_tid, gettid());
	wait->block();
	return NULL;
}

static int child(const struct wait *wait, int ready, int order)
{
	struct word word = {0};
	pthread_t thread;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (wait->make(word.why, sizeof(word.why)) == 0 && pthread_create(&thread, NULL, block, (void *)(uintptr_t)wait) == 0) {
		while (!atomic_load(&blocked_tid) || !COMES_TRUE(thread_in_call(getpid(), blocked_tid, wait->nr)) ||
		       (wait->is_asked && !COMES_TRUE(wait->is_asked())))
			pause_ms(1);
		word.tid = blocked_tid;
	}
	if (write(ready, &word, sizeof(word)) != sizeof(word) || word.tid == 0)
		return 2;
	if (read(order, &byte, 1) < 0)
		return 2;
	wait->end();
	pthread_join(thread, NULL);
	return 0;
}

/* ---- the test */

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool ends_well(pid_t pid)
{
	int status;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void refuse(const struct wait *wait, pid_t pid, pid_t tid, int order)
{
	char name[32];
	struct ran ran;

	snprintf(name, sizeof(name), "%d/%d", (int)pid, (int)tid);
	bool blocked = COMES_TRUE(thread_in_call(pid, tid, wait->nr) && thread_state(pid, tid) == wait->state);
	int64_t switches = thread_switches(pid, tid), begin = now_ms();
	command_run(&ran, "wake", name, NULL);
	int64_t took = now_ms() - begin;
	char state = thread_state(pid, tid);
	bool unmoved = thread_switches(pid, tid) == switches && thread_tracer(pid, tid) == 0;
	close(order);
	bool well = ends_well(pid);
	printf("# told after %lld ms: %s", (long long)took, ran.err);
	point(blocked && ran.status == 1 && strstr(ran.err, name) && state == wait->state && unmoved && well, wait->name,
	      "blocked %d, status %d, state %c, unmoved %d, ended well %d\n%s%s", blocked, ran.status, state, unmoved, well,
	      ran.out, ran.err);
}

static void check(const struct wait *wait)
{
	int ready[2], order[2];
	struct word word = {.why = "its process died"};

	if (pipe2(ready, O_CLOEXEC) || pipe2(order, O_CLOEXEC))
		_exit(1);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		close(order[1]);
		_exit(child(wait, ready[1], order[0]));
	}
	close(ready[1]), close(order[0]);
	if (read(ready[0], &word, sizeof(word)) == sizeof(word) && word.tid > 0) {
		refuse(wait, pid, word.tid, order[1]);
	} else {
		close(order[1]);
		waitpid(pid, NULL, 0);
		point_skip(wait->name, word.why);
	}
	close(ready[0]);
}

int main(void)
{
	for (size_t i = 0; (situation = hung_at(i)); i++) {
		const struct wait wait = {situation->name, situation->nr, situation->state, make_hung,
		                          block_hung,      hung_asked,    end_hung};
		check(&wait);
	}
	check(&userfault);
	return points_end();
}
