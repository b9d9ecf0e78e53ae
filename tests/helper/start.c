/* SPDX-License-Identifier: MIT
 *
 * Rights that change while a helper is started: nobody is served by one that has others, and it is not taken for what will be so for ever.
 * The program is a script in the real one's place, which waits, or changes its own rights, and becomes it.
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "isolated.h"

static char dir[] = "/tmp/unstick-start-XXXXXX", script[64], gate[64], mark[64], root[64];

static void make_files(void)
{
	CHECK(mkdtemp(dir) != NULL, "mkdtemp");
	snprintf(script, sizeof script, "%s/script", dir);
	snprintf(gate, sizeof gate, "%s/gate", dir);
	snprintf(mark, sizeof mark, "%s/mark", dir);
	snprintf(root, sizeof root, "%s/root", dir);
	fault_remove_later(script);
	fault_remove_later(gate);
	fault_remove_later(mark);
	fault_remove_later(root);
	fault_remove_later(dir);
}

static void start_by(const char *line)
{
	log_keep();
	FILE *file = fopen(script, "we");
	CHECK(file, "%s", script);
	fprintf(file, "#!/bin/sh\n%s\nexec %s\n", line, getenv("UNSTICK_HELPER"));
	CHECK(fclose(file) == 0 && chmod(script, 0755) == 0 && setenv("UNSTICK_HELPER", script, 1) == 0, "%s", script);
}

/* What submit or the operation comes to. */
static long open_null(void)
{
	struct unstick_request request = isolated(UNSTICK_OPENAT(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0));
	struct unstick_op *op = NULL;
	int error = unstick_engine_submit(engine(), &request, &op);
	return error ? error : end_of(op);
}

static void *submit(void *result)
{
	*(long *)result = open_null();
	return NULL;
}

/* The script reads from the gate as soon as the thread's rights have been read. */
static void other_root_meanwhile(void)
{
	char line[128];
	pthread_t thread;
	long result = 0;
	make_files();
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fault_skip("needs root, for another root directory: %s", strerror(errno));
	CHECK(mkdir(root, 0700) == 0 && mount("/", root, NULL, MS_BIND | MS_REC, NULL) == 0, "%s: %s", root, strerror(errno));
	CHECK(mkfifo(gate, 0600) == 0, "mkfifo");
	snprintf(line, sizeof line, "read word <%s", gate);
	start_by(line);
	CHECK(run(&UNSTICK_NOP()) == 0, "the engine");
	CHECK(pthread_create(&thread, NULL, submit, &result) == 0, "pthread_create");
	int fd = open(gate, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0 && chroot(root) == 0 && write(fd, "go\n", 3) == 3 && close(fd) == 0, "chroot");
	CHECK(pthread_join(thread, NULL) == 0 && result == -EAGAIN, "it came to %ld: %s", result, log_find("helper"));
	CHECK(log_find("root directory has changed"), "no line");
}

/* As after a seteuid() in another thread, which was taken back. */
static void other_rights_once(void)
{
	char line[192];
	make_files();
	umask(022);
	snprintf(line, sizeof line, "[ -e %s ] || umask 0\n: >>%s", mark, mark);
	start_by(line);
	CHECK(open_null() == -EPERM && log_find("the umask"), "one with another umask: %s", log_find("helper"));
	CHECK(open_null() >= UNSTICK_HANDLE_BASE, "one with the right umask: %s", log_find("helper"));
}

static void other_rights_always(void)
{
	make_files();
	umask(022);
	start_by("umask 0");
	for (int i = 0; i < 8; i++)
		CHECK(open_null() == -EPERM, "one with another umask");
	CHECK(log_count("the umask") == 3, "%u were started", log_count("the umask"));
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "chroot() while a helper is started: -EAGAIN, nobody is served in another root", other_root_meanwhile},
	        {2, "a helper that has other rights once: -EPERM, and the next one serves", other_rights_once},
	        {3, "if each has other rights, no more are started", other_rights_always},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
