/* SPDX-License-Identifier: MIT
 *
 * On files that answer, an isolated operation gives what the same operation gives without: every step is made twice, once by a thread
 * of the engine, once by the helper, each side in a directory of its own, and the results and the files are compared.
 */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "isolated.h"

enum { PLAIN, ISOLATED, SIDES, LARGE = 3 * 1024 * 1024 + 4711, WINDOW = 1 << 20 };

static char dirs[SIDES][64];
static unsigned char out[LARGE], in[SIDES][LARGE];

static void start(void)
{
	log_keep();
	for (int side = 0; side < SIDES; side++) {
		temporary_path(dirs[side], sizeof dirs[side], "d");
		CHECK(mkdir(dirs[side], 0755) == 0, "mkdir: %s", strerror(errno));
	}
	for (size_t i = 0; i < LARGE; i++)
		out[i] = (unsigned char)(i * 31 + i / 4096);
}

static char *path_in(int side, const char *name)
{
	static char paths[4][1024];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", dirs[side], name);
	return path;
}

static long make(int side, struct unstick_request request)
{
	if (side == ISOLATED && request.opcode != UNSTICK_OP_CLOSE)
		request.flags |= UNSTICK_ISOLATE;
	return run(&request);
}

/* An open's result is another number on each side, by its nature. */
static long same(const char *what, const long results[SIDES])
{
	bool agree = results[0] == results[1] || (results[0] >= 0 && results[1] >= UNSTICK_HANDLE_BASE);
	CHECK(agree, "%s: %ld without, %ld with isolation", what, results[PLAIN], results[ISOLATED]);
	return results[PLAIN];
}

/* `expression` uses `side`. The result without isolation. */
#define BOTH(what, ...)                                             \
	({                                                          \
		long results_[SIDES];                               \
		for (int side = 0; side < SIDES; side++)            \
			results_[side] = make(side, (__VA_ARGS__)); \
		same(what, results_);                               \
	})

static int files[SIDES];

static long open_both(const char *what, const char *name, int flags, mode_t mode)
{
	long results[SIDES];
	for (int side = 0; side < SIDES; side++) {
		results[side] = make(side, UNSTICK_OPENAT(AT_FDCWD, path_in(side, name), flags | O_CLOEXEC, mode));
		files[side] = (int)results[side];
	}
	return same(what, results);
}

static void close_both(void)
{
	CHECK(BOTH("close", UNSTICK_CLOSE(files[side])) == 0, "close");
}

static void same_files(const char *name)
{
	static unsigned char contents[SIDES][LARGE];
	ssize_t sizes[SIDES];
	struct stat status[SIDES];
	for (int side = 0; side < SIDES; side++) {
		int fd = open(path_in(side, name), O_RDONLY);
		CHECK(fd >= 0 && fstat(fd, &status[side]) == 0, "%s", name);
		sizes[side] = read(fd, contents[side], LARGE);
		close(fd);
	}
	CHECK(sizes[0] == sizes[1] && memcmp(contents[0], contents[1], (size_t)sizes[0]) == 0, "%s differs", name);
	CHECK(status[0].st_mode == status[1].st_mode && status[0].st_uid == status[1].st_uid, "%s: its mode or owner", name);
}

