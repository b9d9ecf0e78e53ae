/* SPDX-License-Identifier: MIT
 *
 * unstick_thread_interrupt(): every outcome that can be reached without privileges, each beside what /proc says (promise 5); misuse; two
 * interrupters at once.
 */
#include "helpers.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "wake/handler.h"

static int fds[2], more[2];

static void setup(void)
{
	pipe_empty(fds);
	pipe_empty(more);
}

TestSuite(interrupt, .init = setup);

static struct unstick_thread *find(const struct worker *worker)
{
	struct unstick_thread *thread = NULL;
	cr_assert_eq(unstick_thread_find(&thread, worker->tid), 0);
	return thread;
}

/* `patience` is for states that only the caller's time makes an outcome. */
static struct unstick_outcome interrupt(const struct worker *worker, unstick_time until)
{
	struct unstick_outcome outcome;
	struct unstick_thread *thread = find(worker);
	cr_assert_eq(unstick_thread_interrupt(thread, until, &outcome), 0);
	unstick_thread_unref(thread);
	cr_assert_eq(outcome.tid, worker->tid);
	cr_assert_geq(outcome.ns, 0);
	return outcome;
}

#define assert_kind(outcome, wanted) \
	cr_assert_eq((outcome).kind, (wanted), "%s, not %s", unstick_kind_name((outcome).kind), unstick_kind_name(wanted))

static unstick_time soon(void)
{
	return unstick_after_ms(30);
}

static long read_from(int fd)
{
	char byte;
	ssize_t n = read(fd, &byte, 1);
	return n < 0 ? -errno : n;
}

static long read_once(void *arg)
{
	(void)arg;
	return read_from(fds[0]);
}

/* ---- it can be freed */

Test(interrupt, promise_5_the_truth_woken)
{
	struct worker worker;
	worker_start(&worker, read_once, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_outcome outcome = interrupt(&worker, UNSTICK_NEVER);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
	assert_kind(outcome, UNSTICK_WOKEN);
	cr_assert(outcome.nr == SYS_read && outcome.fd == fds[0] && outcome.error == -ECANCELED && outcome.signals == 1);
	cr_assert_eq(outcome.state, 'S');
}

static long own_read_in_scope(void *arg)
{
	struct unstick_scope scope;
	char byte;
	(void)arg;
	unstick_scope_start(&scope, NULL, UNSTICK_NEVER);
	long first = unstick_read(fds[0], &byte, 1), second = unstick_read(fds[0], &byte, 1);
	int error = unstick_scope_end(&scope);
	return error ? error : second == 1 ? first : -EPROTO;
}

Test(interrupt, ends_one_own_call_in_a_scope_and_not_the_next)
{
	struct worker worker;
	worker_start(&worker, own_read_in_scope, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_outcome outcome = interrupt(&worker, UNSTICK_NEVER);
	assert_kind(outcome, UNSTICK_WOKEN);
	worker_wait_blocked(&worker, SYS_read);
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&worker), -ECANCELED, "and the scope itself was not cut");
}

static long wait_for_child(void *arg)
{
	int status;
	return waitpid(*(pid_t *)arg, &status, 0) < 0 ? -errno : 0;
}

Test(interrupt, a_wait_for_a_child_comes_out)
{
	struct worker worker;
	pid_t child = fork();
	if (child == 0)
		for (;;)
			pause();
	worker_start(&worker, wait_for_child, &child);
	worker_wait_blocked(&worker, SYS_wait4);
	struct unstick_outcome outcome = interrupt(&worker, UNSTICK_NEVER);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
	assert_kind(outcome, UNSTICK_WOKEN);
}

static long pause_then_read(void *arg)
{
	long result = pause() ? -errno : 0;
	(void)arg;
	return read_from(fds[0]) == 1 ? result : -EPROTO;
}

Test(interrupt, a_wait_that_knows_only_eintr_is_woken_with_eintr)
{
	struct worker worker;
	worker_start(&worker, pause_then_read, NULL);
	worker_wait_blocked(&worker, SYS_pause);
	struct unstick_outcome outcome = interrupt(&worker, UNSTICK_NEVER);
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&worker), -EINTR);
	assert_kind(outcome, UNSTICK_WOKEN);
	cr_assert_eq(outcome.error, -EINTR);
}

