/* SPDX-License-Identifier: MIT
 *
 * unstick-helper: file I/O on mounts that may hang, for one process of an application, which starts it and speaks to it over
 * sockets (lib/helper/protocol.h). A thread a channel: it takes a request, makes the call, sends the reply. A thread that
 * hangs holds its channel and nothing else.
 *
 * Invariants: all threads and all memory exist before the filter is loaded and the first request is taken; afterwards nothing is
 * allocated and nothing mapped. The program ends at the end of any of its sockets: when the application closes them, or ends, in
 * whatever way. It has no files but those of its application, no terminal, no directory but "/".
 * What it does not do: choose. Whose rights it has was decided by who started it, and is checked there.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/raw.h"
#include "confine.h"
#include "serve.h"

static struct files files;
static unsigned char *windows;
static pthread_barrier_t all_run; /* a thread's own first calls are not for the filter to refuse */

static struct channel {
	struct helper_message message;
	int passed[2];
} channels[HELPER_CHANNELS];

_Noreturn static void end(int status)
{
	for (;;)
		RAW_1(SYS_exit_group, status);
}

/* ---- messages */

enum { MOST_PASSED = HELPER_CHANNELS + 1, FDS_LOST = 1000 };

union control {
	char bytes[CMSG_SPACE(MOST_PASSED * sizeof(int))];
	struct cmsghdr align;
};

/* The fds that came with a message, of which there are `most` at most; how many. */
static unsigned take_fds(struct msghdr *head, int *fds, unsigned most)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(head);
	if (!control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
		return 0;
	size_t size = control->cmsg_len - CMSG_LEN(0), count = size / sizeof(int);
	memcpy(fds, CMSG_DATA(control), (count < most ? count : most) * sizeof(int));
	return (unsigned)count;
}

static void close_fds(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		RAW_1(SYS_close, fds[i]);
}

/* Its size, and how many fds came with it; FDS_LOST: some could not be taken, the limit is reached, and the others are closed. The helper
 * ends where the other end has gone, or sends what does not fit. */
static size_t receive(int fd, void *to, size_t size, int *fds, unsigned most, unsigned *count)
{
	union control control;
	struct iovec part = {.iov_base = to, .iov_len = size};
	struct msghdr head = {
	        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = CMSG_SPACE(most * sizeof(int))};
	long n;
	do
		n = RAW_3(SYS_recvmsg, fd, &head, MSG_CMSG_CLOEXEC);
	while (n == -EINTR);
	if (n <= 0 || (head.msg_flags & MSG_TRUNC))
		end(n == 0 ? 0 : 1);
	*count = take_fds(&head, fds, most);
	if (head.msg_flags & MSG_CTRUNC) {
		close_fds(fds, *count < most ? *count : most);
		*count = FDS_LOST;
	}
	return (size_t)n;
}

static void send_reply(int fd, const struct helper_reply *reply)
{
	struct iovec part = {.iov_base = (void *)reply, .iov_len = sizeof *reply};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	long n;
	do
		n = RAW_3(SYS_sendmsg, fd, &head, MSG_NOSIGNAL);
	while (n == -EINTR);
	if (n != (long)sizeof *reply)
		end(n == -EPIPE ? 0 : 1);
}

/* ---- channels */

static void answer(struct channel *channel, size_t size, unsigned fds, struct helper_reply *reply)
{
	struct helper_message *message = &channel->message;
	void *window = windows + (size_t)(channel - channels) * HELPER_WINDOW;
	bool lost = fds == FDS_LOST;
	if (!helper_request_is_valid(message, size, lost ? helper_request_fds(&message->request) : fds))
		end(1);
	*reply = (struct helper_reply){.version = HELPER_VERSION, .id = message->request.id, .result = -EMFILE};
	if (lost)
		return;
	serve(&files, message, channel->passed, window, reply);
	close_fds(channel->passed, fds); /* before the reply: after it the channel counts as free */
}

static void *channel_main(void *arg)
{
	struct channel *channel = arg;
	int fd = HELPER_CHANNELS_FROM + (int)(channel - channels);
	pthread_barrier_wait(&all_run);
	for (;;) {
		struct helper_reply reply;
		unsigned fds;
		size_t size = receive(fd, &channel->message, sizeof channel->message, channel->passed, 2, &fds);
		answer(channel, size, fds, &reply);
		send_reply(fd, &reply);
	}
	return NULL;
}

static int start_channels(void)
{
	enum { STACK = 64 * 1024 };
	pthread_attr_t attributes;
	pthread_t thread;
	int error = -pthread_barrier_init(&all_run, NULL, HELPER_CHANNELS + 1);
	if (!error)
		error = -pthread_attr_init(&attributes);
	if (!error)
		error = -pthread_attr_setstacksize(&attributes, STACK);
	for (unsigned i = 0; !error && i < HELPER_CHANNELS; i++)
		error = -pthread_create(&thread, &attributes, channel_main, &channels[i]);
	if (!error)
		pthread_barrier_wait(&all_run);
	return error;
}

/* ---- start */

/* Its sockets and its memory, as the fds that the filter and the threads know: received in this order, they are the lowest
 * that are free, and nothing else is open. */
static int take_what_is_given(void)
{
	int fds[MOST_PASSED];
	unsigned count;
	char greeting;
	if (receive(HELPER_CONTROL, &greeting, sizeof greeting, fds, MOST_PASSED, &count) != 1 || count != MOST_PASSED)
		return -EPROTO;
	for (unsigned i = 0; i < MOST_PASSED; i++)
		if (fds[i] != HELPER_CHANNELS_FROM + (int)i)
			return -EPROTO;
	windows = mmap(NULL, HELPER_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, HELPER_MEMORY, 0);
	return windows == MAP_FAILED ? -errno : 0;
}

/* A write to a pipe without a reader, or beyond a limit, is an error of its request. */
static int leave_the_world(void)
{
	struct rlimit files_limit;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files_limit) == 0) {
		files_limit.rlim_cur = files_limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files_limit);
	}
	return chdir("/") == 0 ? 0 : -errno;
}

static int explain(void)
{
	fprintf(stderr, "unstick-helper is started by programs that use unstick, not by hand: unstick_helper(7)\n");
	return 2;
}

int main(void)
{
	struct helper_reply hello = {.version = HELPER_VERSION};
	int type = 0;
	unsigned none;
	socklen_t size = sizeof type;
	if (getsockopt(HELPER_CONTROL, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET)
		return explain();
	files_start(&files);
	int error = take_what_is_given();
	if (!error)
		error = leave_the_world();
	if (!error)
		error = start_channels();
	if (!error)
		error = confine(HELPER_CHANNELS_FROM + HELPER_CHANNELS - 1);
	hello.result = error;
	send_reply(HELPER_CONTROL, &hello);
	if (error)
		end(1);
	receive(HELPER_CONTROL, &hello, sizeof hello, NULL, 0, &none); /* nothing is ever sent: until the application ends */
	end(1);
}
