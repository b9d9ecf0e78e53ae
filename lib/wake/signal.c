/* SPDX-License-Identifier: MIT
 *
 * Choosing, installing and sending the wake signal. What it does when it arrives is handler.c.
 */
#include "wake/signal.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/raw.h"
#include "limit/alarm.h"
#include "limit/token.h"
#include "wake/fork.h"
#include "wake/handler.h"
#include "wake/poke.h"
#include "wake/second_look.h"

enum { MAX_OPTIONS_SIZE = 4096 };

static _Atomic int chosen; /* 0 before initialisation */
static _Atomic pid_t process;
static struct lock initialise_lock;
static struct unstick_options settings;

int unstick_signal(void)
{
	return atomic_load_explicit(&chosen, memory_order_acquire);
}

const char *unstick_version(void)
{
	return UNSTICK_VERSION;
}

bool signal_keeps_proc_fd(void)
{
	return settings.flags & UNSTICK_KEEP_PROC_FD;
}

/* ---- choosing */

static bool is_default(int signal)
{
	struct sigaction now;
	return sigaction(signal, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL;
}

/* Not glibc's own (32, 33), not 34 (the C libraries of other worlds), not SIGRTMAX (valgrind) nor SIGRTMAX - 2 (LTTng and
 * friends). */
static bool is_free_realtime(int signal)
{
	return signal >= 35 && signal >= SIGRTMIN && signal < SIGRTMAX && signal != SIGRTMAX - 2 && is_default(signal);
}

/* SIGURG is harmless when its disposition is reset, is not subject to RLIMIT_SIGPENDING, and does not survive exec as a killer.
 * A program that blocks it probably reads it from a signalfd. */
static bool sigurg_is_free(void)
{
	sigset_t blocked;
	return is_default(SIGURG) && pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && !sigismember(&blocked, SIGURG);
}

static int choose(void)
{
	if (sigurg_is_free())
		return SIGURG;
	for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
		if (is_free_realtime(signal))
			return signal;
	return -ENOSYS;
}

static bool can_be_used(int signal)
{
	return signal == SIGURG || signal == SIGUSR1 || signal == SIGUSR2 || signal == SIGIO || signal == SIGPWR ||
	       signal == SIGWINCH || (signal >= 35 && signal >= SIGRTMIN && signal <= SIGRTMAX);
}

/* "URG", "USR2", "RTMIN+3", or a number. */
static int parse(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);
	if (!strncmp(text, "RTMIN+", 6)) {
		number = strtol(text + 6, &end, 10) + SIGRTMIN;
	} else if (*end) {
		number = 0;
		for (int signal = 1; signal < 32 && !number; signal++)
			if (sigabbrev_np(signal) && !strcmp(text, sigabbrev_np(signal)))
				number = signal;
		end = "";
	}
	return !*end && number > 0 && number < 65 && can_be_used((int)number) ? (int)number : -EINVAL;
}

static int from_environment(void)
{
	const char *text = secure_getenv("UNSTICK_SIGNAL");
	if (!text || !*text)
		return 0;
	int signal = parse(text);
	if (signal < 0)
		log_line("unstick: UNSTICK_SIGNAL=%s: not a signal that can be used (URG, USR1, USR2, IO, RTMIN+n): ignored", text);
	return signal;
}

/* ---- installing */

/* The pid that signals are sent with: kept, so that sending asks for nothing. */
static void note_process(void)
{
	atomic_store_explicit(&process, (pid_t)RAW_0(SYS_getpid), memory_order_relaxed);
}

static int install(int signal)
{
	/* All signals masked inside: the handler is the only code between the kernel and the interrupted call. No SA_RESTART:
	 * that is what makes the call return. No SA_ONSTACK unless asked for: an application's small alternate stack would
	 * overflow (frame 3.4 KB). */
	struct sigaction action = {.sa_sigaction = handler_run, .sa_flags = SA_SIGINFO};
	if (settings.flags & UNSTICK_ALTSTACK)
		action.sa_flags |= SA_ONSTACK;
	sigfillset(&action.sa_mask);
	if (sigaction(signal, &action, NULL))
		return -ENOSYS;
	note_process();
	return 0;
}