/* ---- it cannot, or need not */

static _Atomic bool run_on;

static long spin(void *arg)
{
	(void)arg;
	while (atomic_load(&run_on))
		;
	return 0;
}

Test(interrupt, promise_5_the_truth_not_blocked)
{
	struct worker worker;
	atomic_store(&run_on, true);
	worker_start(&worker, spin, NULL);
	wait_for(state_of(worker.tid) == 'R');
	struct unstick_outcome outcome = interrupt(&worker, UNSTICK_NEVER);
	atomic_store(&run_on, false);
	worker_join(&worker);
	assert_kind(outcome, UNSTICK_NOT_BLOCKED);
	cr_assert(outcome.nr == -1 && outcome.signals == 0);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static long lock_then_read(void *arg)
{
	(void)arg;
	int error = pthread_mutex_lock(&mutex);
	return error ? error : read_from(fds[0]);
}

Test(interrupt, promise_4_no_harm_a_lock_is_left_alone)
{
	struct worker worker;
	pthread_mutex_lock(&mutex);
	worker_start(&worker, lock_then_read, NULL);
	worker_wait_blocked(&worker, SYS_futex);
	struct unstick_outcome outcome = interrupt(&worker, soon());
	cr_assert(is_blocked_in(worker.tid, SYS_futex));
	pthread_mutex_unlock(&mutex);
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&worker), 1);
	assert_kind(outcome, UNSTICK_LOCK);
	cr_assert(outcome.nr == SYS_futex && outcome.signals == 0 && outcome.error == 0);
}

struct interrupting {
	struct worker *target;
	unstick_time until;
	struct unstick_outcome outcome;
};

static long interrupt_here(void *arg)
{
	struct interrupting *interrupting = arg;
	struct unstick_thread *thread = NULL;
	int error = unstick_thread_find(&thread, interrupting->target->tid);
	if (!error)
		error = unstick_thread_interrupt(thread, interrupting->until, &interrupting->outcome);
	unstick_thread_unref(thread);
	return error;
}

/* It waits for the lock's end as long as it may; then the call is over, and not by it. */
Test(interrupt, promise_5_the_truth_finished_first)
{
	struct worker worker, other;
	struct interrupting interrupting = {.target = &worker, .until = UNSTICK_NEVER};
	pthread_mutex_lock(&mutex);
	worker_start(&worker, lock_then_read, NULL);
	worker_wait_blocked(&worker, SYS_futex);
	worker_start(&other, interrupt_here, &interrupting);
	wait_for(atomic_load(&handler_desk_used) && is_blocked_in(other.tid, SYS_futex)); /* between two looks */
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(worker_join(&other), 0);
	assert_kind(interrupting.outcome, UNSTICK_FINISHED_FIRST);
	cr_assert_eq(interrupting.outcome.error, 0);
	worker_wait_blocked(&worker, SYS_read); /* the next call was not hit */
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&worker), 1);
}

static long read_deaf(void *arg)
{
	sigset_t all;
	(void)arg;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	long first = read_from(fds[0]);
	return first == 1 ? read_from(more[0]) : first;
}

Test(interrupt, promise_5_the_truth_signal_blocked)
{
	struct worker worker;
	worker_start(&worker, read_deaf, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_outcome outcome = interrupt(&worker, soon()), at_once = interrupt(&worker, 0);
	cr_assert(is_blocked_in(worker.tid, SYS_read));
	write_byte(fds[1]);
	write_byte(more[1]);
	cr_assert_eq(worker_join(&worker), 1);
	assert_kind(outcome, UNSTICK_SIGNAL_BLOCKED);
	assert_kind(at_once, UNSTICK_SIGNAL_BLOCKED); /* one round only, as on a busy machine */
	cr_assert_eq(outcome.error, 0);
}

Test(interrupt, promise_5_the_truth_a_deaf_thread_whose_data_came_has_finished_by_itself)
{
	struct worker worker, other;
	struct interrupting interrupting = {.target = &worker, .until = UNSTICK_NEVER};
	worker_start(&worker, read_deaf, NULL);
	worker_wait_blocked(&worker, SYS_read);
	worker_start(&other, interrupt_here, &interrupting);
	wait_for(atomic_load(&handler_desk_used) && is_blocked_in(other.tid, SYS_futex));
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&other), 0);
	write_byte(more[1]);
	cr_assert_eq(worker_join(&worker), 1);
	assert_kind(interrupting.outcome, UNSTICK_FINISHED_FIRST);
}

