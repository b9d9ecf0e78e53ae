/* SPDX-License-Identifier: MIT
 *
 * Which helpers there are, and how each ends:
 *
 *     STARTING -> RUNS -> LOST -> GONE -> freed
 *                   `-------------^          replaced, and nobody uses it
 *
 * A helper is replaced when it is held up: it takes no opens, and goes on with the files that it has. It is lost when it has ended,
 * was killed, or has sent rubbish. GONE are its fds and its memory here; what is left of the process, if the kernel holds on to it,
 * is no business of this process, which can end without it.
 * And the lock, with the lines for the log, which are written when it has been dropped.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/raw.h"
#include "helper/client.h"
#include "helper/helper.h"
#include "limit/time.h"

enum { MOST_PROCESSES = 64, MOST_REPLACED = 16 };

struct lock start_lock, helper_lock;

static struct helper *helpers;
static uint64_t replaced_ever;

/* ---- the lock, and the log, which is told when it has been dropped: the application's callback may do what it likes */

static struct news {
	enum helper_news what;
	pid_t pid;
} news[8];
static unsigned news_count;

void helper_tell(enum helper_news what, pid_t pid)
{
	if (news_count < sizeof news / sizeof news[0])
		news[news_count++] = (struct news){what, pid};
}

void helper_take_lock(void)
{
	lock_take(&helper_lock);
}

static void print(const struct news *one)
{
	static const char *const texts[] = {
	        [NEWS_STARTED] = "started",
	        [NEWS_REPLACED] =
	                "abandoned: all its channels wait for files that do not answer: another takes what is opened from now on",
	        [NEWS_ENDED] = "has ended: requests that it had end with ECONNRESET, its handles are stale: open their files again",
	        [NEWS_MALFORMED] = "has sent what is no reply, and was killed: see that UNSTICK_HELPER is this version's program",
	        [NEWS_LIMIT] = "not started: too many wait in the kernel already: see to the file system that hangs",
	};
	if (one->pid)
		log_line("unstick: helper %d: %s", (int)one->pid, texts[one->what]);
	else
		log_line("unstick: helper: %s", texts[one->what]);
}

void helper_drop_lock(void)
{
	struct news told[sizeof news / sizeof news[0]];
	unsigned count = news_count;
	for (unsigned i = 0; i < count; i++)
		told[i] = news[i];
	news_count = 0;
	lock_drop(&helper_lock);
	for (unsigned i = 0; i < count; i++)
		print(&told[i]);
}

/* ---- the end */

static void free_due(struct helper *helper)
{
	for (struct handle *handle = helper->due, *next; handle; handle = next) {
		next = handle->next;
		handle_free(handle);
	}
	helper->due = NULL;
}

static void end_stuck(struct helper *helper)
{
	free_due(helper);
	for (unsigned i = 0; i < HELPER_CHANNELS; i++)
		if (helper->channel[i].state == CHANNEL_STUCK)
			channel_finish(helper, &helper->channel[i], -ECONNRESET, true);
}

static void kill_process(const struct helper *helper)
{
	if (helper->pidfd >= 0)
		RAW_4(SYS_pidfd_send_signal, helper->pidfd, SIGKILL, NULL, 0);
}

static bool has_exited(const struct helper *helper)
{
	struct pollfd fd = {.fd = helper->pidfd, .events = POLLIN};
	const struct timespec now = {0};
	return helper->pidfd < 0 || RAW_5(SYS_ppoll, &fd, 1, &now, NULL, 0) > 0;
}

/* Ours to reap only if this process adopts orphans. */
static void forget(struct helper **at)
{
	struct helper *helper = *at;
	siginfo_t info;
	if (helper->pidfd >= 0) {
		RAW_5(SYS_waitid, P_PIDFD, helper->pidfd, &info, WEXITED | WNOHANG, NULL);
		close(helper->pidfd);
	}
	*at = helper->next;
	free(helper);
}

static void forget_those_exited(void)
{
	for (struct helper **at = &helpers; *at;)
		if ((*at)->state == HELPER_GONE && has_exited(*at))
			forget(at);
		else
			at = &(*at)->next;
}

