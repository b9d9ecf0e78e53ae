/* SPDX-License-Identifier: MIT
 *
 * The progress bar; see progress.h.
 */
#include "progress.h"

#include "os.h"

#include <stdio.h>
#include <unistd.h>

#define WIDTH 40

static int64_t next_draw;

void progress_show(const char *name, size_t done, size_t total)
{
	static const char full[WIDTH + 1] = "########################################";
	int64_t now = os_now();
	if (now < next_draw || !isatty(STDERR_FILENO))
		return;
	next_draw = now + 100000000;
	int filled = (int)(done * WIDTH / total);
	fprintf(stderr, "\r%-16s [%.*s%*s] %3d%%", name, filled, full, WIDTH - filled, "", (int)(done * 100 / total));
	fflush(stderr);
}

void progress_clear(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	next_draw = 0;
}
