/* SPDX-License-Identifier: MIT
 *
 * See row.h.
 */
#include "row.h"

#include <stdio.h>
#include <string.h>

#include "base/calls.h"
#include "base/text.h"
#include "decode.h"
#include "inspect/task.h"
#include "object.h"
#include "process.h"

bool row_is_blocked(const struct row *row)
{
	return row->report.nr >= -1 && row->report.expect != UNSTICK_GONE;
}

const char *row_free(const struct row *row)
{
	return row->report.freeable > 0 ? "yes" : row->report.freeable == 0 ? "no" : "?";
}

const char *row_call(const struct row *row)
{
	if (row->report.call[0])
		return row->report.call;
	if (row->report.expect == UNSTICK_GONE)
		return "(ended)";
	return row->report.nr == -1 ? "(page fault)" : row->report.nr == -2 ? "(running)" : "?";
}

static void name_holder(struct row *row, const struct holder *holder)
{
	char name[16] = "";

	row->holder = holder->pid;
	row->holder_is = holder->is;
	if (holder->pid == 0)
		return;
	task_name(holder->pid, holder->pid, name);
	if (holder->more)
		snprintf(row->holder_text, sizeof(row->holder_text), "%d (%s) +%u", (int)holder->pid, name, holder->more);
	else
		snprintf(row->holder_text, sizeof(row->holder_text), "%d (%s)", (int)holder->pid, name);
}

const char *row_why(const struct row *row)
{
	const struct call *call = call_find(row->report.nr);

	if (row->report.freeable <= 0)
		return row->report.why;
	return call && call->verdict == CALL_EINTR_ONLY ? "with EINTR only" : "";
}

/* What was left alone for what it is done to. */
static const char *code_left_alone(const struct row *row)
{
	return row->report.nr == -3 ? "kernel" : strstr(row->report.why, "regular file") ? "file" : "must end";
}

const char *row_code(const struct row *row)
{
	static const char *const codes[] = {
	        [UNSTICK_LOCK] = "lock",        [UNSTICK_EVENT_LOOP] = "loop",        [UNSTICK_STOPPED] = "stopped",
	        [UNSTICK_NOT_BLOCKED] = "runs", [UNSTICK_NOT_INSPECTABLE] = "unseen", [UNSTICK_GONE] = "ended",
	};
	int kind = row->report.expect;

	if (row->report.freeable > 0)
		return row_why(row)[0] ? "EINTR" : "";
	if (kind == UNSTICK_UNINTERRUPTIBLE)
		return row->report.state == 'D' ? "D state" : "kernel";
	if (kind == UNSTICK_WOKEN)
		return "seccomp";
	if (kind == UNSTICK_LEFT_ALONE)
		return code_left_alone(row);
	return kind >= 0 && (size_t)kind < sizeof(codes) / sizeof(codes[0]) && codes[kind] ? codes[kind] : "other";
}

void row_explain_process(struct row *row, const struct row *before)
{
	if (before && before->report.pid == row->report.pid) {
		memcpy(row->user, before->user, sizeof(row->user));
		memcpy(row->command, before->command, sizeof(row->command));
	} else {
		process_user(row->report.pid, row->user, sizeof(row->user));
		process_command(row->report.pid, row->command, sizeof(row->command));
	}
}

void row_explain(struct row *row)
{
	struct text arguments, object;
	struct holder holder = {0};

	text_start(&arguments, row->arguments, sizeof(row->arguments));
	text_start(&object, row->object, sizeof(row->object));
	if (row->report.nr < 0)
		return;
	decode_arguments(row->report.pid, row->report.nr, row->report.args, &arguments);
	object_describe(row->report.pid, row->report.nr, row->report.args, &object, &holder);
	name_holder(row, &holder);
}
