/* SPDX-License-Identifier: MIT
 *
 * A progress bar on stderr, if that is a terminal; else nothing at all. Drawn between blocks, at most ten times a second.
 */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include <stddef.h>

void progress_show(const char *name, size_t done, size_t total);
void progress_clear(void);

#endif
