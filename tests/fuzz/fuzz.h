/* SPDX-License-Identifier: MIT
 *
 * A fuzz target: run by libFuzzer (scripts/fuzz), or by driver.c with inputs of its own, so that it is built and run with all other tests.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { FUZZ_SEEDS = 9, FUZZ_SEED_SIZE = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* An input that is valid, of FUZZ_SEED_SIZE bytes at most; its size. */
size_t fuzz_seed(unsigned which, uint8_t *to);

_Noreturn static inline void fuzz_fail(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	abort();
}

#endif
