/* SPDX-License-Identifier: MIT
 *
 * See object.h. One small function a family of calls; those that are about one fd need none.
 */
#include "object.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/calls.h"
#include "base/stream.h"
#include "decode.h"
#include "holders.h"
#include "locks.h"
#include "memory.h"
#include "question.h"
#include "sockets.h"

enum { SHOWN_SIGNALS = 4 };

/* ---- an fd */

static bool read_link(pid_t pid, int fd, char *buf, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	ssize_t length = readlink(path, buf, size - 1);
	buf[length > 0 ? length : 0] = '\0';
	return length > 0;
}

static void add_link(const struct question *question, const char *link)
{
	const char *socket = NULL;
	unsigned long long inode;
	char *end;

	if (sscanf(link, "socket:[%llu]", &inode) == 1)
		socket = sockets_find(question->pid, inode);
	if (socket) {
		text_add(question->text, socket);
	} else if (strncmp(link, "anon_inode:", 11) == 0) { /* [eventfd], inotify: both are in use */
		link += strlen("anon_inode:") + (link[11] == '[');
		end = strchrnul(link, ']');
		text_add_part(question->text, link, (size_t)(end - link));
	} else {
		text_add(question->text, link);
	}
}

/* Which process is at the other end of the pipe, or has the socket's peer. */
static void find_other_end(const struct question *question, const char *link)
{
	bool gives = question->call && (question->call->flags & CALL_GIVES);
	struct holder *holder = question->holder;
	unsigned long long inode;

	if (sscanf(link, "pipe:[%llu]", &inode) == 1) {
		holder->is = "other end:";
		holder->pid = holders_find(HOLDS_PIPE, inode, gives ? S_IRUSR : S_IWUSR, question->pid, &holder->more);
	} else if (sscanf(link, "socket:[%llu]", &inode) == 1) {
		inode = sockets_peer(question->pid, inode);
		holder->is = "other end:";
		if (inode)
			holder->pid = holders_find(HOLDS_SOCKET, inode, 0, question->pid, &holder->more);
	}
}

void object_add_fd(const struct question *question, int fd, enum fd_part part)
{
	char link[256];

	if (!read_link(question->pid, fd, link, sizeof(link)))
		return;
	add_link(question, link);
	if (part == AND_ITS_PEER && question->holder)
		find_other_end(question, link);
}

static void about_fd(const struct question *question)
{
	int fd = call_fd(question->call, question->arguments);
	int second = call_second_fd(question->call, question->arguments);

	if (fd < 0)
		return;
	object_add_fd(question, fd, AND_ITS_PEER);
	if (second < 0)
		return;
	text_add(question->text, " and ");
	object_add_fd(question, second, NOT_ITS_PEER);
}

static void about_connect(const struct question *question)
{
	char buf[128];
	struct text address;

	about_fd(question);
	text_start(&address, buf, sizeof(buf));
	if (strstr(question->text->buf, " -> ") ||
	    !decode_address(question->pid, question->arguments[1], question->arguments[2], &address))
		return;
	text_add(question->text, " to ");
	text_add(question->text, buf);
}

/* ---- locks */

static void about_file_lock(const struct question *question)
{
	bool ofd = question->nr == SYS_fcntl && question->arguments[1] == F_OFD_SETLKW;
	int fd = call_fd(question->call, question->arguments);

	if (fd < 0)
		return;
	object_add_fd(question, fd, NOT_ITS_PEER);
	if (!question->holder)
		return;
	question->holder->is = "held by";
	question->holder->pid = locks_holder(question->pid, fd, question->nr == SYS_flock ? "FLOCK" : ofd ? "OFDLCK" : "POSIX");
}

static void about_futex(const struct question *question)
{
	int command = (int)question->arguments[1] & FUTEX_CMD_MASK;
	bool pi = question->nr == SYS_futex && (command == FUTEX_LOCK_PI || command == FUTEX_LOCK_PI2);
	char buf[48];

	snprintf(buf, sizeof(buf), "%s at 0x%lx", pi ? "lock (priority inheriting)" : "lock or condition", question->arguments[0]);
	text_add(question->text, buf);
}

static void about_futexes(const struct question *question)
{
	struct { /* struct futex_waitv of linux/futex.h */
		uint64_t value, address;
		uint32_t flags, reserved;
	} first;
	char buf[64];

	if (!memory_read(question->pid, question->arguments[0], &first, sizeof(first)))
		return;
	snprintf(buf, sizeof(buf), "%lu locks or conditions, the first at 0x%llx", question->arguments[1],
	         (unsigned long long)first.address);
	text_add(question->text, buf);
}

/* ---- time, children, signals, names */

