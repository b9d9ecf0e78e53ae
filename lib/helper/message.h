/* SPDX-License-Identifier: MIT
 *
 * A call as a request on a channel. Inside lib/helper only.
 */
#ifndef UNSTICK_HELPER_MESSAGE_H
#define UNSTICK_HELPER_MESSAGE_H

#include "helper/client.h"
#include "helper/helper.h"

/* The fds that go with a call's requests: they stay whose they are. */
struct passing {
	int fds[2];
	unsigned count;
};

/* Does fd[which] count, and is it a handle? */
bool call_names_handle(const struct helper_call *call, unsigned which);

/* Does one of its paths begin at the working directory? */
bool call_uses_cwd(const struct helper_call *call);
/* 0; -EBADF. */
int passing_collect(const struct helper_call *call, struct passing *passing);
/* Under the lock: the channel's `asked`, with the handles that it uses and makes. `moved` bytes have been moved before. 0; -EMFILE. */
int message_fill(const struct helper_call *call, struct helper *helper, struct channel *channel, size_t moved, uint32_t length);
void message_copy_paths(const struct helper_call *call, const struct helper_request *asked, struct helper_message *message);
/* Between the window and the caller's memory, from its byte `from` on. */
void message_copy_data(const struct helper_call *call, size_t from, unsigned char *window, size_t size, bool into_window);
/* What the helper has put into the window, which is not believed. Not under the lock. */
long message_take_data(const struct helper_call *call, struct helper *helper, const struct channel *channel, size_t moved,
                       long result);

#endif
