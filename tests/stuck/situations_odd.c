/* SPDX-License-Identifier: MIT
 *
 * What is stuck in an unusual way: with the signals blocked, behind a seccomp supervisor that does not answer, with a stopped peer, in a
 * loop that makes no calls, in a page fault that nobody resolves.
 */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

static sigset_t all_signals(void)
{
	sigset_t all;
	sigfillset(&all);
	return all;
}

static long masked_read_foreign(struct place *p)
{
	sigset_t all = all_signals(), before;
	pthread_sigmask(SIG_SETMASK, &all, &before);
	long r = or_errno(read(p->fd[0], p->buf, 100));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static long masked_read_own(struct place *p)
{
	sigset_t all = all_signals(), before;
	pthread_sigmask(SIG_SETMASK, &all, &before);
	long r = unstick_read(p->fd[0], p->buf, 100);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static long masked_poll_foreign(struct place *p)
{
	struct pollfd fds = {.fd = p->fd[0], .events = POLLIN};
	sigset_t all = all_signals();
	return or_errno(ppoll(&fds, 1, NULL, &all));
}

/* Puts a filter for reads of fd[0] on the calling thread alone; the listener that nobody reads from goes to place->listener. */
static int filter_reads(struct place *p, unsigned flags)
{
	struct sock_filter program[64];
	int memory = memfd_create("filter", MFD_CLOEXEC);
	scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
	int r = memory < 0 || !context ? -ENOMEM : 0;
	if (!r)
		r = seccomp_rule_add(context, SCMP_ACT_NOTIFY, SCMP_SYS(read), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)p->fd[0], 0));
	if (!r)
		r = seccomp_export_bpf(context, memory);
	ssize_t size = r ? 0 : pread(memory, program, sizeof program, 0);
	seccomp_release(context);
	close(memory);
	struct sock_fprog filter = {.len = (unsigned short)((size_t)size / sizeof *program), .filter = program};
	if (r || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return r ? r : -errno;
	long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, &filter);
	if (listener < 0)
		return -errno;
	atomic_store(&p->listener, (int)listener);
	return 0;
}

/* Whether this kernel takes these flags: it looks at them before it looks at the filter, and fails on the null pointer. */
static int filter_setup(struct place *p, unsigned flags)
{
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, NULL) != -1 || errno != EFAULT)
		return place_refuse(p, "seccomp user notification is not to be had here");
	return place_pipe(p);
}

static int supervised_setup(struct place *p)
{
	return filter_setup(p, 0);
}

static int killable_setup(struct place *p)
{
	return filter_setup(p, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
}

/* A repeated call finds its filter there. */
static long supervised_read(struct place *p, unsigned flags, bool own)
{
	int r = atomic_load(&p->listener) >= 0 ? 0 : filter_reads(p, flags);
	if (r)
		return r;
	return own ? unstick_read(p->fd[0], p->buf, 100) : or_errno(read(p->fd[0], p->buf, 100));
}

static long supervised_foreign(struct place *p)
{
	return supervised_read(p, 0, false);
}

static long supervised_own(struct place *p)
{
	return supervised_read(p, 0, true);
}

static long killable_foreign(struct place *p)
{
	return supervised_read(p, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, false);
}

/* The supervisor takes the request (and from then on only SIGKILL ends the wait), but does not answer it. */
static int receive_request(struct place *p)
{
	struct seccomp_notif request = {0};
	if (ioctl(atomic_load(&p->listener), SECCOMP_IOCTL_NOTIF_RECV, &request))
		return -errno;
	p->id = (long)request.id;
	return 0;
}

static int answer(struct place *p)
{
	struct seccomp_notif_resp response = {.id = (unsigned long)p->id, .val = 5};
	return ioctl(atomic_load(&p->listener), SECCOMP_IOCTL_NOTIF_SEND, &response) ? -errno : 0;
}

static int supervised_release(struct place *p)
{
	struct pollfd asked = {.fd = atomic_load(&p->listener), .events = POLLIN};
	if (poll(&asked, 1, 0) != 1)
		return -ENOENT;
	int r = receive_request(p);
	return r ? r : answer(p);
}

static int speak_after_stop(struct place *p)
{
	raise(SIGSTOP);
	return write(p->fd[1], "x", 1) == 1 ? 3 : 4;
}

static int stopped_child_setup(struct place *p)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fd))
		return -errno;
	int r = place_fork(p, speak_after_stop), status = 0;
	if (r)
		return r;
	return waitpid(p->child, &status, WUNTRACED) == p->child && WIFSTOPPED(status) ? 0 : -ECHILD;
}

static int continue_child(struct place *p)
{
	return kill(p->child, SIGCONT) ? -errno : 0;
}

static long stopped_recv_foreign(struct place *p)
{
	return or_errno(recv(p->fd[0], p->buf, 100, 0));
}

