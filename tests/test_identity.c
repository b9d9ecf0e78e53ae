/* SPDX-License-Identifier: MIT
 *
 * helper/identity.h: what of a thread's rights is read, and what counts when two are compared. A file of /proc that has something else in
 * it than this machine's is another file mounted over it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "helper/identity.h"

/* False: not here, and said so. The namespace is the test's own, which is a process of its own. */
static bool mount_over(const char *file, const char *with)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)gettid(), file);
	bool can = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	           mount(with, path, NULL, MS_BIND, NULL) == 0;
	if (!can)
		cr_skip_test("%s cannot be mounted over: %s", path, strerror(errno));
	return can;
}

static int of_thread_with_label(size_t length)
{
	static struct identity identity;
	char path[] = "/tmp/unstick-label-XXXXXX", text[2 * IDENTITY_LABEL];
	int fd = mkstemp(path);
	memset(text, 'x', sizeof text);
	cr_assert(fd >= 0 && write(fd, text, length) == (ssize_t)length && close(fd) == 0);
	bool done = mount_over("attr/current", path);
	int error = done ? identity_of_thread(&identity) : 0;
	cr_expect(error || strlen(identity.label) == length, "%zu bytes of it", strlen(identity.label));
	unlink(path);
	return error;
}

Test(identity, a_label_is_read)
{
	cr_expect_eq(of_thread_with_label(IDENTITY_LABEL - 2), 0);
}

Test(identity, a_label_that_does_not_fit_is_an_error)
{
	cr_expect_eq(of_thread_with_label(IDENTITY_LABEL - 1), -EOVERFLOW);
}

Test(identity, a_label_that_cannot_be_read_is_an_error)
{
	struct identity identity;
	if (mount_over("attr/current", "/proc/self/mem")) /* at 0 nothing is mapped */
		cr_expect_eq(identity_of_thread(&identity), -EIO);
}

Test(identity, of_the_same_thread_is_equal)
{
	struct identity a, b;
	cr_assert_eq(identity_of_thread(&a), 0);
	cr_assert_eq(identity_of_thread(&b), 0);
	cr_expect(identity_equal(&a, &b, true));
}
