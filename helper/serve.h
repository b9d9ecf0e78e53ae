/* SPDX-License-Identifier: MIT
 *
 * One request, carried out.
 */
#ifndef UNSTICK_SERVE_H
#define UNSTICK_SERVE_H

#include <stdatomic.h>

#include "helper/protocol.h"

/* The files that the application has open here; -1: none. Which request comes to which slot is the application's to see to: it
 * neither closes a slot that another request of its own uses, nor opens one that is taken. */
struct files {
	_Atomic int fd[HELPER_SLOTS];
};

void files_start(struct files *files);

/* `message` has been found valid; `passed` are the fds that came with it, which stay the caller's to close. *reply is filled. */
void serve(struct files *files, const struct helper_message *message, const int passed[2], void *window,
           struct helper_reply *reply);

#endif