static int initialise(void)
{
	int signal = settings.signal ? settings.signal : from_environment();
	if (signal <= 0)
		signal = choose();
	if (signal < 0) {
		log_line("unstick: no signal is free: SIGURG and all real-time signals have handlers; name one in UNSTICK_SIGNAL");
		return signal;
	}
	int error = install(signal);
	if (error)
		return error;
	if (settings.flags & UNSTICK_REALTIME)
		alarm_use_realtime();
	RAW_2(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0);
	alarm_add(second_look_scan);
	token_set_listener(poke_token);
	atomic_store_explicit(&chosen, signal, memory_order_release);
	return 0;
}

int signal_initialise(void)
{
	if (unstick_signal())
		return 0;
	fork_register();
	lock_take(&initialise_lock);
	int error = unstick_signal() ? 0 : initialise();
	lock_drop(&initialise_lock);
	return error;
}

static int refuse(const struct unstick_options *options, const char *format, unsigned long value)
{
	char message[160];
	snprintf(message, sizeof message, format, value);
	/* A forgotten size is 0, and the rest as it was meant. Of any other size it is not known where `log` is. */
	if ((options->size == 0 || (options->size >= sizeof *options && options->size <= MAX_OPTIONS_SIZE)) && options->log)
		options->log(options->log_arg, message);
	else
		log_line("%s", message);
	return -EINVAL;
}

static int check(const struct unstick_options *options)
{
	const unsigned known = UNSTICK_KEEP_PROC_FD | UNSTICK_REALTIME | UNSTICK_ALTSTACK;
	if (options->size < sizeof *options || options->size > MAX_OPTIONS_SIZE)
		return refuse(options, "unstick_init: size %lu is not that of struct unstick_options: set it to sizeof",
		              options->size);
	for (size_t i = sizeof *options; i < options->size; i++) /* the tail that a newer header has must be zero */
		if (((const unsigned char *)options)[i])
			return refuse(options, "unstick_init: the option at byte %lu is not known to this version of the library",
			              i);
	if (options->flags & ~known)
		return refuse(options, "unstick_init: flag 0x%lx is not known to this version of the library",
		              options->flags & ~known);
	if (options->signal && !can_be_used(options->signal))
		return refuse(options,
		              "unstick_init: signal %lu cannot be used: take URG, USR1, USR2, IO, PWR, WINCH or a real-time one",
		              (unsigned long)options->signal);
	return 0;
}

int unstick_init(const struct unstick_options *options)
{
	int error = options ? check(options) : 0;
	if (error)
		return error;
	fork_register();
	lock_take(&initialise_lock);
	if (unstick_signal()) {
		error = -EALREADY;
	} else {
		if (options)
			settings = *options;
		log_set(settings.log, settings.log_arg);
		error = initialise();
	}
	lock_drop(&initialise_lock);
	return error;
}

/* ---- sending */

void signal_after_fork(void)
{
	initialise_lock.word = 0;
	note_process();
}

_Atomic uint64_t signals_sent;

int signal_send(pid_t tid)
{
	pid_t pid = atomic_load_explicit(&process, memory_order_relaxed);
	int signal = unstick_signal();
	long result = RAW_3(SYS_tgkill, pid, tid, signal);
	if (result == -EPERM || result == -ENOSYS) { /* a seccomp filter without tgkill */
		siginfo_t info;
		memset(&info, 0, sizeof info);
		info.si_signo = signal;
		info.si_code = SI_QUEUE; /* SI_TKILL is allowed to the main thread only: kernel/signal.c, do_rt_tgsigqueueinfo() */
		info.si_pid = pid;
		result = RAW_4(SYS_rt_tgsigqueueinfo, pid, tid, signal, &info);
	}
	if (result == 0)
		atomic_fetch_add_explicit(&signals_sent, 1, memory_order_relaxed);
	return (int)result;
}

bool signal_barrier(void)
{
	return RAW_2(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) == 0;
}

uint64_t signal_mask_all(void)
{
	const uint64_t all = ~UINT64_C(0);
	uint64_t before = 0;
	RAW_4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
	return before;
}

void signal_mask_restore(uint64_t mask)
{
	RAW_4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

const void *signal_handler_found(bool *replaced)
{
	struct sigaction now;
	*replaced = false;
	if (sigaction(unstick_signal(), NULL, &now))
		return NULL;
	const void *found =
	        (now.sa_flags & SA_SIGINFO) ? (const void *)(uintptr_t)now.sa_sigaction : (const void *)(uintptr_t)now.sa_handler;
	*replaced = found != (const void *)(uintptr_t)handler_run;
	return *replaced ? found : NULL;
}
