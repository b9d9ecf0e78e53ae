/* SPDX-License-Identifier: MIT
 *
 * Pools and jobs used wrongly: what is refused, in which words, and what the log is told once only. The texts are part of what users see.
 */
#include "helpers.h"

#include <stdio.h>

#include "limit/time.h"

static char said[16][512];
static _Atomic unsigned lines;
static struct unstick_pool *pool;

static void hear(void *arg, const char *message)
{
	(void)arg;
	snprintf(said[atomic_fetch_add(&lines, 1) % 16], sizeof said[0], "%s", message);
}

static void setup(void)
{
	const struct unstick_options log = {.size = sizeof log, .log = hear};
	const struct unstick_pool_options options = {.size = sizeof options, .grace_ns = 1000000};
	cr_assert_eq(unstick_init(&log), 0);
	cr_assert_eq(unstick_pool_new(&pool, &options), 0);
}

static void close_all(void)
{
	cr_assert_eq(unstick_pool_close(pool, UNSTICK_NEVER, NULL), 0);
	pool = unstick_pool_free(pool);
}

TestSuite(pool_misuse, .init = setup, .fini = close_all, .timeout = 60);

/* `call` gives -EINVAL, and the log this one line. */
#define assert_refused(call, line)                         \
	do {                                               \
		lines = 0;                                 \
		cr_assert_eq((call), -EINVAL);             \
		cr_assert_eq(lines, 1, "%u lines", lines); \
		cr_assert_str_eq(said[0], (line));         \
	} while (0)

static void *come(void *arg)
{
	return arg;
}

struct wrong {
	struct unstick_job_options options;
	const char *line;
};

#define SIZE .size = sizeof(struct unstick_job_options)
#define FOR_PROGRAMS                                                                                                          \
	"unstick_job_start: job \"x\": flags, env, dir, input, input_size, most_output and grace_ns are for programs: leave " \
	"them out with run (the grace of thread jobs is the pool's)"

Test(pool_misuse, options_of_jobs)
{
	char *const no_argv[] = {NULL};
	char *const argv[] = {(char *)"/bin/true", NULL};
	const struct wrong wrongs[] = {
	        {{.size = 8, .run = come}, "unstick_job_start: size is not that of struct unstick_job_options: set it to sizeof"},
	        {{SIZE}, "unstick_job_start: job \"job\": give either run or argv, with at least the program in it"},
	        {{SIZE, .name = "x", .argv = no_argv},
	         "unstick_job_start: job \"x\": give either run or argv, with at least the program in it"},
	        {{SIZE, .name = "x", .run = come, .argv = no_argv},
	         "unstick_job_start: job \"x\": give either run or argv, with at least the program in it"},
	        {{SIZE, .run = come, .argv = argv},
	         "unstick_job_start: job \"true\": give either run or argv, with at least the program in it"},
	        {{SIZE, .name = "x", .run = come, .flags = 1u << 20},
	         "unstick_job_start: job \"x\": a flag is not known to this version of the library: leave it out"},
	        {{SIZE, .name = "x", .argv = argv, .input_size = 1},
	         "unstick_job_start: job \"x\": input is NULL, but input_size is not 0"},
	        {{SIZE, .name = "x", .argv = argv, .input = "", .input_size = (size_t)-1},
	         "unstick_job_start: job \"x\": input_size is more than any memory has: is it a negative number?"},
	        {{SIZE, .name = "x", .argv = argv, .grace_ns = -1},
	         "unstick_job_start: job \"x\": grace_ns is negative: it is a span in nanoseconds"},
	        {{SIZE, .name = "x", .run = come, .flags = UNSTICK_JOB_RESULT}, FOR_PROGRAMS},
	        {{SIZE, .name = "x", .run = come, .env = argv}, FOR_PROGRAMS},
	        {{SIZE, .name = "x", .run = come, .dir = "/"}, FOR_PROGRAMS},
	        {{SIZE, .name = "x", .run = come, .input_size = 1}, FOR_PROGRAMS},
	        {{SIZE, .name = "x", .run = come, .most_output = 1}, FOR_PROGRAMS},
	        {{SIZE, .name = "x", .run = come, .grace_ns = 1}, FOR_PROGRAMS},
	        {{SIZE, .run = come, .deadline = -1},
	         "unstick_job_start: options.deadline is negative, which no moment is: take unstick_after_ms() of a span, "
	         "UNSTICK_NEVER "
	         "for \"for ever\""},
	};
	for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++)
		assert_refused(unstick_job_start(pool, &wrongs[i].options, NULL), wrongs[i].line);
}

