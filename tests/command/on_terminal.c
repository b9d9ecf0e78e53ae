/* SPDX-License-Identifier: MIT
 *
 * Runs a command on a terminal of its own, as the leader of a session whose foreground process group it is, and types to it.
 *
 *     on_terminal [WORD KEYS]... -- COMMAND [ARGUMENT]...
 *
 * Once the output has come to WORD, the KEYS are typed; then the next pair. KEYS: "^C" is the key, "^J" that of a new line.
 * Prints what the terminal shows. Exit status: the command's, 128 + its signal.
 */
#include <pty.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char shown[65536];
static size_t length, matched; /* of shown: all of it, and as far as a WORD has been looked for */

static void type(int fd, const char *keys)
{
	for (; *keys; keys++) {
		char key = *keys;
		if (key == '^' && keys[1])
			key = *++keys & 0x1f;
		if (write(fd, &key, 1) != 1)
			perror("on_terminal");
	}
}

/* The end of the terminal's output is an error: EIO. */
static bool read_more(int fd)
{
	ssize_t n = read(fd, shown + length, sizeof(shown) - 1 - length);
	if (n <= 0)
		return false;
	fwrite(shown + length, 1, (size_t)n, stdout);
	fflush(stdout);
	length += (size_t)n;
	return true;
}

/* True: the word has come. */
static bool look_for(const char *word)
{
	const char *at = strstr(shown + matched, word);
	if (at)
		matched = (size_t)(at - shown) + strlen(word);
	return at;
}

int main(int argc, char **argv)
{
	int fd, status, at = 1, first = 1;
	pid_t pid;

	while (first < argc && strcmp(argv[first], "--") != 0)
		first++;
	if (first + 1 >= argc || first % 2 == 0)
		return 2;
	pid = forkpty(&fd, NULL, NULL, NULL);
	if (pid < 0)
		return 77;
	if (pid == 0) {
		signal(SIGINT, SIG_DFL); /* a shell's background has both ignored */
		signal(SIGQUIT, SIG_DFL);
		execvp(argv[first + 1], argv + first + 1);
		_exit(127);
	}
	while (read_more(fd)) {
		for (; at < first && look_for(argv[at]); at += 2)
			type(fd, argv[at + 1]);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
