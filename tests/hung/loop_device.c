/* SPDX-License-Identifier: MIT
 *
 * Loop devices, without losetup.
 */
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "situations.h"

/* One that is free, or -errno. Somebody else may be quicker to use it. */
static int open_free(int control, int file, char *path, size_t size)
{
	const struct loop_config config = {.fd = (unsigned)file, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
	int number = ioctl(control, LOOP_CTL_GET_FREE);
	if (number < 0)
		return -errno;
	snprintf(path, size, "/dev/loop%d", number);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, LOOP_CONFIGURE, &config) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

int hung_loop_attach(int file, char *path, size_t size, char *why, size_t why_size)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd;
	if (control < 0) {
		fd = -errno;
		snprintf(why, why_size, "/dev/loop-control: %s", strerror(errno));
		return fd;
	}
	int tries = 0;
	do
		fd = open_free(control, file, path, size);
	while (fd == -EBUSY && ++tries < 100);
	close(control);
	if (fd < 0)
		snprintf(why, why_size, "no loop device: %s", strerror(-fd));
	return fd;
}
