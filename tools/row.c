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
