/* SPDX-License-Identifier: MIT
 *
 * Which processes and threads a command line means. What was listed may have ended by the time that it is looked at.
 */
#ifndef TOOLS_TARGETS_H
#define TOOLS_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pid_list {
	pid_t *at;
	size_t count, room;
};

void pid_list_add(struct pid_list *list, pid_t pid);
void pid_list_free(struct pid_list *list);

/* Adds the processes that `word` means, in the order of their numbers: a PID, or a NAME: that of the process (comm), the last
 * part of its argv[0], or of the script that it runs. This process itself is never meant by a name. How many it means; a process that is in the list already is not added again. */
size_t targets_find(struct pid_list *list, const char *word);

/* The process that the number is of: /proc/N answers for a thread N as well, but is not in the listing. 0: none, or it cannot be told. */
pid_t targets_process_of(pid_t tid);

/* All that /proc shows but this one and, without `kernel`, the kernel's own threads. */
void targets_all(struct pid_list *list, bool kernel);

/* The threads of a process, in the order of their numbers. 0 or -errno: -ESRCH when it has ended. */
int targets_threads(struct pid_list *list, pid_t pid);

#endif
