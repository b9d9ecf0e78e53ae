/* SPDX-License-Identifier: MIT
 *
 * The header alone, first, without _GNU_SOURCE, as -std=c11 -pedantic (and whatever else the build compiles this file with): it must
 * bring what it needs, and every declaration must be usable. Compiled and linked; run, it does next to nothing.
 */
#include <unstick.h>

#include <stdio.h>

typedef void (*function)(void);

static const function all[] = {
        (function)unstick_now,
        (function)unstick_after_ns,
        (function)unstick_after_ms,
        (function)unstick_init,
        (function)unstick_signal,
        (function)unstick_version,
        (function)unstick_token_new,
        (function)unstick_token_ref,
        (function)unstick_token_unref,
        (function)unstick_token_cancel,
        (function)unstick_token_set_deadline,
        (function)unstick_token_error,
        (function)unstick_token_wait,
        (function)unstick_token_fd,
        (function)unstick_token_watch,
        (function)unstick_watch_free,
        (function)unstick_scope_begin,
        (function)unstick_scope_start,
        (function)unstick_scope_end,
        (function)unstick_scope_allow,
        (function)unstick_check,
        (function)unstick_shield_begin,
        (function)unstick_shield_end,
        (function)unstick_outcome_print,
        (function)unstick_kind_name,
        (function)unstick_look,
        (function)unstick_thread_self,
        (function)unstick_thread_find,
        (function)unstick_thread_ref,
        (function)unstick_thread_unref,
        (function)unstick_thread_tid,
        (function)unstick_thread_interrupt,
        (function)unstick_thread_outcome,
        (function)unstick_read,
        (function)unstick_readv,
        (function)unstick_pread,
        (function)unstick_write,
        (function)unstick_writev,
        (function)unstick_pwrite,
        (function)unstick_recv,
        (function)unstick_recvfrom,
        (function)unstick_recvmsg,
        (function)unstick_send,
        (function)unstick_sendto,
        (function)unstick_sendmsg,
        (function)unstick_accept4,
        (function)unstick_connect,
        (function)unstick_openat,
        (function)unstick_poll,
        (function)unstick_ppoll,
        (function)unstick_select,
        (function)unstick_epoll_wait,
        (function)unstick_nanosleep,
        (function)unstick_clock_nanosleep,
        (function)unstick_flock,
        (function)unstick_fcntl_lock,
        (function)unstick_syscall,
        (function)unstick_posix,
};

int main(void)
{
	int error;
	size_t i;
	printf("1..1\n");
	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		if (!all[i])
			return 1;
	{
		UNSTICK_SCOPE(scope, NULL, UNSTICK_NEVER);
		error = unstick_scope_end(&scope);
	}
	printf("%s 1 - the header is whole\n", error ? "not ok" : "ok");
	return error != 0;
}
