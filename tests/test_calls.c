/* SPDX-License-Identifier: MIT
 *
 * base/calls.h: what must hold for each entry of the table, and the entries whose verdict is a promise.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include "base/calls.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

Test(calls, finds_by_number)
{
	cr_assert_str_eq(call_find(0)->name, "read");
	cr_assert_str_eq(call_find(202)->name, "futex");
	cr_assert_str_eq(call_find(219)->name, "restart_syscall");
	cr_assert_str_eq(call_find(449)->name, "futex_waitv");
}

Test(calls, knows_no_other_numbers)
{
	static const long unknown[] = {-1, -2, 335, 400, 100000, 0x40000000, (long)1 << 40};

	for (size_t i = 0; i < COUNT(unknown); i++)
		cr_assert_null(call_find(unknown[i]), "%ld", unknown[i]);
	cr_assert_null(call_find(call_limit()));
	cr_assert_not_null(call_find(call_limit() - 1));
}

static int count_fds(const struct call *call)
{
	int count = 0;

	for (const char *at = call->args; *at != '\0'; at++)
		count += *at == 'f';
	return count;
}

static void check_entry(const struct call *call)
{
	const char *name = call->name;
	unsigned flags = call->flags;

	cr_assert_leq(strlen(call->args), 6, "%s", name);
	cr_assert_eq(strspn(call->args, "fFduoxmpstavgi"), strlen(call->args), "%s: a letter that syscalls.def does not list",
	             name);
	cr_assert(call->fd_arg >= -1 && call->fd_arg < (int)strlen(call->args), "%s", name);
	if (call->fd_arg >= 0)
		cr_assert_eq(call->args[call->fd_arg], 'f', "%s", name);
	cr_assert(call->reason[0] != '\0' && strlen(call->reason) < 80, "%s", name);
	if ((flags & CALL_NEVER) != 0 && (flags & CALL_RESTART) == 0)
		cr_assert_eq(call->verdict, CALL_LEAVE, "%s is never, but not left", name);
	if ((flags & CALL_LOCK) != 0)
		cr_assert(flags & CALL_NEVER, "%s is a lock that may be given an errno", name);
	if ((flags & (CALL_EVENT_LOOP | CALL_CHILD | CALL_BY_WAIT | CALL_RESTART)) != 0)
		cr_assert_eq(call->verdict, CALL_EINTR_ONLY, "%s", name);
	if ((flags & (CALL_BY_FD | CALL_FILE_LOCK | CALL_BY_NAME)) != 0)
		cr_assert_geq(call->fd_arg, 0, "%s", name);
	if ((flags & CALL_TWO_FDS) != 0)
		cr_assert_eq(count_fds(call), 2, "%s", name);
}

Test(calls, every_entry_is_consistent)
{
	int entries = 0;

	for (long nr = 0; nr < call_limit(); nr++) {
		const struct call *call = call_find(nr);
		if (call == NULL)
			continue;
		check_entry(call);
		entries++;
	}
	cr_assert_gt(entries, 200);
}

Test(calls, never_an_errno_for_these)
{
	static const long never[] = {
	        SYS_futex,           SYS_futex_waitv,  SYS_futex_wait,      SYS_futex_wake,  SYS_futex_requeue,
	        SYS_close,           SYS_close_range,  SYS_fsync,           SYS_fdatasync,   SYS_sync_file_range,
	        SYS_syncfs,          SYS_sync,         SYS_msync,           SYS_vfork,       SYS_fork,
	        SYS_clone,           SYS_clone3,       SYS_execve,          SYS_execveat,    SYS_exit,
	        SYS_exit_group,      SYS_rt_sigreturn, SYS_rt_sigprocmask,  SYS_sigaltstack, SYS_mmap,
	        SYS_munmap,          SYS_mremap,       SYS_mprotect,        SYS_madvise,     SYS_brk,
	        SYS_set_robust_list, SYS_rseq,         SYS_restart_syscall,
	};

	for (size_t i = 0; i < COUNT(never); i++)
		cr_assert(call_find(never[i])->flags & CALL_NEVER, "%s", call_find(never[i])->name);
}

Test(calls, these_are_rewritten)
{
	static const long rewritten[] = {
	        SYS_read,       SYS_write,        SYS_readv,           SYS_writev,
	        SYS_recvfrom,   SYS_recvmsg,      SYS_recvmmsg,        SYS_sendto,
	        SYS_sendmsg,    SYS_sendmmsg,     SYS_accept,          SYS_accept4,
	        SYS_connect,    SYS_poll,         SYS_ppoll,           SYS_select,
	        SYS_pselect6,   SYS_nanosleep,    SYS_clock_nanosleep, SYS_flock,
	        SYS_fcntl,      SYS_msgsnd,       SYS_msgrcv,          SYS_semop,
	        SYS_semtimedop, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_rt_sigtimedwait,
	        SYS_splice,     SYS_tee,          SYS_vmsplice,        SYS_sendfile,
	};

	for (size_t i = 0; i < COUNT(rewritten); i++) {
		cr_assert_eq(call_find(rewritten[i])->verdict, CALL_REWRITE, "%s", call_find(rewritten[i])->name);
		cr_assert_not(call_find(rewritten[i])->flags & CALL_NEVER, "%s", call_find(rewritten[i])->name);
	}
}

Test(calls, these_get_no_more_than_eintr)
{
	static const long interrupted[] = {
	        SYS_epoll_wait,    SYS_epoll_pwait, SYS_epoll_pwait2,  SYS_io_uring_enter, SYS_io_getevents,
	        SYS_io_pgetevents, SYS_pause,       SYS_rt_sigsuspend, SYS_open,           SYS_openat,
	        SYS_openat2,       SYS_creat,       SYS_wait4,         SYS_waitid,         SYS_restart_syscall,
	};

	for (size_t i = 0; i < COUNT(interrupted); i++)
		cr_assert_eq(call_find(interrupted[i])->verdict, CALL_EINTR_ONLY, "%s", call_find(interrupted[i])->name);
}

Test(calls, the_fd_is_the_low_half_of_its_argument)
{
	const unsigned long high[6] = {0xdeadbeef00000007, 0, 9}, at_cwd[6] = {(unsigned long)AT_FDCWD};

	cr_assert_eq(call_fd(call_find(SYS_read), high), 7);
	cr_assert_eq(call_fd(call_find(SYS_read), at_cwd), -1);
	cr_assert_eq(call_fd(call_find(SYS_openat), high), -1);
	cr_assert_eq(call_fd(call_find(SYS_poll), high), -1);
	cr_assert_eq(call_fd(NULL, high), -1);
	cr_assert_eq(call_second_fd(call_find(SYS_splice), high), 9);
	cr_assert_eq(call_second_fd(call_find(SYS_sendfile), high), 0);
	cr_assert_eq(call_second_fd(call_find(SYS_read), high), -1);
	cr_assert_eq(call_second_fd(NULL, high), -1);
}
