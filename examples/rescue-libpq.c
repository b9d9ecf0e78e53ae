/* SPDX-License-Identifier: MIT
 *
 * A PostgreSQL client whose server has gone silent. libpq has a timeout for connecting, none for a query: PQexec() waits
 * in poll() for ever, and it retries when a signal interrupts it. Here both calls stand in a scope with a deadline; libpq
 * itself is untouched, sees a poll() that failed, and cleans up as it would after any network error.
 *
 * The server is a few lines of this program: it greets the first client, then answers nobody any more.
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <unstick.h>

enum { DEADLINE_MS = 500 };

/* The protocol's start, as much as a client without encryption and password needs to see. */
static bool greet(int client)
{
	static const char authentication_ok[] = {'R', 0, 0, 0, 8, 0, 0, 0, 0};
	static const char version[] = "S\0\0\0\030server_version\00015.0";
	static const char ready_for_query[] = {'Z', 0, 0, 0, 5, 'I'};
	char startup[1024];

	if (recv(client, startup, sizeof(startup), 0) <= 0)
		return false;
	return send(client, authentication_ok, sizeof(authentication_ok), MSG_NOSIGNAL) > 0 &&
	       send(client, version, sizeof(version), MSG_NOSIGNAL) > 0 &&
	       send(client, ready_for_query, sizeof(ready_for_query), MSG_NOSIGNAL) > 0;
}

/* One client is greeted and then ignored; the next ones wait in the listener's backlog, where the kernel accepts for us. */
static void *server(void *arg)
{
	int client = accept(*(int *)arg, NULL, NULL);

	if (client < 0 || !greet(client))
		fprintf(stderr, "the server could not greet its client\n");
	return NULL;
}

static int listen_on_loopback(int *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 8) < 0)
		return -1;
	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -1;
	*port = ntohs(addr.sin_port);
	return fd;
}

/* What became of the call: what libpq says, what the scope says, what the library did to this thread. */
static bool tell(const char *call, const char *libpq_says, unstick_time begun, int error)
{
	struct unstick_thread *self = unstick_thread_self();
	struct unstick_outcome outcome;
	char line[256];

	printf("%s came back after %.0f ms, deadline %d ms\n", call, (double)(unstick_now() - begun) / 1e6, DEADLINE_MS);
	printf("  scope:   %d (%s)\n", error, strerror(-error));
	if (unstick_thread_outcome(self, &outcome) == 0 && unstick_outcome_print(&outcome, line, sizeof(line)) >= 0)
		printf("  unstick: %s\n", line);
	printf("  libpq:   %s", libpq_says); /* ends with a newline, as all its messages do */
	unstick_thread_unref(self);
	return error == -ETIMEDOUT;
}

/* The kernel accepts the connection; the start-up packet is never answered. */
static bool rescue_connect(const char *where)
{
	struct unstick_scope scope;
	unstick_time begun = unstick_now();

	unstick_scope_start(&scope, NULL, unstick_after_ms(DEADLINE_MS));
	PGconn *conn = PQconnectdb(where);
	int error = unstick_scope_end(&scope);
	bool good = tell("PQconnectdb", PQerrorMessage(conn), begun, error) && PQstatus(conn) == CONNECTION_BAD;

	PQfinish(conn);
	return good;
}

static bool rescue_query(PGconn *conn)
{
	struct unstick_scope scope;
	unstick_time begun = unstick_now();

	unstick_scope_start(&scope, NULL, unstick_after_ms(DEADLINE_MS));
	PGresult *result = PQexec(conn, "select 1");
	int error = unstick_scope_end(&scope);
	bool good = tell("PQexec", PQerrorMessage(conn), begun, error) && PQresultStatus(result) == PGRES_FATAL_ERROR;

	PQclear(result);
	return good;
}

int main(void)
{
	char where[128];
	pthread_t thread;
	int port, listener = listen_on_loopback(&port);

	if (listener < 0 || pthread_create(&thread, NULL, server, &listener) != 0) {
		fprintf(stderr, "cannot start the silent server: %m\n");
		return 1;
	}
	snprintf(where, sizeof(where), "host=127.0.0.1 port=%d user=me dbname=me sslmode=disable gssencmode=disable", port);

	PGconn *conn = PQconnectdb(where);
	bool good = PQstatus(conn) == CONNECTION_OK;
	pthread_join(thread, NULL);
	if (good)
		good = rescue_query(conn);
	else
		fprintf(stderr, "the greeting failed: %s\n", PQerrorMessage(conn));
	/* A connection whose query was cut short is out of step with its server: close it, never reuse it. */
	PQfinish(conn);

	good = rescue_connect(where) && good;
	close(listener);
	puts(good ? "both calls came out, both connections are closed" : "FAILED: not what was promised");
	return good ? 0 : 1;
}
