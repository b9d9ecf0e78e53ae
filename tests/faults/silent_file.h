/* SPDX-License-Identifier: MIT
 *
 * A file on a FUSE mount whose daemon says nothing: without libfuse, in a mount namespace of the case's own. It can be opened;
 * reads of it, and look-ups of any name but its own that begins with "h", never end while the daemon lives. When the daemon is
 * killed they end with ENOTCONN. Not tests/silent_fuse.h, which needs criterion. Skips the case where there can be no such mount.
 */
#ifndef TESTS_SILENT_FILE_H
#define TESTS_SILENT_FILE_H

#include <sys/types.h>

struct silent_file {
	pid_t daemon;
	char dir[40];
	char path[48];   /* opens; a read never ends */
	char hidden[48]; /* its look-up never ends */
};

void silent_file_make(struct silent_file *file); /* before there are other threads */
void silent_file_end(struct silent_file *file);  /* the daemon dies */

#endif
