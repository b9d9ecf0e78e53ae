/* SPDX-License-Identifier: MIT
 *
 * Threads that are stopped and go on: SIGSTOP, tracers, freezers, and the C library's own broadcast for setuid (faults 15 to 19).
 * Some calls come back with EINTR from that, as the kernel has it; none may come back with an errno of ours, and none may be lost
 * for a cancel.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "victim.h"

static int fds[2];

/* What a helper needs to know: the case's process and, in shared memory, its threads. */
enum { MANY = 6 };

static struct target {
	pid_t pid;
	_Atomic pid_t tid[MANY];
	_Atomic int count;
	char cgroup[100];
} * target;

static void make_target(void)
{
	target = mmap(NULL, sizeof(*target), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(target != MAP_FAILED, "mmap");
	target->pid = getpid();
}

/* ---- many threads, each in another call, own and foreign */

static long foreign_epoll(struct victim *victim)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = epoll_create1(EPOLL_CLOEXEC);
	CHECK(epoll_ctl(fd, EPOLL_CTL_ADD, victim->fd, &event) == 0, "epoll_ctl: %s", strerror(errno));
	long result = or_errno(epoll_wait(fd, &event, 1, -1));
	close(fd);
	return result;
}

static long own_epoll(struct victim *victim)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = epoll_create1(EPOLL_CLOEXEC);
	CHECK(epoll_ctl(fd, EPOLL_CTL_ADD, victim->fd, &event) == 0, "epoll_ctl: %s", strerror(errno));
	long result = unstick_epoll_wait(fd, &event, 1, -1);
	close(fd);
	return result;
}

static const struct {
	long (*call)(struct victim *);
	long nr;
} many_calls[MANY] = {
        /* not the read under TSan: see after_foreign() */
        {FAULT_TSAN ? foreign_sleep : foreign_read, FAULT_TSAN ? SYS_clock_nanosleep : SYS_read},
        {foreign_poll, SYS_poll},
        {foreign_epoll, SYS_epoll_wait},
        {own_read, SYS_read},
        {own_poll, SYS_ppoll},
        {own_epoll, SYS_epoll_pwait},
};

static struct victim many[MANY];

/* The call, again as long as it comes back with EINTR: that is allowed, and counted. Nothing else is, before the cancel. */
static long again(struct victim *victim)
{
	size_t i = (size_t)(victim - many);
	bool event_loop = many_calls[i].nr == SYS_epoll_wait;
	long result;
	do {
		result = many_calls[i].call(victim);
		CHECK(result == -EINTR || atomic_load(&victim->stop), "call %ld came back with %ld, uncancelled", many_calls[i].nr,
		      result);
		atomic_fetch_add(&victim->count, 1);
	} while (result == -EINTR && !(event_loop && unstick_check() != 0));
	return result;
}

static void block_many(struct unstick_token *token)
{
	make_pipe(fds);
	for (size_t i = 0; i < MANY; i++) {
		many[i] = (struct victim){.call = again, .fd = fds[0], .token = token};
		victim_start(&many[i]);
		target->tid[i] = many[i].tid;
	}
	target->count = MANY;
	for (size_t i = 0; i < MANY; i++)
		WAIT_UNTIL(proc_state(0, many[i].tid) == 'S' && proc_in_call(0, many[i].tid, many_calls[i].nr));
}

/* After the disturbance: each is in its call still or again, and can be cancelled. */
static void cancel_many(struct unstick_token *token)
{
	long interrupted = 0;
	for (size_t i = 0; i < MANY; i++) {
		CHECK(!many[i].done, "call %ld: %ld", many_calls[i].nr, many[i].result);
		interrupted += many[i].count;
		many[i].stop = true;
	}
	fault_note("%ld EINTR in %d calls", interrupted, MANY);
	unstick_token_cancel(token);
	for (size_t i = 0; i < MANY; i++) {
		bool event_loop = many_calls[i].nr == SYS_epoll_wait;
		victim_join(&many[i]);
		CHECK(many[i].result == -ECANCELED || (event_loop && many[i].result == -EINTR), "call %ld: %ld", many_calls[i].nr,
		      many[i].result);
		CHECK(many[i].end == -ECANCELED, "call %ld: %d", many_calls[i].nr, many[i].end);
	}
}

/* ---- fault 15 */

static void setuid_broadcast(void)
{
	struct unstick_token *token = make_token();
	make_target();
	block_many(token);
	for (int i = 0; i < 100; i++)
		CHECK(setresuid((uid_t)-1, (uid_t)-1, (uid_t)-1) == 0, "setresuid: %s", strerror(errno));
	cancel_many(token);
}

/* ---- helpers' side: stop and go */

static bool wait_state(pid_t tid, char wanted, char or_wanted)
{
	char state;
	do {
		fault_pause();
		state = proc_state(target->pid, tid);
	} while (state != wanted && state != or_wanted);
	return true;
}

