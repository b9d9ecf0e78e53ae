/* SPDX-License-Identifier: MIT
 *
 * See text.h. Written out by hand because snprintf() and strtoul() are not async-signal-safe and are slow beside a look at /proc.
 */
#include "base/text.h"

void text_start(struct text *text, char *buf, size_t size)
{
	*text = (struct text){.buf = buf, .size = size};
	if (size > 0)
		buf[0] = '\0';
}

void text_add_char(struct text *text, char c)
{
	if (text->length + 1 < text->size) {
		text->buf[text->length] = c;
		text->buf[text->length + 1] = '\0';
	}
	text->length++;
}

void text_add_part(struct text *text, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		text_add_char(text, bytes[i]);
}

void text_add(struct text *text, const char *string)
{
	while (*string != '\0')
		text_add_char(text, *string++);
}

static void add_digits(struct text *text, uint64_t value, unsigned base)
{
	char digits[20]; /* of UINT64_MAX in decimal */
	size_t first = sizeof(digits);

	do {
		digits[--first] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value > 0);
	text_add_part(text, digits + first, sizeof(digits) - first);
}

void text_add_unsigned(struct text *text, uint64_t value)
{
	add_digits(text, value, 10);
}

void text_add_decimal(struct text *text, int64_t value)
{
	if (value < 0)
		text_add_char(text, '-');
	add_digits(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

void text_add_hex(struct text *text, uint64_t value)
{
	add_digits(text, value, 16);
}

void text_copy(char *buf, size_t size, const char *string)
{
	struct text text;

	text_start(&text, buf, size);
	text_add(&text, string);
}

bool text_read_unsigned(const char **at, uint64_t *ret)
{
	const char *p = *at;
	uint64_t value = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		if (value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*at = p;
	*ret = value;
	return true;
}

bool text_read_decimal(const char **at, int64_t *ret)
{
	const char *p = *at;
	bool negative = *p == '-';
	uint64_t value;

	p += negative;
	if (!text_read_unsigned(&p, &value) || value > (uint64_t)INT64_MAX + negative)
		return false;
	*at = p;
	*ret = negative ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool text_read_hex(const char **at, uint64_t *ret)
{
	const char *p = *at;
	uint64_t value = 0;

	if (p[0] == '0' && p[1] == 'x')
		p += 2;
	if (hex_digit(*p) < 0)
		return false;
	for (int digit; (digit = hex_digit(*p)) >= 0; p++) {
		if (value >> 60 != 0)
			return false;
		value = value << 4 | (unsigned)digit;
	}
	*at = p;
	*ret = value;
	return true;
}

const char *text_skip_blanks(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

const char *text_skip_fields(const char *at, unsigned count)
{
	at = text_skip_blanks(at);
	for (; count > 0; count--) {
		while (*at != ' ' && *at != '\t' && *at != '\n' && *at != '\0')
			at++;
		at = text_skip_blanks(at);
	}
	return *at == '\0' || *at == '\n' ? NULL : at;
}

const char *text_after(const char *string, const char *prefix)
{
	while (*prefix != '\0') {
		if (*string++ != *prefix++)
			return NULL;
	}
	return string;
}

bool text_equal(const char *a, const char *b)
{
	const char *rest = text_after(a, b);
	return rest != NULL && *rest == '\0';
}
