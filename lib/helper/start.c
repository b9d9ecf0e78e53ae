/* SPDX-License-Identifier: MIT
 *
 * Starting a helper: its sockets, the memory of its windows, the program, and a look at whether it has the rights of those that it
 * is for, no more and no fewer. The memory is sealed: it can neither shrink, so that a look at a window raises no SIGBUS, nor grow.
 * A program is given capabilities by rules of its own (capabilities(7), "during execve"), and its file system ids are its effective
 * ids: so what it has come to have is read, not deduced.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/raw.h"
#include "base/spawn.h"
#include "helper/helper.h"
#include "limit/time.h"

#ifndef UNSTICK_HELPER_PROGRAM
#define UNSTICK_HELPER_PROGRAM "" /* never started: helper_call_begin() */
#endif

enum { PATIENCE_MS = 5000, GIVEN = HELPER_CHANNELS + 1 };

/* What the helper gets, until it has been sent. */
struct far_ends {
	int control;
	int given[GIVEN]; /* its channels, its memory */
};

static const char *program(void)
{
	const char *chosen = secure_getenv("UNSTICK_HELPER");
	return chosen && *chosen ? chosen : UNSTICK_HELPER_PROGRAM;
}

/* ---- what both ends share */

static int make_pair(int *near, int *far)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	*near = pair[0];
	*far = pair[1];
	return 0;
}

