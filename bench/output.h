/* SPDX-License-Identifier: MIT
 *
 * What is done with results: a table for people, JSON for programs, raw samples, a plot, the verdict on the bounds.
 */
#ifndef BENCH_OUTPUT_H
#define BENCH_OUTPUT_H

#include "harness.h"
#include "machine.h"

#include <stdio.h>

/* On stdout, a benchmark at a time. */
void output_table_machine(const struct machine *machine, const struct bench_config *config);
void output_table(const struct bench_result *result);

/* One document on stdout: begin, each benchmark, end. */
void output_json_begin(const struct machine *machine, const struct bench_config *config);
void output_json(const struct bench_result *result);
void output_json_end(void);

/* Tab-separated lines: benchmark, case, run, block, nanoseconds. */
void output_raw_heading(FILE *file);
void output_raw(FILE *file, const struct bench_result *result);

/* One panel a benchmark: the share of the samples that is not above x. The SVG is made by gnuplot, which must be installed. */
void output_plot(const char *path, const struct bench_result *results, size_t count);

/* One line on stderr for each bound that is missed; how many by more than the noise. */
unsigned output_check(const struct bench_result *result);

#endif
