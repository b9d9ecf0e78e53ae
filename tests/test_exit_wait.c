/* SPDX-License-Identifier: MIT
 *
 * Which of the waits that no signal seems to end SIGKILL ends: by name, with what compilers append to it, and by system call.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "pool/exit_wait.h"

static bool ends(long nr, const char *wait)
{
	struct unstick_outcome outcome = {.kind = UNSTICK_UNINTERRUPTIBLE, .nr = nr, .state = 'D'};
	snprintf(outcome.wait, sizeof outcome.wait, "%s", wait);
	return exit_wait_ends(&outcome);
}

Test(exit_wait, of_nfs_and_of_daemons_that_must_answer)
{
	cr_assert(ends(SYS_read, "rpc_wait_bit_killable"));
	cr_assert(ends(SYS_read, "nfs_wait_bit_killable"));
	cr_assert(ends(-1, "handle_userfault"));
	cr_assert(ends(SYS_openat, "autofs_wait"));
}

Test(exit_wait, with_what_compilers_append)
{
	cr_assert(ends(SYS_read, "rpc_wait_bit_killable.isra.0"));
	cr_assert(ends(SYS_openat, "autofs_wait.constprop.0"));
	cr_assert(ends(SYS_openat, "fanotify_handle_event.part.0"));
	cr_assert(ends(-1, "handle_userfault.cold"));
}

Test(exit_wait, not_of_functions_that_only_begin_so)
{
	cr_assert_not(ends(SYS_read, "autofs_wait_release"));
	cr_assert_not(ends(SYS_read, "autofs"));
	cr_assert_not(ends(SYS_read, ""));
}

Test(exit_wait, not_where_the_wait_goes_on_or_cannot_be_told)
{
	cr_assert_not(ends(SYS_read, "request_wait_answer"));
	cr_assert_not(ends(SYS_read, "folio_wait_bit_common"));
	cr_assert_not(ends(SYS_read, "0"));
}

Test(exit_wait, for_a_child_that_has_the_memory)
{
	cr_assert(ends(SYS_vfork, "kernel_clone"));
	cr_assert(ends(SYS_clone, "kernel_clone"));
	cr_assert(ends(SYS_clone3, ""));
}
