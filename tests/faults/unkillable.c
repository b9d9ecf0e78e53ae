/* SPDX-License-Identifier: MIT
 *
 * Waits that a signal would make worse: a FUSE file whose daemon is silent (fault 46: an interruptible sleep becomes one that not
 * even SIGKILL ends), a userfaultfd that nobody answers (fault 48: a sleep becomes a loop). No signal is sent; it is told; and when
 * what it waits for comes about, the thread goes on as if nothing had been.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "hung_fuse.h"
#include "victim.h"

enum { LOOKS = 5 };

static int fds[2];

/* ---- */

static void expect_left_alone(struct victim *victim, long nr, const struct unstick_outcome *outcome)
{
	CHECK(outcome->kind == UNSTICK_UNINTERRUPTIBLE && outcome->signals == 0, "%s", outcome_text(outcome));
	CHECK(nr < 0 || outcome->nr == nr, "%s", outcome_text(outcome));
	CHECK(proc_state(0, victim->tid) == 'S' && !victim->done, "state %c", proc_state(0, victim->tid));
	CHECK(!proc_status_bit(victim->tid, "SigPnd:", unstick_signal()), "a signal was sent");
}

/* Cancels it, and looks at it over several of the monitor's second looks. */
static void cancel_in_vain(struct victim *victim, long nr)
{
	int64_t ns = 0;
	unstick_token_cancel(victim->token);
	for (int looks = 0; looks < LOOKS;) {
		struct unstick_outcome outcome = victim_outcome(victim);
		if (outcome.ns != ns)
			looks++;
		ns = outcome.ns;
		if (looks > 0)
			expect_left_alone(victim, nr, &outcome);
		fault_pause();
	}
}

static void interrupt_in_vain(struct victim *victim, long nr)
{
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	CHECK(unstick_thread_find(&thread, victim->tid) == 0, "unstick_thread_find");
	CHECK(unstick_thread_interrupt(thread, unstick_after_ms(50), &outcome) == 0, "unstick_thread_interrupt");
	expect_left_alone(victim, nr, &outcome);
	unstick_thread_unref(thread);
}

/* ---- fault 46 */

static long foreign_open(struct victim *victim)
{
	return or_errno(open(victim->arg, O_RDONLY | O_CLOEXEC));
}

static long own_open(struct victim *victim)
{
	return unstick_openat(AT_FDCWD, victim->arg, O_RDONLY | O_CLOEXEC, 0);
}

static void dead_mount(long (*call)(struct victim *), long nr, bool hidden, void (*attempt)(struct victim *, long))
{
	struct hung_fuse fuse;
	struct victim victim = {.call = call};
	if (hung_fuse_start(&fuse, false) < 0)
		fault_skip("%s", fuse.keeper.why);
	victim.token = make_token();
	victim.arg = hidden ? fuse.hidden : fuse.direct;
	victim.fd = hidden ? -1 : open(fuse.direct, O_RDONLY | O_CLOEXEC);
	CHECK(hidden || victim.fd >= 0, "open: %s", strerror(errno));
	victim_block(&victim, nr);
	attempt(&victim, nr);
	hung_fuse_end(&fuse);
	victim_join(&victim);
	CHECK(victim.result == -ENOTCONN || victim.result == -ECONNABORTED, "%ld", victim.result);
	CHECK(victim.end == 0, "%d", victim.end);
}

static void fuse_read_foreign(void)
{
	dead_mount(foreign_read, SYS_read, false, cancel_in_vain);
}

static void fuse_read_own(void)
{
	dead_mount(own_read, SYS_read, false, cancel_in_vain);
}

static void fuse_read_interrupt(void)
{
	dead_mount(foreign_read, SYS_read, false, interrupt_in_vain);
}

static void fuse_open_foreign(void)
{
	dead_mount(foreign_open, SYS_openat, true, cancel_in_vain);
}

static void fuse_open_own(void)
{
	dead_mount(own_open, SYS_openat, true, cancel_in_vain);
}

static void fuse_open_interrupt(void)
{
	dead_mount(foreign_open, SYS_openat, true, interrupt_in_vain);
}

