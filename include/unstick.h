/* SPDX-License-Identifier: MIT
 *
 * unstick: every blocking call, yours or a third party's, gets a deadline and a cancel button.
 *
 *     struct unstick_scope scope;
 *     unstick_scope_start(&scope, token, unstick_after_ms(5000));
 *     ... any code: unstick_read(), libc, libpq, libcurl ...
 *     int error = unstick_scope_end(&scope);     0, -ETIMEDOUT or -ECANCELED
 *
 * Rules that hold for the whole header:
 *   Results      >= 0 is a result, negative is -errno. errno itself is never set, except by unstick_posix().
 *                A deadline gives -ETIMEDOUT, a cancel gives -ECANCELED, everywhere.
 *   Time         absolute CLOCK_MONOTONIC nanoseconds (unstick_time). As a parameter, 0 is a time long past; as a field of
 *                an options structure, 0 means "none"; UNSTICK_NEVER is "for ever". A span is no moment: unstick_after_ms(200).
 *                No moment is negative: pools, jobs and tokens give -EINVAL, scopes fire at once.
 *   Threads      every function may be called from any thread (MT-safe). "AS-safe" marks those that may also be called in a
 *                signal handler; the others may not.
 *   Ownership    `ret` parameters are written only on success. *_unref(NULL) and *_free(NULL) do nothing and return NULL.
 *   Fork         the child has one thread, no scopes and no background thread; tokens keep their state. The library works in it: the
 *                deadlines of tokens are seen to again once a scope is begun, or unstick_token_fd() or _wait() called.
 *                After vfork() only execve() and _exit() may be called, as ever.
 *   Pointers     must point to something unless NULL is said to be allowed; NULL gives -EINVAL.
 *   Options      structures start with `size_t size` = sizeof; NULL means defaults; unknown flag bits give -EINVAL.
 *
 * unstick(7) has the concepts, the promises, and what cannot be freed; unstick_signals(7) has the signal.
 */
#ifndef UNSTICK_H
#define UNSTICK_H

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UNSTICK_MUST_USE __attribute__((warn_unused_result))
#pragma GCC visibility push(default)

/* ---- Time ------------------------------------------------------------------------------------------------------------- */

/* A moment: absolute CLOCK_MONOTONIC nanoseconds. Does not advance while the machine is suspended. */
typedef int64_t unstick_time;

#define UNSTICK_NEVER INT64_MAX

/* The present moment. AS-safe. */
unstick_time unstick_now(void);

/* The moment `ns` nanoseconds (`ms` milliseconds) from now; saturates to UNSTICK_NEVER; a negative span gives the past, 1 at the
 * least. AS-safe. */
unstick_time unstick_after_ns(int64_t ns);
unstick_time unstick_after_ms(int64_t ms);

/* ---- Process-wide settings -------------------------------------------------------------------------------------------- */

enum {
	UNSTICK_KEEP_PROC_FD =
	        1u << 0, /* keep one /proc fd an attached thread: foreign calls are looked at faster, and still after setuid() */
	UNSTICK_REALTIME = 1u << 1, /* the background thread asks for SCHED_FIFO: more punctual deadlines on a busy machine */
	UNSTICK_ALTSTACK =
	        1u << 2, /* install the handler with SA_ONSTACK; every alternate stack must have AT_MINSIGSTKSZ + 4096 bytes */
};

struct unstick_options {
	size_t size;
	unsigned flags; /* UNSTICK_KEEP_PROC_FD, ... */
	int signal;     /* 0: chosen as unstick_signals(7) says; else this one */
	/* Called with one line without newline when something happens that an operator should know, and for every refusal. On the
	 * thread that called the library, or one of the library's own; on several at once; never in a signal handler. It must not call
	 * the library, nor wait for long. NULL: standard error if the variable UNSTICK_LOG is "stderr", else silence. */
	void (*log)(void *arg, const char *message);
	void *log_arg;
};

/* Optional; without it, the first use of a scope initialises with defaults and the environment variable UNSTICK_SIGNAL.
 * 0; -EINVAL (size, unknown flag, a signal that cannot be used); -EALREADY once initialised, by whatever means; -ENOSYS: no signal
 * is free. */
UNSTICK_MUST_USE int unstick_init(const struct unstick_options *options);

/* The signal in use, after initialisation; 0 before. AS-safe. */
int unstick_signal(void);

/* "0.1.0". AS-safe. */
const char *unstick_version(void);

/* ---- Token: a cancel source as a value -------------------------------------------------------------------------------- */

struct unstick_token;
struct unstick_watch;

/* A new token, one reference, owned by the caller. `parent` may be NULL; the token keeps a reference to it and fires with it.
 * 0; -ENOMEM; -ELOOP when the chain of parents would be longer than 32. */
UNSTICK_MUST_USE int unstick_token_new(struct unstick_token **ret, struct unstick_token *parent);
/* One more reference; returns its argument. AS-safe. */
struct unstick_token *unstick_token_ref(struct unstick_token *token);
/* One reference less; returns NULL. A token whose last reference goes does not fire. */
struct unstick_token *unstick_token_unref(struct unstick_token *token);

/* Fires the token with -ECANCELED: every scope on it or on a token below it is cut short. Returns 0, also when it had fired
 * already (then nothing is done; the first reason stays). Waits for nothing, allocates nothing. AS-safe. */
int unstick_token_cancel(struct unstick_token *token);

/* The token fires with -ETIMEDOUT at `when`; replaces an earlier deadline; UNSTICK_NEVER removes it.
 * 0; -EALREADY once fired; -EINVAL for a negative one; -ENOMEM or -EAGAIN when the background thread cannot be started. */
UNSTICK_MUST_USE int unstick_token_set_deadline(struct unstick_token *token, unstick_time when);

/* 0 while not fired, then -ECANCELED or -ETIMEDOUT for ever. Looks at the parents too. AS-safe. NULL: -EINVAL. */
int unstick_token_error(const struct unstick_token *token);

/* Waits until the token has fired (not before) and every scope on it, or below it, has ended. 0; -ETIMEDOUT at `until`;
 * -ECANCELED or -ETIMEDOUT when a scope of the calling thread cuts the wait short; -EDEADLK when such a scope is the calling
 * thread's own. */
