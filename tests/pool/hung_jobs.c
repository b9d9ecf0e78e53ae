/* SPDX-License-Identifier: MIT
 *
 * Jobs that nothing ends. In each wait that no signal ends (tests/hung): the join returns all the same, with the true reason; the
 * thread is replaced; a close returns in time and names the job; no signal has made it worse; and when what it waits for comes about
 * the job comes back, is counted, and the pool can be closed. The same for jobs that are out of reach by their own doing: all signals
 * blocked, a mutex, a loop without a checkpoint.
 * Each case says how late the join was. No case asserts it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "hung.h"
#include "unstick.h"

enum way { DEADLINE, CANCEL, CLOSE, WAYS };

static const char *const way_names[WAYS] = {"a deadline", "a cancel", "a close"};

/* A job that does not come out, and what must be told of it. */
struct stuck_job {
	const char *name;
	void *(*run)(void *arg);
	int kind;
	long nr;           /* -1: none */
	const char *state; /* the letters it may show */
	int fd;
	bool untouched; /* gets no signal */
	bool holds_exit;
	void (*release)(void);
	/* By its thread: */
	_Atomic pid_t tid;
	_Atomic long result;
	_Atomic bool out;
};

static struct hung hung;
static struct stuck_job stuck;
static struct unstick_pool *pool;
static struct unstick_job *job;
static unstick_time deadline;

/* ---- what /proc says, read without the library */

static bool is_stuck(void)
{
	pid_t tid = stuck.tid;
	return tid != 0 && strchr(stuck.state, proc_state(0, tid)) != NULL && (stuck.nr < 0 || proc_in_call(0, tid, stuck.nr));
}

static void check_outcome(const struct unstick_outcome *outcome)
{
	char text[256], wait[64] = "";
	unstick_outcome_print(outcome, text, sizeof(text));
	CHECK(outcome->kind == stuck.kind && outcome->nr == stuck.nr && outcome->fd == stuck.fd && outcome->tid == stuck.tid,
	      "%s: kind %s, call %ld, fd %d, thread %d", text, unstick_kind_name(outcome->kind), outcome->nr, outcome->fd,
	      (int)outcome->tid);
	CHECK(is_stuck() && outcome->state == proc_state(0, stuck.tid), "%s: state %c, /proc says %c", text, outcome->state,
	      proc_state(0, stuck.tid));
	if (stuck.nr >= 0 && proc_read(0, stuck.tid, "wchan", wait, sizeof(wait)))
		CHECK(strncmp(outcome->wait, wait, sizeof(outcome->wait) - 1) == 0, "%s: /proc says %s", text, wait);
	CHECK(!stuck.untouched || (outcome->signals == 0 && !proc_status_bit(stuck.tid, "SigPnd:", unstick_signal())),
	      "%s: a signal was sent", text);
}

/* ---- the pool */

static struct unstick_pool_counts counts(void)
{
	struct unstick_pool_counts now;
	CHECK(unstick_pool_stats(pool, &now) == 0, "unstick_pool_stats");
	return now;
}

static void start(struct unstick_job **ret, const char *name, void *(*run)(void *), int64_t ms)
{
	struct unstick_job_options options = {.size = sizeof(options), .name = name, .run = run, .deadline = 0};
	if (ms > 0)
		options.deadline = deadline = unstick_after_ms(ms);
	int error = unstick_job_start(pool, &options, ret);
	CHECK(error == 0, "unstick_job_start: %d", error);
}

/* On a busy machine the deadline may have passed before a thread took the job, which then never runs: again, with more time. */
static void start_stuck(enum way way)
{
	for (int64_t ms = 100;; ms *= 2) {
		start(&job, stuck.name, stuck.run, way == DEADLINE ? ms : 0);
		fault_waiting_for("the job to be stuck");
		while (!is_stuck() && unstick_job_state(job) != UNSTICK_JOB_TIMED_OUT)
			fault_pause();
		if (stuck.tid != 0)
			return;
		unstick_job_unref(job);
	}
}

static void *return_at_once(void *arg)
{
	return arg;
}

static void *argument(int value)
{
	return (void *)(intptr_t)value;
}

/* ---- steps */

static void cut(enum way way)
{
	struct unstick_left left;
	if (way == CANCEL)
		CHECK(unstick_job_cancel(job) == 0, "unstick_job_cancel");
	if (way == CLOSE)
		CHECK(unstick_pool_close(pool, unstick_after_ms(20), &left) == -EBUSY, "unstick_pool_close");
}

