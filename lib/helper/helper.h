/* SPDX-License-Identifier: MIT
 *
 * A helper process as its application sees it: its sockets, its memory, what is under way in it. Inside lib/helper only; what the
 * engine calls is client.h.
 *
 * All fields are under helper_lock, with these exceptions. `channel[]` while BUSY: `asked` and the window are the caller's that
 * took it. `freed` is a futex. From STARTING to RUNS the fields that start.c fills are the starting thread's, and its fds are
 * written under start_lock, which a fork takes, so that a child knows what it has to close.
 * Order: start_lock, then helper_lock, which nobody holds over a call that waits.
 */
#ifndef UNSTICK_HELPER_HELPER_H
#define UNSTICK_HELPER_HELPER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/lock.h"
#include "helper/client.h"
#include "helper/handles.h"
#include "helper/identity.h"
#include "helper/protocol.h"
#include "unstick.h"

enum channel_state {
	CHANNEL_FREE,
	CHANNEL_BUSY,  /* a caller waits for its reply, or is about to */
	CHANNEL_STUCK, /* the caller has gone: nobody waits for its reply, which must come before the channel is used again */
};

struct channel {
	int fd;
	enum channel_state state;
	unstick_time since; /* BUSY or STUCK */
	unsigned char *window;
	struct helper_request asked; /* the request whose reply is outstanding */
	struct handle *used[2];      /* the handles that it names; NULL: none */
	struct handle *made;         /* an open's; a close's: the one that goes */
};

enum helper_state {
	HELPER_STARTING,
	HELPER_RUNS,
	HELPER_LOST, /* has ended, or been ended: its handles are stale; requests that it had learn it on their channels */
	HELPER_GONE, /* nobody uses it any more; waits for the kernel to let go of it */
};

struct helper_set;

struct helper {
	struct helper *next; /* of all */
	struct helper_set *set;
	enum helper_state state;
	bool replaced;   /* takes no opens: another has its place */
	int start_error; /* what became of STARTING */
	unsigned refs;   /* calls that wait for it or are in it, open handles */
	pid_t pid;
	int pidfd, control;
	uint64_t last_id;
	struct handle *due; /* closing, and the helper has not been told yet: no channel was free, or no memory */
	unstick_time look;  /* when the monitor is to look for late replies, and to tell; UNSTICK_NEVER: nothing is expected */
	_Atomic uint32_t freed;
	void *memory;
	struct channel channel[HELPER_CHANNELS];
};

/* The threads whose rights are the same, and their helper. */
struct helper_set {
	struct helper_set *next;
	struct helper *current; /* takes the opens; NULL: none */
	unsigned refs;          /* calls that were begun with it */
	unsigned
	        refusals; /* helpers that had other rights. Once, another thread may have changed those of all; often, there can be none */
	struct identity identity;
};

extern struct lock start_lock, helper_lock;

/* What the log is to be told once the lock has been dropped. */
enum helper_news { NEWS_STARTED, NEWS_REPLACED, NEWS_ENDED, NEWS_MALFORMED, NEWS_LIMIT };
void helper_tell(enum helper_news news, pid_t pid);
void helper_take_lock(void);
void helper_drop_lock(void);

/* ---- start.c */

/* Starts the program for a thread with these rights, and waits until it is ready: 0; -errno, after a line to the log. What it
 * filled in is the caller's to release in both cases. A scope of the calling thread cuts the wait short. */
int helper_start(struct helper *helper, const struct identity *identity);
/* Closes its fds, gives back its memory; not its pidfd. */
void helper_close(struct helper *helper);

/* ---- channel.c; under the lock */

/* Looks at the late replies first. NULL: none is free. The channel's `asked` is to be filled, but for version and id. */
struct channel *channel_take(struct helper *helper);
/* Its reply has come, or its helper is lost (result -ECONNRESET): handles are made, given back, closed; it is free. `late`:
 * nobody wants what it made. */
void channel_finish(struct helper *helper, struct channel *channel, long result, bool late);
/* Its caller goes without a reply. */
void channel_leave(struct helper *helper, struct channel *channel);
/* Sleeps until one may be free, for a moment. The lock is dropped meanwhile. 0, or what cut the sleep short. */
int channel_await(struct helper *helper);
/* Closes a handle whose last use has ended, as soon as there is a channel, and memory for the request. */
void channel_close_due(struct helper *helper, struct handle *handle);
/* Nothing has been free, and nothing has been answered, for so long that it will not do to wait. */
bool channels_are_held_up(const struct helper *helper);
/* Late replies, if there are any. */
void channels_look(struct helper *helper);

/* Closes as many of those due as there are channels for. False: the rest waits for memory. */
bool channels_close_due(struct helper *helper);

/* ---- late.c; under the lock: a channel is stuck, or a handle is due */
void late_expect(struct helper *helper);

struct answer {
	long result;  /* the reply's; -ECONNRESET, -EPROTO: the helper is lost */
	bool cut;     /* no reply: a scope of the calling thread has cut the wait short */
	bool goes_on; /* HELPER_GOES_ON */
	bool unsent; /* certainly not carried out: the helper had ended before (-ECONNRESET), or the kernel did not send it (-ENOBUFS) */
};
/* Without the lock: the message goes out, its reply is waited for. Then the channel is to be finished, or, cut, left. */
struct answer channel_ask(struct helper *helper, struct channel *channel, struct helper_message *message, const int *passed);
/* So it is; the reference to the helper goes. The result; an open's: the number of its handle. */
long channel_end(struct helper *helper, struct channel *channel, const struct answer *answer);

/* ---- close.c; without the lock */

long handle_close(int number);

/* ---- life.c; under the lock */

/* False: too many live, or wait in the kernel. */
bool helper_may_be_more(void);
/* STARTING, with a reference. NULL: no memory. */
struct helper *helper_new(struct helper_set *set);
/* Has the set others than its current one? */
bool helper_any_replaced(const struct helper_set *set);
void helper_hold(struct helper *helper);
/* The last one lets it go, if it was replaced or lost. */
void helper_put(struct helper *helper);
/* Nobody has a reference. */
void helper_let_go(struct helper *helper);
/* No more opens for it. */
void helper_replace(struct helper *helper);
/* It has ended, or is ended now. The caller has a reference to it, or sees to it that somebody has. */
void helper_lose(struct helper *helper, enum helper_news why);
/* One whose moment for a look has come, or NULL; the earliest of those moments. */
struct helper *helper_due(unstick_time now);
unstick_time helper_next_look(void);
/* In a forked child: they are the parent's. */
void helper_disown_all(void);

/* ---- set.c; under the lock */

/* The set of an identity, with a reference. 0; -ENOMEM; -EAGAIN: too many. */
int set_find(const struct identity *identity, struct helper_set **ret);
void set_drop(struct helper_set *set);
enum { SET_NEEDS_RIGHT = 1 };
/* Its helper, with a reference. If there is none, or it is held up, one is started, for which the lock is dropped meanwhile. If it is not
 * known whether the calling thread may: SET_NEEDS_RIGHT. If it may not, because its rights are others: the one that is held up, or
 * -EAGAIN. Other errors are of the start; -ECANCELED, -ETIMEDOUT: cut short. */
int set_helper(struct helper_set *set, enum start_right right, struct helper **ret);

#endif