UNSTICK_MUST_USE int unstick_token_wait(struct unstick_token *token, unstick_time until);

/* An eventfd that becomes readable once the token fires, for poll loops. Made on the first call; close-on-exec; owned by the token:
 * do not read, write or close it. >= 0 the fd; -EMFILE, -ENFILE, -ENOMEM. */
UNSTICK_MUST_USE int unstick_token_fd(struct unstick_token *token);

/* Calls fn(arg, error) once, soon after the token has fired (also if it has already), on the library's background thread: it
 * must not block for long. The watch keeps a reference to the token. 0; -ENOMEM, -EAGAIN. Not called in a forked child. */
UNSTICK_MUST_USE int unstick_token_watch(struct unstick_token *token, struct unstick_watch **ret, void (*fn)(void *arg, int error),
                                         void *arg);
/* After it returned, fn neither runs nor will. Waits for a running fn, except when called by fn itself. Returns NULL. */
struct unstick_watch *unstick_watch_free(struct unstick_watch *watch);

/* ---- Scope: a stretch of the calling thread's execution that can be cut short ------------------------------------------ */

/* On the caller's stack, or anywhere; contents private; only its own thread touches it, the library included. */
struct unstick_scope {
	uint64_t private_[16];
};

/* `deadline` is a moment, not a span: unstick_after_ms(200), not 200000000, which is long past. Until unstick_scope_end(),
 * each blocking call of this thread comes out when the token fires or the deadline passes: own calls at once, foreign calls
 * (any other code's) at the next look. Scopes nest; the earliest deadline and any fired token win. `token` may be NULL; the
 * caller keeps its reference while the scope is open. 0, also if it has fired already: the calls then fail. -ENOMEM, -EAGAIN
 * (no background thread), -ENOSYS (no signal to use), -EOVERFLOW (more than 16 scopes open): the scope is inert, calls in it
 * just run, unstick_scope_end() returns the same error. A scope left by return, longjmp(), exception or pthread_exit() without
 * an end is dropped as soon as the library sees that its frame is gone: at the next begin or cut further up the stack, or once
 * its memory has been used for something else. Better end it. */
UNSTICK_MUST_USE int unstick_scope_begin(struct unstick_scope *scope, struct unstick_token *token, unstick_time deadline);

/* The same for callers who look at the error at the end: unstick_scope_end() returns what begin would have. */
static inline void unstick_scope_start(struct unstick_scope *scope, struct unstick_token *token, unstick_time deadline)
{
	int at_the_end = unstick_scope_begin(scope, token, deadline);
	(void)at_the_end;
}

/* Ends it, and what was begun inside it and not ended. -ECANCELED or -ETIMEDOUT if a call or check in it was cut short by it
 * or by one around it, else 0 (also when the time is over but nothing was cut short, and in a forked child). On a scope that
 * has ended: the same once more. Once it has returned, nothing of the scope can hit the thread. Must be called by the thread
 * that began it; by another: -EPERM. -EINVAL on a struct that was never begun. */
UNSTICK_MUST_USE int unstick_scope_end(struct unstick_scope *scope);

/* Foreign calls of this number are also cut short in this scope, though the table would leave them alone. 0; -EPERM for calls
 * that must never be given an errno (futex, close, fsync, ...; unstick_syscalls(7)); -ENOSPC after 4; -EINVAL if the scope is
 * not open. */
UNSTICK_MUST_USE int unstick_scope_allow(struct unstick_scope *scope, long nr);

/* 0, or -ECANCELED or -ETIMEDOUT if a scope of this thread is fired: a checkpoint for loops that make no calls. A few
 * nanoseconds. */
UNSTICK_MUST_USE int unstick_check(void);

/* Between them no scope outside can cut this thread short, for clean-up code; scopes begun inside work. They nest. Once begin
 * has returned nothing of the outer scopes can hit the thread. unstick_thread_interrupt() is not held off. */
void unstick_shield_begin(void);
void unstick_shield_end(void);

/* struct unstick_scope NAME, begun here, ended when the block is left. For its error call unstick_scope_end(&NAME) before. */
#ifdef __cplusplus
#define UNSTICK_SCOPE(name, token, deadline) ::unstick_scope_guard name((token), (deadline))
#else
static inline void unstick_scope_cleanup_(struct unstick_scope *scope)
{
	int shown_already = unstick_scope_end(scope);
	(void)shown_already;
}
#define UNSTICK_SCOPE(name, token, deadline)                                        \
	struct unstick_scope name __attribute__((cleanup(unstick_scope_cleanup_))); \
	unstick_scope_start(&name, (token), (deadline))
#endif

/* ---- Threads, looks, outcomes ------------------------------------------------------------------------------------------ */

struct unstick_thread;

/* What became of an attempt to free a thread. */
enum unstick_kind {
	UNSTICK_NONE = 0,         /* no attempt was made */
	UNSTICK_WOKEN,            /* the call ended because of us */
	UNSTICK_FINISHED_FIRST,   /* the call ended by itself */
	UNSTICK_NOT_BLOCKED,      /* it was computing, not in a call */
	UNSTICK_LOCK,             /* futex: only the lock's owner, or who waits to signal it, can free it */
	UNSTICK_EVENT_LOOP,       /* an event loop's wait (outside a scope): got at most EINTR */
	UNSTICK_UNINTERRUPTIBLE,  /* no signal can end this call, or a signal would make it worse */
	UNSTICK_SIGNAL_BLOCKED,   /* the thread blocks our signal */
	UNSTICK_HANDLER_REPLACED, /* somebody else's handler is in place of ours */
	UNSTICK_STOPPED,          /* stopped by SIGSTOP, a tracer or a freezer */
	UNSTICK_LOOPING,          /* the same call was ended three times and made again */
	UNSTICK_NOT_INSPECTABLE,  /* /proc does not tell: the signal was sent, no errno was given */
	UNSTICK_GONE,             /* the thread has ended */
	UNSTICK_LEFT_ALONE,       /* the call must not be cut short (close, fsync, a regular file, ...) */
	UNSTICK_SHIELDED,         /* a job's thread is behind a shield, which holds the cut off: nothing is done to it */
};