static bool stop_and_continue(int command, void *arg)
{
	(void)command;
	(void)arg;
	for (int i = 0; i < 10; i++) {
		if (kill(target->pid, SIGSTOP) != 0)
			return false;
		for (int k = 0; k < target->count; k++)
			wait_state(target->tid[k], 'T', 'T');
		kill(target->pid, SIGCONT);
		for (int k = 0; k < target->count; k++)
			wait_state(target->tid[k], 'S', 'R');
	}
	return true;
}

static bool seize_one(pid_t tid)
{
	int status;
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0)
		return false;
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0 || waitpid(tid, &status, __WALL) != tid)
		return false;
	return wait_state(tid, 't', 't');
}

/* 's' seizes the first thread and keeps it stopped, 'c' lets it go; 'a' does both to all, ten times. */
static bool trace(int command, void *arg)
{
	(void)arg;
	if (command == 's')
		return seize_one(target->tid[0]);
	if (command == 'c')
		return ptrace(PTRACE_DETACH, target->tid[0], 0, 0) == 0;
	for (int i = 0; i < 10 * MANY; i++) {
		if (!seize_one(target->tid[i % MANY]) || ptrace(PTRACE_DETACH, target->tid[i % MANY], 0, 0) != 0)
			return false;
	}
	return true;
}

/* Returns false where a child may not trace its parent. */
static bool may_trace(struct helper *helper)
{
	prctl(PR_SET_PTRACER, helper->pid, 0, 0, 0); /* for Yama */
	return helper_ask(helper, 'a');
}

static void sigstop_sigcont(void)
{
	struct unstick_token *token = make_token();
	struct helper helper;
	make_target();
	helper_start(&helper, stop_and_continue, NULL);
	block_many(token);
	CHECK(helper_ask(&helper, 's'), "kill");
	cancel_many(token);
	helper_end(&helper);
}

static void seize_and_detach(void)
{
	struct unstick_token *token = make_token();
	struct helper helper;
	make_target();
	helper_start(&helper, trace, NULL);
	block_many(token);
	if (!may_trace(&helper))
		fault_skip("no right to trace: ptrace is refused here");
	cancel_many(token);
	helper_end(&helper);
}

/* ---- fault 18 */

static bool write_file(const char *dir, const char *name, const char *text)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

static bool read_has(const char *dir, const char *name, const char *text)
{
	char path[160], content[256];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, content, sizeof(content) - 1);
	close(fd);
	content[n > 0 ? n : 0] = '\0';
	return strstr(content, text) != NULL;
}

static bool freeze_v2(int command, void *arg)
{
	(void)command;
	(void)arg;
	for (int i = 0; i < 5; i++) {
		if (!write_file(target->cgroup, "cgroup.freeze", "1"))
			return false;
		while (!read_has(target->cgroup, "cgroup.events", "frozen 1"))
			fault_pause();
		if (!write_file(target->cgroup, "cgroup.freeze", "0"))
			return false;
		while (!read_has(target->cgroup, "cgroup.events", "frozen 0"))
			fault_pause();
	}
	return true;
}

static bool freeze_v1(int command, void *arg)
{
	(void)command;
	(void)arg;
	for (int i = 0; i < 5; i++) {
		if (!write_file(target->cgroup, "freezer.state", "FROZEN"))
			return false;
		while (!read_has(target->cgroup, "freezer.state", "FROZEN"))
			fault_pause();
		if (!write_file(target->cgroup, "freezer.state", "THAWED"))
			return false;
		while (!read_has(target->cgroup, "freezer.state", "THAWED"))
			fault_pause();
	}
	return true;
}

/* A cgroup of our own, of which this process is made a member. False: there is none to be had. */
static bool enter_cgroup(const char *const *roots, const char *state_file, const char *thawed)
{
	char pid[16];
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	for (; *roots != NULL; roots++) {
		snprintf(target->cgroup, sizeof(target->cgroup), "%s/unstick-test-%s", *roots, pid);
		if (mkdir(target->cgroup, 0755) != 0)
			continue;
		fault_thaw_later(target->cgroup, state_file, thawed);
		char state[160];
		snprintf(state, sizeof(state), "%s/%s", target->cgroup, state_file);
		if (access(state, W_OK) == 0 && write_file(target->cgroup, "cgroup.procs", pid))
			return true;
		rmdir(target->cgroup);
	}
	return false;
}

static void frozen(bool (*freeze)(int, void *), const char *const *roots, const char *state_file, const char *thawed)
{
	struct unstick_token *token = make_token();
	struct helper helper;
	make_target();
	helper_start(&helper, freeze, NULL);
	if (!enter_cgroup(roots, state_file, thawed))
		fault_skip("no cgroup freezer that may be used here");
	block_many(token);
	CHECK(helper_ask(&helper, 'f'), "the freezer");
	cancel_many(token);
	helper_end(&helper);
}

static void freezer_v2(void)
{
	static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL};
	frozen(freeze_v2, roots, "cgroup.freeze", "0");
}

static void freezer_v1(void)
{
	static const char *const roots[] = {"/sys/fs/cgroup/freezer", NULL};
	frozen(freeze_v1, roots, "freezer.state", "THAWED");
}

