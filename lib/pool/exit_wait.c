/* SPDX-License-Identifier: MIT */
#include "pool/exit_wait.h"

#include "base/raw.h"
#include "inspect/task.h"

/* Each of them waits killably, and nowhere else. Not in this list: functions that are also waited in uninterruptibly
 * (folio_wait_bit_common, the slow paths of locks), or whose wait goes on after the kill (request_wait_answer, p9_client_rpc). */
static const char *const killable[] = {
        "handle_userfault",      "autofs_wait",           "fanotify_handle_event", "fanotify_get_response", /* fs/ */
        "rpc_wait_bit_killable", "nfs_wait_bit_killable", "nfs4_delay_killable",                            /* NFS */
};

bool exit_wait_ends(const struct unstick_outcome *outcome)
{
	if (outcome->nr == SYS_vfork || outcome->nr == SYS_clone || outcome->nr == SYS_clone3) /* kernel/fork.c: for the child */
		return true;
	for (unsigned i = 0; i < sizeof killable / sizeof killable[0]; i++)
		if (task_waits_in(outcome->wait, killable[i]))
			return true;
	return false;
}
