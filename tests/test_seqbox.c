/* SPDX-License-Identifier: MIT
 *
 * The sequence-locked box: a copy is whole or refused.
 */
#include "helpers.h"
#include "base/seqbox.h"

static struct seqbox box;

static void fill(uint64_t *words, uint64_t value)
{
	for (size_t i = 0; i < SEQBOX_WORDS; i++)
		words[i] = value;
}

Test(seqbox, gives_back_what_was_written)
{
	uint64_t in[SEQBOX_WORDS], out[SEQBOX_WORDS] = {0};
	for (size_t i = 0; i < SEQBOX_WORDS; i++)
		in[i] = i * i + 7;
	seqbox_write(&box, in, SEQBOX_WORDS);
	cr_assert(seqbox_read(&box, out, SEQBOX_WORDS));
	cr_assert_arr_eq(in, out, sizeof in);
}

Test(seqbox, writes_no_more_words_than_asked)
{
	uint64_t ones[SEQBOX_WORDS], twos[SEQBOX_WORDS], out[SEQBOX_WORDS];
	fill(ones, 1);
	fill(twos, 2);
	seqbox_write(&box, ones, SEQBOX_WORDS);
	seqbox_write(&box, twos, 3);
	fill(out, 9);
	cr_assert(seqbox_read(&box, out, 4));
	cr_assert(out[2] == 2 && out[3] == 1 && out[4] == 9);
}

Test(seqbox, a_write_under_way_is_refused)
{
	uint64_t out[SEQBOX_WORDS];
	cr_assert(seqbox_read(&box, out, 1));
	atomic_fetch_add(&box.sequence, 1); /* what a reader in a handler finds that has interrupted the writer */
	cr_assert_not(seqbox_read(&box, out, 1));
	atomic_fetch_add(&box.sequence, 1);
	cr_assert(seqbox_read(&box, out, 1));
}

enum { WRITES = 200000 };
static _Atomic bool written;

static long write_many(void *arg)
{
	uint64_t words[SEQBOX_WORDS];
	(void)arg;
	for (uint64_t i = 1; i <= WRITES; i++) {
		fill(words, i);
		seqbox_write(&box, words, SEQBOX_WORDS);
	}
	atomic_store(&written, true);
	return 0;
}

Test(seqbox, copies_are_never_mixed_and_never_go_back)
{
	struct worker writer;
	uint64_t out[SEQBOX_WORDS], last = 0;
	long whole = 0;
	worker_start(&writer, write_many, NULL);
	for (bool once_more = true; once_more;) {
		once_more = !atomic_load(&written); /* the last turn reads after the last write, and must find it */
		if (!seqbox_read(&box, out, SEQBOX_WORDS))
			continue;
		whole++;
		for (size_t i = 1; i < SEQBOX_WORDS; i++)
			cr_assert_eq(out[i], out[0], "a copy of two writes: %lu beside %lu", out[0], out[i]);
		cr_assert_geq(out[0], last);
		last = out[0];
	}
	worker_join(&writer);
	cr_assert_gt(whole, 0);
	cr_assert_eq(last, WRITES);
}
