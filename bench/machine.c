/* SPDX-License-Identifier: MIT
 *
 * Describes the machine; see machine.h.
 */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void first_line(const char *path, char *text, size_t size)
{
	snprintf(text, size, "unknown");
	FILE *file = fopen(path, "re");
	if (!file)
		return;
	if (!fgets(text, (int)size, file))
		snprintf(text, size, "unknown");
	text[strcspn(text, "\n")] = '\0';
	fclose(file);
}

/* "model name	: X" and the flag "hypervisor", of the first CPU. */
static void read_cpuinfo(struct machine *machine)
{
	char *line = NULL;
	size_t size = 0;
	snprintf(machine->cpu, sizeof(machine->cpu), "unknown");
	machine->hypervisor = 0;
	FILE *file = fopen("/proc/cpuinfo", "re");
	if (!file)
		return;
	while (getline(&line, &size, file) > 1) {
		char *value = strchr(line, ':');
		line[strcspn(line, "\n")] = '\0';
		if (value && strncmp(line, "model name", 10) == 0)
			snprintf(machine->cpu, sizeof(machine->cpu), "%s", value + (value[1] == ' ' ? 2 : 1));
		if (value && strncmp(line, "flags", 5) == 0)
			machine->hypervisor = strstr(value, " hypervisor") != NULL;
	}
	free(line);
	fclose(file);
}

void machine_describe(struct machine *ret)
{
	struct utsname name;
	double load[1];
	time_t now = time(NULL);
	struct tm broken_down;
	read_cpuinfo(ret);
	ret->cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (uname(&name) == 0)
		snprintf(ret->kernel, sizeof(ret->kernel), "%.24s %.96s %.24s", name.sysname, name.release, name.machine);
	else
		snprintf(ret->kernel, sizeof(ret->kernel), "unknown");
	first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", ret->governor, sizeof(ret->governor));
	first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", ret->clock, sizeof(ret->clock));
	strftime(ret->date, sizeof(ret->date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &broken_down));
	if (getloadavg(load, 1) == 1)
		snprintf(ret->load, sizeof(ret->load), "%.2f", load[0]);
	else
		snprintf(ret->load, sizeof(ret->load), "unknown");
}
