/* SPDX-License-Identifier: MIT
 *
 * The table of situations: one order, one way to find them. The situations themselves are in situations_*.c.
 */
#include <string.h>

#include "place.h"

static const struct situation *const groups[] = {
        situations_fd,    situations_net,  situations_file, situations_ipc, situations_wait,
        situations_futex, situations_lock, situations_libc, situations_odd,
};

const struct situation *situation_at(size_t index)
{
	for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
		for (const struct situation *s = groups[g]; s->name; s++)
			if (index-- == 0)
				return s;
	return NULL;
}

const struct situation *situation_find(const char *name)
{
	const struct situation *s;
	for (size_t i = 0; (s = situation_at(i)); i++)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

bool situation_has(const struct situation *situation, enum stuck_way way)
{
	switch (way) {
	case STUCK_FOREIGN:
		return true;
	case STUCK_RETRY:
		return !(situation->flags & STUCK_NO_RETRY);
	case STUCK_OWN:
		return situation->own != NULL;
	}
	return false;
}

bool situation_has_nr(const struct situation *situation, long nr)
{
	const size_t count = sizeof situation->nr / sizeof *situation->nr;
	for (size_t i = 0; i < count && (i == 0 || situation->nr[i]); i++)
		if (situation->nr[i] == nr)
			return true;
	return false;
}

const char *stuck_way_name(enum stuck_way way)
{
	static const char *const names[] = {[STUCK_FOREIGN] = "foreign", [STUCK_RETRY] = "retry", [STUCK_OWN] = "own"};
	return names[way];
}