static void add_time_argument(const struct question *question, unsigned long address, const char *before)
{
	struct timespec time;

	if (!memory_read(question->pid, address, &time, sizeof(time)))
		return;
	text_add(question->text, before);
	decode_time(&time, question->text);
}

static void about_sleep(const struct question *question)
{
	bool clock = question->nr == SYS_clock_nanosleep;
	bool absolute = clock && (question->arguments[1] & TIMER_ABSTIME);

	add_time_argument(question, question->arguments[clock ? 2 : 0], absolute ? "until its clock shows " : "a sleep of ");
}

static void add_child(const struct question *question, pid_t child)
{
	text_add(question->text, "child ");
	text_add_decimal(question->text, child);
	if (question->holder)
		*question->holder = (struct holder){.pid = child, .is = "child"};
}

static void about_child(const struct question *question)
{
	bool waitid = question->nr == SYS_waitid;
	int id = (int)question->arguments[waitid ? 1 : 0];
	unsigned long type = question->arguments[0];

	if (waitid ? type == P_PID : id > 0)
		add_child(question, id);
	else if (waitid && type == (unsigned long)P_PIDFD)
		text_add(question->text, "the child of a pidfd");
	else if (waitid ? type == P_PGID : id < -1 || id == 0)
		text_add(question->text, "any child of a process group");
	else
		text_add(question->text, "any child");
}

static void about_signals(const struct question *question)
{
	unsigned long set;
	unsigned shown = 0;

	if (!memory_read(question->pid, question->arguments[0], &set, sizeof(set)))
		return;
	if (question->nr == SYS_rt_sigsuspend)
		set = ~set; /* the mask: what is not in it ends the wait */
	for (int sig = 1; sig < 32 && shown < SHOWN_SIGNALS; sig++) {
		if ((set >> (sig - 1) & 1) == 0 || sig == SIGKILL || sig == SIGSTOP)
			continue;
		text_add(question->text, shown++ ? ", SIG" : "SIG");
		text_add(question->text, sigabbrev_np(sig));
	}
	if (shown == SHOWN_SIGNALS)
		text_add(question->text, ", ...");
}

static void about_any_signal(const struct question *question)
{
	text_add(question->text, "any signal");
}

static void about_path(const struct question *question)
{
	bool at = question->nr == SYS_openat || question->nr == SYS_openat2;
	char path[160];

	if (memory_read_string(question->pid, question->arguments[at ? 1 : 0], path, sizeof(path)))
		text_add(question->text, path);
}

static void about_aio(const struct question *question)
{
	char buf[48];

	snprintf(buf, sizeof(buf), "aio context 0x%lx", question->arguments[0]);
	text_add(question->text, buf);
}

static void about_ipc(const struct question *question)
{
	bool semaphores = question->nr == SYS_semop || question->nr == SYS_semtimedop;

	text_add(question->text, semaphores ? "System V semaphores " : "System V message queue ");
	text_add_decimal(question->text, (int)question->arguments[0]);
}

void object_describe(pid_t pid, long nr, const unsigned long arguments[6], struct text *text, struct holder *holder)
{
	static const struct {
		long nr;
		void (*about)(const struct question *);
	} families[] = {
	        {SYS_poll, object_poll},
	        {SYS_ppoll, object_poll},
	        {SYS_select, object_select},
	        {SYS_pselect6, object_select},
	        {SYS_epoll_wait, object_epoll},
	        {SYS_epoll_pwait, object_epoll},
	        {SYS_epoll_pwait2, object_epoll},
	        {SYS_connect, about_connect},
	        {SYS_flock, about_file_lock},
	        {SYS_fcntl, about_file_lock},
	        {SYS_futex, about_futex},
	        {SYS_futex_wait, about_futex},
	        {SYS_futex_waitv, about_futexes},
	        {SYS_io_getevents, about_aio},
	        {SYS_io_pgetevents, about_aio},
	        {SYS_nanosleep, about_sleep},
	        {SYS_clock_nanosleep, about_sleep},
	        {SYS_wait4, about_child},
	        {SYS_waitid, about_child},
	        {SYS_rt_sigtimedwait, about_signals},
	        {SYS_rt_sigsuspend, about_signals},
	        {SYS_pause, about_any_signal},
	        {SYS_open, about_path},
	        {SYS_openat, about_path},
	        {SYS_openat2, about_path},
	        {SYS_msgsnd, about_ipc},
	        {SYS_msgrcv, about_ipc},
	        {SYS_semop, about_ipc},
	        {SYS_semtimedop, about_ipc},
	};
	struct question question = {pid, nr, call_find(nr), arguments, text, holder};

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		if (families[i].nr == nr) {
			families[i].about(&question);
			return;
		}
	}
	about_fd(&question);
}
