/* SPDX-License-Identifier: MIT
 *
 * `unstick run` with a command that not even SIGKILL ends: it says in what the command waits, leaves it behind, and ends.
 */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#include "hung.h"

static const char name[] = "a command that KILL does not end is named and left behind";

static bool is_gone(pid_t pid)
{
	char state = thread_state(pid, pid);
	return state == '?' || state == 'Z' || state == 'X';
}

int main(void)
{
	static struct ran ran;
	static struct hung hung;
	pid_t pid = 0;

	if (hung_make(&hung, hung_find("fuse-read")) < 0) {
		point_skip(name, hung.why);
		return points_end();
	}
	/* Its fds go with it: command_run() waits for the end of the command's output. */
	command_run(&ran, "run", "--deadline", "1s", "--grace", "100ms", "sh", "-c", "exec cat \"$0\" >/dev/null 2>&1", hung.path,
	            NULL);
	const char *told = strstr(ran.err, ": KILL does not end it: state D in ");
	const char *line = told;
	while (line && line > ran.err && line[-1] != ' ')
		line--;
	if (line)
		pid = (pid_t)atoi(line);
	bool was_there = pid > 0 && !is_gone(pid);
	hung_end(&hung);
	point(told && ran.status == 137 && was_there && COMES_TRUE(is_gone(pid)), name, "status %d, process %d: %s", ran.status,
	      (int)pid, ran.err);
	return points_end();
}
