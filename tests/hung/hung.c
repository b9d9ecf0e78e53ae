/* SPDX-License-Identifier: MIT
 *
 * The table of what hangs, and what its situations have in common.
 */
#include "hung.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "situations.h"

static const struct hung_situation *const groups[] = {hung_on_fuse, hung_on_ext4, hung_on_loop, hung_on_child};

const struct hung_situation *hung_at(size_t index)
{
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++)
		for (const struct hung_situation *s = groups[g]; s->name != NULL; s++)
			if (index-- == 0)
				return s;
	return NULL;
}

const struct hung_situation *hung_find(const char *name)
{
	const struct hung_situation *s;
	for (size_t i = 0; (s = hung_at(i)) != NULL; i++)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

int hung_make(struct hung *hung, const struct hung_situation *situation)
{
	*hung = (struct hung){.situation = situation, .fd = -1};
	hung->shared = mmap(NULL, sizeof(*hung->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (hung->shared == MAP_FAILED)
		return hung_refuse(hung, "no shared memory", -errno);
	return situation->make(hung);
}

int hung_open(struct hung *hung)
{
	return hung->situation->open != NULL ? hung->situation->open(hung) : 0;
}

long hung_block(struct hung *hung)
{
	return hung->situation->block(hung);
}

void hung_end(struct hung *hung)
{
	hung->situation->end(hung);
}

int hung_open_for(struct hung *hung, int flags)
{
	hung->fd = open(hung->path, flags | O_CLOEXEC);
	return hung->fd < 0 ? -errno : 0;
}

int hung_refuse(struct hung *hung, const char *what, int error)
{
	snprintf(hung->why, sizeof(hung->why), "%s: %s", what, strerror(-error));
	return error;
}

int hung_keep(struct hung *hung, const struct keeper_work *work)
{
	int error = keeper_start(&hung->keeper, work, hung);
	if (error < 0)
		snprintf(hung->why, sizeof(hung->why), "%s", hung->keeper.why);
	return error;
}

void hung_end_keeper(struct hung *hung)
{
	keeper_end(&hung->keeper);
}

/* A request wakes it before the asker goes to sleep; it sleeps again when it has taken all that there are. */
bool hung_is_asked(const struct hung *hung)
{
	char path[40], line[256] = "";
	if (hung->fuse.keeper.pid <= 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)hung->fuse.keeper.pid);
	FILE *stream = fopen(path, "re");
	if (stream == NULL || fgets(line, sizeof(line), stream) == NULL)
		line[0] = '\0';
	if (stream != NULL)
		fclose(stream);
	const char *end = strrchr(line, ')');
	return end != NULL && end[2] == 'S';
}
