/* SPDX-License-Identifier: MIT
 *
 * unstick run: runs a command as timeout(1) does, but ends blocked calls before it sends signals. One thread, one loop: it waits for the
 * command's end, for signals to pass on, and for the next moment of its course. Whatever ends this process, the command is left
 * running and untraced, as with timeout(1).
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <unstick.h>

#include "command.h"
#include "course.h"
#include "parse.h"

static const char *const help = "Usage: unstick run [OPTION]... [--] COMMAND [ARGUMENT]...\n"
                                "Runs a command with time limits that end its blocked system calls first.\n\n"
                                "  -d, --deadline T        after T, end all blocked calls of the command\n"
                                "  -c, --call-timeout T    end each call that a thread has been in for T\n"
                                "  -g, --grace T           from the deadline to the signal (5s)\n"
                                "  -k, --kill-after T      from the signal to KILL (as --grace); 0: no KILL\n"
                                "  -s, --signal SIGNAL     in place of TERM\n"
                                "  -e, --error ERROR       for the calls, in place of ETIMEDOUT\n"
                                "  -f, --foreground        the command alone, not its process group\n"
                                "  -p, --preserve-status   the command's exit status, not 124, at the deadline\n"
                                "  -q, --quiet             say nothing of what is done\n"
                                "  -h, --help\n\n"
                                "T: 30, 1.5s, 250ms, 2m, 1h. A deadline or call timeout of 0: none.\n"
                                "If no call can be ended, the signal comes at once; at half of the grace, if the\n"
                                "command computes. A script goes on with its next line after a call was ended.\n"
                                "Exit status: 124 deadline, 125 unstick run failed, 126 the command cannot be\n"
                                "run, 127 it is not found, 137 ended by KILL; else the command's.\n";

static const struct option long_options[] = {
        {"deadline", required_argument, NULL, 'd'},
        {"call-timeout", required_argument, NULL, 'c'},
        {"grace", required_argument, NULL, 'g'},
        {"kill-after", required_argument, NULL, 'k'},
        {"signal", required_argument, NULL, 's'},
        {"error", required_argument, NULL, 'e'},
        {"foreground", no_argument, NULL, 'f'},
        {"quiet", no_argument, NULL, 'q'},
        {"preserve-status", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
};

static int refuse(const char *format, const char *word)
{
	complain(format, word);
	fprintf(stderr, "Try 'unstick run --help'.\n");
	return STATUS_RUN_FAILED;
}

static int set_duration(int64_t *ns)
{
	return parse_duration(optarg, ns) ? 0 : refuse("%s: not a duration: give 30s, 1.5m, 250ms or the like", optarg);
}

/* STOP would leave behind what never ends. */
static int set_signal(int *signal)
{
	return parse_signal(optarg, signal) && *signal != SIGSTOP
	               ? 0
	               : refuse("%s: not a signal that can be sent: give TERM, INT, RTMIN+1 or a number", optarg);
}

static int set_error(int *error)
{
	return parse_errno(optarg, error) ? 0 : refuse("%s: " PARSE_ERRNO_WANTED, optarg);
}

/* 0, or the exit status. */
static int set_option(struct course_options *options, int letter)
{
	switch (letter) {
	case 'd':
		return set_duration(&options->deadline);
	case 'c':
		return set_duration(&options->call_timeout);
	case 'g':
		return set_duration(&options->grace);
	case 'k':
		return set_duration(&options->kill_after);
	case 's':
		return set_signal(&options->signal);
	case 'e':
		return set_error(&options->error);
	case 'f':
		options->foreground = true;
		return 0;
	case 'p':
		options->preserve_status = true;
		return 0;
	case 'q':
		options->quiet = true;
		return 0;
	default:
		fprintf(stderr, "Try 'unstick run --help'.\n"); /* getopt_long() has said what is wrong */
		return STATUS_RUN_FAILED;
	}
}

int run_main(int argc, char **argv)
{
	static char title[] = "unstick run";
	struct course_options options = {.grace = 5 * INT64_C(1000000000), .kill_after = -1, .signal = SIGTERM, .error = ETIMEDOUT};
	int64_t deadline;
	int letter, status = 0;

	argv[0] = title; /* getopt_long() begins its messages with it */
	while (status == 0 && (letter = getopt_long(argc, argv, "+d:c:g:k:s:e:fpqh", long_options, NULL)) != -1) {
		if (letter == 'h') {
			fputs(help, stdout);
			return STATUS_DONE;
		}
		status = set_option(&options, letter);
	}
	if (status)
		return status;
	if (optind == argc)
		return refuse("%s: what is to be run?", "no command given");
	if (!options.deadline && !options.call_timeout && optind + 1 < argc && parse_duration(argv[optind], &deadline))
		return refuse("no limit given: did you mean --deadline %s?", argv[optind]);
	if (!options.deadline && !options.call_timeout)
		return refuse("%s: no limit given: give --deadline, --call-timeout or both", argv[optind]);
	if (options.kill_after < 0)
		options.kill_after = options.grace;
	return course_run(&options, argv + optind);
}
