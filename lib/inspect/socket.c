/* SPDX-License-Identifier: MIT
 *
 * See socket.h. The tables are read by the line through a small buffer: on a busy server they have megabytes.
 */
#include "base/stream.h"
#include "inspect/socket.h"

enum { LINE_SIZE = 256 };

struct table {
	const char *file;
	unsigned inode_field; /* counted from 0, blank-separated */
	const char *name;
	bool is_inet; /* "N: ADDRESS:PORT ADDRESS:PORT STATE ..." */
};

static const struct table tables[] = {
        {"tcp", 9, "tcp", true},        {"tcp6", 9, "tcp", true}, {"unix", 6, "unix", false},
        {"udp", 9, "udp", true},        {"udp6", 9, "udp", true}, {"netlink", 9, "netlink", false},
        {"packet", 8, "packet", false}, {"raw", 9, "raw", true},  {"raw6", 9, "raw", true},
};

/* Words of an address are printed by the kernel as it has them in memory: network byte order read on a little-endian machine. */
static uint32_t swapped(uint32_t word)
{
	return __builtin_bswap32(word);
}

static void add_ipv4(struct text *text, uint32_t word)
{
	for (int shift = 24; shift >= 0; shift -= 8) {
		text_add_unsigned(text, word >> shift & 0xff);
		if (shift > 0)
			text_add_char(text, '.');
	}
}

/* The first longest run of two or more zero groups is written as "::" (RFC 5952). */
static void add_ipv6(struct text *text, const uint32_t words[4])
{
	unsigned groups[8], best = 8, best_length = 1;

	for (unsigned i = 0; i < 8; i++)
		groups[i] = words[i / 2] >> (i % 2 == 0 ? 16 : 0) & 0xffff;
	for (unsigned i = 0, length; i < 8; i += length + 1) {
		for (length = 0; i + length < 8 && groups[i + length] == 0; length++)
			;
		if (length > best_length) {
			best = i;
			best_length = length;
		}
	}
	text_add_char(text, '[');
	for (unsigned i = 0; i < 8; i++) {
		if (i == best) {
			text_add(text, "::");
			i += best_length - 1;
			continue;
		}
		text_add_hex(text, groups[i]);
		if (i < 7 && i + 1 != best)
			text_add_char(text, ':');
	}
	text_add_char(text, ']');
}

/* "0100007F:1538", or 32 digits of address; *at ends behind it. */
static bool add_address(struct text *text, const char **at, uint64_t *port)
{
	uint32_t words[4] = {0};
	unsigned count = 0;

	while (count < 4 && **at != ':') {
		char digits[9] = "";
		const char *p = digits;
		uint64_t word;
		for (unsigned i = 0; i < 8 && (*at)[i] != '\0'; i++)
			digits[i] = (*at)[i];
		if (!text_read_hex(&p, &word) || p != digits + 8)
			return false;
		words[count++] = swapped((uint32_t)word);
		*at += 8;
	}
	if ((count != 1 && count != 4) || **at != ':')
		return false;
	++*at;
	if (!text_read_hex(at, port))
		return false;
	if (count == 1)
		add_ipv4(text, words[0]);
	else if (words[0] == 0 && words[1] == 0 && words[2] == 0xffff)
		add_ipv4(text, words[3]);
	else
		add_ipv6(text, words);
	text_add_char(text, ':');
	text_add_unsigned(text, *port);
	return true;
}

static void describe_inet(struct text *text, const char *line, bool is_tcp)
{
	/* include/net/tcp_states.h; nothing is said of one that is established */
	static const char *const states[] = {"",           "",        "connecting ", "accepting ", "fin-wait-1 ", "fin-wait-2 ",
	                                     "time-wait ", "closed ", "close-wait ", "last-ack ",  "listening ",  "closing "};
	const char *own_at = text_skip_fields(line, 1), *peer_at = text_skip_fields(line, 2), *state_at = text_skip_fields(line, 3);
	char peer_buf[64];
	struct text peer;
	uint64_t state, port;

	if (own_at == NULL || peer_at == NULL || state_at == NULL || !text_read_hex(&state_at, &state))
		return;
	text_add_char(text, ' ');
	if (is_tcp && state < sizeof(states) / sizeof(states[0]))
		text_add(text, states[state]);
	if (!add_address(text, &own_at, &port))
		return;
	text_start(&peer, peer_buf, sizeof(peer_buf));
	if (add_address(&peer, &peer_at, &port) && port != 0) {
		text_add(text, " -> ");
		text_add(text, peer_buf);
	}
}

static void describe_line(struct text *text, const struct table *table, const char *line)
{
	text_add(text, "socket ");
	text_add(text, table->name);
	if (table->is_inet)
		describe_inet(text, line, table->name[0] == 't');
	if (table->name[0] == 'u' && table->name[1] == 'n') {
		const char *path = text_skip_fields(line, 7);
		if (path != NULL) {
			text_add_char(text, ' ');
			text_add(text, path);
		}
	}
}

struct visit {
	bool (*line)(void *arg, const struct table *table, uint64_t inode, const char *line); /* false: no further */
	void *arg;
};

/* Whether it was walked to its end, or it is not there. */
static bool walk_table(const struct table *table, pid_t pid, const struct visit *visit)
{
	char buf[LINE_SIZE];
	struct stream stream;
	struct text path;
	bool go_on = true;

	text_start(&path, buf, sizeof(buf));
	text_add(&path, "/proc/");
	if (pid == 0)
		text_add(&path, "thread-self");
	else
		text_add_decimal(&path, pid);
	text_add(&path, "/net/");
	text_add(&path, table->file);
	if (stream_open(&stream, buf) < 0)
		return true;
	while (go_on && stream_line(&stream, buf, sizeof(buf))) {
		const char *at = text_skip_fields(buf, table->inode_field);
		uint64_t inode;
		if (at != NULL && text_read_unsigned(&at, &inode) && (*at == ' ' || *at == '\0'))
			go_on = visit->line(visit->arg, table, inode, buf);
	}
	stream_close(&stream);
	return go_on;
}

static bool walk(pid_t pid, const struct visit *visit)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (!walk_table(&tables[i], pid, visit))
			return false;
	}
	return true;
}

struct wanted {
	uint64_t inode;
	struct text *text;
};

static bool describe_wanted(void *arg, const struct table *table, uint64_t inode, const char *line)
{
	struct wanted *wanted = arg;

	if (inode != wanted->inode)
		return true;
	describe_line(wanted->text, table, line);
	return false;
}

void socket_describe(struct text *text, pid_t pid, uint64_t inode)
{
	struct wanted wanted = {.inode = inode, .text = text};

	if (!walk(pid, &(struct visit){.line = describe_wanted, .arg = &wanted}))
		return;
	text_add(text, "socket:[");
	text_add_unsigned(text, inode);
	text_add_char(text, ']');
}

struct each {
	socket_fn *fn;
	void *arg;
};

static bool describe_each(void *arg, const struct table *table, uint64_t inode, const char *line)
{
	const struct each *each = arg;
	char buf[LINE_SIZE];
	struct text text;

	text_start(&text, buf, sizeof(buf));
	describe_line(&text, table, line);
	each->fn(each->arg, inode, buf);
	return true;
}

void socket_each(pid_t pid, socket_fn *fn, void *arg)
{
	struct each each = {.fn = fn, .arg = arg};

	walk(pid, &(struct visit){.line = describe_each, .arg = &each});
}
