/* SPDX-License-Identifier: MIT
 *
 * Checks of `unstick doctor`: what the engine, jobs and the helper need.
 */
#include "finding.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <unstick.h>

/* ---- io_uring */

static const char without_uring[] = "The engine uses poll and threads: the same results, at a higher cost.";
static const char let_filter_pass[] = "Let the filter (of a container: its seccomp profile) pass io_uring_*.";

static void explain_refusal(struct finding *finding)
{
	int disabled = read_setting("/proc/sys/kernel/io_uring_disabled");

	if (disabled == 2)
		finding_set(finding, LEVEL_LIMITED, without_uring, "sysctl kernel.io_uring_disabled=0",
		            "refused to everybody: kernel.io_uring_disabled is 2");
	else if (disabled == 1 && !has_capability(CAP_SYS_ADMIN))
		finding_set(finding, LEVEL_LIMITED, without_uring,
		            "sysctl kernel.io_uring_disabled=0, or kernel.io_uring_group=GID and join that group.",
		            "refused to ordinary users: kernel.io_uring_disabled is 1");
	else if (has_filter())
		finding_set(finding, LEVEL_LIMITED, without_uring, let_filter_pass, "refused by a seccomp filter of this process");
	else
		finding_set(finding, LEVEL_LIMITED, without_uring, "Look at the rules of SELinux, AppArmor and the like.",
		            "refused by a security module");
}

static void explain_uring(struct finding *finding, int error)
{
	if (error == -EPERM || error == -EACCES || (error == -ENOSYS && has_filter()))
		explain_refusal(finding);
	else if (error == -ENOSYS)
		finding_set(finding, LEVEL_LIMITED, without_uring, "A kernel with CONFIG_IO_URING.", "not in this kernel");
	else if (error == -ENOMEM)
		finding_set(finding, LEVEL_LIMITED, without_uring, "Raise RLIMIT_MEMLOCK: see the line memlock.",
		            "no locked memory is left for a ring");
	else if (error == -EOPNOTSUPP)
		finding_set(finding, LEVEL_LIMITED, without_uring, "Build with liburing 2.3; Linux 5.13 or newer.",
		            "built without it, or the kernel is older than 5.13");
	else
		finding_set(finding, LEVEL_LIMITED, without_uring, "See the limits of the process, such as that of open files.",
		            "not set up (%s)", strerrordesc_np(-error));
}

/* The engine's own way of trying it: the rings, an operation, the registrations. */
void check_uring(struct finding *finding)
{
	const struct unstick_engine_options options = {.size = sizeof(options), .back_end = UNSTICK_ENGINE_URING};
	const char *wish = getenv("UNSTICK_ENGINE");
	struct unstick_engine *engine;

	if (wish && strcmp(wish, "poll") == 0) {
		finding_set(finding, LEVEL_LIMITED, without_uring, "Unset UNSTICK_ENGINE.", "not tried: UNSTICK_ENGINE is poll");
		return;
	}
	int error = unstick_engine_new(&engine, &options);
	if (error < 0) {
		explain_uring(finding, error);
		return;
	}
	unstick_engine_free(engine);
	finding_ok(finding, "set up and tried");
}

/* A ring of 256 entries takes about 28 KiB of it: an engine has one a worker, by default one. */
void check_memlock(struct finding *finding)
{
	enum { RING = 28 << 10, FEW = 32 };
	struct rlimit limit = {0, 0};

	getrlimit(RLIMIT_MEMLOCK, &limit);
	unsigned long rings = (unsigned long)(limit.rlim_cur / RING), kib = (unsigned long)(limit.rlim_cur >> 10);
	if (limit.rlim_cur == RLIM_INFINITY || has_capability(CAP_IPC_LOCK))
		finding_ok(finding, "no limit");
	else if (rings >= FEW)
		finding_ok(finding, "%lu KiB a user: about %lu rings of 256 entries", kib, rings);
	else
		finding_set(finding, LEVEL_LIMITED, "Further engines of this user have smaller rings, or none.",
		            "ulimit -l; LimitMEMLOCK= of a systemd unit; /etc/security/limits.conf.",
		            "%lu KiB a user: about %lu rings of 256 entries", kib, rings);
}

/* ---- processes */

void check_pidfd(struct finding *finding)
{
	int fd = pidfd_open(getpid(), 0);

	if (fd >= 0 && pidfd_send_signal(fd, 0, NULL, 0) == 0)
		finding_ok(finding, "opened and tried");
	else
		finding_set(finding, LEVEL_LIMITED, "No process jobs, no helper, no unstick run.",
		            "Linux 5.4; let seccomp filters pass pidfd_open and pidfd_send_signal.", "refused (%s)",
		            strerrorname_np(errno));
}

/* ---- the helper */

static void note(void *arg, const char *message)
{
	static const char prefix[] = "unstick: ";
	size_t skip = strncmp(message, prefix, sizeof(prefix) - 1) == 0 ? sizeof(prefix) - 1 : 0;

	snprintf(arg, sizeof(((struct finding *)NULL)->found), "%s", message + skip);
}

/* Asks a helper for "/": its result. Not on io_uring, which has its own line. */
static long ask_helper(void)
{
	const struct unstick_engine_options options = {.size = sizeof(options), .back_end = UNSTICK_ENGINE_POLL};
	struct unstick_engine *engine;
	struct unstick_op *op;
	struct statx root;

	int error = unstick_engine_new(&engine, &options);
	if (error < 0)
		return error;
	struct unstick_request request = UNSTICK_STATX(AT_FDCWD, "/", 0, STATX_TYPE, &root);
	request.flags |= UNSTICK_ISOLATE;
	error = unstick_engine_submit(engine, &request, &op);
	if (error < 0)
		return error;
	error = unstick_op_wait(op, unstick_after_ms(5000));
	return error < 0 ? error : unstick_op_result(op);
}

void check_helper(struct finding *finding)
{
	static const char without[] = "A file on a mount that hangs can hold up the exit of the process.";
	char noted[sizeof(finding->found)] = "";
	const struct unstick_options options = {.size = sizeof(options), .log = note, .log_arg = noted};

	if (unstick_init(&options) < 0)
		noted[0] = '\0';
	long result = ask_helper();
	if (result >= 0)
		finding_ok(finding, "started, confined, and asked");
	else if (result == -EOPNOTSUPP)
		finding_set(finding, LEVEL_LIMITED, without, "Build with libseccomp (meson: -Dhelper=enabled).",
		            "built without it");
	else
		finding_set(finding, LEVEL_LIMITED, without, "Install unstick-helper, or name it in UNSTICK_HELPER.", "%s",
		            noted[0] ? noted : strerrordesc_np((int)-result));
}