static int make_memory(struct helper *helper, int *far)
{
	*far = memfd_create("unstick-helper", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*far < 0 || ftruncate(*far, HELPER_PAGES_SIZE) != 0 ||
	    fcntl(*far, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return -errno;
	void *memory = mmap(NULL, HELPER_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *far, 0);
	if (memory == MAP_FAILED)
		return -errno;
	helper->memory = memory;
	for (unsigned i = 0; i < HELPER_CHANNELS; i++)
		helper->channel[i].window = (unsigned char *)memory + (size_t)i * HELPER_WINDOW;
	return madvise(memory, HELPER_PAGES_SIZE, MADV_DONTFORK) == 0 ? 0 : -errno;
}

static int make_ends(struct helper *helper, struct far_ends *far)
{
	int error = make_pair(&helper->control, &far->control);
	for (unsigned i = 0; !error && i < HELPER_CHANNELS; i++)
		error = make_pair(&helper->channel[i].fd, &far->given[i]);
	return error ? error : make_memory(helper, &far->given[HELPER_CHANNELS]);
}

static void close_far(struct far_ends *far)
{
	for (unsigned i = 0; i < GIVEN; i++)
		if (far->given[i] >= 0)
			close(far->given[i]);
	if (far->control >= 0)
		close(far->control);
}

/* It waits in the control socket until the program reads it. */
static int send_given(const struct helper *helper, const struct far_ends *far)
{
	union {
		char bytes[CMSG_SPACE(GIVEN * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	char greeting = 'u';
	struct iovec part = {.iov_base = &greeting, .iov_len = 1};
	struct msghdr head = {
	        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof far->given);
	memcpy(CMSG_DATA(rights), far->given, sizeof far->given);
	return sendmsg(helper->control, &head, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -errno;
}

/* ---- the program */

/* Of the application it has nothing: no environment, no directory, no standard files that a reader would wait for the end of. */
static int run_program(struct helper *helper, int control)
{
	static char name[] = "unstick-helper";
	static char *const argv[] = {name, NULL}, *const env[] = {NULL};
	const struct spawn spawn = {.file = program(),
	                            .argv = argv,
	                            .env = env,
	                            .fds = {SPAWN_NULL, SPAWN_NULL, SPAWN_NULL, control},
	                            .dir = "/",
	                            .own_group = true,
	                            .unrelated = true};
	return spawn_program(&spawn, &helper->pid, &helper->pidfd);
}

static int make_and_run(struct helper *helper)
{
	struct far_ends far = {.control = -1};
	memset(far.given, -1, sizeof far.given);
	lock_take(&start_lock);
	int unmade = make_ends(helper, &far);
	if (!unmade)
		unmade = send_given(helper, &far);
	int error = unmade ? unmade : run_program(helper, far.control);
	close_far(&far);
	lock_drop(&start_lock); /* before the log is told: its callback may fork */
	if (unmade)
		log_line("unstick: helper: its sockets and memory could not be made: %s", strerrordesc_np(-error));
	else if (error)
		log_line("unstick: helper: %s was not started: %s: install it, or set UNSTICK_HELPER", program(),
		         strerrordesc_np(-error));
	return error;
}

/* 1: there is something to be read; 0: the time is over; what cut the wait short. */
static int await_message(const struct helper *helper)
{
	struct pollfd ready = {.fd = helper->control, .events = POLLIN};
	unstick_time end = unstick_after_ms(PATIENCE_MS);
	int n;
	do {
		struct timespec left = time_to_timespec(end - unstick_now());
		n = unstick_ppoll(&ready, 1, &left, NULL);
	} while (n == -EINTR);
	return n;
}

/* Its first message: that it is confined, and ready. */
static int await_ready(const struct helper *helper)
{
	const struct helper_request none = {.version = HELPER_VERSION};
	struct helper_reply hello;
	int n = await_message(helper);
	if (n < 0)
		return n;
	long size = n ? RAW_6(SYS_recvfrom, helper->control, &hello, sizeof hello, MSG_DONTWAIT | MSG_TRUNC, NULL, NULL) : 0;
	const char *why = n ? "it ended, or is not this version's" : "it has said nothing for 5 s";
	bool valid = size > 0 && helper_reply_is_valid(&hello, (size_t)size, &none);
	if (valid && hello.result == 0)
		return 0;
	if (valid)
		why = strerrordesc_np((int)-hello.result);
	log_line("unstick: helper %d: %s did not get ready: %s", (int)helper->pid, program(), why);
	return valid ? (int)hello.result : -EPROTO;
}

/* ---- its rights */

static int refuse_rights(const char *what)
{
	log_line("unstick: helper: refused: a helper would not have this thread's rights: they differ in %s: submit in a thread "
	         "whose "
	         "rights a new program keeps",
	         what);
	return -EPERM;
}

/* On its way out it has lost what /proc would tell (its umask, its label) before its pidfd says so. */
static bool is_ending(const struct helper *helper)
{
	struct pollfd end = {.fd = helper->pidfd, .events = POLLIN};
	const struct timespec moment = time_to_timespec(100 * (int64_t)TIME_NS_PER_MS);
	return RAW_5(SYS_ppoll, &end, 1, &moment, NULL, 0) > 0;
}

/* One that has ended meanwhile says nothing of the rights of the next. */
static int compare_rights(const struct helper *helper, const struct identity *thread)
{
	struct identity process;
	int error = identity_of_process(helper->pid, &process);
	if (identity_may_be_read_later(error)) {
		log_line("unstick: helper %d: its rights cannot be read from /proc: %s", (int)helper->pid, strerrordesc_np(-error));
		return error;
	}
	const char *difference = error ? "what /proc does not tell" : identity_difference(thread, &process);
	if (!difference)
		return 0;
	if (!is_ending(helper))
		return refuse_rights(difference);
	log_line("unstick: helper %d: has ended while it was started: try again", (int)helper->pid);
	return -EPROTO;
}

/* The tree that the program was started in is the thread's, and of the program /proc tells it to a tracer only: so the thread's must not
 * have become another since it was looked at. */
static int compare_tree(const struct helper *helper, const struct identity *thread)
{
	struct identity now;
	int error = identity_of_thread(&now);
	if (!error && identity_same_tree(thread, &now))
		return 0;
	log_line("unstick: helper %d: this thread's root directory has changed, or a namespace, while it was started: try again",
	         (int)helper->pid);
	return identity_may_be_read_later(error) ? error : -EAGAIN;
}

int helper_start(struct helper *helper, const struct identity *identity)
{
	if (identity->fsuid != identity->euid || identity->fsgid != identity->egid)
		return refuse_rights("the file system ids, which a new program takes from the effective ones");
	int error = make_and_run(helper);
	if (!error)
		error = await_ready(helper);
	if (!error)
		error = compare_rights(helper, identity);
	return error ? error : compare_tree(helper, identity);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void helper_close(struct helper *helper)
{
	close_fd(&helper->control);
	for (unsigned i = 0; i < HELPER_CHANNELS; i++)
		close_fd(&helper->channel[i].fd);
	if (helper->memory)
		munmap(helper->memory, HELPER_PAGES_SIZE);
	helper->memory = NULL;
}
