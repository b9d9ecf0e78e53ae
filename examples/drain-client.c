/* SPDX-License-Identifier: MIT */
#include "drain-client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef DRAIN_TLS
#include <openssl/ssl.h>
#endif

enum {
	UNREAD = 20000, /* bytes of input that the server does not come to read */
	WINDOW = 65536, /* small, so that the kernel does not keep megabytes for each connection that is not read */
};

static const struct way talks = {.talks = true}, talks_secure = {.talks = true, .kind = TLS};

static const struct way stuck[] = {
        {.asks = NULL, .nr = SYS_recvfrom},
        {.asks = "sleep\n", .nr = SYS_clock_nanosleep},
        {.asks = "poll\n", .nr = SYS_poll},
        {.asks = "read\n", .nr = SYS_read},
        {.asks = "lock\n", .nr = SYS_flock},
        {.asks = "child\n", .nr = SYS_wait4},
        {.asks = "bulk 1000000000\n", .floods = true, .nr = SYS_sendto},
        /* With TLS, if the server has it: */
        {.asks = NULL, .kind = TLS, .nr = SYS_read},
        {.asks = NULL, .kind = TLS_SILENT, .nr = SYS_read},
        {.asks = "bulk 1000000000\n", .kind = TLS, .floods = true, .nr = SYS_write},
        {.asks = "sleep\n", .kind = TLS, .nr = SYS_clock_nanosleep},
};
enum { PLAIN_WAYS = 7, ALL_WAYS = sizeof(stuck) / sizeof(stuck[0]) };

const struct way *client_way(unsigned number, bool with_tls)
{
	if (number % 2 == 0)
		return with_tls && number % 8 == 6 ? &talks_secure : &talks;
	return &stuck[number / 2 % (with_tls ? ALL_WAYS : PLAIN_WAYS)];
}

/* ---- TLS ---- */

#ifdef DRAIN_TLS
static bool shake_hands(struct client *c)
{
	static SSL_CTX *context;

	if (!context && (context = SSL_CTX_new(TLS_client_method())))
		SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF); /* of a cut in the middle of a record */
	c->tls = context ? SSL_new(context) : NULL;
	return c->tls && SSL_set_fd(c->tls, c->fd) == 1 && SSL_connect(c->tls) == 1;
}

/* As recv(). */
static ssize_t receive_secure(struct client *c, void *data, size_t size)
{
	size_t n;

	errno = 0;
	if (SSL_read_ex(c->tls, data, size, &n) == 1)
		return (ssize_t)n;
	if (errno == 0 || SSL_get_error(c->tls, 0) == SSL_ERROR_ZERO_RETURN)
		return 0;
	return -1;
}

static bool send_secure(struct client *c, const char *text)
{
	size_t n;
	return SSL_write_ex(c->tls, text, strlen(text), &n) == 1;
}

static bool has_more(struct client *c)
{
	return c->tls && SSL_pending(c->tls) > 0;
}

static void free_tls(struct client *c)
{
	SSL_free(c->tls);
	c->tls = NULL;
}
#else
static bool shake_hands(struct client *c)
{
	(void)c;
	return false;
}

static ssize_t receive_secure(struct client *c, void *data, size_t size)
{
	(void)c, (void)data, (void)size;
	return -1;
}

static bool send_secure(struct client *c, const char *text)
{
	(void)c, (void)text;
	return false;
}

static bool has_more(struct client *c)
{
	(void)c;
	return false;
}

static void free_tls(struct client *c)
{
	(void)c;
}
#endif

/* ---- What must come ---- */

static void expect_greeting(struct client *c)
{
	c->size = (size_t)snprintf(c->expect, sizeof(c->expect), "hello %u\n", c->id);
}

/* After the greeting: answers, numbered; the name of the command, and with "bulk" the letters, over and over. */
static bool expect_more(struct client *c)
{
	bool first = c->answered == 0;

	c->at = c->size = 0;
	if (c->way->talks) {
		if (c->answered == c->asked)
			return false;
		c->size = (size_t)snprintf(c->expect, sizeof(c->expect), "%u %u\n", c->id, ++c->answered);
	} else if (c->way->asks && first) {
		size_t name = strcspn(c->way->asks, " \n");
		c->size = (size_t)snprintf(c->expect, sizeof(c->expect), "%.*s\n", (int)name, c->way->asks);
		c->answered = 1;
	} else if (c->way->floods) {
		c->size = (size_t)snprintf(c->expect, sizeof(c->expect), "abcdefghijklmnopqrstuvwxyz");
	}
	return c->size > 0;
}

static void check(struct client *c, const char *data, size_t size)
{
	c->received += size;
	while (size > 0) {
		if (c->at == c->size && !expect_more(c)) {
			c->wrong = true;
			return;
		}
		size_t n = size < c->size - c->at ? size : c->size - c->at;
		c->wrong = c->wrong || memcmp(data, c->expect + c->at, n) != 0;
		c->at += n;
		data += n;
		size -= n;
	}
}

/* ---- The connection ---- */

static ssize_t receive(struct client *c, void *data, size_t size)
{
	return c->tls ? receive_secure(c, data, size) : recv(c->fd, data, size, 0);
}

static void end(struct client *c)
{
	free_tls(c);
	close(c->fd);
	c->ended = true;
}

bool client_say(struct client *c, const char *text)
{
	return c->tls ? send_secure(c, text) : send(c->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

/* The answers that follow stay unread until SIGTERM. */
static bool is_greeted(struct client *c)
{
	char line[32];
	size_t n = 0;

	while (n + 1 < sizeof(line) && (n == 0 || line[n - 1] != '\n')) {
		if (receive(c, line + n, 1) != 1)
			return false;
		n++;
	}
	line[n] = '\0';
	if (sscanf(line, "hello %u\n", &c->id) != 1)
		return false;
	expect_greeting(c);
	check(c, line, n);
	return true;
}

static bool leave_unread_input(struct client *c)
{
	static char input[UNREAD + 1];

	memset(input, '\n', UNREAD);
	return client_say(c, input);
}

bool client_open(struct client *c, const struct way *way, int port, int tls_port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int window = WINDOW;

	c->way = way;
	addr.sin_port = htons((uint16_t)(way->kind == PLAIN ? port : tls_port));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)) < 0 ||
	    connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return false;
	if (way->kind == TLS_SILENT)
		return true;
	if ((way->kind == TLS && !shake_hands(c)) || !is_greeted(c))
		return false;
	return !way->asks || (client_say(c, way->asks) && leave_unread_input(c));
}

void client_talk(struct client *c)
{
	char line[64];

	if (c->asked > c->answered || c->at < c->size)
		return;
	snprintf(line, sizeof(line), "echo %u %u\n", c->id, ++c->asked);
	if (!client_say(c, line)) /* the server is closing: what it has sent is still to be read */
		c->asked--;
}

void client_nag(struct client *c)
{
	if (send(c->fd, "\n", 1, MSG_NOSIGNAL) < 0)
		c->reset = true;
}

void client_read(struct client *c)
{
	char data[16384];

	do {
		ssize_t n = receive(c, data, sizeof(data));
		if (n <= 0) {
			c->reset = n < 0;
			end(c);
			return;
		}
		check(c, data, (size_t)n);
	} while (has_more(c));
}
