/* SPDX-License-Identifier: MIT
 *
 * What the library would like to use is refused: tgkill(2) by a filter (fault 20), file descriptors (fault 36), /proc (fault 49).
 * Freeing goes on with what is left, and the outcome tells what was missing.
 */
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "victim.h"

enum { NOBODY = 65534 };

static int fds[2];

static void expect_cut(struct victim *victim)
{
	unstick_token_cancel(victim->token);
	victim_join(victim);
	CHECK(victim->result == -ECANCELED && victim->end == -ECANCELED, "%ld, %d", victim->result, victim->end);
}

/* ---- fault 20 */

static void refuse(int error, bool both)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	CHECK(filter != NULL, "seccomp_init");
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	int failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)error), SCMP_SYS(tgkill), 0);
	if (both)
		failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)error), SCMP_SYS(rt_tgsigqueueinfo), 0);
	CHECK(failed == 0, "seccomp_rule_add");
	if (seccomp_load(filter) != 0)
		fault_skip("no seccomp filter may be loaded here");
	seccomp_release(filter);
	CHECK(syscall(SYS_tgkill, getpid(), own_tid(), 0) == -1 && errno == error, "the filter does not work");
}

static void freed_behind_filter(long (*call)(struct victim *), int error)
{
	struct victim victim = {.call = call, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	refuse(error, false);
	expect_cut(&victim);
}

static void filter_foreign(void)
{
	freed_behind_filter(foreign_read, EPERM);
}

static void filter_foreign_enosys(void)
{
	freed_behind_filter(foreign_read, ENOSYS);
}

static void filter_own(void)
{
	freed_behind_filter(own_read, EPERM);
}

static void filter_interrupt(void)
{
	struct victim victim = {.call = foreign_read, .after = linger};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	refuse(EPERM, false);
	CHECK(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_WOKEN && outcome.error == -ECANCELED, "%s", outcome_text(&outcome));
	victim_let_go(&victim);
	CHECK(victim.result == -ECANCELED, "%ld", victim.result);
	unstick_thread_unref(thread);
}

/* No signal can be sent at all: it is told, nothing hangs, and calls with timeouts keep their deadlines. */
static void filter_of_all(void)
{
	struct victim victim = {.call = foreign_read, .token = make_token()}, timed = {.call = own_poll};
	struct unstick_outcome outcome;
	make_pipe(fds);
	victim.fd = timed.fd = fds[0];
	victim_block(&victim, SYS_read);
	refuse(EPERM, true);
	unstick_token_cancel(victim.token);
	WAIT_UNTIL(victim_outcome(&victim).kind != UNSTICK_NONE);
	outcome = victim_outcome(&victim);
	CHECK(outcome.kind == UNSTICK_SIGNAL_BLOCKED && outcome.signals == 0, "%s", outcome_text(&outcome));
	CHECK(unstick_thread_interrupt(victim.handle, unstick_after_ms(20), &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_SIGNAL_BLOCKED && outcome.signals == 0, "%s", outcome_text(&outcome));
	timed.deadline = unstick_after_ms(20);
	victim_start(&timed);
	victim_join(&timed);
	CHECK(timed.result == -ETIMEDOUT && timed.end == -ETIMEDOUT, "%ld, %d", timed.result, timed.end);
	feed(fds[1]);
	victim_join(&victim);
	CHECK(victim.result == 1 && victim.end == 0, "%ld, %d", victim.result, victim.end);
}

/* ---- fault 36 */

static struct rlimit before;

/* All descriptors below the limit are in use from here on. The harness reads /proc, so it cannot be asked before give_back_fds().
 * */
static void use_up_fds(void)
{
	struct rlimit limit;
	int fd = dup(0), greatest = 0;
	getrlimit(RLIMIT_NOFILE, &before);
	for (; fd >= 0 && fd < 200; fd = dup(0))
		greatest = fd;
	limit = (struct rlimit){.rlim_cur = (rlim_t)greatest + 1, .rlim_max = before.rlim_max};
	close(fd);
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit: %s", strerror(errno));
	while (dup(0) >= 0)
		;
	CHECK(errno == EMFILE, "%s", strerror(errno));
}

static void give_back_fds(void)
{
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0, "setrlimit: %s", strerror(errno));
}

static void no_fds_own(void)
{
	struct victim victim = {.call = own_read, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	use_up_fds();
	expect_cut(&victim);
}

static void no_fds_deadline(void)
{
	make_pipe(fds);
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	use_up_fds();
	struct victim victim = {.call = own_read, .fd = fds[0], .deadline = unstick_after_ms(20)};
	victim_start(&victim);
	victim_join(&victim);
	CHECK(victim.result == -ETIMEDOUT && victim.end == -ETIMEDOUT, "%ld, %d", victim.result, victim.end);
}

/* On EINTR it asks the scope, as code does that knows of unstick. */
static long read_and_check(struct victim *victim)
{
	long result, cut = 0;
	do {
		result = foreign_read(victim);
	} while (result == -EINTR && (cut = unstick_check()) == 0);
	CHECK(result == -EINTR || result == -ECANCELED || result == 1, "%ld", result);
	return cut != 0 ? cut : result;
}

static void no_fds_foreign(void)
{
	struct victim victim = {.call = read_and_check, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	use_up_fds();
	expect_cut(&victim);
}

/* Code that knows nothing and makes the call again on EINTR stays, is told, and is freed once there are descriptors again. */
static void no_fds_then_some(void)
{
	struct victim victim = {.call = foreign_read_again, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	use_up_fds();
	unstick_token_cancel(victim.token);
	victim_wait_outcome(&victim, UNSTICK_NOT_INSPECTABLE);
	CHECK(!victim.done, "it came out with %ld", victim.result);
	give_back_fds();
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
}

static void no_fds_kept_fd(void)
{
	const struct unstick_options options = {.size = sizeof(options), .flags = UNSTICK_KEEP_PROC_FD};
	struct victim victim = {.call = foreign_read_again};
	CHECK(unstick_init(&options) == 0, "unstick_init");
	make_pipe(fds);
	victim.fd = fds[0];
	victim.token = make_token();
	victim_block(&victim, SYS_read);
	use_up_fds();
	expect_cut(&victim);
}

static void no_fds_interrupt(void)
{
	struct victim victim = {.call = foreign_read, .after = linger};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	use_up_fds();
	CHECK(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_NOT_INSPECTABLE && outcome.signals == 1, "%s", outcome_text(&outcome));
	victim_let_go(&victim);
	CHECK(victim.result == -EINTR, "%ld", victim.result);
	unstick_thread_unref(thread);
}

static void no_fds_find(void)
{
	struct victim victim = {.call = foreign_read};
	struct unstick_thread *thread;
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	use_up_fds();
	int error = unstick_thread_find(&thread, victim.tid);
	CHECK(error == 0, "unstick_thread_find of a thread that is there: %d", error);
	give_back_fds();
	feed(fds[1]);
	victim_join(&victim);
	unstick_thread_unref(thread);
}

/* ---- fault 49 */

/* Before there are other threads: it holds for those that are made later. */
static void own_mounts(void)
{
	if (!is_root())
		fault_skip("needs root, for a mount namespace");
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fault_skip("no mount namespace: %s", strerror(errno));
}

static void without_proc(void)
{
	CHECK(umount2("/proc", MNT_DETACH) == 0, "umount2: %s", strerror(errno));
	CHECK(access("/proc/self/task", F_OK) != 0, "there is another /proc below");
}

static void become_nobody(void)
{
	if (!is_root())
		fault_skip("needs root, to become another user");
	CHECK(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid: %s", strerror(errno));
}

/* A foreign call, with /proc out of reach from before the cancel: a plain EINTR frees it if its code looks; the outcome says so. */
static void freed_blindly(void (*put_out_of_reach)(void))
{
	struct victim looking = {.call = read_and_check, .token = make_token()},
	              retrying = {.call = foreign_read_again, .token = make_token()};
	make_pipe(fds);
	looking.fd = retrying.fd = fds[0];
	victim_block(&looking, SYS_read);
	victim_block(&retrying, SYS_read);
	put_out_of_reach();
	expect_cut(&looking);
	unstick_token_cancel(retrying.token);
	victim_wait_outcome(&retrying, UNSTICK_NOT_INSPECTABLE);
	WAIT_UNTIL(retrying.count > 0);
	feed(fds[1]);
	victim_join(&retrying);
	CHECK(retrying.result == 1, "%ld", retrying.result);
}

static void interrupted_blindly(void (*put_out_of_reach)(void))
{
	struct victim victim = {.call = foreign_read, .after = linger};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	make_pipe(fds);
	victim.fd = fds[0];
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	victim_block(&victim, SYS_read);
	put_out_of_reach();
	WAIT_UNTIL(proc_state(0, victim.tid) == 'S'); /* back in its call after the broadcast of setuid */
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	CHECK(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_NOT_INSPECTABLE && outcome.signals == 1, "%s", outcome_text(&outcome));
	victim_let_go(&victim);
	CHECK(victim.result == -EINTR, "%ld", victim.result);
	unstick_thread_unref(thread);
}

static void own_freed(void (*put_out_of_reach)(void))
{
	struct victim victim = {.call = own_read, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	put_out_of_reach();
	expect_cut(&victim);
}

static void freed_with_kept_fd(void (*put_out_of_reach)(void))
{
	const struct unstick_options options = {.size = sizeof(options), .flags = UNSTICK_KEEP_PROC_FD};
	struct victim victim = {.call = foreign_read_again};
	CHECK(unstick_init(&options) == 0, "unstick_init");
	make_pipe(fds);
	victim.fd = fds[0];
	victim.token = make_token();
	victim_block(&victim, SYS_read);
	put_out_of_reach();
	expect_cut(&victim);
}

static void no_proc_foreign(void)
{
	own_mounts();
	freed_blindly(without_proc);
}

static void no_proc_own(void)
{
	own_mounts();
	own_freed(without_proc);
}

static void no_proc_interrupt(void)
{
	own_mounts();
	interrupted_blindly(without_proc);
}

static void no_proc_kept_fd(void)
{
	own_mounts();
	freed_with_kept_fd(without_proc);
}

static void nobody_foreign(void)
{
	freed_blindly(become_nobody);
}

static void nobody_own(void)
{
	own_freed(become_nobody);
}

static void nobody_interrupt(void)
{
	interrupted_blindly(become_nobody);
}

static void nobody_kept_fd(void)
{
	freed_with_kept_fd(become_nobody);
}

/* As `unshare --pid --fork` leaves it: /proc is that of the outer namespace, where this process and its threads have other numbers.
 * */
static void outer_proc(void)
{
	int status;
	if (!is_root())
		fault_skip("needs root, for a pid namespace");
	if (unshare(CLONE_NEWPID) != 0)
		fault_skip("no pid namespace: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		struct victim victim = {.call = read_and_check, .token = make_token()};
		make_pipe(fds);
		victim.fd = fds[0];
		victim_start(&victim);
		expect_cut(&victim);
		_exit(0);
	}
	fault_waiting_for("the pid namespace: a foreign call there to be freed");
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "status %x", (unsigned)status);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {20, "tgkill refused: a foreign call is freed", filter_foreign},
	        {20, "tgkill missing: a foreign call is freed", filter_foreign_enosys},
	        {20, "tgkill refused: an own call is freed", filter_own},
	        {20, "tgkill refused: an interrupt frees", filter_interrupt},
	        {20, "every way to signal a thread refused: it is told, and deadlines of polls hold", filter_of_all},
	        {36, "no descriptor left: an own call is freed", no_fds_own},
	        {36, "no descriptor left: a deadline frees an own call", no_fds_deadline},
	        {36, "no descriptor left: a foreign call gets EINTR, and its code sees the scope", no_fds_foreign},
	        {36, "no descriptor left: code that retries is told as not_inspectable, and freed later", no_fds_then_some},
	        {36, "no descriptor left: with UNSTICK_KEEP_PROC_FD code that retries is freed", no_fds_kept_fd},
	        {36, "no descriptor left: an interrupt gives EINTR and comes to not_inspectable", no_fds_interrupt},
	        {36, "no descriptor left: a thread can be found", no_fds_find},
	        {49, "no /proc: a foreign call gets EINTR and is told as not_inspectable", no_proc_foreign},
	        {49, "no /proc: an own call is freed", no_proc_own},
	        {49, "no /proc: an interrupt gives EINTR and comes to not_inspectable", no_proc_interrupt},
	        {49, "no /proc: with UNSTICK_KEEP_PROC_FD code that retries is freed", no_proc_kept_fd},
	        {49, "after setuid: a foreign call gets EINTR and is told as not_inspectable", nobody_foreign},
	        {49, "after setuid: an own call is freed", nobody_own},
	        {49, "after setuid: an interrupt gives EINTR and comes to not_inspectable", nobody_interrupt},
	        {49, "after setuid: with UNSTICK_KEEP_PROC_FD code that retries is freed", nobody_kept_fd},
	        {49, "/proc of another pid namespace: a foreign call is freed", outer_proc},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
