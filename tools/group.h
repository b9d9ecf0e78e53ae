/* SPDX-License-Identifier: MIT
 *
 * The processes that `unstick run` answers for: those of its process group, which its command inherits, but for itself; with --foreground
 * the command alone. Where a shell with job control has put the run into a pipeline, the group holds its neighbours too: those are
 * known by their parent, which is the run's own, and are left alone. A process that has left the group (setsid, a shell's own
 * jobs) is nobody's business here.
 */
#ifndef TOOLS_GROUP_H
#define TOOLS_GROUP_H

#include <stdbool.h>

#include "targets.h"

struct group {
	pid_t id;          /* of the process group; 0: the command alone */
	pid_t command;     /* the child; 0 once it has been reaped */
	bool has_siblings; /* the group is older than the run */
};

/* Before the command is started: makes this process the leader of a group, as timeout(1) does, unless it leads one or `foreground`. */
void group_start(struct group *group, bool foreground);

/* Adds those that live, zombies not, in the order of their numbers. */
void group_list(const struct group *group, struct pid_list *list);

/* Also those that are started meanwhile. All but KILL is followed by CONT, so that what is stopped hears it. */
void group_signal(const struct group *group, int signal);

#endif