static void join_stuck(enum way way)
{
	void *result = argument(1);
	unstick_time begun = way == DEADLINE ? deadline : unstick_now();
	fault_waiting_for("the join");
	cut(way);
	int end = unstick_job_join(job, UNSTICK_NEVER, &result);
	unstick_time over = unstick_now();
	fault_waiting_for("%s", "");
	CHECK(end == (way == DEADLINE ? -ETIMEDOUT : -ECANCELED), "unstick_job_join: %d", end);
	CHECK(way != DEADLINE || over >= deadline, "before the deadline");
	CHECK(result == NULL && !stuck.out, "it has come out");
	CHECK(unstick_job_state(job) == UNSTICK_JOB_ABANDONED, "%s", unstick_job_state_name(unstick_job_state(job)));
	fault_note("the join returned %.1f ms after the %s", (double)(over - begun) / 1e6, strchr(way_names[way], ' ') + 1);
}

/* One thread is all that the pool may have, so the second job can only have run on another in its place. */
static void thread_is_replaced(struct unstick_job *second)
{
	fault_waiting_for("the job behind it");
	CHECK(unstick_job_join(second, UNSTICK_NEVER, NULL) == 0, "the second job: %s",
	      unstick_job_state_name(unstick_job_state(second)));
	unstick_job_unref(second);
}

static void close_names_it(void)
{
	struct unstick_left left = {0};
	char text[600];
	unstick_time until = unstick_after_ms(20);
	fault_waiting_for("the close");
	CHECK(unstick_pool_close(pool, until, &left) == -EBUSY, "unstick_pool_close");
	unstick_time over = unstick_now();
	fault_waiting_for("%s", "");
	CHECK(left.count == 1 && left.listed == 1, "%u left, %u listed", left.count, left.listed);
	const struct unstick_left_job *one = &left.jobs[0];
	check_outcome(&one->outcome);
	CHECK(strcmp(one->name, stuck.name) == 0 && one->tid == stuck.tid && one->pid == 0, "%s, %d", one->name, (int)one->tid);
	CHECK(one->running_ns > 0 && one->cut_ns > 0 && one->running_ns >= one->cut_ns, "since when");
	CHECK(one->holds_exit == stuck.holds_exit && left.holds_exit == stuck.holds_exit, "holds_exit %d", one->holds_exit);
	CHECK(stuck.fd < 0 || hung.path[0] == '\0' || strcmp(one->object, hung.path) == 0, "object: %s", one->object);
	int length = unstick_left_print(&left, text, sizeof(text));
	CHECK(length == (int)strlen(text) && strstr(text, stuck.name) != NULL && text[length - 1] != '\n', "%s", text);
	fault_note("closed %.1f ms after its time: %s", (double)(over - until) / 1e6, text);
	CHECK(unstick_pool_close(pool, 0, NULL) == -EBUSY, "once more, too early");
}

static void comes_back(enum way way)
{
	const int state = way == DEADLINE ? UNSTICK_JOB_TIMED_OUT : UNSTICK_JOB_CANCELLED;
	void *result = NULL;
	stuck.release();
	WAIT_UNTIL(stuck.out);
	WAIT_UNTIL(unstick_job_state(job) == state);
	CHECK(unstick_job_join(job, UNSTICK_NEVER, &result) == (way == DEADLINE ? -ETIMEDOUT : -ECANCELED) && result == &stuck,
	      "the join afterwards");
	WAIT_UNTIL(counts().threads == 0);
	struct unstick_pool_counts now = counts();
	CHECK(now.came_back == 1 && now.abandoned == 0 && now.abandoned_ever == 1, "%lu came back, %u abandoned, %lu ever",
	      now.came_back, now.abandoned, now.abandoned_ever);
	CHECK(now.timed_out + now.cancelled == (way == CLOSE ? 2 : 1) + (now.started - 2) && now.failed == 0, "counts");
	CHECK(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0, "close once it is back");
	unstick_job_unref(job);
	CHECK(unstick_pool_free(pool) == NULL, "unstick_pool_free");
}

static void cut_a_stuck_job(enum way way)
{
	struct unstick_pool_options options = {.size = sizeof(options), .threads = 1, .grace_ns = 100 * 1000000};
	struct unstick_job *second;
	struct unstick_outcome outcome;
	CHECK(unstick_pool_new(&pool, &options) == 0, "unstick_pool_new");
	start_stuck(way);
	start(&second, "second", return_at_once, 0);
	join_stuck(way);
	CHECK(unstick_job_outcome(job, &outcome) == 0, "unstick_job_outcome");
	check_outcome(&outcome);
	if (way == CLOSE) /* which took it out of the queue */
		unstick_job_unref(second);
	else
		thread_is_replaced(second);
	CHECK(counts().abandoned == 1 && counts().came_back == 0, "%u abandoned", counts().abandoned);
	close_names_it();
	comes_back(way);
}

/* ---- waits that no signal ends */

