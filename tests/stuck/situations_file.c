/* SPDX-License-Identifier: MIT
 *
 * Groups "tty" and "file": a pseudo-terminal with nothing to read, stopped by ^S, or full; opens that wait; file locks.
 * tty: fd[0] is the terminal, fd[1] its master. File: fd[0] is what the call works on, fd[1] what stands in its way.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "place.h"

static int tty_setup(struct place *p)
{
	char name[64];
	p->fd[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->fd[1] < 0 || grantpt(p->fd[1]) || unlockpt(p->fd[1]) || ptsname_r(p->fd[1], name, sizeof name))
		return place_refuse(p, "no pseudo-terminal");
	p->fd[0] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return p->fd[0] < 0 ? -errno : 0;
}

static long tty_read_foreign(struct place *p)
{
	return or_errno(read(p->fd[0], p->buf, 100));
}

static long tty_read_own(struct place *p)
{
	return unstick_read(p->fd[0], p->buf, 100);
}

static int tty_read_release(struct place *p)
{
	return write(p->fd[1], "x\n", 2) == 2 ? 0 : -errno;
}

static int tty_stopped_setup(struct place *p)
{
	int r = tty_setup(p);
	return r ? r : tcflow(p->fd[0], TCOOFF) ? -errno : 0;
}

static int tty_stopped_release(struct place *p)
{
	return tcflow(p->fd[0], TCOON) ? -errno : 0;
}

static int tty_full_setup(struct place *p)
{
	int r = tty_setup(p);
	return r ? r : place_fill(p->fd[0], 4096, 20);
}

static int tty_full_release(struct place *p)
{
	struct pollfd readable = {.fd = p->fd[1], .events = POLLIN};
	while (poll(&readable, 1, 50) > 0)
		if (read(p->fd[1], p->buf, sizeof p->buf) <= 0)
			return -errno;
	return 0;
}

/* Short enough to go through as a whole. */
static long tty_line_foreign(struct place *p)
{
	return or_errno(write(p->fd[0], place_zeroes, 10));
}

static long tty_line_own(struct place *p)
{
	return unstick_write(p->fd[0], place_zeroes, 10);
}

static long tty_write_foreign(struct place *p)
{
	return or_errno(write(p->fd[0], place_zeroes, 4096));
}

static long tty_write_own(struct place *p)
{
	return unstick_write(p->fd[0], place_zeroes, 4096);
}

static int fifo_setup(struct place *p)
{
	int r = place_name(p, "fifo");
	return r ? r : mkfifo(p->path, 0600) ? -errno : 0;
}

/* That there is a new fd is the result, not its number. */
static long one_fd(long r)
{
	if (r >= 0)
		close((int)r);
	return r >= 0 ? 0 : r;
}

static long open_foreign(struct place *p)
{
	return one_fd(or_errno(open(p->path, O_RDONLY | O_CLOEXEC)));
}

static long open_own(struct place *p)
{
	return one_fd(unstick_openat(AT_FDCWD, p->path, O_RDONLY | O_CLOEXEC, 0));
}

/* For reading too: so it waits for nobody. */
static int fifo_release(struct place *p)
{
	p->fd[1] = open(p->path, O_RDWR | O_CLOEXEC);
	return p->fd[1] < 0 ? -errno : 0;
}

static int file_setup(struct place *p, const char *name)
{
	int r = place_name(p, name);
	if (r)
		return r;
	p->fd[1] = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return p->fd[1] < 0 ? -errno : 0;
}

static int lease_setup(struct place *p)
{
	int r = file_setup(p, "leased");
	if (r)
		return r;
	if (fcntl(p->fd[1], F_SETLEASE, F_WRLCK))
		return place_refuse(p, "no lease on this file system");
	/* Without an owner nobody gets the SIGIO that asks for the lease, and nobody gives it up. */
	return fcntl(p->fd[1], F_SETOWN, 0) ? -errno : 0;
}

static int lease_release(struct place *p)
{
	return fcntl(p->fd[1], F_SETLEASE, F_UNLCK) ? -errno : 0;
}

static int second_open(struct place *p)
{
	p->fd[0] = open(p->path, O_RDWR | O_CLOEXEC);
	return p->fd[0] < 0 ? -errno : 0;
}

static int flock_setup(struct place *p)
{
	int r = file_setup(p, "locked");
	if (r)
		return r;
	return flock(p->fd[1], LOCK_EX) ? -errno : second_open(p);
}

static long flock_foreign(struct place *p)
{
	return or_errno(flock(p->fd[0], LOCK_EX));
}

static long flock_own(struct place *p)
{
	return unstick_flock(p->fd[0], LOCK_EX);
}

static int flock_release(struct place *p)
{
	return flock(p->fd[1], LOCK_UN) ? -errno : 0;
}

