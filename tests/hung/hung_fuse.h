/* SPDX-License-Identifier: MIT
 *
 * Files on a FUSE mount whose daemon keeps silent: without libfuse, in a mount namespace of the test's own, for tests of any frame. The
 * names there:
 *
 *     direct   opens, closes, has attributes; reads and writes are not answered, and go past the page cache
 *     cached   likewise, by way of the page cache
 *     mute     opens and closes; nothing else is answered: no attributes, no statfs, no lock, no poll
 *     dead     opens, by way of the page cache; nothing else is answered, not even its close, which hangs as everything else
 *     h...     a look-up of it is not answered
 *
 * What was not answered may be answered later, all at once: with `byte` only. Other names are not there; other requests are refused
 * with ENOSYS. The daemon is a keeper (keeper.h): when it ends, all that waits for it comes out with ENOTCONN or ECONNABORTED.
 */
#ifndef TESTS_HUNG_FUSE_H
#define TESTS_HUNG_FUSE_H

#include <stdbool.h>

#include "keeper.h"

enum { HUNG_FUSE_BYTE = 0xA5, HUNG_FUSE_SIZE = 1 << 20 };

struct hung_fuse {
	struct keeper keeper; /* its `why` says why there is none */
	bool async_reads;
	bool checked;
	char dir[40];
	char direct[48], cached[48], mute[48], dead[48], hidden[48];
};

/* Before there are other threads. All wait for the daemon itself, in state S until a signal comes; `async`: reads by way of the page
 * cache wait for the page, in state D, as with most daemons. 0; -errno: there can be no such mount here. */
int hung_fuse_start(struct hung_fuse *fuse, bool async);
/* Who walks through its directory asks for the attributes of that, which are told once. */
int hung_fuse_start_checked(struct hung_fuse *fuse);
/* From now on it answers: first what it was asked before. */
void hung_fuse_answer(struct hung_fuse *fuse);
void hung_fuse_end(struct hung_fuse *fuse);

#endif