static void opens(void)
{
	start();
	CHECK(open_both("open of nothing", "none", O_RDONLY, 0) == -ENOENT, "ENOENT");
	CHECK(open_both("O_CREAT", "a", O_RDWR | O_CREAT | O_EXCL, 0644) >= 0, "O_CREAT");
	close_both();
	CHECK(open_both("O_EXCL", "a", O_RDWR | O_CREAT | O_EXCL, 0644) == -EEXIST, "EEXIST");
	CHECK(open_both("a directory for writing", ".", O_RDWR, 0) == -EISDIR, "EISDIR");
	CHECK(open_both("a file as directory", "a", O_RDONLY | O_DIRECTORY, 0) == -ENOTDIR, "ENOTDIR");
	CHECK(open_both("below a file", "a/b", O_RDONLY, 0) == -ENOTDIR, "ENOTDIR");
	char name[400];
	memset(name, 'x', sizeof name);
	name[300] = '\0';
	CHECK(BOTH("a long name", UNSTICK_OPENAT(AT_FDCWD, path_in(side, name), O_RDONLY, 0)) < 0, "ENAMETOOLONG");
	static char endless[8192];
	memset(endless, '/', sizeof endless - 1);
	CHECK(BOTH("a long path", UNSTICK_OPENAT(AT_FDCWD, endless, O_RDONLY, 0)) == -ENAMETOOLONG, "ENAMETOOLONG");
	CHECK(BOTH("an empty path", UNSTICK_OPENAT(AT_FDCWD, "", O_RDONLY, 0)) == -ENOENT, "ENOENT");
	CHECK(BOTH("a bad dirfd", UNSTICK_OPENAT(999, "x", O_RDONLY, 0)) == -EBADF, "EBADF");
	CHECK(BOTH("a bad dirfd, absolute", UNSTICK_OPENAT(999, path_in(side, "a"), O_RDONLY, 0)) >= 0, "not looked at");
	umask(077);
	CHECK(open_both("the umask", "m", O_RDWR | O_CREAT, 0666) >= 0, "umask");
	same_files("m");
	umask(0);
	CHECK(open_both("another umask", "n", O_RDWR | O_CREAT, 0666) >= 0, "umask");
	same_files("n");
	CHECK(stats_now().helpers == 3, "%u helpers for three umasks", stats_now().helpers);
}

static void refusals(void)
{
	start();
	if (geteuid() == 0)
		fault_skip("root may open everything");
	CHECK(open_both("a file", "a", O_RDWR | O_CREAT, 0) >= 0, "O_CREAT");
	CHECK(open_both("without rights", "a", O_RDONLY, 0) == -EACCES, "EACCES");
	CHECK(chmod(dirs[0], 0500) == 0 && chmod(dirs[1], 0500) == 0, "chmod");
	CHECK(BOTH("unlink without rights", UNSTICK_UNLINKAT(AT_FDCWD, path_in(side, "a"), 0)) == -EACCES, "EACCES");
	CHECK(chmod(dirs[0], 0700) == 0 && chmod(dirs[1], 0700) == 0, "chmod");
}

static void moves(void)
{
	start();
	open_both("file", "f", O_RDWR | O_CREAT, 0644);
	CHECK(BOTH("write", UNSTICK_WRITE(files[side], out, 10)) == 10, "write");
	CHECK(BOTH("write at the position", UNSTICK_WRITE(files[side], out + 10, 10)) == 10, "write");
	CHECK(BOTH("pwrite", UNSTICK_PWRITE(files[side], out, 5, 100)) == 5, "pwrite");
	CHECK(BOTH("read at the position", UNSTICK_READ(files[side], in[side], 100)) == 85, "read");
	CHECK(BOTH("read at the end", UNSTICK_READ(files[side], in[side], 100)) == 0, "read");
	CHECK(BOTH("pread", UNSTICK_PREAD(files[side], in[side], 20, 0)) == 20 && memcmp(in[0], out, 20) == 0, "pread");
	CHECK(memcmp(in[0], in[1], 20) == 0, "what was read");
	CHECK(BOTH("pread beyond the end", UNSTICK_PREAD(files[side], in[side], 20, 1 << 20)) == 0, "pread");
	CHECK(BOTH("nothing", UNSTICK_READ(files[side], NULL, 0)) == 0 && BOTH("nothing", UNSTICK_WRITE(files[side], NULL, 0)) == 0,
	      "0");
	CHECK(BOTH("fsync", UNSTICK_FSYNC(files[side], 0)) == 0 && BOTH("fdatasync", UNSTICK_FSYNC(files[side], 1)) == 0, "fsync");
	close_both();
	same_files("f");
	CHECK(open_both("write only", "f", O_WRONLY | O_APPEND, 0) >= 0, "open");
	CHECK(BOTH("read of it", UNSTICK_READ(files[side], in[side], 1)) == -EBADF, "EBADF");
	CHECK(BOTH("append", UNSTICK_WRITE(files[side], out, 7)) == 7, "append");
	same_files("f");
	CHECK(open_both("a directory", ".", O_RDONLY, 0) >= 0, "open");
	CHECK(BOTH("read of it", UNSTICK_READ(files[side], in[side], 10)) == -EISDIR, "EISDIR");
}

