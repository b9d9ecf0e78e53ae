/* SPDX-License-Identifier: MIT
 *
 * Which threads `unstick wake` frees of those that its arguments mean.
 */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a process with two readers and a thread at a lock */

enum { READERS = 2 };

static struct shared {
	_Atomic pid_t reader[READERS], waiter;
	_Atomic int error[READERS]; /* what its read() came to */
} * shared;

static int never[READERS][2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *be_reader(void *arg)
{
	long index = (long)(intptr_t)arg;
	char byte;
	atomic_store(&shared->reader[index], gettid());
	ssize_t n = read(never[index][0], &byte, 1);
	atomic_store(&shared->error[index], n < 0 ? errno : -1);
	return NULL;
}

static void *be_waiter(void *arg)
{
	atomic_store(&shared->waiter, gettid());
	pthread_mutex_lock(&lock);
	return arg;
}

static bool in_call(pid_t pid, _Atomic pid_t *tid, long nr)
{
	return atomic_load(tid) && thread_in_call(pid, *tid, nr) && thread_state(pid, *tid) == 'S';
}

static pid_t start_several(void)
{
	memset(shared, 0, sizeof(*shared));
	pid_t pid = fork();
	if (pid == 0) {
		pthread_t threads[READERS + 1];
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pthread_mutex_lock(&lock);
		for (long i = 0; i < READERS; i++)
			pthread_create(&threads[i], NULL, be_reader, (void *)(intptr_t)i);
		pthread_create(&threads[READERS], NULL, be_waiter, NULL);
		for (int i = 0; i <= READERS; i++)
			pthread_join(threads[i], NULL);
		_exit(0);
	}
	if (!COMES_TRUE(in_call(pid, &shared->reader[0], SYS_read) && in_call(pid, &shared->reader[1], SYS_read) &&
	                in_call(pid, &shared->waiter, SYS_futex)))
		printf("# not all threads are blocked\n");
	return pid;
}

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool freed(int index, int error)
{
	return COMES_TRUE(atomic_load(&shared->error[index]) != 0) && shared->error[index] == error;
}

static bool none_freed(void)
{
	return shared->error[0] == 0 && shared->error[1] == 0;
}

/* Two words at a time: static buffers, each used once a command. */
static const char *word(pid_t pid, pid_t tid)
{
	static char words[4][32];
	static unsigned next;
	char *text = words[next++ % 4];
	snprintf(text, sizeof(words[0]), tid ? "%d/%d" : "%d", (int)pid, (int)tid);
	return text;
}

static const char *number(int value)
{
	return word(value, 0);
}

static void choice(void)
{
	pid_t pid = start_several();
	struct ran ran;

	command_run(&ran, "wake", word(pid, 0), NULL);
	point(ran.status == 2 && none_freed() && strstr(ran.err, word(pid, shared->reader[0])) &&
	              strstr(ran.err, word(pid, shared->reader[1])) && !strstr(ran.err, word(pid, shared->waiter)),
	      "a PID that means several threads frees none, and names them", "%d\n%s%s", ran.status, ran.out, ran.err);
	command_run(&ran, "wake", "--dry-run", "--all-threads", word(pid, 0), NULL);
	point(ran.status == 0 && none_freed() && strstr(ran.out, "ECANCELED"), "--dry-run frees none", "%d\n%s%s", ran.status,
	      ran.out, ran.err);
	command_run(&ran, "wake", "--call", "futex", word(pid, 0), NULL);
	point(ran.status == 1 && none_freed() && strstr(ran.err, "in futex (a lock)") &&
	              strstr(ran.err, ": only its owner can free it"),
	      "--call futex is refused", "%d\n%s%s", ran.status, ran.out, ran.err);
	command_run(&ran, "wake", "--call", "read", "--blocked-longer", "1h", word(pid, 0), NULL);
	point(ran.status == 1 && none_freed(), "--blocked-longer leaves out who has not been", "%d\n%s%s", ran.status, ran.out,
	      ran.err);
	command_run(&ran, "wake", number(shared->reader[0]), NULL);
	point(ran.status == 1 && none_freed() && strstr(ran.err, word(pid, shared->reader[0])),
	      "a TID in place of a PID is refused, and the words for it are given", "%d\n%s%s", ran.status, ran.out, ran.err);
	command_run(&ran, "wake", "--fd", number(never[1][0]), "--error", "ETIMEDOUT", word(pid, 0), NULL);
	point(ran.status == 0 && freed(1, ETIMEDOUT) && shared->error[0] == 0, "--fd chooses, --error is given", "%d\n%s%s",
	      ran.status, ran.out, ran.err);
	command_run(&ran, "wake", word(pid, 0), NULL);
	point(ran.status == 0 && freed(0, ECANCELED), "a PID with one thread that can be freed frees it", "%d\n%s%s", ran.status,
	      ran.out, ran.err);
	command_run(&ran, "wake", word(pid, 0), NULL);
	point(ran.status == 1 && strstr(ran.err, word(pid, shared->waiter)), "a PID with none says why, of each", "%d\n%s%s",
	      ran.status, ran.out, ran.err);
	end_process(pid);
}

static bool is_kthreadd(pid_t pid)
{
	char path[32], name[32] = "";
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	bool is = fgets(name, sizeof(name), file) && strcmp(name, "kthreadd\n") == 0;
	fclose(file);
	return is;
}

static void all_threads(void)
{
	pid_t pid = start_several();
	struct ran ran;

	command_run(&ran, "wake", "--all-threads", word(pid, 0), NULL);
	point(ran.status == 0 && freed(0, ECANCELED) && freed(1, ECANCELED), "--all-threads frees all that can be", "%d\n%s%s",
	      ran.status, ran.out, ran.err);
	end_process(pid);
	command_run(&ran, "wake", word(pid, 0), NULL);
	point(ran.status == 1 && strstr(ran.err, "no such process"), "no such process", "%d\n%s%s", ran.status, ran.out, ran.err);
	command_run(&ran, "wake", "--error", "ENOSUCH", word(getpid(), 0), NULL);
	point(ran.status == 2, "no such error", "%d\n%s%s", ran.status, ran.out, ran.err);
	command_run(&ran, "wake", "--call", "nothing", word(getpid(), 0), NULL);
	point(ran.status == 2, "no such call", "%d\n%s%s", ran.status, ran.out, ran.err);
	command_run(&ran, "wake", NULL);
	point(ran.status == 2, "no PID", "%d\n%s%s", ran.status, ran.out, ran.err);
	command_run(&ran, "wake", "2", NULL); /* kthreadd, but in a container */
	point(ran.status == 1 && (!is_kthreadd(2) || strstr(ran.err, ": a thread of the kernel")), "a thread of the kernel",
	      "%d\n%s%s", ran.status, ran.out, ran.err);
}

int main(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe2(never[0], O_CLOEXEC) || pipe2(never[1], O_CLOEXEC))
		return 1;
	choice();
	all_threads();
	return points_end();
}
