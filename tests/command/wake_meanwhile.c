/* SPDX-License-Identifier: MIT
 *
 * What may happen to a thread while `unstick wake` is at it, at each step of the command from the moment that it seizes the thread: its
 * process is killed; what it waits for comes; it is stopped; a signal comes for it; another thread replaces the program. The command ends each time, the
 * thread is traced by nobody afterwards, and it, or the new program, is in the state that it would be in without the command, or freed.
 */
#include "target.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stepped.h"

struct event {
	const char *name;
	bool (*start)(struct target *target);
	void (*happen)(const struct target *target);
	bool (*is_well)(struct target *target); /* after the command; also ends the target */
	unsigned steps;                         /* only so many; 0: all */
};

/* ---- it is killed */

static bool start_read(struct target *target)
{
	return target_start(target, "pipe-read", NULL);
}

static void kill_it(const struct target *target)
{
	kill(target->pid, SIGKILL);
}

static bool is_dead(struct target *target)
{
	int status;
	close(target->in), close(target->out);
	return waitpid(target->pid, &status, 0) == target->pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* ---- what it waits for comes */

static void give_it(const struct target *target)
{
	kill(target->pid, SIGTERM); /* tells its other thread to write the byte, and to undo everything */
}

static bool has_ended_well(struct target *target)
{
	return target_end(target);
}

/* ---- it is stopped */

static void stop_it(const struct target *target)
{
	kill(target->pid, SIGSTOP);
}

static bool goes_on(struct target *target)
{
	long result = 0;
	bool stopped = COMES_TRUE(thread_state(target->pid, target->tid) == 'T');
	kill(target->pid, SIGCONT);
	bool still = COMES_TRUE(target_ended(target, 0, &result) || (thread_state(target->pid, target->tid) == 'S' &&
	                                                             thread_in_call(target->pid, target->tid, SYS_read)));
	return target_end(target) && stopped && still && (result == 0 || result == -ECANCELED);
}

/* ---- what the targets of this program's own share with it */

static struct shared {
	_Atomic pid_t tid;
	_Atomic bool go;
	_Atomic int signals;
} * shared;

static int never[2];
static const char *self;

static void *read_never(void *arg)
{
	char byte;
	atomic_store(&shared->tid, gettid());
	while (read(never[0], &byte, 1) < 0)
		;
	return arg;
}

/* ---- another thread replaces the program */

static void *replace_program(void *arg)
{
	while (!atomic_load(&shared->go))
		pause_ms(1);
	execl(self, self, "--pause", NULL);
	_exit(127);
	return arg;
}

/* The reader is a second thread, or the main one, whose number the thread that replaces the program takes over. */
static bool start_replaced(struct target *target, bool reader_is_main)
{
	atomic_store(&shared->tid, 0);
	atomic_store(&shared->go, false);
	pid_t pid = fork();
	if (pid == 0) {
		pthread_t thread;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pthread_create(&thread, NULL, reader_is_main ? replace_program : read_never, NULL);
		reader_is_main ? read_never(NULL) : replace_program(NULL);
		_exit(127);
	}
	*target = (struct target){.pid = pid, .in = -1, .out = -1};
	if (!COMES_TRUE(atomic_load(&shared->tid) != 0))
		return false;
	target->tid = shared->tid;
	return COMES_TRUE(thread_in_call(pid, target->tid, SYS_read));
}

static bool start_replaced_by_main(struct target *target)
{
	return start_replaced(target, false);
}

static bool start_main_replaced(struct target *target)
{
	return start_replaced(target, true);
}

static void replace_it(const struct target *target)
{
	(void)target;
	atomic_store(&shared->go, true);
}

static bool is_replaced(struct target *target)
{
	bool well = COMES_TRUE(thread_in_call(target->pid, target->pid, SYS_pause) &&
	                       thread_state(target->pid, target->pid) == 'S' && thread_tracer(target->pid, target->pid) == 0);
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	return well;
}

/* ---- a signal comes for it */

static void count_signal(int signo)
{
	(void)signo;
	atomic_fetch_add(&shared->signals, 1);
}

static bool start_counting(struct target *target)
{
	atomic_store(&shared->tid, 0);
	atomic_store(&shared->signals, 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigaction(SIGUSR1, &action, NULL);
		read_never(NULL);
		_exit(127);
	}
	*target = (struct target){.pid = pid, .tid = pid, .in = -1, .out = -1};
	return COMES_TRUE(shared->tid && thread_in_call(pid, pid, SYS_read));
}

static void signal_it(const struct target *target)
{
	kill(target->pid, SIGUSR1);
}

static bool has_counted_one(struct target *target)
{
	bool well = COMES_TRUE(shared->signals > 0) && COMES_TRUE(thread_in_call(target->pid, target->pid, SYS_read)) &&
	            shared->signals == 1 && thread_tracer(target->pid, target->pid) == 0;
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	return well;
}

/* ---- it goes on into a wait that must not be stopped */

static int once[2];

static bool start_looping(struct target *target)
{
	atomic_store(&shared->signals, 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct epoll_event event;
		char byte;
		int loop = epoll_create1(EPOLL_CLOEXEC);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(once[0], &byte, 1) != 1)
			_exit(1);
		while (epoll_wait(loop, &event, 1, -1) < 0)
			atomic_fetch_add(&shared->signals, 1);
		_exit(1);
	}
	*target = (struct target){.pid = pid, .tid = pid, .in = -1, .out = -1};
	return COMES_TRUE(thread_in_call(pid, pid, SYS_read) && thread_state(pid, pid) == 'S');
}