/* ---- fault 48 */

struct unanswered {
	int fd;
	char *page; /* a touch of it waits for the fd's reader */
	size_t size;
};

static void make_unanswered(struct unanswered *uffd)
{
	struct uffdio_api api = {.api = UFFD_API};
	uffd->size = (size_t)sysconf(_SC_PAGESIZE);
	uffd->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd->fd < 0)
		fault_skip("no userfaultfd for faults in the kernel: %s (root, or vm.unprivileged_userfaultfd)", strerror(errno));
	CHECK(ioctl(uffd->fd, UFFDIO_API, &api) == 0, "UFFDIO_API: %s", strerror(errno));
	uffd->page = mmap(NULL, uffd->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = {.range = {.start = (uintptr_t)uffd->page, .len = uffd->size},
	                                .mode = UFFDIO_REGISTER_MODE_MISSING};
	CHECK(ioctl(uffd->fd, UFFDIO_REGISTER, &range) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
}

static void resolve(struct unanswered *uffd)
{
	struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)uffd->page, .len = uffd->size}};
	CHECK(ioctl(uffd->fd, UFFDIO_ZEROPAGE, &zero) == 0, "UFFDIO_ZEROPAGE: %s", strerror(errno));
}

static long foreign_read_into(struct victim *victim)
{
	return or_errno(read(victim->fd, victim->arg, 1));
}

static long own_read_into(struct victim *victim)
{
	return unstick_read(victim->fd, victim->arg, 1);
}

static long touch(struct victim *victim)
{
	return *(volatile char *)victim->arg;
}

static void page_fault(long (*call)(struct victim *), long nr, void (*attempt)(struct victim *, long))
{
	struct unanswered uffd;
	struct victim victim = {.call = call, .token = make_token()};
	make_unanswered(&uffd);
	make_pipe(fds);
	feed(fds[1]);
	victim.fd = fds[0];
	victim.arg = uffd.page;
	victim_start(&victim);
	WAIT_UNTIL(proc_state(0, victim.tid) == 'S' && proc_in_call(0, victim.tid, nr));
	attempt(&victim, nr);
	resolve(&uffd);
	victim_join(&victim);
	CHECK(victim.result == (nr < 0 ? 0 : 1) && victim.end == 0, "%ld, %d", victim.result, victim.end);
}

static void fault_foreign(void)
{
	page_fault(foreign_read_into, SYS_read, cancel_in_vain);
}

static void fault_own(void)
{
	page_fault(own_read_into, SYS_read, cancel_in_vain);
}

static void fault_interrupt(void)
{
	page_fault(foreign_read_into, SYS_read, interrupt_in_vain);
}

static void fault_in_user_mode(void)
{
	page_fault(touch, -1, cancel_in_vain);
}

static void fault_in_user_mode_interrupt(void)
{
	page_fault(touch, -1, interrupt_in_vain);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {46, "a foreign read on a dead mount: no signal, told as uninterruptible", fuse_read_foreign},
	        {46, "an own read on a dead mount: no signal, told as uninterruptible", fuse_read_own},
	        {46, "an interrupt of a read on a dead mount: no signal, told as uninterruptible", fuse_read_interrupt},
	        {46, "a foreign open on a dead mount: no signal, told as uninterruptible", fuse_open_foreign},
	        {46, "an own open on a dead mount: no signal, told as uninterruptible", fuse_open_own},
	        {46, "an interrupt of an open on a dead mount: no signal, told as uninterruptible", fuse_open_interrupt},
	        {48, "a foreign read into a page nobody gives: no signal, told as uninterruptible", fault_foreign},
	        {48, "an own read into a page nobody gives: no signal, told as uninterruptible", fault_own},
	        {48, "an interrupt of a read into a page nobody gives: no signal, told as uninterruptible", fault_interrupt},
	        {48, "a page fault nobody answers: no signal, told as uninterruptible", fault_in_user_mode},
	        {48, "an interrupt of a page fault nobody answers: no signal, told as uninterruptible",
	         fault_in_user_mode_interrupt},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
