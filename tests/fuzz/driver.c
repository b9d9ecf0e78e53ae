/* SPDX-License-Identifier: MIT
 *
 * Without libFuzzer: valid inputs one by one and in a row, with bytes changed, cut and repeated by chance, always the same. TAP.
 * usage: fuzz_X [--rounds N] [--write-seeds DIRECTORY]
 */
#include <string.h>

#include "fuzz.h"

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static size_t compose(uint32_t *seed, uint8_t *to)
{
	size_t size = 0;
	unsigned parts = 1 + next_random(seed) % 6;
	for (unsigned i = 0; i < parts; i++)
		size += fuzz_seed(next_random(seed) % FUZZ_SEEDS, to + size);
	for (unsigned changes = next_random(seed) % 5; changes > 0; changes--) {
		static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 2, 16, 0xfe};
		to[next_random(seed) % size] = odd[next_random(seed) % sizeof odd];
	}
	return next_random(seed) % 8 ? size : next_random(seed) % (size + 1);
}

static int write_seeds(const char *dir)
{
	uint8_t bytes[FUZZ_SEED_SIZE];
	for (unsigned i = 0; i < FUZZ_SEEDS; i++) {
		char path[512];
		snprintf(path, sizeof path, "%s/seed-%u", dir, i);
		FILE *file = fopen(path, "w");
		size_t size = fuzz_seed(i, bytes);
		if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static uint8_t bytes[6 * FUZZ_SEED_SIZE];
	long rounds = 20000;
	uint32_t seed = 1;
	if (argc == 3 && !strcmp(argv[1], "--write-seeds"))
		return write_seeds(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "--rounds"))
		rounds = atol(argv[2]);
	for (unsigned i = 0; i < FUZZ_SEEDS; i++)
		LLVMFuzzerTestOneInput(bytes, fuzz_seed(i, bytes));
	for (long i = 0; i < rounds; i++)
		LLVMFuzzerTestOneInput(bytes, compose(&seed, bytes));
	printf("ok 1 - %d valid inputs, %ld spoilt ones: each refused, or harmless\n1..1\n", FUZZ_SEEDS, rounds);
	return 0;
}
