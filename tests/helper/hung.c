/* SPDX-License-Identifier: MIT
 *
 * Files that do not answer, through a helper: each operation comes back at its deadline, others go on, the process holds no fd on
 * the mount and ends while it still hangs. Needs root and /dev/fuse.
 */
#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "hung_fuse.h"
#include "isolated.h"

enum { CHANNELS = 16, DEADLINE_MS = 30, LONG_MS = 60 * 1000 };

static struct hung_fuse fuse;
static char bytes[4096], healthy[64];

static void start(void)
{
	if (hung_fuse_start(&fuse, false) < 0)
		fault_skip("%s", fuse.keeper.why);
	log_keep();
	temporary_path(healthy, sizeof healthy, "file");
	int fd = open(healthy, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && write(fd, "healthy", 7) == 7 && close(fd) == 0, "set-up");
}

static struct unstick_request open_file(const char *path)
{
	return isolated(UNSTICK_OPENAT(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0));
}

static int handle_of(const char *path)
{
	long handle = run_within(open_file(path), LONG_MS);
	CHECK(handle >= UNSTICK_HANDLE_BASE && handle <= INT32_MAX, "open of %s: %ld", path, handle);
	return (int)handle;
}

static bool healthy_goes_on(void)
{
	static char text[64]; /* others may be reading into `bytes` */
	memset(text, 0, sizeof text);
	int handle = handle_of(healthy);
	long n = run(&UNSTICK_PREAD(handle, text, sizeof text, 0));
	CHECK(n == 7 && !strcmp(text, "healthy"), "a healthy file's read: %ld", n);
	CHECK(run(&UNSTICK_CLOSE(handle)) == 0, "its close");
	return true;
}

/* No fd of this process is on the mount. */
static void holds_nothing(void)
{
	DIR *dir = opendir("/proc/self/fd");
	char link[64], target[256];
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(link, sizeof link, "/proc/self/fd/%.20s", entry->d_name);
		ssize_t n = readlink(link, target, sizeof target - 1);
		target[n > 0 ? n : 0] = '\0';
		CHECK(strncmp(target, fuse.dir, strlen(fuse.dir)) != 0, "fd %s is %s", entry->d_name, target);
	}
	closedir(dir);
}

static void one_read(void)
{
	start();
	int handle = handle_of(fuse.direct);
	unstick_time before = unstick_now();
	long result = run_within(UNSTICK_PREAD(handle, bytes, sizeof bytes, 0), DEADLINE_MS);
	CHECK(result == -ETIMEDOUT && unstick_now() - before >= DEADLINE_MS * 1000000, "the read came to %ld", result);
	holds_nothing();
	healthy_goes_on();
}

static void each_operation(void)
{
	struct statx status;
	start();
	int direct = handle_of(fuse.direct), cached = handle_of(fuse.cached);
	struct unstick_request stat_hidden = UNSTICK_STATX(AT_FDCWD, fuse.hidden, 0, STATX_BASIC_STATS, &status);
	struct unstick_request stat_mute = UNSTICK_STATX(AT_FDCWD, fuse.mute, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &status);
	const struct {
		const char *what;
		struct unstick_request request;
	} operations[] = {
	        {"read", UNSTICK_READ(direct, bytes, sizeof bytes)},
	        {"read by way of the cache", UNSTICK_PREAD(cached, bytes, sizeof bytes, 4096)},
	        {"write", UNSTICK_PWRITE(direct, bytes, sizeof bytes, 0)},
	        {"open", open_file(fuse.hidden)},
	        {"statx", isolated(stat_hidden)},
	        {"unlink", isolated(UNSTICK_UNLINKAT(AT_FDCWD, fuse.hidden, 0))},
	        {"rename", isolated(UNSTICK_RENAMEAT(AT_FDCWD, fuse.hidden, AT_FDCWD, fuse.direct, 0))},
	        {"statx of a mute file", isolated(stat_mute)},
	};
	memset(&status, 0x5E, sizeof status);
	for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
		long result = run_within(operations[i].request, DEADLINE_MS);
		CHECK(result == -ETIMEDOUT, "%s: %ld", operations[i].what, result);
	}
	for (size_t i = 0; i < sizeof status; i++)
		CHECK(((unsigned char *)&status)[i] == 0x5E, "statx was written after its end");
	struct unstick_op *op = begin(&UNSTICK_READ(direct, bytes, sizeof bytes));
	settle();
	CHECK(cancelled(op) == -ECANCELED, "a cancel");
	holds_nothing();
	healthy_goes_on();
	WAIT_UNTIL((stats_now().orphans == 0)); /* all have come out of here, though the mount hangs */
	CHECK(run_within(UNSTICK_CLOSE(direct), LONG_MS) == 0, "the close of a handle with reads under way");
	CHECK(run(&UNSTICK_READ(direct, bytes, 1)) == -EBADF, "a read after it");
}

