/* SPDX-License-Identifier: MIT
 *
 * What a hostile reader of the library found about its signal: sends that are refused, descriptors that an interrupter reads, signals that
 * merge with somebody else's. The other findings: findings.c, findings_stepped.c.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include "case.h"

/* ---- tgkill refused */

static void refuse_tgkill(void)
{
	struct sock_filter filter[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
	require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "filter");
}

static void *own_read_in_scope(void *unused)
{
	struct unstick_scope scope;
	char c;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	atomic_store(&worker_tid, gettid());
	require(unstick_read(silent[0], &c, 1) == -ECANCELED, "the read was cut");
	require(unstick_scope_end(&scope) == -ECANCELED, "the scope was cut");
	return unused;
}

static void *cancel_token(void *unused)
{
	unstick_token_cancel(token);
	return unused;
}

static void tgkill_refused(void)
{
	pthread_t canceller;
	refuse_tgkill();
	pthread_t thread = start(own_read_in_scope, NULL);
	wait_for(atomic_load(&worker_tid), 'S', SYS_read);
	require(pthread_create(&canceller, NULL, cancel_token, NULL) == 0, "canceller");
	pthread_join(thread, NULL);
	pthread_join(canceller, NULL);
}

/* ---- interrupts */

/* The number of open descriptors that are a thread's "syscall" file. */
static int kept_fds(void)
{
	char name[64], target[128];
	int kept = 0;
	for (int fd = 0; fd < 1024; fd++) {
		snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(name, target, sizeof target - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		kept += strstr(target, "/task/") && strstr(target, "/syscall");
	}
	return kept;
}

static struct unstick_thread *handle;

static void *take_handle(void *unused)
{
	handle = unstick_thread_self();
	require(handle != NULL, "handle");
	return unused;
}

/* An interrupter with a handle may be reading it at any time. */
static void kept_fd_outlives_its_thread(void)
{
	const struct unstick_options options = {.size = sizeof options, .flags = UNSTICK_KEEP_PROC_FD};
	pthread_t thread;
	require(unstick_init(&options) == 0, "init");
	require(pthread_create(&thread, NULL, take_handle, NULL) == 0, "pthread_create");
	pthread_join(thread, NULL);
	require(kept_fds() == 1, "kept as long as there is a handle");
	unstick_thread_unref(handle);
	require(kept_fds() == 0, "closed with the last handle");
}

static void unblock_in_interrupted(int signal, siginfo_t *info, void *raw)
{
	ucontext_t *context = raw;
	(void)signal;
	(void)info;
	sigdelset(&context->uc_sigmask, unstick_signal());
}

static void *read_with_signal_blocked(void *unused)
{
	sigset_t set;
	char c;
	sigemptyset(&set);
	sigaddset(&set, unstick_signal());
	require(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0, "block");
	atomic_store(&worker_tid, gettid());
	require(read(silent[0], &c, 1) == -1 && errno == ECANCELED, "the read was ended");
	return unused;
}

static _Atomic pid_t interrupter_tid;

static void *interrupt_reader(void *thread)
{
	struct unstick_outcome outcome;
	atomic_store(&interrupter_tid, gettid());
	require(unstick_thread_interrupt(thread, unstick_after_ms(10000), &outcome) == 0, "interrupt");
	require(outcome.kind == UNSTICK_WOKEN && outcome.error == -ECANCELED, "woken");
	return NULL;
}

/* SIGURG does not queue: ours merges into one of another process's that is pending, and what arrives says that it is theirs. */
static void signal_merged_into_foreign(void)
{
	struct sigaction action = {.sa_sigaction = unblock_in_interrupted, .sa_flags = SA_RESTART | SA_SIGINFO};
	pthread_t interrupter;
	pid_t parent = getpid();
	require(unstick_init(NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0, "set-up");
	require(unstick_signal() == SIGURG, "a signal that does not queue");
	pthread_t thread = start(read_with_signal_blocked, NULL);
	pid_t tid = atomic_load(&worker_tid);
	wait_for(tid, 'S', SYS_read);
	pid_t child = fork_child();
	if (child == 0)
		_exit(syscall(SYS_tgkill, parent, tid, SIGURG) != 0);
	require(ended_well(child), "the other process's SIGURG is pending");
	require(unstick_thread_find(&handle, tid) == 0, "find");
	require(pthread_create(&interrupter, NULL, interrupt_reader, handle) == 0, "interrupter");
	while (!atomic_load(&interrupter_tid))
		poll(NULL, 0, 1);
	wait_for(atomic_load(&interrupter_tid), 'S', SYS_futex); /* it has sent, and waits for an answer */
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	pthread_join(interrupter, NULL);
	unstick_thread_unref(handle);
}

/* ---- */

static const struct test_case cases[] = {
        {"with tgkill refused a thread frees another, neither the main one", tgkill_refused, NULL},
        {"a kept /proc fd is open as long as a handle", kept_fd_outlives_its_thread, NULL},
        {"an interrupt whose signal merged into another process's arrives", signal_merged_into_foreign, CASE_IN_PLACE},
};

int main(int argc, char **argv)
{
	return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);
}