struct unstick_outcome {
	int kind;  /* enum unstick_kind */
	int error; /* the errno that the call was given, negative; 0: none */
	pid_t tid;
	pid_t child;         /* for wait4, waitid: the child that was waited for and lives on; else 0 */
	long nr;             /* system call; -1: in none, or unknown */
	int fd;              /* its fd argument; -1: none */
	char state;          /* state letter of proc_pid_stat(5); '?' unknown */
	char wait[39];       /* kernel function it waits in, "" unknown */
	unsigned signals;    /* sent by this attempt */
	int64_t ns;          /* from the attempt's begin to this outcome */
	const void *handler; /* handler_replaced: the handler found; else NULL */
	uint64_t reserved[8];
};

/* One line without newline, as snprintf: the length that it has, or -EINVAL.
 * "1240 in read on fd 5 (anon_pipe_read): freed, ECANCELED (1 signal, 0.031 ms)" */
int unstick_outcome_print(const struct unstick_outcome *outcome, char *buf, size_t size);

/* "woken", "finished first", "lock", ... AS-safe. */
const char *unstick_kind_name(int kind);

/* What a thread is doing. */
struct unstick_report {
	pid_t pid, tid;
	char name[16];        /* comm */
	char state;           /* state letter; '?' unknown */
	signed char freeable; /* 1: yes; 0: no, `why`; -1: unknown, `why` */
	long nr;              /* system call; -1: blocked in none (a page fault), -2: running, -3: unknown */
	char call[24];        /* its name; "(kernel)": a thread of the kernel's own, nr is -3 */
	unsigned long args[6];
	unsigned long sp, pc;
	int fd;             /* its fd argument; -1: none */
	char object[128];   /* what the fd is: "pipe:[123]", "socket 127.0.0.1:5 -> 127.0.0.1:6", a path; "" unknown */
	char wait[40];      /* kernel function it waits in; "" unknown */
	int64_t blocked_ns; /* for how long it has not run; -1 unknown */
	int expect;         /* enum unstick_kind: what unstick_thread_interrupt() would come to; UNSTICK_WOKEN if freeable */
	char why[80];       /* the reason, for people */
	uint64_t reserved[8];
};

/* What thread `tid` of process `pid` (0: this one) is doing now; stops nothing, sends nothing, cannot hang on a dead mount.
 * 0; -ESRCH; -ENOENT without /proc. What may not be read is unknown in the report, and `why` says so. */
UNSTICK_MUST_USE int unstick_look(pid_t pid, pid_t tid, struct unstick_report *report);

/* A new reference to the calling thread's record, made on first use; NULL when unstick_scope_begin() would fail with -ENOMEM,
 * -EAGAIN or -ENOSYS. */
struct unstick_thread *unstick_thread_self(void);
/* A new reference to any thread of this process, attached to unstick or not. 0; -ESRCH; -ENOMEM. */
UNSTICK_MUST_USE int unstick_thread_find(struct unstick_thread **ret, pid_t tid);
struct unstick_thread *unstick_thread_ref(struct unstick_thread *thread);
struct unstick_thread *unstick_thread_unref(struct unstick_thread *thread);
pid_t unstick_thread_tid(const struct unstick_thread *thread);

/* Ends the one call that the thread is blocked in with -ECANCELED (libc code: -1 and ECANCELED), keeps at it until that has
 * worked or `until`, and tells what became of it. Not sticky: the next call runs normally (it may see one plain EINTR). Needs
 * no scope there. 0: *outcome is filled (outcome may be NULL); -EDEADLK on the calling thread itself; -EINVAL without a
 * thread; -ENOSYS as for scopes. Several calls at once on one thread take turns, and at most 8 threads are interrupted at
 * once: -EBUSY if the turn has not come by `until`. A signal that is on its way when the time is up is waited for, at most a
 * second. */
UNSTICK_MUST_USE int unstick_thread_interrupt(struct unstick_thread *thread, unstick_time until, struct unstick_outcome *outcome);

enum {
	UNSTICK_POLLS_EXPIRE = 1u << 0, /* a poll or epoll wait returns 0, as after its own timeout, and no error */
};

/* For who knows what code it is that waits: a language's runtime interrupting its own threads. */
struct unstick_interrupt_options {
	size_t size;
	unsigned flags; /* UNSTICK_POLLS_EXPIRE */
	int error;      /* what the call is given: -ECANCELED, which 0 means too, or -ETIMEDOUT */
	/* Calls that are cut short though the table would leave them alone or give them EINTR only; those that must never be given an
	 * errno stay as they are. */
	const long *allow;
	unsigned allowed; /* how many */
};

/* unstick_thread_interrupt() with options; NULL: none. -EINVAL: size, unknown flag, another error. With an `until` that has passed
 * it looks once, signals at most once, and waits for that signal. */
UNSTICK_MUST_USE int unstick_thread_interrupt_with(struct unstick_thread *thread, unstick_time until,
                                                   const struct unstick_interrupt_options *options,
                                                   struct unstick_outcome *outcome);

/* What the library last did to a thread because a scope of it had fired; kind UNSTICK_NONE if nothing. Always 0, or -EINVAL. */
int unstick_thread_outcome(const struct unstick_thread *thread, struct unstick_outcome *outcome);

/* ---- Own calls --------------------------------------------------------------------------------------------------------- */

/* Each is the system call of that name, with its parameters and results, the error returned as -errno. In a scope it returns
 * -ECANCELED or -ETIMEDOUT, without a wait and with nothing done, once a scope of the thread has fired; what has been moved or
 * made is always reported instead. -EINTR is returned only when the kernel would have returned it without unstick: a signal
 * handler of the program, or for calls such as epoll_wait() a SIGSTOP and SIGCONT; never because of our signal. Interrupted by
 * unstick_thread_interrupt(): -ECANCELED, of which unstick_scope_end() does not tell. Timeouts of the calls themselves end
 * them as ever. All AS-safe, outside scopes exactly the bare call. */
