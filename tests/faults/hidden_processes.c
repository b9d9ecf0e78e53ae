/* SPDX-License-Identifier: MIT
 *
 * What /proc does not show to an ordinary user (fault 49): processes of others, by hidepid or for want of the right to trace them. They
 * are told as not inspectable, not as gone; and what the process may see, its own threads, is freed as ever.
 * A case with another /proc is in a pid namespace of its own: before Linux 5.8 the option held for all mounts of one.
 */
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "victim.h"

enum { NOBODY = 65534 };

static int fds[2];
static const char *option; /* of /proc */
static pid_t others;       /* a process of root's */

/* As one that was begun by that user: a change of user would leave its own /proc entries root's. */
static void become_nobody(void)
{
	CHECK(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid: %s", strerror(errno));
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0, "PR_SET_DUMPABLE: %s", strerror(errno));
}

static pid_t start_other(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	CHECK(pid > 0, "fork: %s", strerror(errno));
	WAIT_UNTIL(proc_in_call(pid, pid, SYS_pause));
	return pid;
}

_Noreturn static void be_inside(void (*run)(void))
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, option) != 0)
		fault_skip("no /proc with %s here: %s", option, strerror(errno));
	proc_reopen();
	others = start_other();
	become_nobody();
	proc_reopen();
	run();
	_exit(0);
}

/* As nobody, where /proc is mounted with `option`. */
static void inside(void (*run)(void))
{
	int status;
	if (!is_root())
		fault_skip("needs root, to mount /proc");
	if (unshare(CLONE_NEWNS | CLONE_NEWPID) != 0)
		fault_skip("no mount and pid namespace: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0)
		be_inside(run);
	fault_waiting_for("the pid namespace");
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "status %x", (unsigned)status);
}

/* ---- processes of others */

static void expect_not_inspectable(pid_t pid)
{
	struct unstick_report report;
	int error = unstick_look(pid, pid, &report);
	CHECK(error == 0, "unstick_look: %d", error);
	CHECK(report.freeable == -1 && report.expect == UNSTICK_NOT_INSPECTABLE && report.nr == -3 && report.fd == -1,
	      "freeable %d, expect %s, nr %ld", report.freeable, unstick_kind_name(report.expect), report.nr);
	CHECK(strstr(report.why, "right") != NULL, "why: %s", report.why);
	fault_note("state %c, name \"%s\": %s", report.state, report.name, report.why);
}

static void look_at_other(void)
{
	struct unstick_report report;
	CHECK(!proc_in_call(others, others, SYS_pause), "it can be seen");
	expect_not_inspectable(others);
	CHECK(unstick_look(others + 1000, others + 1000, &report) == -ESRCH, "a process that is not there");
}

static void hidden_other(void)
{
	option = "hidepid=2";
	inside(look_at_other);
}

static void untraceable_other(void)
{
	option = "hidepid=4";
	inside(look_at_other);
}

static void other_without_right(void)
{
	if (is_root())
		become_nobody();
	if (proc_in_call(1, 1, SYS_pause) || proc_state(1, 1) == '?')
		fault_skip("process 1 is no other user's here, or hidden");
	expect_not_inspectable(1);
}

/* ---- own threads */

static void free_own_threads(void)
{
	struct victim foreign = {.call = foreign_read, .token = make_token()}, own = {.call = own_read, .token = make_token()};
	struct unstick_report report;
	make_pipe(fds);
	foreign.fd = own.fd = fds[0];
	victim_block(&foreign, SYS_read);
	victim_block(&own, SYS_read);
	CHECK(unstick_look(0, foreign.tid, &report) == 0 && report.freeable == 1 && report.nr == SYS_read, "look: %s", report.why);
	unstick_token_cancel(foreign.token);
	unstick_token_cancel(own.token);
	victim_join(&foreign);
	victim_join(&own);
	CHECK(foreign.result == -ECANCELED && foreign.end == -ECANCELED, "foreign: %ld, %d", foreign.result, foreign.end);
	CHECK(own.result == -ECANCELED && own.end == -ECANCELED, "own: %ld, %d", own.result, own.end);
}

static void interrupt_own_thread(void)
{
	struct victim victim = {.call = foreign_read, .after = linger};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	CHECK(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_WOKEN && outcome.nr == SYS_read && outcome.fd == fds[0], "%s", outcome_text(&outcome));
	victim_let_go(&victim);
	CHECK(victim.result == -ECANCELED, "%ld", victim.result);
	unstick_thread_unref(thread);
}

static void *read_in_job(void *unused)
{
	char byte;
	(void)unused;
	return (void *)or_errno(read(fds[0], &byte, 1));
}

static void end_own_job(void)
{
	const struct unstick_job_options options = {.size = sizeof(options), .run = read_in_job};
	struct unstick_pool *pool;
	struct unstick_job *job;
	void *result;
	make_pipe(fds);
	CHECK(unstick_pool_new(&pool, NULL) == 0 && unstick_job_start(pool, &options, &job) == 0, "pool");
	WAIT_UNTIL(unstick_job_state(job) == UNSTICK_JOB_RUNNING);
	unstick_job_cancel(job);
	CHECK(unstick_job_join(job, UNSTICK_NEVER, &result) == -ECANCELED, "unstick_job_join");
	CHECK(after_foreign((long)result) == -ECANCELED, "its read came to %ld", (long)result);
	unstick_job_unref(job);
	CHECK(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0, "unstick_pool_close");
	unstick_pool_free(pool);
}

static void hidden_own(void)
{
	option = "hidepid=2";
	inside(free_own_threads);
}

static void untraceable_own(void)
{
	option = "hidepid=4";
	inside(free_own_threads);
}

static void hidden_interrupt(void)
{
	option = "hidepid=2";
	inside(interrupt_own_thread);
}

static void hidden_job(void)
{
	option = "hidepid=2";
	inside(end_own_job);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {49, "hidepid=2: a process of another user is told as not inspectable, not as gone", hidden_other},
	        {49, "hidepid=4: a process of another user is told as not inspectable, not as gone", untraceable_other},
	        {49, "no right to trace it: a process of another user is told as not inspectable", other_without_right},
	        {49, "hidepid=2: own threads are seen and freed", hidden_own},
	        {49, "hidepid=4: own threads are seen and freed", untraceable_own},
	        {49, "hidepid=2: an interrupt of an own thread frees it", hidden_interrupt},
	        {49, "hidepid=2: a cancel ends a job", hidden_job},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
