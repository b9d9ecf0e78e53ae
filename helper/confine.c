/* SPDX-License-Identifier: MIT
 *
 * The allow-list. The helper reads and writes what strangers keep on mounts that nobody trusts, on behalf of a process that may
 * have many rights: should it ever be made to do something else, it can start no program, reach no network, look into no other
 * process by ptrace, and map no memory. Files it can open, for that is what it is for, with the rights that it was started with.
 * What is refused fails with EPERM, so that a mistake in this list is an error of one request.
 */
#include "confine.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>

static const int allowed[] = {
        SCMP_SYS(openat),
        SCMP_SYS(close),
        SCMP_SYS(read),
        SCMP_SYS(write),
        SCMP_SYS(pread64),
        SCMP_SYS(pwrite64),
        SCMP_SYS(fsync),
        SCMP_SYS(fdatasync),
        SCMP_SYS(statx),
        SCMP_SYS(getdents64),
        SCMP_SYS(unlinkat),
        SCMP_SYS(renameat2),
        /* threads that wait, signals, the end */
        SCMP_SYS(futex),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
};

static int add_rules(scmp_filter_ctx filter, int last_socket)
{
	/* All 64 bits of the register: more than the kernel looks at, and so no less. */
	const struct scmp_arg_cmp own = SCMP_A0_64(SCMP_CMP_LE, (scmp_datum_t)last_socket, 0);
	int error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), 1, &own);
	if (!error)
		error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1, &own);
	for (size_t i = 0; !error && i < sizeof allowed / sizeof allowed[0]; i++)
		error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
	return error;
}

int confine(int last_socket)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return -ENOMEM;
	int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!error)
		error = add_rules(filter, last_socket);
	if (!error)
		error = seccomp_load(filter);
	seccomp_release(filter);
	return error;
}
