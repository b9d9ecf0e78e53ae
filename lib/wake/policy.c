/* SPDX-License-Identifier: MIT
 *
 * See policy.h. Each judge_...() below either settles the matter and returns true, or leaves it to the next.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include "base/raw.h"
#include "base/text.h"
#include "inspect/fd.h"
#include "wake/policy.h"
#include "unstick.h"

struct matter {
	pid_t pid, tid; /* pid 0: this process */
	const struct task_call *call;
	const struct call *known; /* NULL: not in the table */
	unsigned how;
	bool wait_read;
	struct policy_verdict *verdict;
};

struct wait_rule {
	const char *prefix; /* compilers append .isra.0 and the like */
	int kind;           /* UNSTICK_NONE: the thread may be signalled, whatever a later rule says */
	const char *why;
};

static const char fuse_why[] = "waits for a FUSE daemon: a signal would only make it unkillable";

static const struct wait_rule wait_rules[] = {
        {"fuse_dev_", UNSTICK_NONE, ""}, /* the daemon's own read of /dev/fuse */
        {"request_wait_answer", UNSTICK_UNINTERRUPTIBLE, fuse_why},
        {"__fuse_", UNSTICK_UNINTERRUPTIBLE, fuse_why},
        {"fuse_", UNSTICK_UNINTERRUPTIBLE, fuse_why},
        {"handle_userfault", UNSTICK_UNINTERRUPTIBLE, "a page fault that the reader of a userfaultfd must resolve"},
        {"userfaultfd_event_wait", UNSTICK_UNINTERRUPTIBLE, "waits for the reader of a userfaultfd"},
        /* Not seccomp_do_user_notification: a signal ends it, except with WAIT_KILLABLE_RECV, which cannot be told from outside and where
         * it makes of the sleep one that SIGKILL still ends. */
        {"autofs_wait", UNSTICK_UNINTERRUPTIBLE, "waits for the automounter"},
        {"io_wq_worker", UNSTICK_LEFT_ALONE, "a kernel worker of io_uring, not a thread of the program"},
        {"io_sq_thread", UNSTICK_LEFT_ALONE, "a kernel worker of io_uring, not a thread of the program"},
};

static bool settle(struct matter *matter, enum call_verdict verdict, int kind, const char *why)
{
	matter->verdict->verdict = verdict;
	matter->verdict->kind = kind;
	matter->verdict->why = why;
	return true;
}

static const char *wait_function(struct matter *matter)
{
	struct policy_verdict *verdict = matter->verdict;

	if (!matter->wait_read && task_wait_function(matter->pid, matter->tid, verdict->wait, sizeof(verdict->wait)) < 0)
		verdict->wait[0] = '\0';
	matter->wait_read = true;
	return verdict->wait;
}

static bool begins_with_one_of(const char *string, const char *const prefixes[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (text_after(string, prefixes[i]) != NULL)
			return true;
	}
	return false;
}

static bool judge_wait(struct matter *matter)
{
	const char *function = wait_function(matter);

	if (task_is_stopped(matter->verdict->state, function))
		return settle(matter, CALL_LEAVE, UNSTICK_STOPPED, "stopped by a signal, a tracer or a freezer");
	for (size_t i = 0; i < sizeof(wait_rules) / sizeof(wait_rules[0]); i++) {
		const struct wait_rule *rule = &wait_rules[i];
		if (text_after(function, rule->prefix) == NULL)
			continue;
		return rule->kind != UNSTICK_NONE && settle(matter, CALL_LEAVE, rule->kind, rule->why);
	}
	return false;
}

static bool judge_state(struct matter *matter)
{
	matter->verdict->state = task_state(matter->pid, matter->tid);
	if (judge_wait(matter))
		return true;
	switch (matter->verdict->state) {
	case 'D':
		return settle(matter, CALL_LEAVE, UNSTICK_UNINTERRUPTIBLE, "in uninterruptible sleep: no signal can end it");
	case 'R':
		return settle(matter, CALL_LEAVE, UNSTICK_NOT_BLOCKED, "it runs again");
	case 'Z':
	case 'X':
	case 'x':
		return settle(matter, CALL_LEAVE, UNSTICK_GONE, "it has ended");
	default:
		return false;
	}
}

/* /proc gives a 32-bit program's call numbers as they are there, which mean other calls here. */
static bool is_32bit(const struct matter *matter)
{
	return matter->pid != 0 && matter->call->nr >= 0 && matter->call->sp >> 32 == 0 && matter->call->pc >> 32 == 0;
}

