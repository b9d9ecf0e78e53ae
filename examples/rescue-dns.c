/* SPDX-License-Identifier: MIT
 *
 * A name look-up whose resolver never answers. getaddrinfo() has no timeout parameter: by default glibc gives up after two
 * tries of five seconds, and when one of its waits fails it goes on with the next. In a scope each is cut short: the
 * first at the deadline, the rest at the library's next looks, a millisecond or a few later.
 *
 * The silent resolver is a UDP socket of this program that is never read; this thread's resolver settings point at it.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <nss.h>
#include <resolv.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <unstick.h>

enum { DEADLINE_MS = 1000 };

static int silent_resolver(struct sockaddr_in *addr)
{
	socklen_t len = sizeof(*addr);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)addr, len) < 0 || getsockname(fd, (struct sockaddr *)addr, &len) < 0)
		return -1;
	return fd;
}

/* This thread asks DNS and nothing else, at `addr`; what the machine's own files say does not matter. */
static bool resolve_at(const struct sockaddr_in *addr)
{
	if (__nss_configure_lookup("hosts", "dns") < 0 || res_init() < 0)
		return false;
	_res.nscount = 1;
	_res.nsaddr_list[0] = *addr;
	_res.options &= ~(unsigned long)(RES_DNSRCH | RES_DEFNAMES);
	return true;
}

static void tell_outcome(void)
{
	struct unstick_thread *self = unstick_thread_self();
	struct unstick_outcome outcome;
	char line[256];

	if (unstick_thread_outcome(self, &outcome) == 0 && unstick_outcome_print(&outcome, line, sizeof(line)) >= 0)
		printf("  unstick:     %s\n", line);
	unstick_thread_unref(self);
}

static bool rescue(void)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	struct unstick_scope scope;
	unstick_time begun = unstick_now();

	unstick_scope_start(&scope, NULL, unstick_after_ms(DEADLINE_MS));
	int answer = getaddrinfo("silent.example.", "80", &hints, &found);
	int error = unstick_scope_end(&scope);

	printf("getaddrinfo came back after %.0f ms, deadline %d ms\n", (double)(unstick_now() - begun) / 1e6, DEADLINE_MS);
	printf("  scope:       %d (%s)\n", error, strerror(-error));
	tell_outcome();
	printf("  getaddrinfo: %d (%s)\n", answer, gai_strerror(answer));
	if (answer == 0)
		freeaddrinfo(found);
	return error == -ETIMEDOUT && answer != 0;
}

/* The question must have reached the socket, or it was not this resolver that kept the caller waiting. */
static bool was_asked(int resolver)
{
	char question[512];

	return recv(resolver, question, sizeof(question), MSG_DONTWAIT) > 0;
}

int main(void)
{
	struct sockaddr_in addr;
	int resolver = silent_resolver(&addr);

	if (resolver < 0 || !resolve_at(&addr)) {
		fprintf(stderr, "cannot start the silent resolver: %m\n");
		return 1;
	}
	printf("asking the silent resolver at 127.0.0.1 port %d\n", ntohs(addr.sin_port));
	bool good = rescue();
	if (!was_asked(resolver)) {
		fprintf(stderr, "the silent resolver was never asked\n");
		good = false;
	}
	res_nclose(&_res);
	close(resolver);
	puts(good ? "the look-up came out" : "FAILED: not what was promised");
	return good ? 0 : 1;
}