/* ---- fault 19 */

/* One thread in `call`, stopped by a tracer when the token fires: told as stopped; when it goes on it is freed. */
static void stopped_then_freed(long (*call)(struct victim *), long nr, bool by_interrupt)
{
	struct victim victim = {.call = call, .token = make_token()};
	struct helper helper;
	struct unstick_outcome outcome;
	make_target();
	helper_start(&helper, trace, NULL);
	prctl(PR_SET_PTRACER, helper.pid, 0, 0, 0);
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, nr);
	target->tid[0] = victim.tid;
	if (!helper_ask(&helper, 's'))
		fault_skip("no right to trace: ptrace is refused here");
	if (by_interrupt) {
		CHECK(unstick_thread_interrupt(victim.handle, unstick_after_ms(30), &outcome) == 0, "unstick_thread_interrupt");
		CHECK(outcome.kind == UNSTICK_STOPPED && outcome.signals == 0, "%s", outcome_text(&outcome));
	} else {
		unstick_token_cancel(victim.token);
		victim_wait_outcome(&victim, UNSTICK_STOPPED);
	}
	CHECK(proc_state(0, victim.tid) == 't' && !victim.done, "it came out");
	CHECK(helper_ask(&helper, 'c'), "detach");
	if (by_interrupt) {
		victim_wait_blocked(&victim, nr);
		CHECK(unstick_thread_interrupt(victim.handle, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
		CHECK(outcome.kind == UNSTICK_WOKEN, "%s", outcome_text(&outcome));
	}
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && (by_interrupt || victim.end == -ECANCELED), "%ld, %d", victim.result, victim.end);
	helper_end(&helper);
}

static void stopped_foreign(void)
{
	stopped_then_freed(foreign_read_again, SYS_read, false);
}

/* Once stopped, poll shows as restart_syscall: the first signal is a plain EINTR, and the second look finds the poll. */
static long foreign_poll_again(struct victim *victim)
{
	long result;
	do {
		result = foreign_poll(victim);
	} while (result == -EINTR);
	return result;
}

static void stopped_foreign_poll(void)
{
	stopped_then_freed(foreign_poll_again, SYS_poll, false);
}

static void stopped_own(void)
{
	stopped_then_freed(own_read, SYS_read, false);
}

static void stopped_interrupt(void)
{
	stopped_then_freed(foreign_read, SYS_read, true);
}

/* The deadline passes while the whole process is stopped. */
static bool stop_past(int command, void *arg)
{
	const unstick_time *deadline = arg;
	(void)command;
	if (kill(target->pid, SIGSTOP) != 0 || !wait_state(target->tid[0], 'T', 'T'))
		return false;
	while (unstick_now() < *deadline)
		fault_pause();
	kill(target->pid, SIGCONT);
	return true;
}

static void deadline_in_stop(long (*call)(struct victim *), long nr)
{
	static unstick_time deadline;
	struct victim victim = {.call = call};
	struct helper helper;
	make_target();
	make_pipe(fds);
	deadline = victim.deadline = unstick_after_ms(300);
	victim.fd = fds[0];
	helper_start(&helper, stop_past, &deadline);
	victim_start(&victim);
	target->tid[0] = victim.tid;
	WAIT_UNTIL(victim.done || proc_in_call(0, victim.tid, nr));
	helper_tell(&helper, 's');
	victim_join(&victim);
	CHECK(victim.result == -ETIMEDOUT && victim.end == -ETIMEDOUT, "%ld, %d", victim.result, victim.end);
	CHECK(helper_answer(&helper), "kill");
	helper_end(&helper);
}

static void stopped_deadline_foreign(void)
{
	deadline_in_stop(foreign_read_again, SYS_read);
}

static void stopped_deadline_own(void)
{
	deadline_in_stop(own_poll, SYS_ppoll);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {15, "the broadcast of setuid gives no call an errno of ours", setuid_broadcast},
	        {16, "SIGSTOP and SIGCONT give no call an errno of ours", sigstop_sigcont},
	        {17, "a tracer's stop and detach give no call an errno of ours", seize_and_detach},
	        {18, "the cgroup v2 freezer gives no call an errno of ours", freezer_v2},
	        {18, "the cgroup v1 freezer gives no call an errno of ours", freezer_v1},
	        {19, "a stopped target of a foreign read: told as stopped, freed when it goes on", stopped_foreign},
	        {19, "a stopped target of a foreign poll: told as stopped, freed when it goes on", stopped_foreign_poll},
	        {19, "a stopped target of an own read: told as stopped, freed when it goes on", stopped_own},
	        {19, "a stopped target of an interrupt: told as stopped, freed by the next one when it goes on", stopped_interrupt},
	        {19, "a deadline that passes while stopped cuts a foreign read short after SIGCONT", stopped_deadline_foreign},
	        {19, "a deadline that passes while stopped ends an own poll after SIGCONT", stopped_deadline_own},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
