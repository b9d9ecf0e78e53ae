/* SPDX-License-Identifier: MIT
 *
 * Reading numbers from text and putting text together, for code that may run in a signal handler: no stdio, no locale, no errno.
 * Invariant: a struct text always holds a NUL-terminated string, as much of it as fits; `length` goes on counting what did not fit,
 * as snprintf() does.
 * What it does not do: allocate, or format anything but what the looks need. Async-signal-safe.
 */
#ifndef UNSTICK_BASE_TEXT_H
#define UNSTICK_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *buf;
	size_t size;
	size_t length;
};

/* `size` 0 is allowed: then only the length is counted and buf may be NULL. */
void text_start(struct text *text, char *buf, size_t size);
void text_add_char(struct text *text, char c);
void text_add(struct text *text, const char *string);
void text_add_part(struct text *text, const char *bytes, size_t count);
void text_add_decimal(struct text *text, int64_t value);
void text_add_unsigned(struct text *text, uint64_t value);
/* Lower case, no 0x in front. */
void text_add_hex(struct text *text, uint64_t value);

/* Copies what fits, always terminated. */
void text_copy(char *buf, size_t size, const char *string);

/* Each reads a number at *at and moves *at behind its last digit. False if there is no digit or it does not fit (then *at is where
 * it was). Blanks are not skipped. text_read_hex() takes digits with or without 0x in front. */
bool text_read_unsigned(const char **at, uint64_t *ret);
bool text_read_decimal(const char **at, int64_t *ret);
bool text_read_hex(const char **at, uint64_t *ret);

/* Behind blanks and tabs. */
const char *text_skip_blanks(const char *at);
/* The beginning of the field after `count` more blank-separated ones, or NULL when the line has fewer. */
const char *text_skip_fields(const char *at, unsigned count);
/* Behind `prefix`, or NULL when `string` does not begin with it. */
const char *text_after(const char *string, const char *prefix);
bool text_equal(const char *a, const char *b);

#endif