static void larger_than_a_window(void)
{
	static const size_t sizes[] = {WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, LARGE};
	start();
	open_both("file", "f", O_RDWR | O_CREAT, 0644);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		long size = (long)sizes[i];
		CHECK(BOTH("pwrite", UNSTICK_PWRITE(files[side], out, sizes[i], 0)) == size, "pwrite of %ld", size);
		memset(in, 0, sizeof in);
		CHECK(BOTH("pread", UNSTICK_PREAD(files[side], in[side], sizes[i], 0)) == size, "pread of %ld", size);
		CHECK(memcmp(in[0], out, sizes[i]) == 0 && memcmp(in[1], out, sizes[i]) == 0, "what was read");
		CHECK(BOTH("a part of it", UNSTICK_PREAD(files[side], in[side], LARGE, 1000)) == size - 1000, "pread");
	}
	CHECK(BOTH("write at the end", UNSTICK_WRITE(files[side], out, LARGE)) == LARGE, "write");
	CHECK(BOTH("and there it is", UNSTICK_READ(files[side], in[side], 10)) == 0, "read");
	same_files("f");
}

static void vectors(void)
{
	start();
	const struct iovec parts[] = {{out, 1}, {NULL, 0}, {out + 1, WINDOW}, {out + 1 + WINDOW, 12345}};
	open_both("file", "f", O_RDWR | O_CREAT, 0644);
	CHECK(BOTH("writev", UNSTICK_WRITEV(files[side], parts, 4)) == WINDOW + 12346, "writev");
	same_files("f");
	long results[SIDES];
	for (int side = 0; side < SIDES; side++) {
		struct iovec into[] = {{in[side], 77777}, {in[side] + 77777, 3}, {in[side] + 77780, LARGE - 77780}};
		struct unstick_request request = UNSTICK_READV(files[side], into, 3);
		request.offset = 0;
		results[side] = make(side, request);
	}
	CHECK(same("readv", results) == WINDOW + 12346, "readv");
	CHECK(memcmp(in[0], out, WINDOW + 12346) == 0 && memcmp(in[1], out, WINDOW + 12346) == 0, "what was read");
}

