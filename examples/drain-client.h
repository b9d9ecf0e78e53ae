/* SPDX-License-Identifier: MIT
 *
 * One connection of drain-load: what it asks, what it must be answered, and what it got.
 */
#ifndef EXAMPLES_DRAIN_CLIENT_H
#define EXAMPLES_DRAIN_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct ssl_st;

/* A way to use a connection. */
struct way {
	const char *asks; /* the line that gets the server's thread stuck; NULL: nothing; of one that talks, nothing either */
	bool talks, floods;
	enum { PLAIN, TLS, TLS_SILENT } kind; /* TLS_SILENT: connects, and then does not shake hands */
	long nr;                              /* the system call that the server's thread is stuck in */
};

struct client {
	const struct way *way;
	int fd;
	struct ssl_st *tls;
	unsigned id; /* that the server gave it; 0: none */
	unsigned long long promised, received;
	char expect[64]; /* the next bytes that must come; `at` of them have come */
	size_t at, size;
	unsigned asked, answered; /* of one that talks */
	bool ended, reset, wrong;
};

/* How the connection of that number is used: every second one talks. */
const struct way *client_way(unsigned number, bool with_tls);
/* Connects, is greeted, and asks. */
bool client_open(struct client *client, const struct way *way, int port, int tls_port);
bool client_say(struct client *client, const char *text);
/* Asks once more, if it has been answered. */
void client_talk(struct client *client);
/* Sends input that nobody waits for: a server that has closed already answers with a reset. */
void client_nag(struct client *client);
/* Reads what is there, which must be something, and compares it with what must come. */
void client_read(struct client *client);

#endif
