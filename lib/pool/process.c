/* SPDX-License-Identifier: MIT */
#include "pool/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/raw.h"
#include "base/spawn.h"
#include "limit/time.h"
#include "pool/capture.h"
#include "pool/child.h"
#include "pool/feed.h"
#include "pool/job.h"

static const size_t DEFAULT_MOST = (size_t)16 << 20;
static const int64_t DEFAULT_GRACE = TIME_NS_PER_S;

struct process {
	/* Constant: */
	char **argv, **env; /* each one block */
	char *dir;
	char *input;
	size_t input_size;
	unsigned flags;
	int64_t grace_ns;
	_Atomic pid_t pid;        /* for those who look; 0: there is none, or no more */
	_Atomic unsigned signals; /* that its group was sent because of a cut */
	/* The running thread's: */
	struct child child;
	struct feed feed;
	struct capture output, result;
	struct unstick_exit exit; /* exit.pid 0: it was never started */
};

/* ---- making */

/* A copy in one block, to be freed as one: first the pointers, then what they point to. */
static char **copy_strings(char *const *strings)
{
	size_t count = 0, bytes = 0;
	for (; strings[count]; count++)
		bytes += strlen(strings[count]) + 1;
	char **copy = malloc((count + 1) * sizeof *copy + bytes);
	if (!copy)
		return NULL;
	char *at = (char *)(copy + count + 1);
	for (size_t i = 0; i < count; i++) {
		copy[i] = at;
		at = stpcpy(at, strings[i]) + 1;
	}
	copy[count] = NULL;
	return copy;
}

static bool copy_options(struct process *process, const struct unstick_job_options *options)
{
	static char *no_strings[] = {NULL};
	char *const *env = options->env ? options->env : environ ? environ : no_strings;
	process->argv = copy_strings(options->argv);
	process->env = copy_strings(env);
	process->dir = options->dir ? strdup(options->dir) : NULL;
	process->input = options->input_size ? malloc(options->input_size) : NULL;
	if (process->input)
		memcpy(process->input, options->input, options->input_size);
	process->input_size = options->input_size;
	return process->argv && process->env && !process->dir == !options->dir && !process->input == !options->input_size;
}

int process_new(struct process **ret, const struct unstick_job_options *options)
{
	struct process *process = calloc(1, sizeof *process);
	if (!process)
		return -ENOMEM;
	size_t most = options->most_output ? options->most_output : DEFAULT_MOST;
	most = most < SIZE_MAX / 2 ? most : SIZE_MAX / 2;
	process->flags = options->flags;
	process->grace_ns = options->grace_ns ? options->grace_ns : DEFAULT_GRACE;
	process->child.pidfd = process->feed.fd = -1;
	process->output = process->result = (struct capture){.fd = -1, .most = most};
	if (!copy_options(process, options)) {
		process_free(process);
		return -ENOMEM;
	}
	*ret = process;
	return 0;
}

void process_free(struct process *process)
{
	if (!process)
		return;
	capture_free(&process->output);
	capture_free(&process->result);
	free(process->argv);
	free(process->env);
	free(process->dir);
	free(process->input);
	free(process);
}

/* ---- start */

static int open_pipes(struct process *process, int ends[4])
{
	int error = 0;
	if (process->input_size)
		error = feed_open(&process->feed, process->input, process->input_size, &ends[0]);
	if (!error)
		error = capture_open(&process->output, &ends[1]);
	if (!error && process->flags & UNSTICK_JOB_RESULT)
		error = capture_open(&process->result, &ends[3]);
	return error;
}

static void close_pipes(struct process *process)
{
	feed_close(&process->feed);
	capture_finish(&process->output);
	capture_finish(&process->result);
}

static const char *why_not_started(const struct process *process, int error, bool bad_dir)
{
	if (bad_dir)
		return error == -ENOENT    ? "there is no such directory as options.dir"
		       : error == -EACCES  ? "options.dir may not be entered"
		       : error == -ENOTDIR ? "options.dir is not a directory"
		                           : "options.dir cannot be entered";
	switch (error) {
	case -ENOENT:
		return strchr(process->argv[0], '/')
		               ? "no such program, or it is a script without its interpreter: see its first line"
		               : "no such program in the PATH of its environment: give the path, or set PATH in options.env";
	case -EACCES:
		return "it may not be executed";
	case -ENOEXEC:
		return "it is no program: a script needs a first line #!/bin/sh";
	case -EMFILE:
	case -ENFILE:
		return "no fds are left for its pipes: raise RLIMIT_NOFILE, or run fewer at once";
	case -EAGAIN:
		return "no more processes may be started: see RLIMIT_NPROC, pids.max";
	case -E2BIG:
		return "its arguments and environment are too long";
	default:
		return strerrordesc_np(-error);
	}
}