UNSTICK_MUST_USE ssize_t unstick_read(int fd, void *buf, size_t n);
UNSTICK_MUST_USE ssize_t unstick_readv(int fd, const struct iovec *iov, int count);
UNSTICK_MUST_USE ssize_t unstick_pread(int fd, void *buf, size_t n, int64_t offset);
UNSTICK_MUST_USE ssize_t unstick_write(int fd, const void *buf, size_t n);
UNSTICK_MUST_USE ssize_t unstick_writev(int fd, const struct iovec *iov, int count);
UNSTICK_MUST_USE ssize_t unstick_pwrite(int fd, const void *buf, size_t n, int64_t offset);
UNSTICK_MUST_USE ssize_t unstick_recv(int fd, void *buf, size_t n, int flags);
UNSTICK_MUST_USE ssize_t unstick_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *addr_len);
UNSTICK_MUST_USE ssize_t unstick_recvmsg(int fd, struct msghdr *msg, int flags);
UNSTICK_MUST_USE ssize_t unstick_send(int fd, const void *buf, size_t n, int flags);
UNSTICK_MUST_USE ssize_t unstick_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
                                        socklen_t addr_len);
UNSTICK_MUST_USE ssize_t unstick_sendmsg(int fd, const struct msghdr *msg, int flags);
UNSTICK_MUST_USE int unstick_accept4(int fd, struct sockaddr *addr, socklen_t *addr_len, int flags);
/* Cut short, it goes on in the kernel: close the fd. */
UNSTICK_MUST_USE int unstick_connect(int fd, const struct sockaddr *addr, socklen_t addr_len);
UNSTICK_MUST_USE int unstick_openat(int dirfd, const char *path, int flags, mode_t mode);
UNSTICK_MUST_USE int unstick_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
UNSTICK_MUST_USE int unstick_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
/* Unlike select(2), `timeout` is not changed. */
UNSTICK_MUST_USE int unstick_select(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds, const struct timeval *timeout);
struct epoll_event;
UNSTICK_MUST_USE int unstick_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms);
/* `remaining` (may be NULL) is set with -EINTR, -ECANCELED and -ETIMEDOUT. */
UNSTICK_MUST_USE int unstick_nanosleep(const struct timespec *span, struct timespec *remaining);
UNSTICK_MUST_USE int unstick_clock_nanosleep(clockid_t clock, int flags, const struct timespec *when, struct timespec *remaining);
UNSTICK_MUST_USE int unstick_flock(int fd, int operation);
/* fcntl with F_SETLKW, F_OFD_SETLKW (or any other lock command). -EINVAL for other commands. */
struct flock;
UNSTICK_MUST_USE int unstick_fcntl_lock(int fd, int command, struct flock *lock);
/* Any other call. -EINVAL for those that cannot be made through a function: vfork, clone, clone3, rt_sigreturn. */
UNSTICK_MUST_USE long unstick_syscall(long nr, long a, long b, long c, long d, long e, long f);

/* ---- Engine: I/O operations on worker threads, each with its deadline and its cancel handle ----------------------------- */

struct unstick_engine;
/* A handle, not an address: one whose operation has gone is recognised, and does nothing. */
struct unstick_op;
struct unstick_buffer;

enum unstick_opcode {
	UNSTICK_OP_NOP = 1,
	UNSTICK_OP_READ,
	UNSTICK_OP_WRITE,
	UNSTICK_OP_READV,
	UNSTICK_OP_WRITEV,
	UNSTICK_OP_RECV,
	UNSTICK_OP_SEND,
	UNSTICK_OP_RECVMSG,
	UNSTICK_OP_SENDMSG,
	UNSTICK_OP_ACCEPT,
	UNSTICK_OP_CONNECT,
	UNSTICK_OP_POLL,
	UNSTICK_OP_OPENAT,
	UNSTICK_OP_CLOSE,
	UNSTICK_OP_FSYNC,
	UNSTICK_OP_STATX,
	UNSTICK_OP_SPLICE,
	UNSTICK_OP_TIMEOUT,
	UNSTICK_OP_READDIR,
	UNSTICK_OP_UNLINKAT,
	UNSTICK_OP_RENAMEAT,
};

/* What an isolated open gives is a handle, not an fd: no fd is as large. Operations on it go to the helper process by themselves;
 * nothing else knows it. Closed by UNSTICK_CLOSE(). -EBADF once closed; -ESTALE when its helper has ended: open the file again. */
#define UNSTICK_HANDLE_BASE 0x40000000

enum {
	UNSTICK_NETWORK = 1u << 0, /* hint: fd is a socket, pipe, eventfd or the like; saves a look at it */
	UNSTICK_FILE = 1u << 1,    /* hint: fd is a file, directory, device or terminal */
	UNSTICK_ISOLATE = 1u << 2, /* a file operation: in the helper process; unstick_helper(7) */
	UNSTICK_BUFFER = 1u << 3,  /* buf is a struct unstick_buffer *, used in place of a copy */
};

/* One operation. A field left zero means "none". Made with UNSTICK_RECV(fd, buf, n) and its like. What it points to stays the
 * caller's and must be left alone until the operation has ended. An operation has the result of the own call of its name, with
 * a blocking fd: it waits on an fd with O_NONBLOCK too, and write, writev, send and sendmsg go on until all has been moved;
 * MSG_DONTWAIT is honoured. No SIGPIPE is raised. Cut short after it moved something, it reports what it moved. */
struct unstick_request {
	size_t size; /* sizeof(struct unstick_request) */
	unsigned opcode, flags;
	int fd;           /* openat, statx, unlinkat, renameat: the directory, or AT_FDCWD */
	int op_flags;     /* MSG_*, O_*, AT_*, SPLICE_F_*, SOCK_*, poll events, as the call has them; fsync: 1 = data only */
	void *buf;        /* readv, writev: struct iovec *; recvmsg, sendmsg: struct msghdr *; statx: struct statx *;
	                   * renameat: the new path */
	size_t len;       /* bytes; readv, writev: number of iovecs; openat: mode; statx: mask */
	int64_t offset;   /* -1: the file's own position; timeout: the moment */
	const void *addr; /* connect: the address; openat, statx, unlinkat, renameat: the path */
	unsigned addr_len;
	int fd2;                     /* splice: out of fd, into fd2; renameat: the new path's directory */
	int64_t offset2;             /* splice: of fd2; -1: its own position */
	unstick_time deadline;       /* 0: never */
	struct unstick_token *token; /* may be NULL; the engine keeps a reference */
	/* On a worker, outside locks, exactly once; may submit, cancel and unref, must not wait long. May be NULL. */
	void (*done)(struct unstick_op *op, long result, void *arg);
	void *arg;
};

