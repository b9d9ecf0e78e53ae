/* SPDX-License-Identifier: MIT
 *
 * Second looks. A poke can come to nothing: the thread was not in the call yet, a handler lay on top, the code makes the call
 * again. So while a fired scope is open the monitor looks again: after 1 ms, then with gaps that double to 100 ms while
 * nothing changes; when a call has taken its error the next look comes after 1 ms again, because the code may have gone on
 * into the next one. D state, locks and stops are states, not verdicts: they are looked at as long as the scope is open.
 */
#include "wake/second_look.h"

#include "base/log.h"
#include "wake/outcome.h"
#include "wake/poke.h"

static const unstick_time FIRST_GAP = 1 * TIME_NS_PER_MS, LAST_GAP = 100 * TIME_NS_PER_MS, BUDGET = 1 * TIME_NS_PER_MS;

static unstick_time looks_end; /* of this pass */

/* An operator should know, once a scope, that our signal does not reach a thread. */
static void tell_obstacle(struct unstick_thread *thread)
{
	struct unstick_outcome outcome;
	char line[200];
	outcome_load(&thread->outcome, &outcome);
	if (outcome.kind != UNSTICK_HANDLER_REPLACED && outcome.kind != UNSTICK_SIGNAL_BLOCKED)
		return;
	thread->look.obstacle_told = true;
	unstick_outcome_print(&outcome, line, sizeof line);
	log_line("unstick: %s", line);
}

/* Returns the next moment to look at it. */
static unstick_time look_again(struct unstick_thread *thread, uint64_t state, unstick_time now)
{
	struct second_look *look = &thread->look;
	bool progress = false;
	enum poke_result result = poke_thread(thread, state, POKE_AGAIN, &progress);
	if (result == POKE_LEFT && !look->obstacle_told)
		tell_obstacle(thread);
	look->gap = progress ? FIRST_GAP : time_min(2 * look->gap, LAST_GAP);
	look->at = now + look->gap;
	return look->at;
}

static unstick_time watch_over(struct unstick_thread *thread, uint64_t state, unstick_time now)
{
	uint64_t generation = state >> STATE_GENERATION_SHIFT;
	if (thread->look.generation != generation)
		thread->look = (struct second_look){.generation = generation, .gap = FIRST_GAP, .at = now + FIRST_GAP};
	if (thread->look.at > now || unstick_now() >= looks_end)
		return thread->look.at;
	return look_again(thread, state, now);
}

static unstick_time scan_thread(struct unstick_thread *thread, unstick_time now)
{
	bool progress;
	uint64_t state = thread_state(thread);
	if (!(state & STATE_ARMED))
		return UNSTICK_NEVER;
	if (state & STATE_FIRED)
		return watch_over(thread, state, now);
	/* Of this generation, or of a later one whose begin will have found the alarm late, and rung. */
	unstick_time deadline = atomic_load_explicit(&thread->deadline, memory_order_relaxed);
	if (deadline > now)
		return deadline;
	poke_thread(thread, state, POKE_FIRST, &progress);
	return now + FIRST_GAP;
}

/* Looking at ten thousand stuck threads takes longer than the first gap. Deadlines are seen to in every pass; of the second
 * looks, as many as BUDGET allows, and then the others of this machine have at least as much time. */
unstick_time second_look_scan(unstick_time now)
{
	unstick_time due = UNSTICK_NEVER;
	looks_end = now + BUDGET;
	for (struct unstick_thread *thread = atomic_load(&thread_registry); thread; thread = thread->next)
		due = time_min(due, scan_thread(thread, now));
	return due <= now ? time_add(unstick_now(), BUDGET) : due;
}