static struct flock whole(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

/* A process' own record locks never stand in its way: a child holds it, until it reads the end of the pipe in fd[2], fd[3]. */
static int hold_record_lock(struct place *p)
{
	struct flock lock = whole(F_WRLCK);
	char byte = 0;
	close(p->fd[3]);
	if (fcntl(p->fd[1], F_SETLK, &lock) || write(p->fd[5], &byte, 1) != 1)
		return 1;
	return (int)read(p->fd[2], &byte, 1);
}

static int setlkw_setup(struct place *p)
{
	int r = file_setup(p, "locked");
	if (r)
		return r;
	if (pipe2(p->fd + 2, O_CLOEXEC) || pipe2(p->fd + 4, O_CLOEXEC))
		return -errno;
	r = place_fork(p, hold_record_lock);
	if (r)
		return r;
	char byte;
	close(p->fd[5]);
	p->fd[5] = -1;
	if (read(p->fd[4], &byte, 1) != 1)
		return place_refuse(p, "no record lock on this file system");
	return second_open(p);
}

static int setlkw_release(struct place *p)
{
	close(p->fd[3]);
	p->fd[3] = -1;
	return 0;
}

static long setlkw_foreign(struct place *p)
{
	struct flock lock = whole(F_WRLCK);
	return or_errno(fcntl(p->fd[0], F_SETLKW, &lock));
}

static long setlkw_own(struct place *p)
{
	struct flock lock = whole(F_WRLCK);
	return unstick_fcntl_lock(p->fd[0], F_SETLKW, &lock);
}

static int ofd_setup(struct place *p)
{
	int r = file_setup(p, "locked");
	struct flock lock = whole(F_WRLCK);
	if (r)
		return r;
	return fcntl(p->fd[1], F_OFD_SETLK, &lock) ? -errno : second_open(p);
}

static int ofd_release(struct place *p)
{
	struct flock lock = whole(F_UNLCK);
	return fcntl(p->fd[1], F_OFD_SETLK, &lock) ? -errno : 0;
}

static long ofd_foreign(struct place *p)
{
	struct flock lock = whole(F_WRLCK);
	return or_errno(fcntl(p->fd[0], F_OFD_SETLKW, &lock));
}

static long ofd_own(struct place *p)
{
	struct flock lock = whole(F_WRLCK);
	return unstick_fcntl_lock(p->fd[0], F_OFD_SETLKW, &lock);
}

/* clang-format off */
const struct situation situations_file[] = {
	{.name = "tty-read", .group = "tty", .summary = "read from a terminal where nobody types", .nr = {SYS_read}, .done = 2,
	 .setup = tty_setup, .foreign = tty_read_foreign, .own = tty_read_own, .release = tty_read_release},
	{.name = "tty-write-stopped", .group = "tty", .summary = "write to a terminal stopped by ^S", .nr = {SYS_write}, .done = 10,
	 .setup = tty_stopped_setup, .foreign = tty_line_foreign, .own = tty_line_own, .release = tty_stopped_release},
	{.name = "tty-write-full", .group = "tty", .summary = "write to a terminal whose buffer is full", .nr = {SYS_write},
	 .cut = STUCK_CUT_COUNT, .count = -1, .kind = {UNSTICK_WOKEN, UNSTICK_FINISHED_FIRST}, .done = 4096,
	 .setup = tty_full_setup, .foreign = tty_write_foreign, .own = tty_write_own, .release = tty_full_release},
	{.name = "fifo-open", .group = "file", .summary = "open of a FIFO that nobody writes to", .nr = {SYS_openat},
	 .cut = STUCK_CUT_EINTR, .setup = fifo_setup, .foreign = open_foreign, .own = open_own, .release = fifo_release},
	{.name = "lease-open", .group = "file", .summary = "open of a file that is under a lease", .nr = {SYS_openat},
	 .cut = STUCK_CUT_EINTR, .setup = lease_setup, .foreign = open_foreign, .own = open_own, .release = lease_release},
	{.name = "flock", .group = "file", .summary = "flock of a locked file", .nr = {SYS_flock},
	 .setup = flock_setup, .foreign = flock_foreign, .own = flock_own, .release = flock_release},
	{.name = "setlkw", .group = "file", .summary = "F_SETLKW of a record that another process has locked", .nr = {SYS_fcntl},
	 .setup = setlkw_setup, .foreign = setlkw_foreign, .own = setlkw_own, .release = setlkw_release},
	{.name = "ofd-setlkw", .group = "file", .summary = "F_OFD_SETLKW of a locked record", .nr = {SYS_fcntl},
	 .setup = ofd_setup, .foreign = ofd_foreign, .own = ofd_own, .release = ofd_release},
	{0},
};
/* clang-format on */
