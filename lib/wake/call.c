/* SPDX-License-Identifier: MIT
 *
 * Own calls: system calls made through the window, so that no cancel is lost and no result is dropped.
 * Calls with timeouts of their own are in call_timed.c.
 */
#include "wake/call.h"

#include <errno.h>
#include <fcntl.h>

#include "wake/scope.h"

#ifndef F_OFD_GETLK
#error "needs _GNU_SOURCE"
#endif

/* The answer was -EINTR, or the call was not made. Whose doing was it? */
static long interrupted(struct unstick_thread *self, long result)
{
	bool ours = atomic_load_explicit(&self->resume, memory_order_relaxed);
	atomic_store_explicit(&self->resume, 0, memory_order_relaxed);
	if (thread_state(self) & STATE_FIRED) {
		int error = scope_cut(self);
		if (error)
			return error;
		ours = true;
	}
	if (result == ARCH_CUT)
		return CALL_NOT_MADE;
	return ours ? CALL_AGAIN : result;
}

long call_once(struct unstick_thread *self, long nr, long a, long b, long c, long d, long e, long f)
{
	/* In a handler on top of another own call, that call's marker must be there again when we return to it. */
	uint64_t below = atomic_load_explicit(&self->window.marker, memory_order_relaxed);
	uint64_t below_sp = atomic_load_explicit(&self->window.marker_sp, memory_order_relaxed);
	if (below && !thread_own_call_exists(self, (uintptr_t)__builtin_frame_address(0)))
		below = 0; /* left by a longjmp */
	long result = arch_window(&self->window, nr, a, b, c, d, e, f);
	if (below) {
		atomic_store_explicit(&self->window.marker_sp, below_sp, memory_order_relaxed);
		atomic_store_explicit(&self->window.marker, below, memory_order_relaxed);
	}
	if (result != -EINTR && result != ARCH_CUT)
		return result;
	return interrupted(self, result);
}

long call_make(long nr, long a, long b, long c, long d, long e, long f)
{
	struct unstick_thread *self = call_scope();
	long result;
	if (!self)
		return raw_syscall(nr, a, b, c, d, e, f);
	do {
		result = call_once(self, nr, a, b, c, d, e, f);
	} while (call_is_again(result));
	return result;
}

ssize_t unstick_read(int fd, void *buf, size_t n)
{
	return CALL_3(SYS_read, fd, buf, n);
}

ssize_t unstick_readv(int fd, const struct iovec *iov, int count)
{
	return CALL_3(SYS_readv, fd, iov, count);
}

ssize_t unstick_pread(int fd, void *buf, size_t n, int64_t offset)
{
	return CALL_4(SYS_pread64, fd, buf, n, offset);
}

ssize_t unstick_write(int fd, const void *buf, size_t n)
{
	return CALL_3(SYS_write, fd, buf, n);
}

ssize_t unstick_writev(int fd, const struct iovec *iov, int count)
{
	return CALL_3(SYS_writev, fd, iov, count);
}

ssize_t unstick_pwrite(int fd, const void *buf, size_t n, int64_t offset)
{
	return CALL_4(SYS_pwrite64, fd, buf, n, offset);
}

ssize_t unstick_recv(int fd, void *buf, size_t n, int flags)
{
	return CALL_6(SYS_recvfrom, fd, buf, n, flags, NULL, NULL);
}

ssize_t unstick_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *addr_len)
{
	return CALL_6(SYS_recvfrom, fd, buf, n, flags, addr, addr_len);
}

ssize_t unstick_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return CALL_3(SYS_recvmsg, fd, msg, flags);
}

ssize_t unstick_send(int fd, const void *buf, size_t n, int flags)
{
	return CALL_6(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

ssize_t unstick_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t addr_len)
{
	return CALL_6(SYS_sendto, fd, buf, n, flags, addr, addr_len);
}

ssize_t unstick_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return CALL_3(SYS_sendmsg, fd, msg, flags);
}

int unstick_accept4(int fd, struct sockaddr *addr, socklen_t *addr_len, int flags)
{
	return (int)CALL_4(SYS_accept4, fd, addr, addr_len, flags);
}

/* Made again after a signal of ours, a connect finds itself under way: on a blocking socket the kernel then goes on waiting,
 * and EISCONN means that it came through in between (net/ipv4/af_inet.c, __inet_stream_connect). */
int unstick_connect(int fd, const struct sockaddr *addr, socklen_t addr_len)
{
	struct unstick_thread *self = call_scope();
	if (!self)
		return (int)RAW_3(SYS_connect, fd, addr, addr_len);
	bool under_way = false;
	long result;
	do {
		result = call_once(self, SYS_connect, fd, (long)addr, (long)addr_len, 0, 0, 0);
		if (result == -EISCONN && under_way)
			result = 0;
		under_way |= result == CALL_AGAIN;
	} while (call_is_again(result));
	return (int)result;
}

int unstick_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	return (int)CALL_4(SYS_openat, dirfd, path, flags, mode);
}

int unstick_flock(int fd, int operation)
{
	return (int)CALL_2(SYS_flock, fd, operation);
}

static bool is_lock_command(int command)
{
	return command == F_GETLK || command == F_SETLK || command == F_SETLKW || command == F_OFD_GETLK ||
	       command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

int unstick_fcntl_lock(int fd, int command, struct flock *lock)
{
	if (!is_lock_command(command))
		return -EINVAL;
	return (int)CALL_3(SYS_fcntl, fd, command, lock);
}

long unstick_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	switch (nr) {
	case SYS_vfork: /* these return twice, or elsewhere: the window's frame would be reused under them */
	case SYS_clone:
	case SYS_clone3:
	case SYS_rt_sigreturn:
		return -EINVAL;
	default:
		return call_make(nr, a, b, c, d, e, f);
	}
}
