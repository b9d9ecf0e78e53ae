/* SPDX-License-Identifier: MIT
 *
 * The load of the engine's benchmarks: a sequence of operations that never have to wait, the same for every way to carry them out.
 * Operation number n of a load with fds works on pair n % 32 / 2: even n write 64 bytes into it, odd n read them back. So a batch of 32
 * is 16 writes and 16 reads, begun in this order, and each read finds its bytes there.
 */
#ifndef BENCH_RIG_LOAD_H
#define BENCH_RIG_LOAD_H

#include <stdbool.h>

enum load_kind { LOAD_NOP, LOAD_PIPE, LOAD_UNIX, LOAD_TCP };
enum { LOAD_CYCLE = 32, LOAD_PAIRS = LOAD_CYCLE / 2, LOAD_MESSAGE = 64 };

struct load {
	enum load_kind kind;
	int to[LOAD_PAIRS], from[LOAD_PAIRS];
	char out[LOAD_MESSAGE], in[LOAD_PAIRS][LOAD_MESSAGE];
};

void load_open(struct load *load, enum load_kind kind);
void load_close(struct load *load);

static inline bool load_writes(unsigned n)
{
	return n % 2 == 0;
}

/* What each operation's result must be. */
static inline long load_result(const struct load *load)
{
	return load->kind == LOAD_NOP ? 0 : LOAD_MESSAGE;
}

/* Two connected TCP sockets on loopback, without Nagle's delay. Dies if that fails. */
void load_tcp_pair(int listener, int fds[2]);
/* A listening socket for it. */
int load_tcp_listen(void);

#endif
