/* SPDX-License-Identifier: MIT */
#ifndef UNSTICK_CONFINE_H
#define UNSTICK_CONFINE_H

/* From now on, for all threads of the process: the file calls that the helper is for, messages on fds up to `last_socket`, and what
 * its threads need; all else fails with EPERM. There is no way back. 0 or -errno. */
int confine(int last_socket);

#endif