static long stopped_recv_own(struct place *p)
{
	return unstick_recv(p->fd[0], p->buf, 100, 0);
}

static long stopped_wait_foreign(struct place *p)
{
	pid_t r = waitpid(p->child, NULL, 0);
	return r == -1 ? -errno : r == p->child ? 0 : -EPROTO;
}

static long stopped_wait_own(struct place *p)
{
	long r = unstick_syscall(SYS_wait4, p->child, 0, 0, 0, 0, 0);
	return r < 0 ? r : r == p->child ? 0 : -EPROTO;
}

static long spin_foreign(struct place *p)
{
	while (!atomic_load_explicit(&p->word, memory_order_acquire))
		;
	return 0;
}

static long spin_own(struct place *p)
{
	long r = 0;
	while (!r && !atomic_load_explicit(&p->word, memory_order_acquire))
		r = unstick_check();
	return r;
}

static int spin_release(struct place *p)
{
	atomic_store(&p->word, 1);
	return 0;
}

static int fault_setup(struct place *p)
{
	struct uffdio_api api = {.api = UFFD_API};
	p->fd[0] = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (p->fd[0] < 0)
		return place_refuse(p, "userfaultfd is refused here");
	p->memory_size = (size_t)sysconf(_SC_PAGESIZE);
	p->memory = mmap(NULL, p->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = {.range = {(uintptr_t)p->memory, p->memory_size}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	return p->memory == MAP_FAILED || ioctl(p->fd[0], UFFDIO_API, &api) || ioctl(p->fd[0], UFFDIO_REGISTER, &range) ? -errno
	                                                                                                                : 0;
}

static long fault_foreign(struct place *p)
{
	return *(volatile char *)p->memory;
}

static int fault_release(struct place *p)
{
	struct uffdio_zeropage zero = {.range = {(uintptr_t)p->memory, p->memory_size}};
	return ioctl(p->fd[0], UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

#define STAYS .cut = STUCK_CUT_NEVER

/* clang-format off */
const struct situation situations_odd[] = {
	{.name = "masked-read", .group = "mask", .summary = "read from an empty pipe with all signals blocked", .nr = {SYS_read}, STAYS,
	 .flags = STUCK_OWN_STAYS, .kind = {UNSTICK_SIGNAL_BLOCKED}, .done = 1,
	 .setup = place_pipe, .foreign = masked_read_foreign, .own = masked_read_own, .release = place_give_byte},
	{.name = "masked-ppoll", .group = "mask", .summary = "ppoll with a mask that blocks all signals", .nr = {SYS_ppoll}, STAYS,
	 .kind = {UNSTICK_SIGNAL_BLOCKED}, .done = 1,
	 .setup = place_pipe, .foreign = masked_poll_foreign, .release = place_give_byte},
	{.name = "seccomp-read", .group = "seccomp", .summary = "a read that nobody answers: seccomp user notification", .nr = {SYS_read},
	 .done = 5, .setup = supervised_setup, .foreign = supervised_foreign, .own = supervised_own, .release = supervised_release},
	{.name = "seccomp-read-killable", .group = "seccomp", .summary = "the same with WAIT_KILLABLE_RECV, taken but not answered",
	 .nr = {SYS_read}, STAYS, .flags = STUCK_NO_RETRY, .kind = {UNSTICK_UNINTERRUPTIBLE}, .done = 5,
	 .setup = killable_setup, .foreign = killable_foreign, .settle = receive_request, .release = answer},
	{.name = "stopped-recv", .group = "stop", .summary = "recv from a peer process that is stopped", .nr = {SYS_recvfrom}, .done = 1,
	 .setup = stopped_child_setup, .foreign = stopped_recv_foreign, .own = stopped_recv_own, .release = continue_child},
	{.name = "stopped-wait4", .group = "stop", .summary = "waitpid for a child that is stopped", .nr = {SYS_wait4},
	 .flags = STUCK_SCOPE_ONLY | STUCK_CHILD,
	 .setup = stopped_child_setup, .foreign = stopped_wait_foreign, .own = stopped_wait_own, .release = continue_child},
	{.name = "spin", .group = "spin", .summary = "a loop that makes no calls", .nr = {-2}, STAYS, .flags = STUCK_NO_RETRY,
	 .kind = {UNSTICK_NOT_BLOCKED}, .foreign = spin_foreign, .own = spin_own, .release = spin_release},
	{.name = "page-fault", .group = "fault", .summary = "a page fault that nobody resolves: userfaultfd", .nr = {-1}, STAYS,
	 .flags = STUCK_NO_RETRY, .kind = {UNSTICK_UNINTERRUPTIBLE, UNSTICK_NOT_BLOCKED},
	 .setup = fault_setup, .foreign = fault_foreign, .release = fault_release},
	{0},
};
/* clang-format on */
