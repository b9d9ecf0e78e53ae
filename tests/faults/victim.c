/* SPDX-License-Identifier: MIT */
#include "victim.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>

/* ---- victims */

static void call_in_scope(struct victim *victim)
{
	struct unstick_scope scope;
	int begun = unstick_scope_begin(&scope, victim->token, victim->deadline != 0 ? victim->deadline : UNSTICK_NEVER);
	CHECK(begun == 0, "unstick_scope_begin: %d", begun);
	atomic_store(&victim->result, victim->call(victim));
	atomic_store(&victim->end, unstick_scope_end(&scope));
}

static void *victim_main(void *arg)
{
	struct victim *victim = arg;
	bool scoped = victim->token != NULL || victim->deadline != 0;
	if (scoped)
		victim->handle = unstick_thread_self();
	if (victim->before != NULL)
		victim->before(victim);
	atomic_store(&victim->tid, own_tid());
	if (scoped)
		call_in_scope(victim);
	else
		atomic_store(&victim->result, victim->call(victim));
	if (victim->after != NULL)
		victim->after(victim);
	atomic_store(&victim->done, true);
	return NULL;
}

void victim_start(struct victim *victim)
{
	pthread_attr_t attributes;
	atomic_store(&victim->tid, 0);
	atomic_store(&victim->done, false);
	atomic_store(&victim->stop, false);
	atomic_store(&victim->count, 0);
	victim->handle = NULL;
	pthread_attr_init(&attributes);
	if (victim->stack_size != 0)
		CHECK(pthread_attr_setstacksize(&attributes, victim->stack_size) == 0, "%zu", victim->stack_size);
	CHECK(pthread_create(&victim->thread, &attributes, victim_main, victim) == 0, "pthread_create");
	pthread_attr_destroy(&attributes);
	WAIT_UNTIL(atomic_load(&victim->tid) != 0);
}

static bool is_asleep(struct victim *victim, long nr)
{
	char state = proc_state(0, atomic_load(&victim->tid));
	return (state == 'S' || state == 'D') && proc_in_call(0, atomic_load(&victim->tid), nr);
}

void victim_wait_blocked(struct victim *victim, long nr)
{
	fault_waiting_for("the victim to sleep in call %ld", nr);
	while (!is_asleep(victim, nr)) {
		CHECK(!atomic_load(&victim->done), "call %ld came back with %ld", nr, atomic_load(&victim->result));
		fault_pause();
	}
	fault_waiting_for("%s", "");
}

void victim_block(struct victim *victim, long nr)
{
	victim_start(victim);
	victim_wait_blocked(victim, nr);
}

void victim_join(struct victim *victim)
{
	fault_waiting_for("the victim to end");
	pthread_join(victim->thread, NULL);
	fault_waiting_for("%s", "");
	victim->handle = unstick_thread_unref(victim->handle);
}

struct unstick_outcome victim_outcome(const struct victim *victim)
{
	struct unstick_outcome outcome;
	CHECK(unstick_thread_outcome(victim->handle, &outcome) == 0, "unstick_thread_outcome");
	return outcome;
}

void victim_wait_outcome(const struct victim *victim, int kind)
{
	struct unstick_outcome outcome;
	do {
		fault_pause();
		outcome = victim_outcome(victim);
		fault_waiting_for("outcome \"%s\"; now: %s", unstick_kind_name(kind), outcome_text(&outcome));
	} while (outcome.kind != kind);
	fault_waiting_for("%s", "");
}

const char *outcome_text(const struct unstick_outcome *outcome)
{
	static _Thread_local char text[400];
	unstick_outcome_print(outcome, text, sizeof(text));
	return text;
}

/* ---- calls */

long foreign_read(struct victim *victim)
{
	char byte;
	return after_foreign(or_errno(read(victim->fd, &byte, 1)));
}

long foreign_read_again(struct victim *victim)
{
	long result;
	while ((result = foreign_read(victim)) == -EINTR)
		atomic_fetch_add(&victim->count, 1);
	return result;
}

long foreign_poll(struct victim *victim)
{
	struct pollfd ready = {.fd = victim->fd, .events = POLLIN};
	return or_errno(poll(&ready, 1, -1));
}

long foreign_sleep(struct victim *victim)
{
	const struct timespec span = {.tv_sec = 3600};
	(void)victim;
	return or_errno(nanosleep(&span, NULL));
}