static void nothing(int signal)
{
	(void)signal;
}

Test(interrupt, promise_5_the_truth_handler_replaced)
{
	struct sigaction theirs = {.sa_handler = nothing, .sa_flags = SA_RESTART};
	struct worker worker;
	struct unstick_thread *self = unstick_thread_self();
	worker_start(&worker, read_once, NULL);
	worker_wait_blocked(&worker, SYS_read);
	cr_assert_eq(sigaction(unstick_signal(), &theirs, NULL), 0);
	struct unstick_outcome outcome = interrupt(&worker, soon()), at_once = interrupt(&worker, 0);
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&worker), 1);
	assert_kind(outcome, UNSTICK_HANDLER_REPLACED);
	assert_kind(at_once, UNSTICK_HANDLER_REPLACED);
	cr_assert_eq(outcome.handler, (const void *)(uintptr_t)nothing);
	unstick_thread_unref(self);
}

static long epoll_loop(void *arg)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), n;
	(void)arg;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[0], &event);
	while ((n = epoll_wait(epoll_fd, &event, 1, -1)) < 0 && errno == EINTR)
		;
	close(epoll_fd);
	return n < 0 ? -errno : n;
}

Test(interrupt, promise_5_the_truth_event_loop)
{
	struct worker worker;
	worker_start(&worker, epoll_loop, NULL);
	worker_wait_blocked(&worker, SYS_epoll_wait);
	struct unstick_outcome outcome = interrupt(&worker, unstick_after_ms(10000));
	worker_wait_blocked(&worker, SYS_epoll_wait);
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&worker), 1, "it got an error that it does not expect");
	assert_kind(outcome, UNSTICK_EVENT_LOOP);
	cr_assert(outcome.error == 0 || outcome.error == -EINTR);
}

static struct unstick_outcome interrupt_with(const struct worker *worker, const struct unstick_interrupt_options *options)
{
	struct unstick_outcome outcome;
	struct unstick_thread *thread = find(worker);
	cr_assert_eq(unstick_thread_interrupt_with(thread, UNSTICK_NEVER, options, &outcome), 0);
	unstick_thread_unref(thread);
	return outcome;
}