#ifdef __cplusplus
static inline struct unstick_request unstick_request_(unsigned opcode, int fd, void *buf, size_t len, int op_flags, int64_t offset,
                                                      const void *addr, unsigned addr_len)
{
	struct unstick_request request = unstick_request();
	request.size = sizeof request;
	request.opcode = opcode;
	request.fd = fd;
	request.op_flags = op_flags;
	request.buf = buf;
	request.len = len;
	request.offset = offset;
	request.addr = addr;
	request.addr_len = addr_len;
	return request;
}
static inline struct unstick_request unstick_rename_request_(int dirfd, const char *path, int dirfd2, const char *path2, int flags)
{
	struct unstick_request request =
	        unstick_request_(UNSTICK_OP_RENAMEAT, dirfd, const_cast<char *>(path2), 0, flags, 0, path, 0);
	request.fd2 = dirfd2;
	return request;
}
#define UNSTICK_RENAMEAT(dirfd, path, dirfd2, path2, flags) unstick_rename_request_((dirfd), (path), (dirfd2), (path2), (flags))
#define UNSTICK_REQUEST_(opcode, fd, buf, len, op_flags, offset, addr, addr_len)                                                   \
	(unstick_request_((opcode), (fd), const_cast<void *>(static_cast<const void *>(buf)), (len), (op_flags), (offset), (addr), \
	                  (addr_len)))
#else
#define UNSTICK_REQUEST_(opcode_, fd_, buf_, len_, op_flags_, offset_, addr_, addr_len_)                                    \
	((struct unstick_request){sizeof(struct unstick_request), (opcode_), 0, (fd_), (op_flags_), (void *)(buf_), (len_), \
	                          (offset_), (addr_), (addr_len_), 0, 0, 0, NULL, NULL, NULL})
/* flags as renameat2(2). */
#define UNSTICK_RENAMEAT(dirfd, path, dirfd2, path2, flags)                                                                        \
	((struct unstick_request){sizeof(struct unstick_request), UNSTICK_OP_RENAMEAT, 0, (dirfd), (flags), (void *)(path2), 0, 0, \
	                          (path), 0, (dirfd2), 0, 0, NULL, NULL, NULL})
#endif
#define UNSTICK_NOP() UNSTICK_REQUEST_(UNSTICK_OP_NOP, -1, NULL, 0, 0, 0, NULL, 0)
#define UNSTICK_READ(fd, buf, n) UNSTICK_REQUEST_(UNSTICK_OP_READ, fd, buf, n, 0, -1, NULL, 0)
#define UNSTICK_WRITE(fd, buf, n) UNSTICK_REQUEST_(UNSTICK_OP_WRITE, fd, buf, n, 0, -1, NULL, 0)
#define UNSTICK_PREAD(fd, buf, n, offset) UNSTICK_REQUEST_(UNSTICK_OP_READ, fd, buf, n, 0, offset, NULL, 0)
#define UNSTICK_PWRITE(fd, buf, n, offset) UNSTICK_REQUEST_(UNSTICK_OP_WRITE, fd, buf, n, 0, offset, NULL, 0)
#define UNSTICK_READV(fd, iov, count) UNSTICK_REQUEST_(UNSTICK_OP_READV, fd, iov, count, 0, -1, NULL, 0)
#define UNSTICK_WRITEV(fd, iov, count) UNSTICK_REQUEST_(UNSTICK_OP_WRITEV, fd, iov, count, 0, -1, NULL, 0)
#define UNSTICK_RECV(fd, buf, n) UNSTICK_REQUEST_(UNSTICK_OP_RECV, fd, buf, n, 0, 0, NULL, 0)
#define UNSTICK_SEND(fd, buf, n) UNSTICK_REQUEST_(UNSTICK_OP_SEND, fd, buf, n, 0, 0, NULL, 0)
#define UNSTICK_RECVMSG(fd, msg, flags) UNSTICK_REQUEST_(UNSTICK_OP_RECVMSG, fd, msg, 1, flags, 0, NULL, 0)
#define UNSTICK_SENDMSG(fd, msg, flags) UNSTICK_REQUEST_(UNSTICK_OP_SENDMSG, fd, msg, 1, flags, 0, NULL, 0)
/* The new fd; flags SOCK_CLOEXEC, SOCK_NONBLOCK. getpeername(2) tells who it is. */
#define UNSTICK_ACCEPT(fd, flags) UNSTICK_REQUEST_(UNSTICK_OP_ACCEPT, fd, NULL, 0, flags, 0, NULL, 0)
/* Cut short, it goes on in the kernel: close the fd. */
#define UNSTICK_CONNECT(fd, addr, addr_len) UNSTICK_REQUEST_(UNSTICK_OP_CONNECT, fd, NULL, 0, 0, 0, addr, addr_len)
/* The events that came, as in revents. */
#define UNSTICK_POLL(fd, events) UNSTICK_REQUEST_(UNSTICK_OP_POLL, fd, NULL, 0, events, 0, NULL, 0)
#define UNSTICK_OPENAT(dirfd, path, flags, mode) UNSTICK_REQUEST_(UNSTICK_OP_OPENAT, dirfd, NULL, mode, flags, 0, path, 0)
/* Is always carried out: at its deadline, or cancelled, the caller is free, and the close goes on. */
#define UNSTICK_CLOSE(fd) UNSTICK_REQUEST_(UNSTICK_OP_CLOSE, fd, NULL, 0, 0, 0, NULL, 0)
#define UNSTICK_FSYNC(fd, data_only) UNSTICK_REQUEST_(UNSTICK_OP_FSYNC, fd, NULL, 0, data_only, 0, NULL, 0)
#define UNSTICK_STATX(dirfd, path, flags, mask, buf) UNSTICK_REQUEST_(UNSTICK_OP_STATX, dirfd, buf, mask, flags, 0, path, 0)
/* Set fd2, offset2 (and offset) before it is submitted. */
#define UNSTICK_SPLICE(fd, n, flags) UNSTICK_REQUEST_(UNSTICK_OP_SPLICE, fd, NULL, n, flags, -1, NULL, 0)
/* Entries as getdents64(2) gives them, struct dirent64; 0 at the end. */
#define UNSTICK_READDIR(fd, buf, n) UNSTICK_REQUEST_(UNSTICK_OP_READDIR, fd, buf, n, 0, 0, NULL, 0)
#define UNSTICK_UNLINKAT(dirfd, path, flags) UNSTICK_REQUEST_(UNSTICK_OP_UNLINKAT, dirfd, NULL, 0, flags, 0, path, 0)
/* 0 at the moment `when`. */
#define UNSTICK_TIMEOUT(when) UNSTICK_REQUEST_(UNSTICK_OP_TIMEOUT, -1, NULL, 0, 0, when, NULL, 0)