/* /proc shows call 0 with all registers zero: it has none. */
static bool is_kernel_thread(const struct matter *matter)
{
	return matter->pid != 0 && matter->call->nr >= 0 && matter->call->sp == 0 && matter->call->pc == 0;
}

static bool judge_no_call(struct matter *matter)
{
	if (is_kernel_thread(matter))
		return settle(matter, CALL_LEAVE, UNSTICK_LEFT_ALONE, "a thread of the kernel");
	if (is_32bit(matter))
		return settle(matter, CALL_LEAVE, UNSTICK_NOT_INSPECTABLE, "a 32-bit program: its system calls are not known here");
	if (matter->call->nr >= 0)
		return false;
	if (matter->call->sp == 0 && matter->call->pc == 0)
		return settle(matter, CALL_LEAVE, UNSTICK_GONE, "it has ended");
	return judge_wait(matter) || settle(matter, CALL_LEAVE, UNSTICK_UNINTERRUPTIBLE, "in a page fault, not in a system call");
}

/* The table, the command or the file says leave it; a scope that allows the call overrules that. */
static bool leave(struct matter *matter, const char *why)
{
	bool never = matter->known != NULL && (matter->known->flags & CALL_NEVER) != 0;

	if (never || (matter->how & POLICY_ALLOWED) == 0)
		return settle(matter, CALL_LEAVE, UNSTICK_LEFT_ALONE, why);
	return judge_wait(matter) || settle(matter, CALL_REWRITE, UNSTICK_WOKEN, "allowed by a scope");
}

static bool judge_table(struct matter *matter)
{
	const struct call *known = matter->known;

	if (known == NULL)
		return leave(matter, "not known to be safe to cut short");
	if ((known->flags & CALL_LOCK) != 0)
		return settle(matter, CALL_LEAVE, UNSTICK_LOCK, known->reason);
	if (known->verdict == CALL_LEAVE)
		return leave(matter, known->reason);
	if ((known->flags & CALL_LOCK_COMMAND) != 0) {
		int command = (int)matter->call->args[1];
		if (command != F_SETLKW && command != F_OFD_SETLKW)
			return leave(matter, "an fcntl that is no wait for a lock");
	}
	return false;
}

/* Only these two waits of an open have been seen to end by a signal with nothing done. The others are inside a file system. */
static bool judge_open(struct matter *matter)
{
	static const char *const waits[] = {"wait_for_partner", "fifo_open", "__break_lease"};

	return !begins_with_one_of(wait_function(matter), waits, sizeof(waits) / sizeof(waits[0])) &&
	       (judge_wait(matter) || leave(matter, matter->known->reason));
}

static bool is_file(const struct fd_info *info)
{
	return info->kind == FD_FILE || info->kind == FD_DIRECTORY || info->kind == FD_BLOCK;
}

/* It waits for a pipe, a socket or the like: the kernel's own function says so. */
static bool waits_for_peer(struct matter *matter)
{
	static const char *const waits[] = {"pipe_",           "anon_pipe_",  "wait_for_space", "wait_woken", "sk_stream_wait",
	                                    "sock_alloc_send", "unix_",       "sock_wait_for",  "__skb_wait", "tcp_",
	                                    "inet_csk_",       "do_wait_intr"};

	return begins_with_one_of(wait_function(matter), waits, sizeof(waits) / sizeof(waits[0]));
}

/* A call that moves data between two fds, one of them a file, may be cut short while it waits for the other one. */
static bool judge_transfer(struct matter *matter)
{
	return !waits_for_peer(matter) && (judge_wait(matter) || leave(matter, "it may be waiting for a file"));
}

static bool judge_error(struct matter *matter, int error)
{
	if (error == -EACCES)
		return settle(matter, CALL_LEAVE, UNSTICK_NOT_INSPECTABLE, "no right to see what its fd is (needs that of ptrace)");
	/* Closed by another thread while this one goes on waiting, or it cannot be told: the kernel's wait function has the say. */
	if (judge_wait(matter))
		return true;
	return matter->verdict->wait[0] == '\0' &&
	       settle(matter, CALL_LEAVE, UNSTICK_NOT_INSPECTABLE, "neither its fd nor its wait function can be seen");
}

bool policy_may_be_copying(const struct call *known, int fd, const struct fd_info *info)
{
	struct pollfd one = {.fd = fd, .events = (known->flags & CALL_GIVES) ? POLLOUT : POLLIN};

	return (info->kind == FD_PIPE || info->kind == FD_SOCKET) && RAW_3(SYS_poll, &one, 1, 0) == 1;
}

static bool may_be_copying(const struct matter *matter, const struct fd_info *info)
{
	return matter->pid == 0 && policy_may_be_copying(matter->known, matter->verdict->fd, info);
}