Test(interrupt, gives_the_error_that_is_asked_for)
{
	const struct unstick_interrupt_options options = {.size = sizeof options, .error = -ETIMEDOUT};
	struct worker worker;
	worker_start(&worker, read_once, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_outcome outcome = interrupt_with(&worker, &options);
	cr_assert_eq(worker_join(&worker), -ETIMEDOUT);
	assert_kind(outcome, UNSTICK_WOKEN);
	cr_assert_eq(outcome.error, -ETIMEDOUT);
}

Test(interrupt, an_event_loop_that_is_allowed_gets_the_error)
{
	const long allow[] = {SYS_epoll_wait};
	const struct unstick_interrupt_options options = {.size = sizeof options, .allow = allow, .allowed = 1};
	struct worker worker;
	worker_start(&worker, epoll_loop, NULL);
	worker_wait_blocked(&worker, SYS_epoll_wait);
	struct unstick_outcome outcome = interrupt_with(&worker, &options);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
	assert_kind(outcome, UNSTICK_WOKEN);
}

Test(interrupt, a_poll_expires_if_that_is_asked_for)
{
	const long allow[] = {SYS_epoll_wait};
	const struct unstick_interrupt_options options = {
	        .size = sizeof options, .flags = UNSTICK_POLLS_EXPIRE, .allow = allow, .allowed = 1};
	struct worker worker;
	worker_start(&worker, epoll_loop, NULL);
	worker_wait_blocked(&worker, SYS_epoll_wait);
	struct unstick_outcome outcome = interrupt_with(&worker, &options);
	cr_assert_eq(worker_join(&worker), 0);
	assert_kind(outcome, UNSTICK_WOKEN);
	cr_assert_eq(outcome.error, 0);
}

Test(interrupt, options_that_are_not_known_are_refused)
{
	const long futex = SYS_futex;
	const struct unstick_interrupt_options wrong[] = {
	        {.size = 8},
	        {.size = sizeof wrong[0], .flags = 2},
	        {.size = sizeof wrong[0], .error = -EIO},
	        {.size = sizeof wrong[0], .allowed = 1},
	};
	struct unstick_thread *self = unstick_thread_self();
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		cr_expect_eq(unstick_thread_interrupt_with(self, 0, &wrong[i], NULL), -EINVAL, "%u", i);
	const struct unstick_interrupt_options lock = {.size = sizeof lock, .allow = &futex, .allowed = 1};
	cr_expect_eq(unstick_thread_interrupt_with(self, 0, &lock, NULL), -EDEADLK);
	unstick_thread_unref(self);
}

static long pause_for_ever(void *arg)
{
	(void)arg;
	while (atomic_load(&run_on))
		pause();
	return 0;
}

Test(interrupt, promise_5_the_truth_looping)
{
	struct worker worker;
	count_signal(SIGUSR1, 0);
	atomic_store(&run_on, true);
	worker_start(&worker, pause_for_ever, NULL);
	worker_wait_blocked(&worker, SYS_pause);
	struct unstick_outcome outcome = interrupt(&worker, unstick_after_ms(10000));
	worker_wait_blocked(&worker, SYS_pause);
	atomic_store(&run_on, false);
	pthread_kill(worker.thread, SIGUSR1);
	worker_join(&worker);
	assert_kind(outcome, UNSTICK_LOOPING);
	cr_assert_eq(outcome.signals, 3, "the text says that it was ended three times");
}

/* The parent of a vfork child that has not exec'ed sleeps in state D. The child has a stack of its own and makes one read. */
static char child_stack[16384] __attribute__((aligned(16)));

static int read_in_vfork_child(void *arg)
{
	char byte;
	(void)arg;
	return (int)syscall(SYS_read, fds[0], &byte, 1) - 1;
}

static long vfork_and_wait(void *arg)
{
	int status = -1;
	(void)arg;
	pid_t child = clone(read_in_vfork_child, child_stack + sizeof child_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
	waitpid(child, &status, 0);
	return status;
}

Test(interrupt, promise_5_the_truth_uninterruptible)
{
	struct worker worker;
	worker_start(&worker, vfork_and_wait, NULL);
	wait_for(state_of(worker.tid) == 'D');
	struct unstick_outcome outcome = interrupt(&worker, soon());
	cr_assert_eq(state_of(worker.tid), 'D');
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&worker), 0);
	assert_kind(outcome, UNSTICK_UNINTERRUPTIBLE);
	cr_assert(outcome.state == 'D' && outcome.signals == 0);
}

/* A child of ours stops one thread of ours, as a debugger does. */
static pid_t stop_from_outside(pid_t tid, int stopped[2])
{
	pid_t tracer = fork();
	if (tracer != 0)
		return tracer;
	char byte = 0;
	bool ok = ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0 && ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 &&
	          waitpid(tid, NULL, __WALL) == tid;
	(void)!write(stopped[1], ok ? "y" : "n", 1);
	(void)!read(more[0], &byte, 1);
	ptrace(PTRACE_DETACH, tid, NULL, NULL);
	_exit(0);
}

static long read_retrying(void *arg)
{
	long n;
	(void)arg;
	while ((n = read_from(fds[0])) == -EINTR)
		;
	return n;
}

