/* SPDX-License-Identifier: MIT
 *
 * unstick doctor: whether the library and the command can do all that they are made for on this machine, for this user, in this
 * container. Each check runs in a process of its own, because a seccomp filter may kill who tries, and what was tried may not be undone.
 * What it does not do: change anything.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "diagnosis.h"

enum {
	STATUS_LIMITED = 1,
	STATUS_USELESS = 3,
	PATIENCE = 10, /* seconds for a check */
};

static const struct check checks[] = {
        {"kernel", STAKE_ALL, check_kernel},
        {"signal", STAKE_ALL, check_signal},
        {"wake", STAKE_ALL, check_wake},
        {"proc-syscall", STAKE_LIBRARY, check_proc_syscall},
        {"proc-wchan", STAKE_LIBRARY, check_proc_wchan},
        {"membarrier", STAKE_LIBRARY, check_membarrier},
        {"timer-slack", STAKE_LIBRARY, check_timer_slack},
        {"slice", STAKE_LIBRARY, check_slice},
        {"io_uring", STAKE_LIBRARY, check_uring},
        {"memlock", STAKE_LIBRARY, check_memlock},
        {"pidfd", STAKE_LIBRARY, check_pidfd},
        {"helper", STAKE_LIBRARY, check_helper},
        {"proc-sched", STAKE_COMMAND, check_proc_sched},
        {"processes", STAKE_COMMAND, check_others},
        {"ptrace", STAKE_COMMAND, check_ptrace},
};

enum { CHECKS = sizeof(checks) / sizeof(checks[0]) };

static const char help[] = "Usage: unstick doctor [OPTION]...\n"
                           "Tells whether unstick can do here all that it is made for: what was found, what\n"
                           "follows from it, and what to do. Changes nothing.\n\n"
                           "  -J, --json           one JSON document\n"
                           "  -n, --no-headings\n"
                           "      --color[=WHEN]   always, never or auto\n"
                           "  -h, --help\n\n"
                           "Run it as the user, and in the container or unit, that the program will have.\n"
                           "Exit status, of the lines for the library: 0 it works at full, 1 with limits,\n"
                           "3 not at all; 2 usage; 4 it could not be written. See unstick-doctor(1).\n";

/* ---- the checks */

static void conclude_killed(struct finding *finding, int status)
{
	int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (signal == SIGSYS)
		finding_set(finding, LEVEL_MISSING, "A program that tries it is killed.",
		            "Let the filter refuse it with EPERM; for io_uring, set UNSTICK_ENGINE=poll.",
		            "a seccomp filter kills who tries it");
	else if (signal == SIGALRM)
		finding_set(finding, LEVEL_MISSING, "It may hold up a program, too.", "Look at it with unstick ps.",
		            "no answer for %d s", PATIENCE);
	else
		finding_set(finding, LEVEL_MISSING, "What it is for does not work.", "Report it.", "the check ended by signal %d",
		            signal);
}

static void run_check(const struct check *check, struct finding *finding)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(PATIENCE);
		check->run(finding);
		_exit(0);
	}
	if (pid < 0)
		finding_set(finding, LEVEL_MISSING, "It is not known.", "See the limits of the user and the container.",
		            "no process could be made (%s)", strerrorname_np(errno));
	else if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		conclude_killed(finding, status);
}

static int verdict(const struct finding *findings)
{
	int status = STATUS_DONE;

	for (size_t i = 0; i < CHECKS; i++) {
		if (checks[i].stake == STAKE_COMMAND || findings[i].level == LEVEL_OK)
			continue;
		if (checks[i].stake == STAKE_ALL && findings[i].level == LEVEL_MISSING)
			return STATUS_USELESS;
		status = STATUS_LIMITED;
	}
	return status;
}

static int diagnose(const struct diagnosis *diagnosis)
{
	struct finding *findings =
	        mmap(NULL, sizeof(*findings) * CHECKS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (findings == MAP_FAILED)
		out_of_memory();
	signal(SIGCHLD, SIG_DFL); /* ignored, there would be nothing to wait for */
	for (size_t i = 0; i < CHECKS; i++)
		run_check(&checks[i], &findings[i]);
	diagnosis_print(diagnosis, checks, findings, CHECKS);
	return verdict(findings);
}

static int take_color(struct diagnosis *diagnosis, const char *when)
{
	if (!when || strcmp(when, "always") == 0)
		diagnosis->color = 1;
	else if (strcmp(when, "never") == 0)
		diagnosis->color = -1;
	else if (strcmp(when, "auto") != 0)
		return complain_usage("%s: no such colour mode: always, never, auto", when);
	return STATUS_DONE;
}

int doctor_main(int argc, char **argv)
{
	enum { OPTION_COLOR = 256 };
	static const struct option options[] = {{"json", no_argument, NULL, 'J'},
	                                        {"no-headings", no_argument, NULL, 'n'},
	                                        {"color", optional_argument, NULL, OPTION_COLOR},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {NULL, 0, NULL, 0}};
	struct diagnosis diagnosis = {0};
	int option, status = STATUS_DONE;

	opterr = 0;
	while (status == STATUS_DONE && (option = getopt_long(argc, argv, ":Jnh", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return STATUS_DONE;
		}
		if (option == 'J')
			diagnosis.json = true;
		else if (option == 'n')
			diagnosis.no_headings = true;
		else if (option == OPTION_COLOR)
			status = take_color(&diagnosis, optarg);
		else
			return complain_option(option, argv);
	}
	if (status == STATUS_DONE && optind < argc)
		return complain_usage("%s: no arguments are taken", argv[optind]);
	return status == STATUS_DONE ? diagnose(&diagnosis) : status;
}