static void names(void)
{
	struct statx status[SIDES];
	start();
	open_both("file", "f", O_RDWR | O_CREAT, 0640);
	BOTH("write", UNSTICK_WRITE(files[side], out, 99));
	CHECK(BOTH("statx", UNSTICK_STATX(AT_FDCWD, path_in(side, "f"), 0, STATX_BASIC_STATS, &status[side])) == 0, "statx");
	CHECK(status[0].stx_size == 99 && status[1].stx_size == 99 && status[0].stx_mode == status[1].stx_mode, "what it says");
	CHECK(BOTH("statx of an fd", UNSTICK_STATX(files[side], "", AT_EMPTY_PATH, STATX_SIZE, &status[side])) == 0, "statx");
	CHECK(BOTH("statx of nothing", UNSTICK_STATX(AT_FDCWD, path_in(side, "x"), 0, STATX_SIZE, &status[side])) == -ENOENT,
	      "statx");
	CHECK(BOTH("rename", UNSTICK_RENAMEAT(AT_FDCWD, path_in(side, "f"), AT_FDCWD, path_in(side, "g"), 0)) == 0, "rename");
	CHECK(BOTH("rename again", UNSTICK_RENAMEAT(AT_FDCWD, path_in(side, "f"), AT_FDCWD, path_in(side, "g"), 0)) == -ENOENT,
	      "rename");
	same_files("g");
	CHECK(open_both("another", "h", O_RDWR | O_CREAT, 0640) >= 0, "open");
	CHECK(BOTH("RENAME_NOREPLACE", UNSTICK_RENAMEAT(AT_FDCWD, path_in(side, "h"), AT_FDCWD, path_in(side, "g"), 1)) == -EEXIST,
	      "rename");
	CHECK(BOTH("unlink", UNSTICK_UNLINKAT(AT_FDCWD, path_in(side, "g"), 0)) == 0, "unlink");
	CHECK(BOTH("unlink again", UNSTICK_UNLINKAT(AT_FDCWD, path_in(side, "g"), 0)) == -ENOENT, "unlink");
	CHECK(BOTH("of a directory", UNSTICK_UNLINKAT(AT_FDCWD, dirs[side], 0)) == -EISDIR, "unlink");
	CHECK(BOTH("rmdir of one that is not empty", UNSTICK_UNLINKAT(AT_FDCWD, dirs[side], AT_REMOVEDIR)) == -ENOTEMPTY, "rmdir");
	CHECK(BOTH("unlink", UNSTICK_UNLINKAT(AT_FDCWD, path_in(side, "h"), 0)) == 0, "unlink");
	CHECK(BOTH("rmdir", UNSTICK_UNLINKAT(AT_FDCWD, dirs[side], AT_REMOVEDIR)) == 0, "rmdir");
}