static void *hang(void *unused)
{
	(void)unused;
	atomic_store(&stuck.tid, (pid_t)syscall(SYS_gettid));
	atomic_store(&stuck.result, hung_block(&hung));
	atomic_store(&stuck.out, true);
	return &stuck;
}

static void end_hung(void)
{
	hung_end(&hung);
}

static void hung_job(const struct hung_situation *situation, enum way way)
{
	const char state[] = {situation->state, '\0'};
	if (hung_make(&hung, situation) < 0)
		fault_skip("%s cannot be made here: %s", situation->name, hung.why);
	CHECK(hung_open(&hung) == 0, "%s: %s", hung.path, strerror(errno));
	stuck = (struct stuck_job){.name = situation->name,
	                           .run = hang,
	                           .kind = UNSTICK_UNINTERRUPTIBLE,
	                           .nr = situation->nr,
	                           .state = state,
	                           .fd = situation->has_fd ? hung.fd : -1,
	                           .untouched = true,
	                           .holds_exit = situation->holds_exit,
	                           .release = end_hung};
	cut_a_stuck_job(way);
	CHECK((stuck.result < 0) == situation->fails, "its call came to %ld", stuck.result);
}

/* ---- jobs that are out of reach by their own doing */

static int fds[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool stop;

static void *out(void)
{
	atomic_store(&stuck.out, true);
	return &stuck;
}

static void *block_signals(void *unused)
{
	sigset_t all;
	char byte;
	(void)unused;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	atomic_store(&stuck.tid, (pid_t)syscall(SYS_gettid));
	atomic_store(&stuck.result, read(fds[0], &byte, 1));
	return out();
}

static void *wait_for_mutex(void *unused)
{
	(void)unused;
	atomic_store(&stuck.tid, (pid_t)syscall(SYS_gettid));
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	return out();
}

static void *loop(void *unused)
{
	(void)unused;
	atomic_store(&stuck.tid, (pid_t)syscall(SYS_gettid));
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
	return out();
}

static void feed(void)
{
	CHECK(write(fds[1], "x", 1) == 1, "write: %s", strerror(errno));
}

static void unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

static void end_loop(void)
{
	atomic_store(&stop, true);
}

static void signals_blocked(enum way way)
{
	CHECK(pipe2(fds, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	stuck = (struct stuck_job){.name = "signals-blocked",
	                           .run = block_signals,
	                           .kind = UNSTICK_SIGNAL_BLOCKED,
	                           .nr = SYS_read,
	                           .state = "S",
	                           .fd = fds[0],
	                           .release = feed};
	cut_a_stuck_job(way);
	CHECK(stuck.result == 1, "its read came to %ld", stuck.result);
}

static void in_mutex(enum way way)
{
	pthread_mutex_lock(&mutex);
	stuck = (struct stuck_job){.name = "mutex",
	                           .run = wait_for_mutex,
	                           .kind = UNSTICK_LOCK,
	                           .nr = SYS_futex,
	                           .state = "S",
	                           .fd = -1,
	                           .untouched = true,
	                           .release = unlock};
	cut_a_stuck_job(way);
}

static void in_loop(enum way way)
{
	stuck = (struct stuck_job){
	        .name = "loop", .run = loop, .kind = UNSTICK_NOT_BLOCKED, .nr = -1, .state = "R", .fd = -1, .release = end_loop};
	cut_a_stuck_job(way);
}

/* ---- */

enum { MOST = 64 };

static struct one {
	const struct hung_situation *situation; /* or */
	void (*run)(enum way way);
	enum way way;
	char what[120];
} ones[MOST];
static struct fault cases[MOST];
static size_t count;

static void run_one(void)
{
	const struct one *one = &ones[fault_current() - cases];
	if (one->situation != NULL)
		hung_job(one->situation, one->way);
	else
		one->run(one->way);
}

static void add(const struct hung_situation *situation, void (*run)(enum way way), const char *what)
{
	for (enum way way = DEADLINE; way < WAYS && count < MOST; way++, count++) {
		ones[count] = (struct one){.situation = situation, .run = run, .way = way};
		snprintf(ones[count].what, sizeof(ones[count].what), "%s, and %s", what, way_names[way]);
		cases[count] = (struct fault){.number = (int)count + 1, .what = ones[count].what, .run = run_one};
	}
}

int main(int argc, char **argv)
{
	const struct hung_situation *situation;
	for (size_t i = 0; (situation = hung_at(i)) != NULL; i++)
		add(situation, NULL, situation->summary);
	add(NULL, signals_blocked, "a read with all signals blocked");
	add(NULL, in_mutex, "a mutex");
	add(NULL, in_loop, "a loop that never checks");
	return fault_main(argc, argv, cases, count);
}
