/* SPDX-License-Identifier: MIT
 *
 * What holds up the end of a process. One whose job hangs in a wait that no signal ends closes its pool, is told whether that holds its exit,
 * and exits, or is killed. Then /proc tells the truth: either it is gone, or what is left of it is in the same sleep look after look,
 * until what it waits for has come about. No case asserts a time; each tells it.
 */
#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "hung.h"
#include "unstick.h"

#if FAULT_ASAN
/* At an exit it looks for leaks, with ptrace(2), which a thread in D does not answer. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

enum way { EXIT, KILL, WAYS };
enum { LOOKS = 100 };

static const char *const way_names[WAYS] = {"exit()", "SIGKILL"};

/* Between a case and its holder. */
static struct share {
	_Atomic pid_t tid;      /* the thread that hangs */
	_Atomic int holds_exit; /* as the close told; -1: not yet */
	_Atomic bool may_exit;
	_Atomic int64_t exits_at; /* or is killed */
	char left[600];
} * share;

static struct hung hung;

/* ---- the holder */

static void *hang(void *unused)
{
	(void)unused;
	atomic_store(&share->tid, (pid_t)syscall(SYS_gettid));
	hung_block(&hung);
	return NULL;
}

static void close_pool(struct unstick_pool *pool)
{
	struct unstick_left left;
	CHECK(unstick_pool_close(pool, unstick_after_ms(20), &left) == -EBUSY, "unstick_pool_close");
	CHECK(left.listed == 1, "%u left", left.listed);
	unstick_left_print(&left, share->left, sizeof(share->left));
	atomic_store(&share->holds_exit, left.jobs[0].holds_exit);
}

static bool is_blocked(pid_t pid, pid_t tid)
{
	return tid != 0 && proc_state(pid, tid) == hung.situation->state && proc_in_call(pid, tid, hung.situation->nr);
}

_Noreturn static void be_holder(void)
{
	const struct unstick_job_options options = {.size = sizeof(options), .name = hung.situation->name, .run = hang};
	struct unstick_pool *pool;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(hung_open(&hung) == 0, "%s", hung.path);
	CHECK(unstick_pool_new(&pool, NULL) == 0 && unstick_job_start(pool, &options, NULL) == 0, "pool");
	WAIT_UNTIL(is_blocked(0, share->tid) && hung_is_asked(&hung));
	close_pool(pool);
	while (!share->may_exit)
		fault_pause();
	atomic_store(&share->exits_at, unstick_now());
	exit(0);
}

/* ---- the case */

static bool is_gone(pid_t holder)
{
	siginfo_t info = {.si_pid = 0};
	return waitid(P_PID, (id_t)holder, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == holder;
}

/* How often its threads have gone to sleep, if its main thread has ended by SIGKILL or exit(): then every other has been sent SIGKILL,
 * and one that sleeps on is held. -1: not so, or it cannot be seen. */
static long sleeps_if_ending(pid_t holder)
{
	char path[40], status[4096];
	long sleeps = 0;
	char state = proc_state(holder, holder);
	if (state != 'Z' && state != 'D') /* D: its exit hangs itself, in the close of the file that the other thread had */
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)holder);
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		pid_t tid = (pid_t)atoi(entry->d_name);
		const char *line = NULL;
		if (tid != 0 && proc_read(holder, tid, "status", status, sizeof(status)))
			line = strstr(status, "\nvoluntary_ctxt_switches:");
		sleeps += line != NULL ? strtol(strchr(line, ':') + 1, NULL, 10) : 0;
	}
	if (dir != NULL)
		closedir(dir);
	return sleeps;
}

/* Until it has gone, or has been held, in one and the same sleep, at so many looks in a row. */
static bool becomes_held(pid_t holder)
{
	long before = -1;
	fault_waiting_for("the process to be gone or held");
	for (int looks = 0; looks < LOOKS; fault_pause()) {
		if (is_gone(holder))
			return false;
		long now = sleeps_if_ending(holder);
		looks = now >= 0 && now == before ? looks + 1 : 0;
		before = now;
	}
	return true;
}

static void end_holder(pid_t holder, enum way way)
{
	if (way == EXIT)
		atomic_store(&share->may_exit, true);
	WAIT_UNTIL(way != EXIT || share->exits_at != 0);
	if (way == KILL) {
		atomic_store(&share->exits_at, unstick_now());
		kill(holder, SIGKILL);
	}
}

static void hold_up(const struct hung_situation *situation, enum way way)
{
	if (hung_make(&hung, situation) < 0)
		fault_skip("%s cannot be made here: %s", situation->name, hung.why);
	atomic_store(&share->holds_exit, -1);
	pid_t holder = fork();
	if (holder == 0)
		be_holder();
	fault_waiting_for("the holder's close");
	while (share->holds_exit < 0) {
		CHECK(!is_gone(holder), "the holder has ended");
		fault_pause();
	}
	fault_note("%s", share->left);
	end_holder(holder, way);
	bool held = becomes_held(holder);
	unstick_time seen = unstick_now();
	hung_end(&hung);
	WAIT_UNTIL(is_gone(holder));
	waitpid(holder, NULL, 0);
	if (held)
		fault_note("%s: held for the %.0f ms that it was watched, gone %.1f ms after the wait was ended", way_names[way],
		           (double)(seen - share->exits_at) / 1e6, (double)(unstick_now() - seen) / 1e6);
	else
		fault_note("%s: gone %.1f ms later", way_names[way], (double)(seen - share->exits_at) / 1e6);
	CHECK(held == situation->holds_exit, "held: %d", held);
	CHECK(held == (share->holds_exit == 1), "held: %d, told: %d", held, share->holds_exit);
}

/* ---- */

enum { MOST = 64 };

static struct one {
	const struct hung_situation *situation;
	enum way way;
	char what[120];
} ones[MOST];
static struct fault cases[MOST];
static size_t count;

static void run_one(void)
{
	const struct one *one = &ones[fault_current() - cases];
	share = mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(share != MAP_FAILED, "mmap: %s", strerror(errno));
	hold_up(one->situation, one->way);
}

int main(int argc, char **argv)
{
	const struct hung_situation *situation;
	for (size_t i = 0; (situation = hung_at(i)) != NULL; i++) {
		for (enum way way = EXIT; way < WAYS && count < MOST; way++, count++) {
			ones[count] = (struct one){.situation = situation, .way = way};
			snprintf(ones[count].what, sizeof(ones[count].what), "%s: whether it holds %s is told before",
			         situation->summary, way_names[way]);
			cases[count] = (struct fault){.number = (int)count + 1, .what = ones[count].what, .run = run_one};
		}
	}
	return fault_main(argc, argv, cases, count);
}
