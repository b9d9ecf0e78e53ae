/* SPDX-License-Identifier: MIT
 *
 * Group "libc": library functions that loop over a blocking call of their own: getaddrinfo, system, pclose, sigwait, fgets, sleep.
 * getaddrinfo asks a resolver of ours on loopback that does not answer: a UDP socket whose address goes into the thread's own
 * resolver state, so that neither root nor a private /etc/resolv.conf is needed.
 * The shells of system() and popen() wait for a line from the pipe in fd[0], through /proc, and end when its last writer is gone.
 */
#include <arpa/nameser.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <nss.h>
#include <resolv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

#define PATIENCE_S 30 /* RES_MAXRETRANS: glibc waits no longer for one try */

static int resolver_setup(struct place *p)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	p->addr_len = sizeof in;
	p->fd[0] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd[0] < 0 || bind(p->fd[0], (struct sockaddr *)&in, p->addr_len) ||
	    getsockname(p->fd[0], (struct sockaddr *)&p->addr, &p->addr_len))
		return -errno;
#ifdef __GLIBC__
	/* Whatever nsswitch.conf says: a daemon that answers for it would not be ours. */
	if (__nss_configure_lookup("hosts", "dns"))
		return place_refuse(p, "the name service switch cannot be set");
	return 0;
#else
	return place_refuse(p, "the resolver's address cannot be set in this libc");
#endif
}

static long getaddrinfo_foreign(struct place *p)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
	if (res_init())
		return -EPROTO;
	memcpy(&_res.nsaddr_list[0], &p->addr, sizeof _res.nsaddr_list[0]);
	_res.nscount = 1;
	_res.retrans = PATIENCE_S;
	_res.options &= ~(unsigned long)(RES_DEFNAMES | RES_DNSRCH);
	int r = getaddrinfo("silent.invalid.", NULL, &hints, &list);
	if (list)
		freeaddrinfo(list);
	/* "No such name" comes from an answer; all else means that there was none. */
	return r == EAI_NONAME || r == EAI_NODATA ? -ENOENT : r ? -EAGAIN : 0;
}

/* Answers all that has been asked: no such name. */
static int resolver_release(struct place *p)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	ssize_t n;
	unsigned char query[NS_PACKETSZ];
	while ((n = recvfrom(p->fd[0], query, sizeof query, 0, (struct sockaddr *)&from, &len)) >= NS_HFIXEDSZ) {
		query[2] |= 0x80;                        /* an answer */
		query[3] = (unsigned char)ns_r_nxdomain; /* without recursion, name error */
		if (sendto(p->fd[0], query, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&from, len) < 0)
			return -errno;
		len = sizeof from;
	}
	return 0;
}

static int shell_setup(struct place *p)
{
	int r = place_pipe(p);
	if (r)
		return r;
	/* The shell opens the pipe through /proc of this process; a pid of ours in the command keeps the fd out of the shell's own. */
	snprintf(p->buf, sizeof p->buf, "exec 2>/dev/null; read line </proc/%d/fd/%d; exit 7", (int)getpid(), p->fd[0]);
	return 0;
}

static int shell_release(struct place *p)
{
	return write(p->fd[1], "x\n", 2) == 2 ? 0 : -errno;
}

static long shell_ended(long r)
{
	if (r == -1)
		return -errno;
	return WIFEXITED((int)r) && WEXITSTATUS((int)r) == 7 ? 0 : -EPROTO;
}

static long system_foreign(struct place *p)
{
	return shell_ended(system(p->buf));
}

static long pclose_foreign(struct place *p)
{
	FILE *stream = popen(p->buf, "r"); /* the child must not outlive a failure here: it has nothing of ours but the pipe */
	return stream ? shell_ended(pclose(stream)) : -errno;
}

static long sigwait_foreign(struct place *p)
{
	sigset_t set, before;
	int got = 0;
	(void)p;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2); /* what the release sends */
	pthread_sigmask(SIG_BLOCK, &set, &before);
	int r = sigwait(&set, &got);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r ? -r : got == SIGUSR2 ? 0 : -EPROTO;
}

static int stream_setup(struct place *p)
{
	return place_pipe(p);
}

static long fgets_foreign(struct place *p)
{
	int copy = fcntl(p->fd[0], F_DUPFD_CLOEXEC, 0);
	FILE *stream = copy < 0 ? NULL : fdopen(copy, "r");
	if (!stream)
		return -errno;
	long r = fgets(p->buf, 100, stream) ? 0 : -errno;
	fclose(stream);
	return r;
}

/* sleep() has no error: what is left of the time is its result. */
static long sleep_foreign(struct place *p)
{
	(void)p;
	return sleep(1000) > 0 ? 1 : 0;
}

/* clang-format off */
const struct situation situations_libc[] = {
	{.name = "getaddrinfo", .group = "libc", .summary = "getaddrinfo with a resolver that does not answer", .nr = {SYS_poll, SYS_ppoll},
	 .flags = STUCK_NO_RETRY, .cut = STUCK_CUT_FAILS, .done = -ENOENT, .kind = {UNSTICK_WOKEN, UNSTICK_LOOPING},
	 .setup = resolver_setup, .foreign = getaddrinfo_foreign, .release = resolver_release},
	{.name = "system", .group = "libc", .summary = "system() of a command that does not end", .nr = {SYS_wait4},
	 .flags = STUCK_NO_RETRY | STUCK_SCOPE_ONLY | STUCK_CHILD, .setup = shell_setup, .foreign = system_foreign, .release = shell_release},
	{.name = "pclose", .group = "libc", .summary = "pclose() of a command that does not end", .nr = {SYS_wait4},
	 .flags = STUCK_NO_RETRY | STUCK_SCOPE_ONLY | STUCK_CHILD, .setup = shell_setup, .foreign = pclose_foreign, .release = shell_release},
	{.name = "sigwait", .group = "libc", .summary = "sigwait for a signal that nobody sends", .nr = {SYS_rt_sigtimedwait},
	 .flags = STUCK_NO_RETRY, .foreign = sigwait_foreign},
	{.name = "fgets", .group = "libc", .summary = "fgets from an empty pipe", .nr = {SYS_read},
	 .setup = stream_setup, .foreign = fgets_foreign, .release = shell_release},
	{.name = "sleep", .group = "libc", .summary = "sleep()", .nr = {SYS_clock_nanosleep, SYS_nanosleep}, .flags = STUCK_NO_RETRY,
	 .cut = STUCK_CUT_COUNT, .count = 1, .done = 1, .foreign = sleep_foreign},
	{0},
};
/* clang-format on */