enum { UNSTICK_ENGINE_AUTO = 0, UNSTICK_ENGINE_URING, UNSTICK_ENGINE_POLL };

enum {
	/* An openat, statx, unlinkat or renameat whose path lies on a mount of a kind that may hang goes to the helper process, as
	 * with UNSTICK_ISOLATE. Not by default: what such an open gives is a handle, which only the engine knows what to do with. */
	UNSTICK_ENGINE_ISOLATE = 1u << 0,
};

struct unstick_engine_options {
	size_t size;
	unsigned flags; /* UNSTICK_ENGINE_ISOLATE */
	int back_end; /* UNSTICK_ENGINE_AUTO: the variable UNSTICK_ENGINE ("auto", "uring", "poll"), else io_uring if it can be used */
	unsigned workers;  /* threads for network operations; default 1. An fd always has the same one */
	unsigned files;    /* file operations that run at once; default 16 */
	unsigned blocking; /* other operations that need a thread (terminals, FIFO opens, ...) at once; default 256 */
	unsigned orphans;  /* file operations left behind at their deadlines, at most; then -EAGAIN; default 64 */
};

/* Starts an engine: 0; -EINVAL; -ENOMEM, -EAGAIN, -EMFILE; with UNSTICK_ENGINE_URING what io_uring was refused with (-EPERM,
 * -ENOSYS, -ENOMEM, -EOPNOTSUPP if the library was built without it). One line to the log callback says which back end and
 * why. After fork(2) the engine is the parent's: in the child every function of it gives -EOWNERDEAD, only
 * unstick_engine_free() frees the memory. */
UNSTICK_MUST_USE int unstick_engine_new(struct unstick_engine **ret, const struct unstick_engine_options *options);

/* Begins an operation. *ret (a reference of the caller's, stored before `done` can run) may be left out by ret = NULL if
 * `done` is set. Never waits for the fd. Leave the fd open until the operation has ended. 0; -EINVAL; -ENOMEM; -EAGAIN: too
 * many orphans, or no background thread for the token; -ESHUTDOWN: closing; -EOWNERDEAD: in a forked child. Isolated: -EPERM: a helper would
 * not have the calling thread's rights; -EOPNOTSUPP: the library was built without it; -ENOENT and the like: it could not be
 * started; unstick_helper(7); -ECANCELED, -ETIMEDOUT: a scope of the calling thread cut the start of a helper short, which takes
 * milliseconds, 5 s at most once its program runs, and knows nothing of request.deadline. Then `done` is not called. What the own call would fail with, a bad fd for example, is the operation's result. */
UNSTICK_MUST_USE int unstick_engine_submit(struct unstick_engine *engine, const struct unstick_request *request,
                                           struct unstick_op **ret);

/* Many at once, cheaper than one by one: how many were begun, in order (ret, if not NULL, has as many); the error of the first
 * if none. */
UNSTICK_MUST_USE int unstick_engine_submit_many(struct unstick_engine *engine, const struct unstick_request *requests,
                                                unsigned count, struct unstick_op **ret);

/* A job that could not be ended. */
struct unstick_left_job {
	char name[32];
	pid_t tid;          /* its thread */
	pid_t pid;          /* a process job's program; else 0 */
	int holds_exit;     /* 1: not even SIGKILL ends it, so the process cannot exit before the kernel lets it go */
	int64_t running_ns; /* since it began */
	int64_t cut_ns;     /* since it was cut short */
	char object[64];    /* what it waits for: a path, "pipe:[123]", ...; "" unknown */
	struct unstick_outcome outcome;
};

enum { UNSTICK_LEFT_JOBS = 16 };

/* What could not be ended. */
struct unstick_left {
	unsigned count;    /* operations (jobs) left */
	int64_t oldest_ns; /* how long the oldest has been running */
	pid_t tid;         /* its thread */
	int fd;            /* its fd; -1: none */
	int holds_exit;    /* 1: not even SIGKILL ends one of them, so the process cannot exit before the kernel lets it go */
	char what[200];    /* the oldest, for people */
	unsigned listed;   /* jobs: of `count`, how many are named here, in the order in which they were abandoned */
	struct unstick_left_job jobs[UNSTICK_LEFT_JOBS];
	uint64_t reserved[8];
};

/* What was left, as snprintf: a line each, without a newline at the end; "" if nothing was; -EINVAL for NULL.
 * "\"import\" (thread 1240) in read on fd 5 (request_wait_answer), /mnt/x/f, for 3.2 s: no signal can end this call: see to ..." */
int unstick_left_print(const struct unstick_left *left, char *buf, size_t size);

/* Takes no more operations, cancels all, waits until all have ended. 0; -EBUSY at `until`: *left (may be NULL; written unless
 * -EINVAL is returned: count 0 if nothing was left) says what; it may be called again. -EDEADLK on a worker. Operations that have a
 * caller waiting end with -ECANCELED. */
UNSTICK_MUST_USE int unstick_engine_close(struct unstick_engine *engine, unstick_time until, struct unstick_left *left);
/* Closes it if that was not done, without waiting for orphans, which the library keeps for ever (the log says how many).
 * Nobody else may be using the engine; handles of its operations stay good. Returns NULL; on a worker of its own it does
 * nothing but return its argument. */
struct unstick_engine *unstick_engine_free(struct unstick_engine *engine);