long foreign_epoll_again(struct victim *victim)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = epoll_create1(EPOLL_CLOEXEC);
	CHECK(fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, victim->fd, &event) == 0, "epoll: %s", strerror(errno));
	long result;
	do {
		result = or_errno(epoll_wait(fd, &event, 1, -1));
		if (result == -EINTR)
			atomic_fetch_add(&victim->count, 1);
	} while (result == -EINTR && unstick_check() == 0);
	close(fd);
	return result;
}

long own_read(struct victim *victim)
{
	char byte;
	return unstick_read(victim->fd, &byte, 1);
}

long own_poll(struct victim *victim)
{
	struct pollfd ready = {.fd = victim->fd, .events = POLLIN};
	return unstick_poll(&ready, 1, -1);
}

long own_sleep(struct victim *victim)
{
	const struct timespec span = {.tv_sec = 3600};
	(void)victim;
	return unstick_nanosleep(&span, NULL);
}

/* ---- small things */

void linger(struct victim *victim)
{
	while (!atomic_load(&victim->stop))
		fault_pause();
}

void victim_let_go(struct victim *victim)
{
	atomic_store(&victim->stop, true);
	victim_join(victim);
}

__attribute__((noinline)) long deep_down(int levels, long (*fn)(struct victim *), struct victim *victim)
{
	volatile char space[1024];
	space[0] = (char)levels;
	long result = levels > 0 ? deep_down(levels - 1, fn, victim) : fn(victim);
	return result + (space[0] != (char)levels);
}

void make_pipe(int fds[2])
{
	CHECK(pipe2(fds, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
}

struct unstick_token *make_token(void)
{
	struct unstick_token *token;
	CHECK(unstick_token_new(&token, NULL) == 0, "unstick_token_new");
	return token;
}

void feed(int fd)
{
	CHECK(write(fd, "x", 1) == 1, "write: %s", strerror(errno));
}

bool is_root(void)
{
	return geteuid() == 0;
}

/* ---- the log */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[4096];

static void keep_line(void *arg, const char *message)
{
	(void)arg;
	pthread_mutex_lock(&log_lock);
	size_t used = strlen(log_text);
	snprintf(log_text + used, sizeof(log_text) - used, "%s\n", message);
	pthread_mutex_unlock(&log_lock);
}

void log_start(unsigned flags)
{
	const struct unstick_options options = {.size = sizeof(options), .flags = flags, .log = keep_line};
	int error = unstick_init(&options);
	CHECK(error == 0, "unstick_init: %d", error);
}

bool log_has(const char *text)
{
	pthread_mutex_lock(&log_lock);
	bool found = strstr(log_text, text) != NULL;
	pthread_mutex_unlock(&log_lock);
	return found;
}

/* ---- helpers */

_Noreturn static void serve_commands(int commands, int answers, bool (*serve)(int command, void *arg), void *arg)
{
	unsigned char command, answer;
	while (read(commands, &command, 1) == 1) {
		answer = serve(command, arg);
		if (write(answers, &answer, 1) != 1)
			break;
	}
	_exit(0);
}

void helper_start(struct helper *helper, bool (*serve)(int command, void *arg), void *arg)
{
	int commands[2], answers[2];
	make_pipe(commands);
	make_pipe(answers);
	helper->pid = fork();
	CHECK(helper->pid >= 0, "fork: %s", strerror(errno));
	if (helper->pid == 0) {
		close(commands[1]);
		close(answers[0]);
		serve_commands(commands[0], answers[1], serve, arg);
	}
	close(commands[0]);
	close(answers[1]);
	helper->to = commands[1];
	helper->from = answers[0];
}

void helper_tell(struct helper *helper, int command)
{
	unsigned char byte = (unsigned char)command;
	CHECK(write(helper->to, &byte, 1) == 1, "helper: %s", strerror(errno));
}

bool helper_answer(struct helper *helper)
{
	unsigned char byte = 0;
	ssize_t n;
	fault_waiting_for("the helper");
	do {
		n = read(helper->from, &byte, 1);
	} while (n < 0 && errno == EINTR);
	fault_waiting_for("%s", "");
	CHECK(n == 1, "the helper has gone");
	return byte != 0;
}

bool helper_ask(struct helper *helper, int command)
{
	helper_tell(helper, command);
	return helper_answer(helper);
}

void helper_end(struct helper *helper)
{
	close(helper->to);
	close(helper->from);
	waitpid(helper->pid, NULL, 0);
}