/* The helper's own table is the witness. */
static void late_answers(void)
{
	start();
	int direct = handle_of(fuse.direct);
	unsigned before = fds_count(helper_pid());
	CHECK(run_within(open_file(fuse.hidden), DEADLINE_MS) == -ETIMEDOUT, "the open");
	memset(bytes, 0x5E, sizeof bytes);
	CHECK(run_within(UNSTICK_PREAD(direct, bytes, sizeof bytes, 0), DEADLINE_MS) == -ETIMEDOUT, "the read");
	CHECK(run(&UNSTICK_CLOSE(direct)) == 0, "the close, which is due");
	hung_fuse_answer(&fuse);
	pid_t pid = helper_pid();
	WAIT_UNTIL(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "/nowhere/x", 0)) == -ENOENT && fds_count(pid) == before - 1);
	for (size_t i = 0; i < sizeof bytes; i++)
		CHECK(bytes[i] == 0x5E, "byte %zu was written after the read had ended", i);
	CHECK(stats_now().helpers == 1 && stats_now().helpers_abandoned == 0, "another helper");
}

/* A handle that keeps all channels of its helper. */
static int hang_all_channels(void)
{
	struct unstick_op *ops[CHANNELS];
	int handle = handle_of(fuse.direct);
	for (int i = 0; i < CHANNELS; i++) {
		struct unstick_request request = UNSTICK_PREAD(handle, bytes + i, 1, i);
		ops[i] = begin(&request);
	}
	settle();
	for (int i = 0; i < CHANNELS; i++)
		CHECK(cancelled(ops[i]) == -ECANCELED, "read %d", i);
	return handle;
}

static void abandoned(void)
{
	start();
	hang_all_channels();
	pid_t first = helper_pid();
	healthy_goes_on();
	pid_t second = helper_pid();
	CHECK(second != first && stats_now().helpers_abandoned == 1, "no other helper: %d, %d", (int)first, (int)second);
	CHECK(log_count("abandoned") == 1, "%u lines", log_count("abandoned"));
	CHECK(!process_is_gone(first) && stats_now().helpers == 2, "the first one has a handle, and ended");
}

/* Its last handle is closed: the process goes when the kernel lets it. */
static void abandoned_ends(void)
{
	start();
	int handle = hang_all_channels();
	pid_t first = helper_pid();
	CHECK(run_within(UNSTICK_READ(handle, bytes, 1), DEADLINE_MS) == -ETIMEDOUT, "one more, for which there is no channel");
	healthy_goes_on();
	CHECK(run_within(UNSTICK_CLOSE(handle), LONG_MS) == 0, "close");
	CHECK(stats_now().helpers == 1, "%u helpers", stats_now().helpers);
	hung_fuse_end(&fuse);
	WAIT_UNTIL(process_is_gone(first));
}

/* For the close of a file that nothing hangs on there is no channel, and perhaps never will be. */
static void close_of_another(void)
{
	start();
	int idle = handle_of(healthy), handle = hang_all_channels();
	pid_t first = helper_pid();
	CHECK(run(&UNSTICK_CLOSE(idle)) == 0, "its close");
	healthy_goes_on();
	CHECK(helper_pid() != first && run(&UNSTICK_CLOSE(handle)) == 0 && stats_now().helpers == 1, "the first is let go");
}

/* Without deadlines nothing is cut, and all the same others must go on. */
static void held_up(void)
{
	struct unstick_op *ops[CHANNELS];
	start();
	int handle = handle_of(fuse.direct);
	for (int i = 0; i < CHANNELS; i++) {
		struct unstick_request request = UNSTICK_PREAD(handle, bytes + i, 1, i);
		ops[i] = begin(&request);
	}
	settle();
	healthy_goes_on();
	CHECK(stats_now().helpers_abandoned == 1, "%lu abandoned", stats_now().helpers_abandoned);
	hung_fuse_answer(&fuse);
	for (int i = 0; i < CHANNELS; i++)
		CHECK(end_of(ops[i]) == 1, "read %d", i);
	CHECK(run(&UNSTICK_CLOSE(handle)) == 0 && stats_now().helpers == 1, "the first helper is not needed any more");
}

static bool is_taken(struct unstick_request request)
{
	struct unstick_op *op;
	return unstick_engine_submit(engine(), &request, &op) == 0 && end_of(op) >= UNSTICK_HANDLE_BASE;
}

static void limit(void)
{
	int handles[16];
	start();
	for (int i = 0; i < 16; i++)
		handles[i] = hang_all_channels();
	healthy_goes_on();
	CHECK(stats_now().helpers == 17, "%u helpers", stats_now().helpers);
	hang_all_channels();
	CHECK(refused(open_file(healthy)) == -EAGAIN && log_find("not started: too many"), "one more");
	for (int i = 0; i < 16; i++)
		CHECK(run(&UNSTICK_CLOSE(handles[i])) == 0, "close");
	hung_fuse_answer(&fuse);
	WAIT_UNTIL(is_taken(open_file(healthy)));
	healthy_goes_on();
}

/* ---- the end of the process */