/* Never waits. 0: a cancel is under way, or the operation has ended, or it was a handle of one that has gone; -EINVAL for
 * NULL; -EOWNERDEAD in a forked child. A write or send that had moved a part ends with that part, not with -ECANCELED.
 * AS-safe. */
int unstick_op_cancel(struct unstick_op *op);
/* Until it has ended and `done` has returned. 0; -ETIMEDOUT at `until`: the operation goes on; -ECANCELED or -ETIMEDOUT when a
 * scope of the calling thread cuts the wait short; -EDEADLK on the worker that would run it; -ESTALE: a handle that has gone;
 * -EOWNERDEAD in a forked child. */
UNSTICK_MUST_USE int unstick_op_wait(struct unstick_op *op, unstick_time until);
/* Until one of them has ended: its index; until all have: 0. Errors as unstick_op_wait(); NULL elements are passed over. */
UNSTICK_MUST_USE int unstick_op_wait_any(struct unstick_op *const *ops, unsigned count, unstick_time until);
UNSTICK_MUST_USE int unstick_op_wait_all(struct unstick_op *const *ops, unsigned count, unstick_time until);
/* The result, as the own call of that name; -EINPROGRESS before it has ended; -ESTALE. AS-safe. */
long unstick_op_result(const struct unstick_op *op);
struct unstick_op *unstick_op_ref(struct unstick_op *op);
/* One reference less; returns NULL. The operation goes on: to end it, cancel it. AS-safe. */
struct unstick_op *unstick_op_unref(struct unstick_op *op);

/* Memory that the library keeps as long as the kernel may write to it, for file operations without a copy. After -ETIMEDOUT or
 * -ECANCELED its contents are nobody's until the last reference is gone. */
UNSTICK_MUST_USE int unstick_buffer_new(struct unstick_buffer **ret, size_t size);
void *unstick_buffer_data(struct unstick_buffer *buffer);
struct unstick_buffer *unstick_buffer_unref(struct unstick_buffer *buffer);

struct unstick_stats {
	uint64_t operations;                   /* begun by this engine */
	uint64_t completed, cancels, expiries; /* ended; of these cut short by a cancel, by a deadline */
	uint64_t orphans_ever;
	unsigned orphans;         /* left behind in the kernel now */
	int64_t orphan_oldest_ns; /* since its operation ended for the caller; 0: none */
	const char *back_end;     /* "io_uring" or "poll" */
	uint64_t pokes, looks;    /* signals sent to threads, looks at them in /proc; of the whole process */
	uint64_t
	        helpers_abandoned; /* helper processes that were given up because they were stuck, or that ended; of the whole process */
	unsigned helpers;          /* there are now */
	unsigned reserved_;
	uint64_t reserved[6];
};

/* `engine` may be NULL: then pokes, looks and helpers only. 0; -EINVAL. */
int unstick_engine_stats(struct unstick_engine *engine, struct unstick_stats *ret);

/* ---- Pool: work that can be cancelled, joined, and if need be abandoned --------------------------------------------------- */

struct unstick_pool;
/* An address, unlike struct unstick_op: one whose last reference is gone must not be used any more. */
struct unstick_job;

enum unstick_job_state {
	UNSTICK_JOB_QUEUED = 1,
	UNSTICK_JOB_RUNNING,
	UNSTICK_JOB_DONE,      /* it returned, and nothing in it was cut short */
	UNSTICK_JOB_CANCELLED, /* cut short, or never begun, because of a cancel */
	UNSTICK_JOB_TIMED_OUT, /* ... because of a deadline */
	UNSTICK_JOB_ABANDONED, /* cut short, and has not come out; if it ever does, it becomes one of the two above */
	UNSTICK_JOB_FAILED,    /* could not be started, or left its thread by pthread_exit(); unstick_job_join() tells the error */
};

struct unstick_pool_options {
	size_t size;
	unsigned flags;     /* none yet */
	unsigned threads;   /* jobs that run at once; default 64. Threads are started when needed, and end after 10 idle seconds */
	unsigned queue;     /* jobs that wait, though no thread is free for them or can be added; then -EAGAIN; default 1024 */
	unsigned abandoned; /* with so many left behind no more are taken: -EAGAIN; default 256. What is queued then still runs */
	size_t stack;       /* bytes of a thread's stack, 1 TiB at most; default: the system's */
	/* A job that has not come out this long after it was cut short is abandoned; default 1 s. So is one that computes, cleans up
	 * behind a shield, or waits for a lock, which may come free. Only a thread job that is found in an uninterruptible wait, at two
	 * looks 10 ms apart, is abandoned before: after 20 ms at the soonest. Process jobs have their own grace_ns before this one. */
	int64_t grace_ns;
};

/* 0; -EINVAL; -ENOMEM; -EAGAIN: no background thread; -ENOSYS: no signal to use. Threads of the pool have the signal mask of
 * the thread that calls this, with unstick's own signal unblocked, and its timer slack. After fork(2) the pool is the parent's: in
 * the child what would use it gives -EOWNERDEAD, and unstick_pool_free() does nothing. If a job forks, its thread in the child ends
 * where the job does. */
UNSTICK_MUST_USE int unstick_pool_new(struct unstick_pool **ret, const struct unstick_pool_options *options);

enum {
	UNSTICK_JOB_STDERR = 1u << 0, /* process job: its standard error goes to its output, too; else it is the caller's */
	UNSTICK_JOB_RESULT = 1u << 1, /* process job: its fd 3 is a pipe for its result */
};

struct unstick_job_options {
	size_t size;
	const char *name;        /* copied, 31 bytes at most; NULL: "job", or the program's name */
	void *(*run)(void *arg); /* a thread job, or */
	void *arg;
	char *const *argv;           /* a process job: the program, looked for in PATH, and its arguments; copied */
	unstick_time deadline;       /* 0: none */
	struct unstick_token *token; /* may be NULL; the job keeps a reference */
	/* Process jobs; -EINVAL if one is set with `run`: */
	unsigned flags;    /* UNSTICK_JOB_STDERR, UNSTICK_JOB_RESULT */
	char *const *env;  /* NULL: this process's; copied */
	const char *dir;   /* working directory; NULL: this process's; copied */
	const void *input; /* what it reads on its standard input, which then ends; copied */
	size_t input_size;
	size_t most_output; /* of each pipe; what goes beyond is dropped, and told; default 16 MiB */
	int64_t grace_ns;   /* from SIGTERM to SIGKILL; default 1 s; then the pool's, from SIGKILL until it is abandoned */
};

