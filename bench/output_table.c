/* SPDX-License-Identifier: MIT
 *
 * The table for people. Each ratio stands beside the A/A ratio of the same runs, so that nobody reads noise as a result.
 */
#include "output.h"

#include "os.h"

#include <unstick.h>

#include <libsmartcols.h>
#include <math.h>
#include <errno.h>
#include <string.h>

enum { COLUMN_NAME, COLUMN_P50, COLUMN_P90, COLUMN_P99, COLUMN_P999, COLUMN_MAX, COLUMN_RATIO, COLUMN_AA, COLUMN_BOUND, COLUMNS };

void output_table_machine(const struct machine *machine, const struct bench_config *config)
{
	printf("unstick %s, %s\n", unstick_version(), machine->date);
	printf("%s, %ld CPUs%s, %s\n", machine->cpu, machine->cpus, machine->hypervisor ? " (virtual machine)" : "",
	       machine->kernel);
	printf("governor %s, clock %s, load %s, %s; %u run%s, %s\n", machine->governor, machine->clock, machine->load,
	       config->pin ? "pinned to CPU 0 and 1" : "not pinned", config->repeat, config->repeat == 1 ? "" : "s",
	       config->quick ? "QUICK: these figures are for testing the program" : "cases interleaved");
	printf("percentiles: median of the runs; max: of all; ratios to the first line: median (least..greatest) of the runs;\n"
	       "A/A: the first line's case against itself, the noise of this benchmark; -: too few samples\n");
}

static void format_ns(char *text, size_t size, double ns)
{
	if (isnan(ns))
		snprintf(text, size, "-");
	else if (ns < 1e3)
		snprintf(text, size, "%.1f ns", ns);
	else if (ns < 1e6)
		snprintf(text, size, "%.2f us", ns / 1e3);
	else
		snprintf(text, size, "%.2f ms", ns / 1e6);
}

static void check_error(int error)
{
	if (error < 0)
		die_errno("table", -error);
}

static void set_ns(struct libscols_line *line, size_t column, double ns)
{
	char text[32];
	format_ns(text, sizeof(text), ns);
	check_error(scols_line_set_data(line, column, text));
}

static void add_line(struct libscols_table *table, const struct bench_result *result, size_t index)
{
	const struct case_result *one = &result->cases[index];
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char text[64];
	if (!line)
		die_errno("table", ENOMEM);
	check_error(scols_line_set_data(line, COLUMN_NAME, one->name));
	set_ns(line, COLUMN_P50, one->summary.p50);
	set_ns(line, COLUMN_P90, one->summary.p90);
	set_ns(line, COLUMN_P99, one->summary.p99);
	set_ns(line, COLUMN_P999, one->summary.p999);
	set_ns(line, COLUMN_MAX, one->summary.max);
	if (index == 0) {
		check_error(scols_line_set_data(line, COLUMN_RATIO, "baseline"));
		return;
	}
	snprintf(text, sizeof(text), "%.3f (%.3f..%.3f)", one->ratio.median, one->ratio.min, one->ratio.max);
	check_error(scols_line_set_data(line, COLUMN_RATIO, text));
	snprintf(text, sizeof(text), "%.3f..%.3f", result->aa.min, result->aa.max);
	check_error(scols_line_set_data(line, COLUMN_AA, text));
	if (one->verdict == VERDICT_NONE)
		return;
	snprintf(text, sizeof(text), "<= %.2f %s", one->bound, verdict_name(one->verdict));
	check_error(scols_line_set_data(line, COLUMN_BOUND, text));
}

void output_table(const struct bench_result *result)
{
	static const char *const names[COLUMNS] = {"CASE", "P50", "P90", "P99", "P99.9", "MAX", "RATIO", "A/A", "BOUND"};
	const struct benchmark *benchmark = result->benchmark;
	printf("\n%s: %s\nhypothesis: %s\n%u runs of %u blocks of %u; a sample: %s\n", benchmark->name, benchmark->summary,
	       benchmark->hypothesis, result->runs, result->rounds, result->block, benchmark->sample);
	scols_init_debug(0);
	struct libscols_table *table = scols_new_table();
	if (!table)
		die_errno("table", ENOMEM);
	for (size_t column = 0; column < COLUMNS; column++) {
		int flags = column == COLUMN_NAME || column == COLUMN_BOUND ? 0 : SCOLS_FL_RIGHT;
		if (!scols_table_new_column(table, names[column], 0, flags))
			die_errno("table", ENOMEM);
	}
	for (size_t i = 0; i < result->case_count; i++)
		add_line(table, result, i);
	check_error(scols_print_table(table));
	scols_unref_table(table);
	fflush(stdout);
}

/* Both kinds get their line: a bound that the noise hides has not been shown to hold. */
unsigned output_check(const struct bench_result *result)
{
	unsigned missed = 0;
	for (size_t i = 1; i < result->case_count; i++) {
		const struct case_result *one = &result->cases[i];
		if (one->verdict != VERDICT_MISSED && one->verdict != VERDICT_NOISE)
			continue;
		missed += one->verdict == VERDICT_MISSED;
		fprintf(stderr,
		        "unstick-bench: %s, %s: %.3f times the baseline where %.2f is promised, %s (A/A noise %.3f): "
		        "run it alone on an idle machine, then look with perf\n",
		        result->benchmark->name, one->name, one->ratio.median, one->bound, verdict_name(one->verdict),
		        result->noise);
	}
	return missed;
}
