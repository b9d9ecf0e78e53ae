/* SPDX-License-Identifier: MIT
 *
 * A server that never answers: listens on 127.0.0.1, prints the number of its port, and stays until its standard input ends.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 100) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
		perror("silent");
		return 1;
	}
	printf("%d\n", (int)ntohs(address.sin_port));
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
