/* SPDX-License-Identifier: MIT
 *
 * Where relative paths begin: in the directory of the thread that submits, as it is then; whatever thread makes the call, whatever has
 * become of the directory, and although its file system is silent.
 */
#include <sched.h>

#include "../hung/hung_fuse.h"
#include "isolated.h"

static char here[] = "/tmp/unstick-here-XXXXXX", there[] = "/tmp/unstick-there-XXXXXX";

static char *path_in(const char *dir, const char *name)
{
	static char paths[4][64];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

static void make_directory(char *dir)
{
	static const char *const names[] = {"file", "one", "two", "fifo"};
	CHECK(mkdtemp(dir) != NULL, "mkdtemp: %s", strerror(errno));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		fault_remove_later(path_in(dir, names[i]));
	fault_remove_later(dir);
}

static void make_directories(void)
{
	log_keep();
	make_directory(here);
	make_directory(there);
	CHECK(chdir(here) == 0, "chdir");
}

static void make_file(const char *dir, const char *name)
{
	int fd = open(path_in(dir, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && close(fd) == 0, "%s in %s", name, dir);
}

static bool has_file(const char *dir, const char *name)
{
	return access(path_in(dir, name), F_OK) == 0;
}

static void *unlink_there(void *unused)
{
	CHECK(unshare(CLONE_FS) == 0 && chdir(there) == 0, "unshare");
	CHECK(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "file", 0)) == 0, "unlink");
	CHECK(run_isolated(UNSTICK_RENAMEAT(AT_FDCWD, "one", AT_FDCWD, "two", 0)) == 0, "rename");
	return unused;
}

static void directory_of_a_thread(void)
{
	pthread_t thread;
	make_directories();
	make_file(here, "file");
	make_file(here, "one");
	make_file(there, "file");
	make_file(there, "one");
	CHECK(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "none", 0)) == -ENOENT, "the engine's thread is this one's");
	CHECK(pthread_create(&thread, NULL, unlink_there, NULL) == 0 && pthread_join(thread, NULL) == 0, "a thread");
	CHECK(has_file(here, "file") && !has_file(there, "file"), "another directory's file was unlinked");
	CHECK(has_file(here, "one") && has_file(there, "two"), "another directory's file was renamed");
}

/* An operation that keeps the engine's one thread. */
static struct unstick_op *hold_up(void)
{
	const char *fifo = path_in(here, "fifo");
	const struct unstick_engine_options options = {.size = sizeof options, .blocking = 1};
	engine_with(&options);
	CHECK(mkfifo(fifo, 0600) == 0, "mkfifo");
	struct unstick_request request = isolated(UNSTICK_OPENAT(AT_FDCWD, fifo, O_RDONLY | O_CLOEXEC, 0));
	struct unstick_op *op = begin(&request);
	settle();
	return op;
}

static void directory_at_submit(void)
{
	make_directories();
	make_file(here, "file");
	make_file(there, "file");
	struct unstick_op *first = hold_up();
	struct unstick_request unlinks = isolated(UNSTICK_UNLINKAT(AT_FDCWD, "file", 0));
	struct unstick_op *second = begin(&unlinks);
	CHECK(chdir(there) == 0, "chdir");
	CHECK(cancelled(first) == -ECANCELED && end_of(second) == 0, "the unlink");
	CHECK(!has_file(here, "file") && has_file(there, "file"), "another directory's file was unlinked");
}

/* What is opened for it is closed, however the operation ends. */
static void nothing_stays_open(void)
{
	struct unstick_request unlinks = isolated(UNSTICK_UNLINKAT(AT_FDCWD, "none", 0));
	make_directories();
	struct unstick_op *first = hold_up(), *op = NULL;
	unsigned before = fds_count(0);
	struct unstick_op *waits = begin(&unlinks);
	CHECK(fds_count(0) == before + 1, "%u fds for one relative path", fds_count(0) - before);
	CHECK(cancelled(waits) == -ECANCELED, "a cancel before it began");
	rlim_t all = all_fds();
	for (int error = -EMFILE, most = (int)next_fd(); error; most++) {
		limit_fds((rlim_t)most);
		error = unstick_engine_submit(engine(), &unlinks, &op);
		limit_fds(all);
		CHECK(error == 0 || error == -EMFILE, "with %d fds: %d", most, error);
	}
	CHECK(cancelled(first) == -ECANCELED && end_of(op) == -ENOENT, "the unlink");
	char too_long[8192];
	memset(too_long, 'x', sizeof too_long);
	too_long[sizeof too_long - 1] = '\0';
	CHECK(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, too_long, 0)) == -ENAMETOOLONG, "a long path");
	CHECK(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "/none", 0)) == -ENOENT, "an absolute path");
	WAIT_UNTIL(fds_count(0) == before);
}

/* Whoever walks through the directory asks its daemon whether he may, and hangs. */
static void silent_directory(void)
{
	static struct hung_fuse fuse;
	struct statx status;
	if (hung_fuse_start_checked(&fuse) < 0)
		fault_skip("%s", fuse.keeper.why);
	log_keep();
	CHECK(chdir(fuse.dir) == 0, "chdir: %s", strerror(errno));
	fault_waiting_for("the submission");
	struct unstick_request request = isolated(UNSTICK_STATX(AT_FDCWD, "direct", 0, STATX_BASIC_STATS, &status));
	request.deadline = unstick_after_ms(30);
	struct unstick_op *op = begin(&request);
	CHECK(end_of(op) == -ETIMEDOUT, "statx");
	WAIT_UNTIL((stats_now().orphans == 0)); /* nothing hangs here */
	CHECK(chdir("/") == 0, "chdir");
	hung_fuse_end(&fuse);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "a thread with a directory of its own: its paths begin there", directory_of_a_thread},
	        {2, "chdir() between submission and call: the directory is the one at submission", directory_at_submit},
	        {3, "the directory is open until the operation has ended, however it ends; without fds: -EMFILE",
	         nothing_stays_open},
	        {4, "a working directory that does not answer holds up the helper only", silent_directory},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
