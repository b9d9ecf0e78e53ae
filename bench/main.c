/* SPDX-License-Identifier: MIT
 *
 * unstick-bench: what unstick costs and how fast it frees threads, measured beside what a program would use without it.
 * Options only; the measuring is in harness.c and b_*.c. Exit status: 0 done; 1 --check found a bound missed; 2 failure.
 */
#include "harness.h"
#include "machine.h"
#include "os.h"
#include "output.h"

#include <unstick.h>

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
	struct bench_config config;
	const char *only; /* NULL: all */
	const char *plot, *raw;
	bool json, check;
};

static const char help[] = "Usage: unstick-bench [OPTION]...\n"
                           "Measures how fast unstick frees blocked threads and what it costs when nothing\n"
                           "blocks, interleaved in one run with the ways that programs use without it.\n"
                           "\n"
                           "  --only NAME[,NAME]  run these benchmarks only (default: all, 5 to 6 min)\n"
                           "  --list              list the benchmarks\n"
                           "  --repeat N          runs; figures are medians over them (default 5)\n"
                           "  --json              one JSON document instead of tables\n"
                           "  --raw FILE          write every sample to FILE, tab-separated\n"
                           "  --plot FILE.svg     draw the distributions with gnuplot\n"
                           "  --check             exit 1, with a line each, if a bound is missed beyond the\n"
                           "                      A/A noise\n"
                           "  --pin               canceller on CPU 0, stuck threads on CPU 1\n"
                           "  --quick             small sizes: tests the program, the figures mean little\n"
                           "  --help, --version\n"
                           "\n"
                           "RATIO is to the first line of a table, its baseline. A/A is the baseline to\n"
                           "itself: ratios inside that range are noise.\n";

static void list_benchmarks(void)
{
	for (size_t i = 0; i < benchmark_count; i++)
		printf("%-16s %s\n", benchmarks[i]->name, benchmarks[i]->summary);
}

static unsigned parse_repeat(const char *text)
{
	char *rest;
	errno = 0;
	unsigned long value = strtoul(text, &rest, 10);
	if (errno || rest == text || *rest || text[0] == '-' || value < 1 || value > 1000)
		die("--repeat", "not a number from 1 to 1000", "give how many runs to make, such as 5");
	return (unsigned)value;
}

enum {
	OPTION_ONLY = 256,
	OPTION_LIST,
	OPTION_REPEAT,
	OPTION_JSON,
	OPTION_RAW,
	OPTION_PLOT,
	OPTION_CHECK,
	OPTION_PIN,
	OPTION_QUICK,
	OPTION_HELP,
	OPTION_VERSION
};

static const struct option options[] = {
        {"only", required_argument, NULL, OPTION_ONLY},     {"list", no_argument, NULL, OPTION_LIST},
        {"repeat", required_argument, NULL, OPTION_REPEAT}, {"json", no_argument, NULL, OPTION_JSON},
        {"raw", required_argument, NULL, OPTION_RAW},       {"plot", required_argument, NULL, OPTION_PLOT},
        {"check", no_argument, NULL, OPTION_CHECK},         {"pin", no_argument, NULL, OPTION_PIN},
        {"quick", no_argument, NULL, OPTION_QUICK},         {"help", no_argument, NULL, OPTION_HELP},
        {"version", no_argument, NULL, OPTION_VERSION},     {0},
};

static void take_option(struct command *command, int option)
{
	switch (option) {
	case OPTION_ONLY:
		command->only = optarg;
		break;
	case OPTION_REPEAT:
		command->config.repeat = parse_repeat(optarg);
		break;
	case OPTION_JSON:
		command->json = true;
		break;
	case OPTION_RAW:
		command->raw = optarg;
		break;
	case OPTION_PLOT:
		command->plot = optarg;
		break;
	case OPTION_CHECK:
		command->check = true;
		break;
	case OPTION_PIN:
		command->config.pin = true;
		break;
	case OPTION_QUICK:
		command->config.quick = true;
		break;
	case OPTION_LIST:
		list_benchmarks();
		exit(0);
	case OPTION_HELP:
		fputs(help, stdout);
		exit(0);
	case OPTION_VERSION:
		printf("unstick-bench %s, libunstick %s\n", UNSTICK_VERSION, unstick_version());
		exit(0);
	default:
		die("options", "not understood, see above", "try --help");
	}
}

static struct command parse(int argc, char **argv)
{
	struct command command = {0};
	int option;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(&command, option);
	if (optind < argc)
		die(argv[optind], "not an option", "name benchmarks with --only, see --list");
	if (command.config.repeat == 0)
		command.config.repeat = command.config.quick ? 2 : 5;
	return command;
}

static bool names_contain(const char *names, const char *name)
{
	size_t length = strlen(name);
	for (const char *at = names; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	}
	return false;
}

static void check_names(const char *names)
{
	char *copy = strdup(names), *rest = NULL;
	if (!copy)
		die_errno("memory", ENOMEM);
	for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		bool known = false;
		for (size_t i = 0; i < benchmark_count; i++)
			known |= strcmp(benchmarks[i]->name, name) == 0;
		if (!known)
			die(name, "no such benchmark", "see --list for their names");
	}
	free(copy);
}

static void pin_canceller(void)
{
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		die("--pin", strerror(errno), "leave it out: it needs CPU 0 and CPU 1");
}

static FILE *open_raw(const char *path)
{
	FILE *file = path ? fopen(path, "we") : NULL;
	if (path && !file)
		die_errno(path, errno);
	if (file)
		output_raw_heading(file);
	return file;
}

/* Only what a later output needs is kept: the plot needs all results at once. */
static unsigned run_all(const struct command *command, FILE *raw)
{
	struct bench_result *results = os_alloc(benchmark_count, sizeof(*results));
	size_t count = 0;
	unsigned missed = 0;
	for (size_t i = 0; i < benchmark_count; i++) {
		if (command->only && !names_contain(command->only, benchmarks[i]->name))
			continue;
		struct bench_result *result = &results[count++];
		harness_run(benchmarks[i], &command->config, result);
		(command->json ? output_json : output_table)(result);
		if (raw)
			output_raw(raw, result);
		missed += command->check ? output_check(result) : 0;
	}
	if (command->plot && count > 0)
		output_plot(command->plot, results, count);
	for (size_t i = 0; i < count; i++)
		harness_result_free(&results[i]);
	free(results);
	return missed;
}

int main(int argc, char **argv)
{
	struct command command = parse(argc, argv);
	struct machine machine;
	if (command.only)
		check_names(command.only);
	FILE *raw = open_raw(command.raw);
	machine_describe(&machine);
	if (command.config.pin)
		pin_canceller();
	(command.json ? output_json_begin : output_table_machine)(&machine, &command.config);
	unsigned missed = run_all(&command, raw);
	if (command.json)
		output_json_end();
	if (raw && fclose(raw) != 0)
		die_errno(command.raw, errno);
	if (fflush(stdout) != 0)
		die_errno("stdout", errno);
	return missed > 0 ? 1 : 0;
}
