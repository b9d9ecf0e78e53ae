/* SPDX-License-Identifier: MIT
 *
 * The first example of README.md: a plain recv() that nobody will ever answer, given a tenth of a second.
 * Keep the code below the same as there, and at 15 lines; scripts/readme-example runs the one in README.md.
 */
#include <stdio.h>
#include <unstick.h>

int main(void)
{
	int pair[2];
	char byte;
	struct unstick_scope scope;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 1;
	unstick_scope_start(&scope, NULL, unstick_after_ms(100));
	ssize_t got = recv(pair[0], &byte, 1, 0); /* nobody will ever send */
	int error = unstick_scope_end(&scope);
	printf("recv: %zd (%m); scope: %d\n", got, error);
	return error == -ETIMEDOUT ? 0 : 1;
}