static bool judge_fd(struct matter *matter, int fd)
{
	struct fd_info info;
	int error = fd_look_of(matter->pid, fd, &info);

	if (error < 0)
		return judge_error(matter, error);
	if (is_file(&info)) {
		if ((matter->known->flags & CALL_TWO_FDS) != 0)
			return judge_transfer(matter);
		if (waits_for_peer(matter)) /* the fd was closed and reused while the thread waits for what it was */
			return false;
		if (info.may_hang)
			return judge_wait(matter) ||
			       settle(matter, CALL_LEAVE, UNSTICK_UNINTERRUPTIBLE, "a file on a mount whose server may be dead");
		return leave(matter, "a regular file, directory or block device");
	}
	return (info.is_device || info.kind == FD_UNKNOWN || may_be_copying(matter, &info)) && judge_wait(matter);
}

static bool judge_file_lock(struct matter *matter)
{
	struct fd_info info;
	int error = fd_look_of(matter->pid, matter->verdict->fd, &info);

	if (error < 0)
		return judge_error(matter, error);
	if (!info.may_hang)
		return false;
	return judge_wait(matter) || (matter->verdict->wait[0] == '\0' && settle(matter, CALL_LEAVE, UNSTICK_UNINTERRUPTIBLE,
	                                                                         "a lock on a mount whose server may be dead"));
}

/* Only a socket of this process can be asked for its family; sendto() without an address has no path either. */
static bool may_be_in_path(const struct matter *matter)
{
	int family = AF_UNIX;
	unsigned size = sizeof(family);

	if (matter->call->nr == SYS_sendto && matter->call->args[4] == 0)
		return false;
	return matter->pid != 0 || RAW_5(SYS_getsockopt, matter->verdict->fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 ||
	       family == AF_UNIX;
}

/* What the flags of a call that may in principle be cut short ask for before. */
static bool judge_flags(struct matter *matter)
{
	static const struct fd_info socket_info = {.kind = FD_SOCKET};
	unsigned flags = matter->known->flags;

	if ((flags & CALL_BY_WAIT) != 0 && judge_open(matter))
		return true;
	if ((flags & CALL_BY_FD) != 0 && judge_fd(matter, matter->verdict->fd))
		return true;
	if ((flags & CALL_TWO_FDS) != 0 && judge_fd(matter, call_second_fd(matter->known, matter->call->args)))
		return true;
	if ((flags & CALL_FILE_LOCK) != 0 && judge_file_lock(matter))
		return true;
	if ((flags & CALL_BY_NAME) != 0 && may_be_in_path(matter) && judge_wait(matter))
		return true;
	if ((flags & CALL_ON_SOCKET) != 0 && may_be_copying(matter, &socket_info) && judge_wait(matter))
		return true;
	return (flags & CALL_ANY_FDS) != 0 && judge_wait(matter);
}

void policy_judge(pid_t pid, pid_t tid, const struct task_call *call, unsigned how, struct policy_verdict *ret)
{
	bool in_scope = (how & POLICY_IN_SCOPE) != 0;
	struct matter matter = {.pid = pid, .tid = tid, .call = call, .known = call_find(call->nr), .how = how, .verdict = ret};

	if (pid == (pid_t)RAW_0(SYS_getpid))
		matter.pid = 0;
	*ret = (struct policy_verdict){.fd = call_fd(matter.known, call->args), .state = '?', .why = ""};
	if ((how & POLICY_FULL) != 0 && judge_state(&matter))
		return;
	if (judge_no_call(&matter) || judge_table(&matter) || judge_flags(&matter))
		return;
	if ((how & POLICY_ALLOWED) != 0 && (matter.known->flags & CALL_NEVER) == 0)
		settle(&matter, CALL_REWRITE, UNSTICK_WOKEN, "allowed by a scope");
	else if ((matter.known->flags & CALL_EVENT_LOOP) != 0 && !in_scope)
		settle(&matter, CALL_EINTR_ONLY, UNSTICK_EVENT_LOOP, matter.known->reason);
	else if ((matter.known->flags & CALL_CHILD) != 0 && in_scope)
		settle(&matter, CALL_REWRITE, UNSTICK_WOKEN, matter.known->reason);
	else
		settle(&matter, (enum call_verdict)matter.known->verdict, UNSTICK_WOKEN, matter.known->reason);
}

void policy_note(const struct task_call *call, const struct policy_verdict *verdict, struct unstick_outcome *outcome)
{
	outcome->nr = call->nr;
	outcome->fd = verdict->fd;
	outcome->state = verdict->state;
	text_copy(outcome->wait, sizeof(outcome->wait), verdict->wait);
}
