/* SPDX-License-Identifier: MIT
 *
 * kill -9 of the helper, at random moments, while threads use it for all they can: every operation ends once, with a result or an error
 * that says so; files can be opened again at once; no fd, no memory, no process is left over at the end.
 *
 *     helper_killed [--rounds N]      default 30, which is also how many one process goes through
 */
#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>

#include "isolated.h"

enum { USERS = 4, BLOCK = 4096, IN_FLIGHT = 8, ROUNDS = 30, MOST_CASES = 1000 };

static char path[64];
static _Atomic bool over;
static _Atomic unsigned long begun, ended, ended_twice, good, lost;

struct user {
	pthread_t thread;
	unsigned char data[IN_FLIGHT][BLOCK];
	struct calls calls[IN_FLIGHT];
};
static struct user users[USERS];

/* -EIO and the like do not come from a healthy file. */
static bool is_clear(long result)
{
	return result == -ECONNRESET || result == -ESTALE || result == -EBADF || result == -EAGAIN;
}

static void count_end(struct unstick_op *op, long result, void *arg)
{
	struct calls *calls = arg;
	(void)op;
	CHECK(result >= 0 || is_clear(result), "an operation came to %ld", result);
	atomic_fetch_add(result >= 0 ? &good : &lost, 1);
	atomic_store(&calls->result, result);
	if (atomic_fetch_add(&calls->count, 1) != 0)
		atomic_fetch_add(&ended_twice, 1);
	atomic_fetch_add(&ended, 1);
}

static void submit(struct user *user, unsigned which, struct unstick_request request)
{
	struct calls *calls = &user->calls[which];
	atomic_store(&calls->count, 0);
	request.done = count_end;
	request.arg = calls;
	int error = unstick_engine_submit(engine(), &request, NULL);
	CHECK(error == 0, "submit: %d: %s", error, log_find("helper"));
	atomic_fetch_add(&begun, 1);
}

static long await(struct user *user, unsigned which)
{
	while (!atomic_load(&user->calls[which].count))
		sched_yield();
	return user->calls[which].result;
}

/* Opens, uses it with several requests at once, closes. */
static void *use(void *arg)
{
	struct user *user = arg;
	while (!atomic_load(&over)) {
		submit(user, 0, isolated(UNSTICK_OPENAT(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0)));
		long handle = await(user, 0);
		if (handle < 0)
			continue;
		for (unsigned turn = 0; turn < 4; turn++) {
			for (unsigned i = 0; i < IN_FLIGHT; i++)
				submit(user, i,
				       i % 2 ? UNSTICK_PREAD((int)handle, user->data[i], BLOCK, 0)
				             : UNSTICK_PWRITE((int)handle, user->data[i], BLOCK, BLOCK));
			for (unsigned i = 0; i < IN_FLIGHT; i++) {
				long result = await(user, i);
				CHECK(result < 0 || result == BLOCK, "a part: %ld", result);
			}
		}
		submit(user, 0, UNSTICK_CLOSE((int)handle));
		await(user, 0);
	}
	return NULL;
}

static void kill_one(unsigned *seed)
{
	pid_t pids[8];
	unsigned long before = good;
	WAIT_UNTIL(good > before + 50);
	nanosleep(&(struct timespec){.tv_nsec = rand_r(seed) % 3000000}, NULL);
	unsigned count = helpers_count(pids, 8);
	for (unsigned i = 0; i < count && i < 8; i++)
		kill(pids[i], SIGKILL);
}

static size_t memory_in_use(void)
{
	return mallinfo2().uordblks;
}

static void run_rounds(unsigned count)
{
	unsigned seed = (unsigned)getpid();
	atomic_store(&over, false);
	for (int i = 0; i < USERS; i++)
		CHECK(pthread_create(&users[i].thread, NULL, use, &users[i]) == 0, "pthread_create");
	for (unsigned i = 0; i < count; i++)
		kill_one(&seed);
	atomic_store(&over, true);
	for (int i = 0; i < USERS; i++)
		pthread_join(users[i].thread, NULL);
}

/* How many fds there are when one helper runs, and all that were killed have been forgotten. */
static bool has_one_helper(void)
{
	return run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "/nowhere/x", 0)) == -ENOENT && stats_now().helpers == 1 &&
	       helpers_count(NULL, 0) == 1;
}

static void kills(void)
{
	log_keep();
	temporary_path(path, sizeof path, "file");
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && ftruncate(fd, 4 * BLOCK) == 0, "set-up");
	close(fd);
	(void)engine(); /* before there are threads */
	run_rounds(5);  /* what is made once is made */
	WAIT_UNTIL(has_one_helper());
	settle();
	unsigned fds = fds_count(0);
	size_t memory = memory_in_use();
	run_rounds(ROUNDS);
	WAIT_UNTIL(has_one_helper());
	settle();
	CHECK(begun == ended && ended_twice == 0, "%lu begun, %lu ended, %lu twice", begun, ended, ended_twice);
	CHECK(lost > 0, "no request met a kill");
	CHECK(fds_count(0) == fds, "%u fds, %u before", fds_count(0), fds);
	CHECK(memory_in_use() < memory + 256 * 1024, "%zu bytes, %zu before", memory_in_use(), memory);
	struct unstick_stats stats = stats_now();
	CHECK(stats.helpers <= 1 && helpers_count(NULL, 0) <= 1, "%u helpers", stats.helpers);
	fault_note("%lu operations, %lu of them lost to %lu kills", begun, lost, stats.helpers_abandoned);
	CHECK(unstick_engine_close(engine(), UNSTICK_NEVER, NULL) == 0, "close");
}

/* A process that used one has gone: so has the helper. */
static void ends_with_the_process(void)
{
	int fds[2], status;
	pid_t helper = 0;
	make_pipe(fds);
	pid_t pid = fork();
	if (pid == 0) {
		log_keep();
		CHECK(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "/nowhere/x", 0)) == -ENOENT, "unlink");
		helper = helper_pid();
		CHECK(write(fds[1], &helper, sizeof helper) == sizeof helper, "write");
		raise(SIGKILL);
	}
	CHECK(read(fds[0], &helper, sizeof helper) == sizeof helper && waitpid(pid, &status, 0) == pid, "child");
	WAIT_UNTIL(process_is_gone(helper));
}

static struct fault cases[1 + MOST_CASES];

int main(int argc, char **argv)
{
	size_t count = 1;
	if (argc > 2 && !strcmp(argv[1], "--rounds")) {
		count = ((size_t)atoi(argv[2]) + ROUNDS - 1) / ROUNDS;
		argc = 1;
	}
	count = count < MOST_CASES ? count : MOST_CASES;
	cases[0] = (struct fault){1, "the helper ends with its process, even one that is killed", ends_with_the_process};
	for (size_t i = 1; i <= count; i++)
		cases[i] = (struct fault){
		        (int)i + 1, "kill -9 of the helper under load: each operation ends once, nothing is left over", kills};
	return fault_main(argc, argv, cases, 1 + count);
}
