/* SPDX-License-Identifier: MIT
 *
 * With which rights a thread opens files: what a helper must have, too, to be used by it. Read from /proc, because a thread may
 * have others than its process (setfsuid(2), capset(2), unshare(2)); without /proc nothing is known, and nothing is served.
 */
#ifndef UNSTICK_HELPER_IDENTITY_H
#define UNSTICK_HELPER_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { IDENTITY_GROUPS = 2048, IDENTITY_LABEL = 512, IDENTITY_NAME = 32 };

struct identity {
	uint64_t euid, fsuid, egid, fsgid;
	uint64_t capabilities; /* the effective ones */
	uint64_t umask;
	uint64_t no_new_privs, seccomp,
	        filters;              /* as the thread has been confined; 0 where the kernel does not tell (5.9 tells all) */
	char groups[IDENTITY_GROUPS]; /* as /proc has them */
	char label[IDENTITY_LABEL];   /* of a security module; "" without one */
	/* Of a thread of this process only: which tree its paths begin in. */
	uint64_t root_dev, root_inode, root_mount;
	char mounts[IDENTITY_NAME], users[IDENTITY_NAME]; /* its namespaces */
};

/* The calling thread's. 0; -ENOENT and the like without /proc; -EOVERFLOW: too many groups, or too long a label, to compare; -EMFILE and the like. */
int identity_of_thread(struct identity *ret);
/* Another process's, without the tree. */
int identity_of_process(pid_t pid, struct identity *ret);
/* Does such an error say that fds or memory are short, and nothing of the rights? */
bool identity_may_be_read_later(int error);

/* The same rights to what is open; and, with `also_umask`, to what is made. The tree counts. */
bool identity_equal(const struct identity *a, const struct identity *b, bool also_umask);
bool identity_same_tree(const struct identity *a, const struct identity *b);
/* The same but for the tree, which a program is started in; the process may be confined further. NULL, or what differs. */
const char *identity_difference(const struct identity *thread, const struct identity *process);

#endif