Test(pool_misuse, options_of_pools)
{
	const struct unstick_pool_options size = {.size = 1}, flags = {.size = sizeof flags, .flags = 1},
	                                  threads = {.size = sizeof threads, .threads = (unsigned)-1},
	                                  grace = {.size = sizeof grace, .grace_ns = -1},
	                                  small = {.size = sizeof small, .stack = 1},
	                                  large = {.size = sizeof large, .stack = (size_t)-1};
	struct unstick_pool *none = NULL;
	assert_refused(unstick_pool_new(NULL, NULL), "unstick_pool_new: ret is NULL");
	assert_refused(unstick_pool_new(&none, &size),
	               "unstick_pool_new: size is not that of struct unstick_pool_options: set it to sizeof");
	assert_refused(unstick_pool_new(&none, &flags),
	               "unstick_pool_new: a flag is not known to this version of the library: leave it out");
	assert_refused(unstick_pool_new(&none, &threads),
	               "unstick_pool_new: options.threads is more than 65536: take fewer, jobs wait for one");
	assert_refused(unstick_pool_new(&none, &grace),
	               "unstick_pool_new: options.grace_ns is negative: it is a span in nanoseconds");
	assert_refused(unstick_pool_new(&none, &small),
	               "unstick_pool_new: options.stack is less than PTHREAD_STACK_MIN: it is in bytes");
	assert_refused(unstick_pool_new(&none, &large),
	               "unstick_pool_new: options.stack is more than 1 TiB: it is in bytes; 0 is the system's default");
	cr_assert_null(none, "written only on success");
}

Test(pool_misuse, arguments)
{
	const struct unstick_job_options options = {SIZE, .name = "x", .run = come};
	struct unstick_job *job = NULL;
	struct unstick_exit ended;
	const struct unstick_left left = {0};
	cr_assert_eq(unstick_job_start(pool, &options, &job), 0);
	assert_refused(unstick_job_start(NULL, &options, NULL), "unstick_job_start: pool is NULL");
	assert_refused(unstick_job_start(pool, NULL, NULL), "unstick_job_start: options is NULL");
	assert_refused(unstick_job_join(NULL, 0, NULL), "unstick_job_join: job is NULL");
	assert_refused(
	        unstick_job_join(job, -1, NULL),
	        "unstick_job_join: until is negative, which no moment is: take unstick_after_ms() of a span, UNSTICK_NEVER for "
	        "\"for ever\"");
	assert_refused(unstick_job_exit(NULL, &ended), "unstick_job_exit: job is NULL");
	assert_refused(unstick_job_exit(job, NULL), "unstick_job_exit: ret is NULL");
	assert_refused(unstick_job_exit(job, &ended), "unstick_job_exit: job \"x\": it is no process job, it was started with run");
	assert_refused(unstick_job_outcome(NULL, NULL), "unstick_job_outcome: job is NULL");
	assert_refused(unstick_job_outcome(job, NULL), "unstick_job_outcome: outcome is NULL");
	assert_refused(unstick_pool_stats(NULL, NULL), "unstick_pool_stats: pool is NULL");
	assert_refused(unstick_pool_stats(pool, NULL), "unstick_pool_stats: ret is NULL");
	assert_refused(unstick_pool_close(NULL, 0, NULL), "unstick_pool_close: pool is NULL");
	assert_refused(unstick_left_print(NULL, NULL, 0), "unstick_left_print: left is NULL");
	assert_refused(unstick_left_print(&left, NULL, 1), "unstick_left_print: buf is NULL, but size is not 0");
	lines = 0;
	cr_assert_eq(unstick_job_cancel(NULL), -EINVAL);
	cr_assert_eq(unstick_job_state(NULL), -EINVAL);
	cr_assert_eq(lines, 0, "they may be called in a signal handler, the log may not");
	cr_assert_null(unstick_pool_free(NULL));
	cr_assert_null(unstick_job_unref(NULL));
	cr_assert_eq(unstick_job_join(job, UNSTICK_NEVER, NULL), 0);
	unstick_job_unref(job);
}