static void relative(void)
{
	start();
	int plain_dir = open(dirs[PLAIN], O_RDONLY | O_DIRECTORY | O_CLOEXEC), real = open(dirs[ISOLATED], O_PATH | O_CLOEXEC);
	long handle = make(ISOLATED, UNSTICK_OPENAT(AT_FDCWD, dirs[ISOLATED], O_RDONLY | O_DIRECTORY, 0));
	const int by[][SIDES] = {{plain_dir, (int)handle}, {plain_dir, real}, {AT_FDCWD, AT_FDCWD}};
	for (size_t i = 0; i < 3; i++) {
		struct statx status;
		long results[SIDES];
		for (int side = 0; side < SIDES; side++) {
			CHECK(chdir(dirs[side]) == 0, "chdir");
			results[side] = make(side, UNSTICK_OPENAT(by[i][side], "f", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
			CHECK(results[side] >= 0 && run(&UNSTICK_CLOSE((int)results[side])) == 0, "open %ld", results[side]);
			CHECK(access(path_in(side, "f"), F_OK) == 0, "elsewhere");
			CHECK(make(side, UNSTICK_STATX(by[i][side], "f", 0, STATX_SIZE, &status)) == 0, "statx");
			CHECK(make(side, UNSTICK_RENAMEAT(by[i][side], "f", by[i][side], "g", 0)) == 0, "rename");
			CHECK(make(side, UNSTICK_UNLINKAT(by[i][side], "g", 0)) == 0, "unlink");
			CHECK(make(side, UNSTICK_UNLINKAT(by[i][side], "g", 0)) == -ENOENT, "unlink");
		}
		same("relative opens", results);
	}
	CHECK(chdir("/") == 0, "chdir");
}

static unsigned count_names(const char *entries, long size)
{
	unsigned count = 0;
	for (long at = 0; at < size; count++)
		at += ((const struct dirent64 *)(const void *)(entries + at))->d_reclen;
	return count;
}

static void directories(void)
{
	static _Alignas(8) char entries[SIDES][8192];
	enum { FILES = 600 };
	char name[16];
	start();
	for (int side = 0; side < SIDES; side++)
		for (int i = 0; i < FILES; i++) {
			snprintf(name, sizeof name, "file-%d", i);
			close(open(path_in(side, name), O_CREAT | O_WRONLY, 0600));
		}
	open_both("directory", ".", O_RDONLY | O_DIRECTORY, 0);
	for (int side = 0; side < SIDES; side++) {
		unsigned count = 0;
		long n;
		while ((n = make(side, UNSTICK_READDIR(files[side], entries[side], sizeof entries[0]))) > 0)
			count += count_names(entries[side], n);
		CHECK(n == 0 && count == FILES + 2, "%u entries, then %ld", count, n);
	}
	CHECK(BOTH("too small", UNSTICK_READDIR(files[side], entries[side], 1)) <= 0, "EINVAL");
	open_both("file", "file-1", O_RDONLY, 0);
	CHECK(BOTH("of a file", UNSTICK_READDIR(files[side], entries[side], 4096)) == -ENOTDIR, "ENOTDIR");
	for (int side = 0; side < SIDES; side++)
		for (int i = 0; i < FILES; i++) {
			snprintf(name, sizeof name, "file-%d", i);
			unlink(path_in(side, name));
		}
}

static void library_memory(void)
{
	struct unstick_buffer *buffer;
	start();
	open_both("file", "f", O_RDWR | O_CREAT, 0644);
	CHECK(unstick_buffer_new(&buffer, 4096) == 0, "buffer");
	memset(unstick_buffer_data(buffer), 'b', 4096);
	struct unstick_request request = UNSTICK_WRITE(0, buffer, 4096);
	request.flags = UNSTICK_BUFFER;
	for (int side = 0; side < SIDES; side++) {
		request.fd = files[side];
		CHECK(make(side, request) == 4096, "write");
	}
	same_files("f");
	unstick_buffer_unref(buffer);
}

/* An fd of this process, carried out there: the file's position is one. */
static void real_fds(void)
{
	start();
	int fd = open(path_in(0, "f"), O_RDWR | O_CREAT, 0644);
	CHECK(run_isolated(UNSTICK_WRITE(fd, out, 10)) == 10 && lseek(fd, 0, SEEK_CUR) == 10, "write");
	CHECK(run_isolated(UNSTICK_PREAD(fd, in[0], 20, 0)) == 10 && memcmp(in[0], out, 10) == 0, "pread");
	CHECK(run_isolated(UNSTICK_FSYNC(fd, 0)) == 0, "fsync");
	CHECK(run_isolated(UNSTICK_READ(999, in[0], 20)) == -EBADF, "a bad one");
	CHECK(refused(isolated(UNSTICK_CLOSE(fd))) == -EINVAL && fcntl(fd, F_GETFD) >= 0, "close");
	int fds[2];
	make_pipe(fds);
	close(fds[0]);
	CHECK(run_isolated(UNSTICK_WRITE(fds[1], out, 10)) == -EPIPE, "a pipe without a reader");
	make_pipe(fds);
	CHECK(write(fds[1], out, 10) == 10 && run_isolated(UNSTICK_READ(fds[0], in[0], LARGE)) == 10, "a pipe gives what is there");
	unsigned before = fds_count(helper_pid());
	for (int i = 0; i < 200; i++)
		CHECK(run_isolated(UNSTICK_PREAD(fd, in[0], 20, 0)) == 10, "pread");
	CHECK(fds_count(helper_pid()) == before, "fds are left in the helper");
}

static void handles(void)
{
	start();
	open_both("file", "f", O_RDWR | O_CREAT, 0644);
	int handle = files[ISOLATED];
	struct unstick_op *op = NULL;
	CHECK(unstick_engine_submit(engine(), &UNSTICK_RECV(handle, in[0], 1), &op) == -EOPNOTSUPP, "recv");
	CHECK(refused(UNSTICK_POLL(handle, POLLIN)) == -EOPNOTSUPP && refused(UNSTICK_SPLICE(handle, 1, 0)) == -EOPNOTSUPP,
	      "others");
	CHECK(run(&UNSTICK_CLOSE(handle)) == 0 && run(&UNSTICK_CLOSE(handle)) == -EBADF, "closed twice");
	CHECK(run(&UNSTICK_READ(handle, in[0], 1)) == -EBADF && run(&UNSTICK_FSYNC(handle, 0)) == -EBADF, "used after its close");
	CHECK(run(&UNSTICK_OPENAT(handle, "x", O_RDONLY, 0)) == -EBADF, "as a directory");
	CHECK(run(&UNSTICK_READ(INT32_MAX, in[0], 1)) == -EBADF && run(&UNSTICK_CLOSE(INT32_MAX)) == -EBADF, "never opened");
	CHECK(run(&UNSTICK_READ(UNSTICK_HANDLE_BASE, in[0], 1)) == -EBADF, "never opened");
	for (int i = 0; i < 100; i++) {
		open_both("again", "f", O_RDWR, 0);
		CHECK(files[ISOLATED] != handle && run(&UNSTICK_READ(handle, in[0], 1)) == -EBADF, "a stale handle is another's");
		close_both();
	}
	CHECK(fds_count(helper_pid()) <= 3 + 1 + 16 + 1, "%u fds in the helper", fds_count(helper_pid()));
}

static void many_at_once(void)
{
	enum { OPS = 200 };
	static struct unstick_op *ops[OPS];
	static char block[OPS][512];
	start();
	open_both("file", "f", O_RDWR | O_CREAT, 0644);
	for (int i = 0; i < OPS; i++) {
		memset(block[i], i, sizeof block[i]);
		ops[i] = begin(&UNSTICK_PWRITE(files[ISOLATED], block[i], sizeof block[i], i * 512));
	}
	for (int i = 0; i < OPS; i++)
		CHECK(end_of(ops[i]) == 512, "write %d", i);
	memset(block, 0, sizeof block);
	for (int i = 0; i < OPS; i++)
		ops[i] = begin(&UNSTICK_PREAD(files[ISOLATED], block[i], sizeof block[i], i * 512));
	for (int i = 0; i < OPS; i++)
		CHECK(end_of(ops[i]) == 512 && block[i][0] == (char)i && block[i][511] == (char)i, "read %d", i);
	CHECK(stats_now().helpers == 1, "%u helpers", stats_now().helpers);
}

/* What a case has made. */
static void clear(void)
{
	for (int side = 0; side < SIDES; side++) {
		DIR *dir = opendir(dirs[side]);
		for (const struct dirent *entry; dir && (entry = readdir(dir));)
			if (entry->d_name[0] != '.')
				unlinkat(dirfd(dir), entry->d_name, 0);
		if (dir)
			closedir(dir);
	}
}

#define EVERY_CASE(X)                                                                \
	X(opens, "opens: modes, flags, errors, umask")                               \
	X(refusals, "what an ordinary user may not")                                 \
	X(moves, "reads, writes, positions, fsync")                                  \
	X(larger_than_a_window, "transfers around and above the size of the window") \
	X(vectors, "readv and writev")                                               \
	X(names, "statx, rename, unlink, rmdir")                                     \
	X(relative, "relative to a handle, an fd, the working directory")            \
	X(directories, "readdir")                                                    \
	X(library_memory, "UNSTICK_BUFFER")                                          \
	X(real_fds, "an fd of this process")                                         \
	X(handles, "handles: closed twice, used after close, never opened")          \
	X(many_at_once, "200 operations at once")

#define RUN(name, what)              \
	static void run_##name(void) \
	{                            \
		name();              \
		clear();             \
	}
EVERY_CASE(RUN)

static struct fault cases[] = {
#define CASE(name, what) {0, what, run_##name},
        EVERY_CASE(CASE)};

int main(int argc, char **argv)
{
	const size_t count = sizeof cases / sizeof cases[0];
	for (size_t i = 0; i < count; i++)
		cases[i].number = (int)i + 1;
	return fault_main(argc, argv, cases, count);
}
