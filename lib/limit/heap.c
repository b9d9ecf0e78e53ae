/* SPDX-License-Identifier: MIT */
#include "limit/heap.h"

#include <errno.h>
#include <stdlib.h>

static struct unstick_token **slot; /* slot[0] is unused: children of i are 2i and 2i + 1 */
static size_t count, capacity;

static void put(struct unstick_token *token, size_t place)
{
	slot[place] = token;
	token->place = place;
}

static void sift_up(struct unstick_token *token, size_t place)
{
	for (; place > 1 && slot[place / 2]->deadline > token->deadline; place /= 2)
		put(slot[place / 2], place);
	put(token, place);
}

static void sift_down(struct unstick_token *token, size_t place)
{
	for (size_t child; (child = 2 * place) <= count; place = child) {
		if (child < count && slot[child + 1]->deadline < slot[child]->deadline)
			child++;
		if (slot[child]->deadline >= token->deadline)
			break;
		put(slot[child], place);
	}
	put(token, place);
}

static int reserve(void)
{
	if (count + 1 < capacity)
		return 0;
	size_t larger = capacity ? 2 * capacity : 64;
	struct unstick_token **moved = realloc(slot, larger * sizeof *moved);
	if (!moved)
		return -ENOMEM;
	slot = moved;
	capacity = larger;
	return 0;
}

void heap_remove(struct unstick_token *token)
{
	size_t place = token->place;
	struct unstick_token *last = slot[count--];
	token->place = 0;
	if (last == token)
		return;
	if (place > 1 && slot[place / 2]->deadline > last->deadline)
		sift_up(last, place);
	else
		sift_down(last, place);
}

int heap_set(struct unstick_token *token, unstick_time deadline)
{
	if (token->place)
		heap_remove(token);
	token->deadline = deadline;
	if (deadline == UNSTICK_NEVER)
		return 0;
	int error = reserve();
	if (!error)
		sift_up(token, ++count);
	return error;
}

struct unstick_token *heap_first(void)
{
	return count ? slot[1] : NULL;
}
