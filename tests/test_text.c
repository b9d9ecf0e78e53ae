/* SPDX-License-Identifier: MIT
 *
 * base/text.h and base/stream.h: numbers at their limits, text that does not fit, lines longer than the buffers.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/stream.h"
#include "base/text.h"

static void check_text(const char *expected, void (*add)(struct text *))
{
	char buf[64];
	struct text text;

	text_start(&text, buf, sizeof(buf));
	add(&text);
	cr_assert_str_eq(buf, expected);
	cr_assert_eq(text.length, strlen(expected));
}

static void add_smallest(struct text *text)
{
	text_add_decimal(text, INT64_MIN);
}

static void add_largest(struct text *text)
{
	text_add_unsigned(text, UINT64_MAX);
	text_add_char(text, ' ');
	text_add_hex(text, UINT64_MAX);
	text_add_char(text, ' ');
	text_add_hex(text, 0);
}

Test(text, writes_numbers_at_their_limits)
{
	check_text("-9223372036854775808", add_smallest);
	check_text("18446744073709551615 ffffffffffffffff 0", add_largest);
}

Test(text, cuts_what_does_not_fit_and_counts_on)
{
	char buf[6] = "xxxxx";
	struct text text;

	text_start(&text, buf, 4);
	text_add(&text, "abcdef");
	cr_assert_str_eq(buf, "abc");
	cr_assert_eq(text.length, 6);
	cr_assert_eq(buf[4], 'x', "wrote behind the buffer");
	text_start(&text, NULL, 0);
	text_add(&text, "abc");
	cr_assert_eq(text.length, 3);
}

Test(text, reads_numbers_at_their_limits)
{
	const char *at = "18446744073709551615,";
	uint64_t value;
	int64_t number;

	cr_assert(text_read_unsigned(&at, &value) && value == UINT64_MAX && *at == ',');
	at = "-9223372036854775808";
	cr_assert(text_read_decimal(&at, &number) && number == INT64_MIN && *at == '\0');
	at = "0xffffffffffffffff ";
	cr_assert(text_read_hex(&at, &value) && value == UINT64_MAX && *at == ' ');
	at = "7fABcd";
	cr_assert(text_read_hex(&at, &value) && value == 0x7fabcd && *at == '\0');
}

Test(text, refuses_what_is_no_number_or_too_large)
{
	static const char *const decimals[] = {"", "x", "-", "9223372036854775808", "-9223372036854775809"};
	const char *at;
	uint64_t value;
	int64_t number;

	for (size_t i = 0; i < sizeof(decimals) / sizeof(decimals[0]); i++) {
		at = decimals[i];
		cr_assert_not(text_read_decimal(&at, &number), "took \"%s\"", decimals[i]);
		cr_assert_eq(at, decimals[i]);
	}
	at = "18446744073709551616";
	cr_assert_not(text_read_unsigned(&at, &value));
	at = "0x10000000000000000";
	cr_assert_not(text_read_hex(&at, &value));
	at = "0xg";
	cr_assert_not(text_read_hex(&at, &value));
}

Test(text, skips_fields)
{
	cr_assert_str_eq(text_skip_fields("  a  b c", 1), "b c");
	cr_assert_str_eq(text_skip_fields("a b", 0), "a b");
	cr_assert_null(text_skip_fields("a b ", 2));
	cr_assert_str_eq(text_after("abc", "ab"), "c");
	cr_assert_null(text_after("a", "ab"));
	cr_assert(text_equal("ab", "ab") && !text_equal("abc", "ab") && !text_equal("a", "ab"));
}

Test(stream, cuts_long_lines_and_finds_the_next)
{
	char path[] = "/tmp/unstick-stream-XXXXXX", line[8];
	struct stream stream;
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	for (int i = 0; i < 2000; i++)
		cr_assert_eq(write(fd, "y", 1), 1);
	cr_assert_eq(write(fd, "\n\nlast", 6), 6);
	close(fd);
	cr_assert_eq(stream_open(&stream, path), 0);
	cr_assert(stream_line(&stream, line, sizeof(line)));
	cr_assert_str_eq(line, "yyyyyyy");
	cr_assert(stream_line(&stream, line, sizeof(line)));
	cr_assert_str_eq(line, "");
	cr_assert(stream_line(&stream, line, sizeof(line)));
	cr_assert_str_eq(line, "last");
	cr_assert_not(stream_line(&stream, line, sizeof(line)));
	stream_close(&stream);
	cr_assert_eq(file_read(path, line, sizeof(line)), 7);
	cr_assert_str_eq(line, "yyyyyyy");
	unlink(path);
	cr_assert_eq(file_read(path, line, sizeof(line)), -ENOENT);
}
