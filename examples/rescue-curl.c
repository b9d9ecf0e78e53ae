/* SPDX-License-Identifier: MIT
 *
 * A download from a server that sends the headers, some bytes, and then nothing more. No CURLOPT_TIMEOUT is set: the
 * deadline stands around the call, where the caller knows it, and covers whatever the transfer happens to wait for.
 * curl sees a poll() that failed and gives the transfer up.
 *
 * The server is a few lines of this program.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <unstick.h>

enum { DEADLINE_MS = 700 };

/* Answers the first request with less than it announces, and leaves the connection open. */
static void *server(void *arg)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nthe first bytes";
	char request[2048];
	int client = accept(*(int *)arg, NULL, NULL);

	if (client < 0 || recv(client, request, sizeof(request), 0) <= 0 ||
	    send(client, answer, sizeof(answer) - 1, MSG_NOSIGNAL) <= 0)
		fprintf(stderr, "the server could not answer\n");
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

static size_t count_bytes(char *data, size_t size, size_t n, void *total)
{
	(void)data;
	*(size_t *)total += size * n;
	return size * n;
}

static CURL *download(const char *url, size_t *bytes)
{
	CURL *curl = curl_easy_init();

	if (curl == NULL)
		return NULL;
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* a proxy in the environment would answer in the server's place */
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, count_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, bytes);
	return curl;
}

static void tell_outcome(void)
{
	struct unstick_thread *self = unstick_thread_self();
	struct unstick_outcome outcome;
	char line[256];

	if (unstick_thread_outcome(self, &outcome) == 0 && unstick_outcome_print(&outcome, line, sizeof(line)) >= 0)
		printf("  unstick: %s\n", line);
	unstick_thread_unref(self);
}

static bool rescue(CURL *curl, const size_t *bytes)
{
	struct unstick_scope scope;
	unstick_time begun = unstick_now();

	unstick_scope_start(&scope, NULL, unstick_after_ms(DEADLINE_MS));
	CURLcode code = curl_easy_perform(curl);
	int error = unstick_scope_end(&scope);

	printf("curl_easy_perform came back after %.0f ms, deadline %d ms\n", (double)(unstick_now() - begun) / 1e6, DEADLINE_MS);
	printf("  scope:   %d (%s)\n", error, strerror(-error));
	tell_outcome();
	printf("  curl:    CURLcode %d (%s), %zu bytes had arrived\n", (int)code, curl_easy_strerror(code), *bytes);
	/* The CURLcode only says that the transfer failed; that it was the deadline is what the scope says. */
	return error == -ETIMEDOUT && code != CURLE_OK && *bytes > 0;
}

int main(void)
{
	char url[64];
	pthread_t thread;
	size_t bytes = 0;
	int port, listener = listen_on_loopback(&port);

	if (listener < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
	    pthread_create(&thread, NULL, server, &listener) != 0) {
		fprintf(stderr, "cannot start the silent server: %m\n");
		return 1;
	}
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);

	CURL *curl = download(url, &bytes);
	bool good = curl != NULL && rescue(curl, &bytes);
	curl_easy_cleanup(curl);
	curl_global_cleanup();
	pthread_join(thread, NULL);
	close(listener);
	puts(good ? "the transfer came out, its handle is cleaned up" : "FAILED: not what was promised");
	return good ? 0 : 1;
}