void helper_let_go(struct helper *helper)
{
	helper->state = HELPER_GONE;
	end_stuck(helper);
	kill_process(helper);
	helper_close(helper);
	forget_those_exited();
}

void helper_hold(struct helper *helper)
{
	helper->refs++;
}

void helper_put(struct helper *helper)
{
	bool ends = helper->state == HELPER_LOST || (helper->state == HELPER_RUNS && helper->replaced);
	if (--helper->refs == 0 && ends)
		helper_let_go(helper);
}

static void leave_set(struct helper *helper)
{
	if (helper->set->current == helper)
		helper->set->current = NULL;
	helper->replaced = true;
	replaced_ever++;
}

void helper_lose(struct helper *helper, enum helper_news why)
{
	if (helper->state != HELPER_RUNS)
		return;
	helper->state = HELPER_LOST;
	helper_tell(why, helper->pid);
	if (!helper->replaced)
		leave_set(helper);
	kill_process(helper);
	for (unsigned i = 0; i < HELPER_CHANNELS;
	     i++) /* whoever waits there learns it, even if the kernel holds on to the process */
		RAW_2(SYS_shutdown, helper->channel[i].fd, SHUT_RDWR);
	end_stuck(helper);
	atomic_fetch_add(&helper->freed, 1);
	futex_wake(&helper->freed, INT_MAX);
}

void helper_replace(struct helper *helper)
{
	helper_tell(NEWS_REPLACED, helper->pid);
	leave_set(helper);
}

/* ---- the beginning */

bool helper_may_be_more(void)
{
	unsigned all = 0, replaced = 0;
	forget_those_exited();
	for (struct helper *helper = helpers; helper; helper = helper->next) {
		all++;
		replaced += helper->replaced;
	}
	return all < MOST_PROCESSES && replaced <= MOST_REPLACED;
}

struct helper *helper_new(struct helper_set *set)
{
	struct helper *helper = calloc(1, sizeof *helper);
	if (!helper)
		return NULL;
	helper->set = set;
	helper->refs = 1;
	helper->look = UNSTICK_NEVER;
	helper->pidfd = helper->control = -1;
	for (unsigned i = 0; i < HELPER_CHANNELS; i++)
		helper->channel[i].fd = -1;
	helper->next = helpers;
	helpers = helper;
	return helper;
}

bool helper_any_replaced(const struct helper_set *set)
{
	bool any = false;
	for (const struct helper *helper = helpers; helper; helper = helper->next)
		any |= helper->set == set && helper != set->current;
	return any;
}

/* ---- late replies */

struct helper *helper_due(unstick_time now)
{
	struct helper *helper = helpers;
	while (helper && !(helper->state == HELPER_RUNS && helper->look <= now))
		helper = helper->next;
	return helper;
}

unstick_time helper_next_look(void)
{
	unstick_time due = UNSTICK_NEVER;
	for (struct helper *helper = helpers; helper; helper = helper->next)
		due = helper->state == HELPER_RUNS ? time_min(due, helper->look) : due;
	return due;
}

/* ---- stats, forks */

void helper_stats(unsigned *now, uint64_t *abandoned)
{
	helper_take_lock();
	forget_those_exited();
	*now = 0;
	for (struct helper *helper = helpers; helper; helper = helper->next)
		*now += helper->state == HELPER_STARTING || helper->state == HELPER_RUNS;
	*abandoned = replaced_ever;
	helper_drop_lock();
}

/* The parent's: closed here, so that each ends with the parent, and stale. What is mapped was not inherited. */
static void disown(struct helper *helper)
{
	helper->state = HELPER_LOST;
	helper->replaced = true;
	helper->memory = NULL;
	if (helper->pidfd >= 0)
		close(helper->pidfd);
	helper->pidfd = -1;
	helper_close(helper);
	free_due(helper);
	for (unsigned i = 0; i < HELPER_CHANNELS; i++)
		if (helper->channel[i].state != CHANNEL_FREE)
			channel_finish(helper, &helper->channel[i], -ECONNRESET, true);
	if (!helper->refs)
		helper->state = HELPER_GONE;
}

void helper_disown_all(void)
{
	news_count = 0;
	for (struct helper *helper = helpers; helper; helper = helper->next)
		disown(helper);
}
