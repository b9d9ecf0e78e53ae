/* SPDX-License-Identifier: MIT
 *
 * See memory.h. Between the look at the pagemap and the read a page may go; that takes reclaim to pick a page that was just in use.
 */
#include "memory.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const uint64_t PRESENT = UINT64_C(1) << 63; /* Documentation/admin-guide/mm/pagemap.rst; needs no privilege */

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static bool is_present(int pagemap, unsigned long address)
{
	uint64_t entry;
	off_t at = (off_t)(address / page_size() * sizeof(entry));

	return pread(pagemap, &entry, sizeof(entry), at) == sizeof(entry) && (entry & PRESENT) != 0;
}

static bool all_present(pid_t pid, unsigned long address, size_t size)
{
	char path[64];
	bool present = true;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	int pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return false;
	for (unsigned long page = address / page_size(); present && page <= (address + size - 1) / page_size(); page++)
		present = is_present(pagemap, page * page_size());
	close(pagemap);
	return present;
}

bool memory_read(pid_t pid, unsigned long address, void *buf, size_t size)
{
	struct iovec here = {buf, size}, there = {(void *)address, size}; // NOLINT: an address in another process

	if (!address || !size || address + size < address || !all_present(pid, address, size))
		return false;
	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

static void clean(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
	}
}

bool memory_read_string(pid_t pid, unsigned long address, char *buf, size_t size)
{
	size_t done = 0;

	/* Page by page: the one behind the string's end need not be there. */
	while (done < size - 1) {
		size_t part = page_size() - (address + done) % page_size();
		part = part < size - 1 - done ? part : size - 1 - done;
		if (!memory_read(pid, address + done, buf + done, part))
			return false;
		if (memchr(buf + done, '\0', part))
			break;
		done += part;
	}
	buf[size - 1] = '\0';
	clean(buf);
	return true;
}
