/* SPDX-License-Identifier: MIT
 *
 * Level 0 has a list for each of the next 64 ticks, level 1 for each of the next 64 groups of 64 ticks, and so on. A deadline
 * goes to the level of the highest digit (base 64) in which it differs from the present tick, and to the list of that digit;
 * when the wheel comes to a list of an upper level, its deadlines are inserted anew, and land further down. A moment is
 * rounded up to its tick, so that none expires early.
 */
#include "engine/wheel.h"

static const uint64_t HORIZON = (uint64_t)1 << (WHEEL_SLOT_SHIFT * WHEEL_LEVELS);

static void make_empty(struct wheel_link *head)
{
	head->next = head->prev = head;
}

static bool is_empty(const struct wheel_link *head)
{
	return head->next == head;
}

static uint64_t tick_down(unstick_time t)
{
	return t < 0 ? 0 : (uint64_t)t >> WHEEL_TICK_SHIFT;
}

/* A tick may have another list from now on. */
static void go_to(struct wheel *wheel, uint64_t tick)
{
	wheel->tick = tick;
	wheel->recent_tick = WHEEL_NO_TICK;
}

void wheel_start(struct wheel *wheel, unstick_time now)
{
	go_to(wheel, tick_down(now));
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		wheel->map[level] = 0;
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			make_empty(&wheel->list[level][slot]);
	}
	make_empty(&wheel->never);
}

/* What is due already goes to the list of the present tick: wheel_expired() always begins there. */
void wheel_insert_timed(struct wheel *wheel, struct wheel_link *link)
{
	uint64_t asked = wheel_tick_up(link->when), tick = asked;
	if (tick < wheel->tick)
		tick = wheel->tick;
	uint64_t differs = tick ^ wheel->tick;
	if (differs >= HORIZON) { /* as good as UNSTICK_NEVER: the clock does not come so far */
		wheel_append(&wheel->never, link);
		return;
	}
	unsigned level = differs < WHEEL_SLOTS ? 0 : (unsigned)(63 - __builtin_clzll(differs)) / WHEEL_SLOT_SHIFT;
	unsigned slot = (unsigned)(tick >> (level * WHEEL_SLOT_SHIFT)) % WHEEL_SLOTS;
	wheel->recent_tick = asked;
	wheel->recent = &wheel->list[level][slot];
	wheel_append(wheel->recent, link);
	wheel->map[level] |= (uint64_t)1 << slot;
}

/* The place of a head tells which bit to clear. */
void wheel_emptied(struct wheel *wheel, const struct wheel_link *head)
{
	if (head == &wheel->never)
		return;
	if (head == wheel->recent)
		wheel->recent_tick = WHEEL_NO_TICK;
	size_t index = (size_t)(head - &wheel->list[0][0]);
	wheel->map[index / WHEEL_SLOTS] &= ~((uint64_t)1 << (index % WHEEL_SLOTS));
}

/* The first tick, from the present one on, at which a list that is not empty begins; its level; UINT64_MAX: all are empty. The
 * digits of the levels above are the present ones, so that a lower level always comes first. */
static uint64_t next_tick(const struct wheel *wheel, unsigned *ret_level)
{
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		if (!wheel->map[level])
			continue;
		unsigned slot = (unsigned)__builtin_ctzll(wheel->map[level]);
		unsigned shift = level * WHEEL_SLOT_SHIFT;
		uint64_t above = wheel->tick >> shift >> WHEEL_SLOT_SHIFT << WHEEL_SLOT_SHIFT << shift;
		*ret_level = level;
		return above | (uint64_t)slot << shift;
	}
	return UINT64_MAX;
}

static void spread(struct wheel *wheel, unsigned level)
{
	unsigned slot = (unsigned)(wheel->tick >> (level * WHEEL_SLOT_SHIFT)) % WHEEL_SLOTS;
	struct wheel_link *head = &wheel->list[level][slot], *link;
	while ((link = head->next) != head) {
		wheel_remove(wheel, link);
		wheel_insert(wheel, link, link->when);
	}
}

struct wheel_link *wheel_expired(struct wheel *wheel, unstick_time now)
{
	uint64_t last = tick_down(now), tick;
	unsigned level = 0;
	while ((tick = next_tick(wheel, &level)) <= last) {
		go_to(wheel, tick);
		if (level == 0) {
			struct wheel_link *link = wheel->list[0][tick % WHEEL_SLOTS].next;
			wheel_remove(wheel, link);
			return link;
		}
		spread(wheel, level);
	}
	/* With nothing in between, the present tick may move up to `last`; not past the beginning of a list, which `tick` is. */
	if (last > wheel->tick)
		go_to(wheel, last);
	return NULL;
}

unstick_time wheel_next(const struct wheel *wheel)
{
	unsigned level = 0;
	uint64_t tick = next_tick(wheel, &level);
	return tick > (uint64_t)INT64_MAX >> WHEEL_TICK_SHIFT ? UNSTICK_NEVER : (unstick_time)(tick << WHEEL_TICK_SHIFT);
}

static struct wheel_link *take_list(struct wheel_link *head, struct wheel_link *rest)
{
	if (is_empty(head))
		return rest;
	struct wheel_link *first = head->next;
	head->prev->next = rest;
	make_empty(head);
	return first;
}

struct wheel_link *wheel_take_all(struct wheel *wheel)
{
	wheel->recent_tick = WHEEL_NO_TICK;
	struct wheel_link *all = take_list(&wheel->never, NULL);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		wheel->map[level] = 0;
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			all = take_list(&wheel->list[level][slot], all);
	}
	return all;
}