static int start(struct process *process)
{
	bool bad_dir = false;
	int ends[4] = {SPAWN_NULL, SPAWN_NULL, SPAWN_NULL, SPAWN_NULL};
	int error = open_pipes(process, ends);
	if (!error) {
		const bool catches_stderr = process->flags & UNSTICK_JOB_STDERR;
		const struct spawn spawn = {
		        .file = process->argv[0],
		        .argv = process->argv,
		        .env = process->env,
		        .fds = {ends[0], ends[1], catches_stderr ? ends[1] : SPAWN_SAME, ends[3]},
		        .dir = process->dir,
		        .bad_dir = &bad_dir,
		        .own_group = true,
		};
		error = spawn_program(&spawn, &process->child.pid, &process->child.pidfd);
	}
	for (int i = 0; i < 4; i++) {
		if (ends[i] >= 0)
			RAW_1(SYS_close, ends[i]);
	}
	process->exit.pid = process->child.pid;
	atomic_store_explicit(&process->pid, process->child.pid, memory_order_relaxed);
	if (error) {
		close_pipes(process);
		log_line("unstick: job \"%s\": program \"%s\" was not started: %s", job_current->name, process->argv[0],
		         why_not_started(process, error, bad_dir));
	}
	return error;
}

/* ---- until it ends */

enum { INPUT, OUTPUT, RESULT, END, FDS };

/* Moves what can be moved. True: the program has ended. */
static bool serve(struct process *process, const struct pollfd *fds)
{
	if (fds[INPUT].revents)
		feed_write(&process->feed);
	if (fds[OUTPUT].revents)
		capture_read(&process->output);
	if (fds[RESULT].revents)
		capture_read(&process->result);
	return fds[END].revents;
}

/* 0: it has ended; -EBUSY: it has not, and `until` has come; -ECANCELED, -ETIMEDOUT: the scope has fired; else why it cannot be
 * waited for. -ECANCELED of a poll may be an unstick_thread_interrupt(), which ends that and nothing else: the scope is asked. */
static int attend(struct process *process, unstick_time until)
{
	int error;
	while (!(error = unstick_check())) {
		const unstick_time now = unstick_now();
		if (now >= until)
			return -EBUSY;
		struct timespec span = time_to_timespec(time_add(until, -now));
		struct pollfd fds[FDS] = {
		        [INPUT] = {.fd = process->feed.fd, .events = POLLOUT},
		        [OUTPUT] = {.fd = process->output.fd, .events = POLLIN},
		        [RESULT] = {.fd = process->result.fd, .events = POLLIN},
		        [END] = {.fd = process->child.pidfd, .events = POLLIN},
		};
		int n = unstick_ppoll(fds, FDS, until == UNSTICK_NEVER ? NULL : &span, NULL);
		if (n > 0 && serve(process, fds))
			return 0;
		if (n < 0 && n != -EINTR && n != -ECANCELED)
			return n;
	}
	return error;
}

/* ---- its end; behind a shield, where no scope cuts short */

static void signal_group(struct process *process, int sig)
{
	process->exit.last_signal = sig;
	atomic_fetch_add_explicit(&process->signals, 1, memory_order_relaxed);
	child_signal(&process->child, sig);
}

static void terminate(struct process *process)
{
	signal_group(process, SIGTERM);
	child_signal(&process->child, SIGCONT); /* what is stopped could not end itself */
	if (!attend(process, unstick_after_ns(process->grace_ns)))
		return;
	signal_group(process, SIGKILL);
	(void)attend(process, UNSTICK_NEVER);
}

/* In this order: what is in the pipes was written before the end; the group is killed while its leader's number is taken. */
static void finish(struct process *process)
{
	close_pipes(process);
	child_signal_rest(&process->child, SIGKILL);
	atomic_store_explicit(&process->pid, 0, memory_order_relaxed);
	child_reap(&process->child, &process->exit);
}

int process_run(struct process *process)
{
	int error = start(process);
	if (error)
		return error;
	error = attend(process, UNSTICK_NEVER);
	unstick_shield_begin();
	if (error)
		terminate(process);
	finish(process);
	unstick_shield_end();
	return error == -ECANCELED || error == -ETIMEDOUT ? 0 : error;
}

/* ---- what it came to */

const char *process_result(const struct process *process)
{
	if (!process->exit.pid)
		return NULL;
	return capture_text(process->flags & UNSTICK_JOB_RESULT ? &process->result : &process->output);
}

int process_exit(const struct process *process, struct unstick_exit *ret)
{
	if (!process->exit.pid)
		return -ESRCH;
	*ret = process->exit;
	ret->output = capture_text(&process->output);
	ret->output_size = process->output.size;
	ret->output_cut = process->output.cut;
	ret->result = capture_text(&process->result);
	ret->result_size = process->result.size;
	ret->result_cut = process->result.cut;
	return 0;
}

pid_t process_pid(const struct process *process)
{
	return atomic_load_explicit(&process->pid, memory_order_relaxed);
}

unsigned process_signals(const struct process *process)
{
	return atomic_load_explicit(&process->signals, memory_order_relaxed);
}

pid_t process_last_pid(const struct process *process)
{
	return process->exit.pid;
}

int64_t process_grace(const struct process *process)
{
	return process->grace_ns;
}
