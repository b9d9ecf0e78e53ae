/* SPDX-License-Identifier: MIT
 *
 * The plot: writes a gnuplot script with its data inside, has gnuplot make an SVG of it, removes the script.
 * A curve is drawn through at most 400 exact percentiles, closer together near the top, so that the tail is seen.
 */
#include "output.h"

#include "os.h"

#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POINTS 400

extern char **environ;

/* In gnuplot's single quotes only the quote itself is special, and is doubled. */
static void print_quoted(FILE *script, const char *text)
{
	putc('\'', script);
	for (; *text; text++) {
		if (*text == '\'')
			putc('\'', script);
		putc(*text, script);
	}
	putc('\'', script);
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static void print_curve(FILE *script, const struct bench_result *result, const struct case_result *one)
{
	size_t each = one->runs[0].count, count = 0;
	double *all = os_alloc(each * result->runs, sizeof(*all));
	for (size_t run = 0; run < result->runs; run++) {
		memcpy(all + count, one->runs[run].ns, each * sizeof(*all));
		count += each;
	}
	qsort(all, count, sizeof(*all), compare);
	/* 1 - (1 - x)^2: steps shrink towards 1. */
	for (int point = 1; point <= POINTS; point++) {
		double left = 1 - (double)point / POINTS, share = 1 - left * left;
		fprintf(script, "%.6g %.6f\n", stats_percentile(all, count, share) / 1e3, share);
	}
	free(all);
}

static void print_data(FILE *script, const struct bench_result *results, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t n = 0; n < results[i].case_count; n++) {
			fprintf(script, "$data_%zu_%zu << END\n", i, n);
			print_curve(script, &results[i], &results[i].cases[n]);
			fputs("END\n", script);
		}
	}
}

static void print_panel(FILE *script, const struct bench_result *result, size_t index)
{
	fputs("set title ", script);
	print_quoted(script, result->benchmark->summary);
	fputs("\nplot ", script);
	for (size_t n = 0; n < result->case_count; n++) {
		fprintf(script, "%s$data_%zu_%zu using 1:2 with steps%s title ", n ? ", " : "", index, n,
		        n + 1 == result->case_count ? " linewidth 1 linecolor 'black'" : " linewidth 2");
		print_quoted(script, result->cases[n].name);
	}
	putc('\n', script);
}

static void print_script(FILE *script, const char *path, const struct bench_result *results, size_t count)
{
	size_t columns = count > 1 ? 2 : 1, rows = (count + columns - 1) / columns;
	fprintf(script, "set terminal svg size %zu,%zu noenhanced background 'white'\nset output ", 900 * columns, 520 * rows);
	print_quoted(script, path);
	fputs("\nset logscale x\nset yrange [0:1]\nset grid\nset key bottom right\n"
	      "set linetype 9 linecolor 'brown'\nset xlabel 'microseconds'\nset ylabel 'share of the samples'\n",
	      script);
	print_data(script, results, count);
	fprintf(script, "set multiplot layout %zu,%zu\n", rows, columns);
	for (size_t i = 0; i < count; i++)
		print_panel(script, &results[i], i);
	fputs("unset multiplot\n", script);
}

static void run_gnuplot(char *script)
{
	char *const arguments[] = {(char[]){"gnuplot"}, script, NULL};
	pid_t child;
	int status;
	int error = posix_spawnp(&child, "gnuplot", NULL, NULL, arguments, environ);
	if (error) {
		unlink(script);
		die("--plot: gnuplot", strerror(error), "install it, or use --raw and plot elsewhere");
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	unlink(script);
	if (status != 0)
		die("--plot: gnuplot", "it has failed", "check that the file can be written; its own message is above");
}

void output_plot(const char *path, const struct bench_result *results, size_t count)
{
	const char *directory = getenv("TMPDIR");
	char script[4096];
	snprintf(script, sizeof(script), "%s/unstick-bench-XXXXXX", directory && *directory ? directory : "/tmp");
	int fd = mkstemp(script);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		die_errno(script, errno);
	print_script(file, path, results, count);
	if (fclose(file) != 0)
		die_errno(script, errno);
	run_gnuplot(script);
}