static bool is_told(const char *part)
{
	for (unsigned i = 0; i < 16; i++)
		if (strstr(said[i], part))
			return true;
	return false;
}

/* Taken as the moment that it is, but asked about, and once only. */
Test(pool_misuse, a_span_in_the_place_of_a_moment_is_asked_about)
{
	const struct unstick_job_options options = {SIZE, .run = come, .deadline = 200};
	struct unstick_job *job = NULL;
	if (unstick_now() < (int64_t)3700 * TIME_NS_PER_S)
		cr_skip("the machine has been up for less than an hour");
	lines = 0;
	cr_assert_eq(unstick_job_start(pool, &options, &job), 0);
	cr_assert_eq(unstick_job_join(job, UNSTICK_NEVER, NULL), -ETIMEDOUT);
	cr_assert_eq(unstick_job_join(job, 500, NULL), -ETIMEDOUT);
	cr_assert_eq(lines, 1);
	cr_assert_str_eq(
	        said[0],
	        "unstick_job_start: options.deadline is a moment long past, 200 ns after the start of the machine: is it a "
	        "span? Take unstick_after_ms() or unstick_after_ns() of it");
	unstick_job_unref(job);
}

/* ---- close */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic pid_t job_tid;

static void *lock_mutex(void *arg)
{
	atomic_store(&job_tid, (pid_t)syscall(SYS_gettid));
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	return arg;
}

static struct unstick_left stale(void)
{
	struct unstick_left left;
	memset(&left, 0xff, sizeof left);
	return left;
}

Test(pool_misuse, what_is_left_is_written_and_told_once_and_that_it_came_back)
{
	const struct unstick_job_options options = {SIZE, .name = "stuck", .run = lock_mutex};
	struct unstick_left left = stale();
	struct unstick_job *job = NULL;
	pthread_mutex_lock(&mutex);
	cr_assert_eq(unstick_job_start(pool, &options, &job), 0);
	wait_for(job_tid != 0);
	wait_for(is_blocked_in(job_tid, SYS_futex));
	cr_assert_eq(unstick_pool_close(pool, 0, &left), -EBUSY);
	cr_assert_eq(left.count, 1);
	cr_assert(is_told("unstick_pool_close: left: \"stuck\" (thread "));
	lines = 0;
	cr_assert_eq(unstick_pool_close(pool, 0, &left), -EBUSY);
	cr_assert(left.count == 1 && left.listed == 1, "it is still there");
	cr_assert_eq(lines, 0, "%s", said[0]);
	pthread_mutex_unlock(&mutex);
	left = stale();
	cr_assert_eq(unstick_pool_close(pool, UNSTICK_NEVER, &left), 0);
	cr_assert(left.count == 0 && left.listed == 0 && left.fd == -1 && !left.what[0]);
	wait_for(lines == 1);
	cr_assert(is_told("unstick: job \"stuck\": has come back after ") && is_told(" s: cancelled"), "%s", said[0]);
	unstick_job_unref(job);
}