static bool is_looping(const struct target *target)
{
	return thread_in_call(target->pid, target->pid, SYS_epoll_wait) && thread_state(target->pid, target->pid) == 'S';
}

static void let_it_loop(const struct target *target)
{
	if (write(once[1], "x", 1) != 1 || !COMES_TRUE(is_looping(target)))
		printf("# it does not loop\n");
}

static bool has_not_been_stopped(struct target *target)
{
	bool well = COMES_TRUE(is_looping(target)) && shared->signals == 0;
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	return well;
}

static const struct event events[] = {
        {"its process is killed", start_read, kill_it, is_dead, 0},
        {"what it waits for comes", start_read, give_it, has_ended_well, 0},
        {"its process is stopped", start_read, stop_it, goes_on, 0},
        {"a signal comes for it", start_counting, signal_it, has_counted_one, 0},
        {"the main thread replaces the program", start_replaced_by_main, replace_it, is_replaced, 0},
        {"another thread replaces the program and the thread", start_main_replaced, replace_it, is_replaced, 0},
        {"it goes on into an event loop, before the second look", start_looping, let_it_loop, has_not_been_stopped, 2},
};

/* ---- each, at each step */

struct run {
	const struct event *event;
	const struct target *target;
	unsigned steps, last; /* since it was seized, that one included */
	bool happened;
};

static void at_step(void *arg, const struct step *step)
{
	struct run *run = arg;
	if (run->steps == 0 && !(step->entry && step->nr == SYS_ptrace && step->first == PTRACE_SEIZE))
		return;
	if (++run->steps == run->last) {
		run->happened = true;
		run->event->happen(run->target);
	}
}

static void check(const struct event *event)
{
	unsigned statuses[3] = {0}, n;
	bool well = true, happened = true;

	for (n = 1; well && happened && (event->steps == 0 || n <= event->steps); n++) {
		struct target target;
		struct run run = {.event = event, .target = &target, .last = n};
		if (!event->start(&target)) {
			point_skip(event->name, "no target");
			return;
		}
		int status = command_stepped(target_word(&target), at_step, &run);
		happened = run.happened;
		if (!happened) /* the command was through before; the thread has to be ended all the same */
			event->happen(&target);
		well = status <= 1 && event->is_well(&target);
		statuses[status <= 1 ? status : 2]++;
		if (!well)
			printf("# at step %u: status %d\n", n, status);
	}
	printf("# %u steps: %u done, %u not\n", n, statuses[0], statuses[1]);
	point(well && n > (event->steps ? event->steps : 10), event->name, "at step %u", n - 1);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--pause") == 0)
		pause();
	self = argv[0];
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe(never) || pipe(once))
		return 1;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		check(&events[i]);
	return points_end();
}