/* Queues a job. *ret (a reference of the caller's) may be left out by ret = NULL. A thread job runs run(arg) in a scope with the
 * job's token and deadline, so that any blocking call in it comes out; a loop that makes none calls unstick_check(), and one that
 * cannot be made to, belongs into a process job. A job cut short before it has begun never runs; one for which there is no thread
 * any more, and none can be started, fails with -EAGAIN.
 * 0; -EINVAL; -ENOMEM; -ELOOP as unstick_token_new(); -EAGAIN: queue full, too many abandoned, or no thread could be started;
 * -ESHUTDOWN: closing; -EOWNERDEAD. */
UNSTICK_MUST_USE int unstick_job_start(struct unstick_pool *pool, const struct unstick_job_options *options,
                                       struct unstick_job **ret);

/* Never waits: what the job waits in is ended, and so is the next such call, until it has returned. A process job's group gets
 * SIGTERM, after its grace SIGKILL. 0, also when it has ended; -EINVAL for NULL. AS-safe. */
int unstick_job_cancel(struct unstick_job *job);

/* Until the job has ended, or was abandoned. 0: done (of a process job: its program has ended, whatever its status); -ECANCELED,
 * -ETIMEDOUT: cut short; what a failed one failed with; -EBUSY at `until`; -EINVAL if that is negative. *result (may be NULL) is
 * what `run` returned, also when it was cut short; NULL if it never ran or was abandoned. Of a process job: its output (with
 * UNSTICK_JOB_RESULT: its result), ended by a zero byte, the job's until the last reference goes. -ECANCELED, -ETIMEDOUT also when
 * a scope of the calling thread cuts the wait short: *result is then left alone, and unstick_job_state() says that the job goes on.
 * So does an abandoned one, which goes on using `arg`: its memory is the caller's again only in another state.
 * -EDEADLK in the job itself. -EOWNERDEAD. */
UNSTICK_MUST_USE int unstick_job_join(struct unstick_job *job, unstick_time until, void **result);

/* enum unstick_job_state; -EINVAL for NULL; -EOWNERDEAD in a forked child. AS-safe. */
int unstick_job_state(const struct unstick_job *job);
/* "queued", "running", ... AS-safe. */
const char *unstick_job_state_name(int state);
/* What became of the last attempt to cut it short; while it is stuck, what it is stuck in and why. Of a process job it is the
 * program's: tid is its pid, signals how many its group was sent, ns from the cut to its end. 0; -EINVAL; -EOWNERDEAD. */
int unstick_job_outcome(const struct unstick_job *job, struct unstick_outcome *outcome);
/* The job that runs on the calling thread, no new reference; NULL: none, as in a child that a job has forked. AS-safe. */
struct unstick_job *unstick_job_self(void);
struct unstick_job *unstick_job_ref(struct unstick_job *job);
/* One reference less; returns NULL. The job goes on: to end it, cancel it. */
struct unstick_job *unstick_job_unref(struct unstick_job *job);

/* What a process job came to. */
struct unstick_exit {
	pid_t pid;
	int status;                  /* as waitpid(2) gives it; -1 if status_taken */
	int status_taken;            /* 1: by the application: it waits for any child, or ignores SIGCHLD */
	int last_signal;             /* that we sent to its group because of a cut: 0, SIGTERM, SIGKILL */
	const char *output, *result; /* ended by a zero byte; the job's */
	size_t output_size, result_size;
	int output_cut, result_cut;          /* 1: there was more than most_output */
	int64_t user_ns, system_ns, max_rss; /* of it and the children it waited for; max_rss in bytes; -1 if status_taken */
	uint64_t reserved[8];
};

/* 0; -EINPROGRESS before it has ended; -EINVAL: not a process job; -ESRCH: no program was started; -EOWNERDEAD. */
UNSTICK_MUST_USE int unstick_job_exit(const struct unstick_job *job, struct unstick_exit *ret);

/* Takes no more jobs, cancels all, waits until all have ended. What there is no time to cancel before `until` the background thread
 * cancels. 0; -EBUSY at `until`: the rest is abandoned, *left (may be NULL; written unless -EINVAL is returned: count 0 if nothing
 * was left) and the log name it, the log each once. It may be called again. -EDEADLK in a job of the pool. -ECANCELED or -ETIMEDOUT
 * when a scope of the calling thread cuts the wait short: nothing is abandoned then. -EOWNERDEAD. */
UNSTICK_MUST_USE int unstick_pool_close(struct unstick_pool *pool, unstick_time until, struct unstick_left *left);
/* Closes it if that was not done, without waiting; abandoned jobs keep what they need for ever. Nobody else may be using the pool;
 * handles of its jobs stay good. Returns NULL; in a job of its own it does nothing but return its argument. */
struct unstick_pool *unstick_pool_free(struct unstick_pool *pool);

struct unstick_pool_counts {
	uint64_t started, done, cancelled, timed_out, failed; /* jobs ever; the latter four have ended */
	uint64_t abandoned_ever, came_back;                   /* of them, those that ended after all */
	unsigned queued, running, abandoned;                  /* now */
	unsigned threads;                                     /* now, without those of abandoned jobs */
	uint64_t reserved[8];
};
int unstick_pool_stats(struct unstick_pool *pool, struct unstick_pool_counts *ret);

/* A result as POSIX functions give it: negative becomes -1 with errno set. */
static inline long unstick_posix(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

#pragma GCC visibility pop

#ifdef __cplusplus
}

struct unstick_scope_guard : unstick_scope {
	unstick_scope_guard(unstick_token *token, unstick_time deadline)
	{
		unstick_scope_start(this, token, deadline);
	}
	~unstick_scope_guard()
	{
		int shown_already = unstick_scope_end(this);
		(void)shown_already;
	}
	unstick_scope_guard(const unstick_scope_guard &) = delete;
	unstick_scope_guard &operator=(const unstick_scope_guard &) = delete;
};
#endif

#endif