Test(interrupt, promise_5_the_truth_stopped)
{
	struct worker worker;
	int stopped[2];
	char answer = 0;
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	pipe_empty(stopped);
	worker_start(&worker, read_retrying, NULL);
	worker_wait_blocked(&worker, SYS_read);
	pid_t tracer = stop_from_outside(worker.tid, stopped);
	cr_assert_eq(read(stopped[0], &answer, 1), 1);
	if (answer != 'y') {
		kill(tracer, SIGKILL);
		cr_skip_test("this test stops a thread with ptrace(2), which is refused here");
	}
	wait_for(state_of(worker.tid) == 't');
	struct unstick_outcome outcome = interrupt(&worker, soon());
	write_byte(fds[1]);
	write_byte(more[1]);
	cr_assert_eq(waitpid(tracer, NULL, 0), tracer);
	cr_assert_eq(worker_join(&worker), 1);
	assert_kind(outcome, UNSTICK_STOPPED);
	cr_assert(outcome.state == 't' || outcome.state == 'T');
}

static long read_once_then_other(void *arg)
{
	long first = read_once(arg), other = read_from(more[0]);
	return other == 1 ? first : -EPROTO;
}

/* A process that has changed its user may not look into its own /proc files. */
Test(interrupt, promise_5_the_truth_not_inspectable)
{
	struct worker worker;
	struct unstick_outcome outcome;
	if (geteuid() == 0)
		cr_assert_eq(setresuid(65534, 65534, 65534), 0);
	cr_assert_eq(prctl(PR_SET_DUMPABLE, 0), 0);
	worker_start(&worker, read_once_then_other, NULL);
	/* The state letter can be read still, and a pipe's reader sleeps in nothing but the read. */
	wait_for(state_of(worker.tid) == 'S');
	outcome = interrupt(&worker, unstick_after_ms(10000));
	write_byte(more[1]);
	cr_assert_eq(worker_join(&worker), -EINTR, "without a look no errno may be given");
	assert_kind(outcome, UNSTICK_NOT_INSPECTABLE);
	cr_assert(outcome.signals == 1 && outcome.error == 0);
}

/* ---- left alone: a close() that lingers */

static void connect_pair(int *client, int *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	*client = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	cr_assert_eq(connect(*client, (struct sockaddr *)&address, length), 0);
	*server = accept(listener, NULL, NULL);
	close(listener);
}

static long close_it(void *fd)
{
	return close(*(int *)fd);
}