/* In a child of the case: it uses the mount in all ways, and ends. */
static _Atomic int64_t *exits_at; /* shared with the process that exits */

static void use_and_exit(void)
{
	int handle = handle_of(fuse.direct);
	(void)handle_of(fuse.dead);
	CHECK(run_within(UNSTICK_READ(handle, bytes, 1), DEADLINE_MS) == -ETIMEDOUT, "read");
	CHECK(run_within(UNSTICK_WRITE(handle, bytes, 1), DEADLINE_MS) == -ETIMEDOUT, "write");
	CHECK(run_within(open_file(fuse.hidden), DEADLINE_MS) == -ETIMEDOUT, "open");
	struct statx status;
	struct unstick_request stat_mute = UNSTICK_STATX(AT_FDCWD, fuse.mute, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &status);
	CHECK(run_within(isolated(stat_mute), DEADLINE_MS) == -ETIMEDOUT, "stat");
	begin(&UNSTICK_READ(handle, bytes, 1));
	settle();
	holds_nothing();
	atomic_store(exits_at, unstick_now());
	exit(42);
}

static void process_exits(void)
{
	int status;
	start();
	exits_at = mmap(NULL, sizeof *exits_at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(exits_at != MAP_FAILED, "mmap");
	pid_t pid = fork();
	if (pid == 0)
		use_and_exit();
	WAIT_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
	fault_note("gone %.1f ms after its exit()", (double)(unstick_now() - atomic_load(exits_at)) / 1e6);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status %#x", status);
	CHECK(open(fuse.direct, O_PATH) >= 0 && kill(fuse.keeper.pid, 0) == 0, "the mount is still there");
}

/* ---- routed by the mount */

static void by_mount(void)
{
	struct unstick_engine_options options = {.size = sizeof options, .flags = UNSTICK_ENGINE_ISOLATE};
	char path[128];
	start();
	engine_with(&options);
	const char *name = strrchr(fuse.dir, '/') + 1;
	long handle = run(&UNSTICK_OPENAT(AT_FDCWD, fuse.direct, O_RDONLY | O_CLOEXEC, 0));
	CHECK(handle >= UNSTICK_HANDLE_BASE, "an open on the mount: %ld", handle);
	snprintf(path, sizeof path, "/../tmp/.//nowhere/../%s/hidden", name);
	CHECK(mkdir("/tmp/nowhere", 0700) == 0 || errno == EEXIST, "mkdir");
	fault_remove_later("/tmp/nowhere");
	CHECK(run_within(UNSTICK_OPENAT(AT_FDCWD, path, O_RDONLY, 0), DEADLINE_MS) == -ETIMEDOUT, "by detours");
	int dir = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof path, "%s/hidden", name);
	CHECK(run_within(UNSTICK_OPENAT(dir, path, O_RDONLY, 0), DEADLINE_MS) == -ETIMEDOUT, "relative to an fd");
	CHECK(chdir("/tmp") == 0, "chdir");
	CHECK(run_within(UNSTICK_OPENAT(AT_FDCWD, path, O_RDONLY, 0), DEADLINE_MS) == -ETIMEDOUT, "relative");
	WAIT_UNTIL((stats_now().orphans == 0)); /* by the helper: nothing hangs here */
	long fd = run(&UNSTICK_OPENAT(AT_FDCWD, healthy, O_RDONLY | O_CLOEXEC, 0));
	CHECK(fd >= 0 && fd < UNSTICK_HANDLE_BASE, "an open elsewhere: %ld", fd);
	snprintf(path, sizeof path, "%sx", fuse.dir); /* beside it, not below it */
	fault_remove_later(path);
	CHECK(mkdir(path, 0700) == 0, "mkdir");
	fd = run(&UNSTICK_OPENAT(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
	CHECK(fd >= 0 && fd < UNSTICK_HANDLE_BASE, "an open beside it: %ld", fd);
}

static struct fault cases[] = {
        {0, "openat works, a read comes back at its deadline, no fd of this process is on the mount", one_read},
        {0, "each operation comes back at its deadline, or cancelled; the others go on", each_operation},
        {0, "late answers: an fd that nobody wants is closed, nothing is written", late_answers},
        {0, "all channels stuck: another helper takes what is opened, the first keeps what it has", abandoned},
        {0, "an abandoned helper whose last handle is closed is let go", abandoned_ends},
        {0, "a handle of a helper whose channels are all stuck is closed without a wait", close_of_another},
        {0, "16 reads without a deadline hold up nothing else", held_up},
        {0, "too many helpers stuck: -EAGAIN and a line in the log, until some are let go", limit},
        {0, "the process exits while the mount hangs", process_exits},
        {0, "UNSTICK_ENGINE_ISOLATE: what lies on such a mount goes to the helper by itself", by_mount},
};

int main(int argc, char **argv)
{
	const size_t count = sizeof cases / sizeof cases[0];
	for (size_t i = 0; i < count; i++)
		cases[i].number = (int)i + 1;
	return fault_main(argc, argv, cases, count);
}
