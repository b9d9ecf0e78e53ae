/* SPDX-License-Identifier: MIT
 *
 * Results for programs: one JSON document on stdout, and raw samples as lines. Times are nanoseconds; what is unknown is null.
 */
#include "output.h"

#include "os.h"

#include <unstick.h>

#include <math.h>

static bool is_first_benchmark;

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;
		if (byte == '"' || byte == '\\')
			printf("\\%c", byte);
		else if (byte < 0x20)
			printf("\\u%04x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

static void print_member(const char *name, const char *text)
{
	print_string(name);
	fputs(": ", stdout);
	print_string(text);
}

static void print_number(const char *name, double value, const char *after)
{
	print_string(name);
	if (isnan(value))
		printf(": null%s", after);
	else
		printf(": %.6g%s", value, after);
}

static void print_spread(const char *name, const struct spread *spread)
{
	print_string(name);
	fputs(": {", stdout);
	print_number("median", spread->median, ", ");
	print_number("min", spread->min, ", ");
	print_number("max", spread->max, "}");
}

void output_json_begin(const struct machine *machine, const struct bench_config *config)
{
	const char *const members[][2] = {{"cpu", machine->cpu},     {"kernel", machine->kernel}, {"governor", machine->governor},
	                                  {"clock", machine->clock}, {"load", machine->load},     {"date", machine->date}};
	is_first_benchmark = true;
	fputs("{\n\"program\": \"unstick-bench\", ", stdout);
	print_member("version", unstick_version());
	printf(", \"quick\": %s, \"pin\": %s, \"unit\": \"ns\",\n\"machine\": {", config->quick ? "true" : "false",
	       config->pin ? "true" : "false");
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		print_member(members[i][0], members[i][1]);
		fputs(", ", stdout);
	}
	printf("\"cpus\": %ld, \"virtual\": %s},\n\"benchmarks\": [", machine->cpus, machine->hypervisor ? "true" : "false");
}

static void print_case(const struct case_result *one, bool is_baseline)
{
	fputs("    {", stdout);
	print_member("name", one->name);
	printf(", \"baseline\": %s, \"count\": %zu, ", is_baseline ? "true" : "false", one->summary.count);
	print_number("p50", one->summary.p50, ", ");
	print_number("p90", one->summary.p90, ", ");
	print_number("p99", one->summary.p99, ", ");
	print_number("p99.9", one->summary.p999, ", ");
	print_number("max", one->summary.max, ", ");
	print_spread("ratio", &one->ratio);
	fputs(", ", stdout);
	print_number("bound", one->bound > 0 ? one->bound : NAN, "");
	if (one->verdict != VERDICT_NONE) {
		fputs(", ", stdout);
		print_member("verdict", verdict_name(one->verdict));
	}
	putchar('}');
}

void output_json(const struct bench_result *result)
{
	const struct benchmark *benchmark = result->benchmark;
	fputs(is_first_benchmark ? "\n  {" : ",\n  {", stdout);
	is_first_benchmark = false;
	print_member("name", benchmark->name);
	fputs(", ", stdout);
	print_member("summary", benchmark->summary);
	fputs(",\n   ", stdout);
	print_member("hypothesis", benchmark->hypothesis);
	fputs(", ", stdout);
	print_member("sample", benchmark->sample);
	printf(",\n   \"runs\": %u, \"blocks\": %u, \"samples_per_block\": %u, ", result->runs, result->rounds, result->block);
	print_spread("aa", &result->aa);
	fputs(",\n   \"cases\": [\n", stdout);
	for (size_t i = 0; i < result->case_count; i++) {
		print_case(&result->cases[i], i == 0);
		puts(i + 1 < result->case_count ? "," : "]}");
	}
}

void output_json_end(void)
{
	puts("]\n}");
}

void output_raw_heading(FILE *file)
{
	fputs("benchmark\tcase\trun\tblock\tns\n", file);
}

void output_raw(FILE *file, const struct bench_result *result)
{
	for (size_t i = 0; i < result->case_count; i++) {
		const struct case_result *one = &result->cases[i];
		for (size_t run = 0; run < result->runs; run++) {
			for (size_t n = 0; n < one->runs[run].count; n++)
				fprintf(file, "%s\t%s\t%zu\t%zu\t%.1f\n", result->benchmark->name, one->name, run,
				        n / result->block, one->runs[run].ns[n]);
		}
	}
}