Test(interrupt, promise_4_no_harm_a_close_is_left_alone)
{
	static char zeros[65536];
	struct linger linger = {.l_onoff = 1, .l_linger = 3600};
	struct worker worker;
	int client, server;
	connect_pair(&client, &server);
	cr_assert_eq(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
	while (send(client, zeros, sizeof zeros, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	worker_start(&worker, close_it, &client);
	worker_wait_blocked(&worker, SYS_close);
	struct unstick_outcome outcome = interrupt(&worker, soon());
	cr_assert(is_blocked_in(worker.tid, SYS_close));
	close(server); /* with unread data: a reset, and the lingering ends */
	worker_join(&worker);
	assert_kind(outcome, UNSTICK_LEFT_ALONE);
	cr_assert(outcome.nr == SYS_close && outcome.signals == 0);
}

Test(interrupt, promise_5_the_truth_gone)
{
	struct worker worker;
	struct unstick_outcome outcome;
	worker_start(&worker, read_once, NULL);
	struct unstick_thread *thread = find(&worker);
	write_byte(fds[1]);
	worker_join(&worker);
	wait_for(state_of(worker.tid) == '?');
	cr_assert_eq(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome), 0);
	assert_kind(outcome, UNSTICK_GONE);
	cr_assert_eq(outcome.signals, 0);
}

/* ---- misuse, and company */

static long interrupt_self(void *arg)
{
	struct unstick_thread *thread = NULL;
	struct unstick_outcome outcome;
	(void)arg;
	int found = unstick_thread_find(&thread, (pid_t)syscall(SYS_gettid));
	return found ? found : unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome);
}

Test(interrupt, of_nobody_and_of_oneself_is_misuse)
{
	struct unstick_outcome outcome;
	struct worker unattached;
	cr_assert_eq(unstick_thread_interrupt(NULL, 0, &outcome), -EINVAL);
	cr_assert_eq(unstick_thread_interrupt(unstick_thread_self(), UNSTICK_NEVER, &outcome), -EDEADLK);
	worker_start(&unattached, interrupt_self, NULL);
	cr_assert_eq(worker_join(&unattached), -EDEADLK);
}

Test(interrupt, needs_no_place_for_the_outcome)
{
	struct worker worker;
	worker_start(&worker, read_once, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_thread *thread = find(&worker);
	cr_assert_eq(unstick_thread_interrupt(thread, UNSTICK_NEVER, NULL), 0);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
}

/* A signal that was sent arrives, whatever the time: an outcome that says "no signal can end this call" would be refuted by the call. */
Test(interrupt, promise_5_the_truth_also_when_there_is_no_time)
{
	for (int i = 0; i < 20; i++) {
		struct worker worker;
		worker_start(&worker, read_once, NULL);
		worker_wait_blocked(&worker, SYS_read);
		struct unstick_outcome outcome = interrupt(&worker, 0);
		if (outcome.signals == 0)
			write_byte(fds[1]);
		long result = worker_join(&worker);
		cr_assert(result == (outcome.kind == UNSTICK_WOKEN ? -ECANCELED : 1), "told \"%s\", but the read returned %ld",
		          unstick_kind_name(outcome.kind), result);
	}
}

static long read_twice(void *arg)
{
	long first = read_once(arg), second = read_once(arg);
	return first == -ECANCELED && second == -ECANCELED ? 2 : second;
}

/* Both begin while the target waits for a lock; then it goes on to two calls that can be ended. */
static long lock_then_read_twice(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&mutex);
	return read_twice(arg);
}

Test(interrupt, two_at_once_take_turns)
{
	struct worker worker, other[2];
	struct interrupting interrupting[2] = {{.target = &worker, .until = UNSTICK_NEVER},
	                                       {.target = &worker, .until = UNSTICK_NEVER}};
	pthread_mutex_lock(&mutex);
	worker_start(&worker, lock_then_read_twice, NULL);
	worker_wait_blocked(&worker, SYS_futex);
	for (int i = 0; i < 2; i++)
		worker_start(&other[i], interrupt_here, &interrupting[i]);
	for (int i = 0; i < 2; i++)
		wait_for(is_blocked_in(other[i].tid, SYS_futex));
	cr_assert_eq(atomic_load(&handler_desk_used), 1, "two desks for one thread");
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(worker_join(&other[i]), 0);
	int kinds[2] = {interrupting[0].outcome.kind, interrupting[1].outcome.kind}, woken = 0;
	for (int i = 0; i < 2; i++) {
		cr_assert(kinds[i] == UNSTICK_WOKEN || kinds[i] == UNSTICK_FINISHED_FIRST || kinds[i] == UNSTICK_NOT_BLOCKED, "%s",
		          unstick_kind_name(kinds[i]));
		woken += kinds[i] == UNSTICK_WOKEN;
	}
	for (int calls = woken; calls < 2; calls++)
		write_byte(fds[1]);
	worker_join(&worker);
	cr_assert_eq(atomic_load(&handler_desk_used), 0, "a desk was not given back");
}

Test(interrupt, who_gets_no_turn_in_time_is_told_busy)
{
	struct worker worker, other;
	struct interrupting interrupting = {.target = &worker, .until = unstick_after_ms(3600000)};
	struct unstick_outcome outcome;
	pthread_mutex_lock(&mutex);
	worker_start(&worker, lock_then_read, NULL);
	worker_wait_blocked(&worker, SYS_futex);
	worker_start(&other, interrupt_here, &interrupting);
	wait_for(atomic_load(&handler_desk_used));
	cr_assert_eq(unstick_thread_interrupt(find(&worker), soon(), &outcome), -EBUSY);
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(worker_join(&other), 0);
	write_byte(fds[1]);
	worker_join(&worker);
}
