/* SPDX-License-Identifier: MIT
 *
 * A plugin brings unstick in, and is unloaded again (fault 23): threads still in scopes are freed, those that end detach, the
 * monitor lives. Not linked with the library, which is what dlclose(3) is about; LIBRARY is its path.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fault.h"
#include "unstick.h"

static struct api {
	__typeof__(unstick_scope_begin) *scope_begin;
	__typeof__(unstick_scope_end) *scope_end;
	__typeof__(unstick_token_new) *token_new;
	__typeof__(unstick_token_cancel) *token_cancel;
	__typeof__(unstick_after_ms) *after_ms;
	__typeof__(unstick_signal) *signal;
	__typeof__(unstick_read) *read;
} api;

static int fds[2];
static struct unstick_token *token;
static _Atomic pid_t reader_tid;
static _Atomic long foreign_result;
static _Atomic int scope_result;

static void *symbol(void *library, const char *name)
{
	void *address = dlsym(library, name);
	CHECK(address != NULL, "%s", dlerror());
	return address;
}

static void *load(void)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	CHECK(library != NULL, "%s", dlerror());
	/* POSIX asks for the cast through void ** to be right, ISO C does not. */
	*(void **)&api.scope_begin = symbol(library, "unstick_scope_begin");
	*(void **)&api.scope_end = symbol(library, "unstick_scope_end");
	*(void **)&api.token_new = symbol(library, "unstick_token_new");
	*(void **)&api.token_cancel = symbol(library, "unstick_token_cancel");
	*(void **)&api.after_ms = symbol(library, "unstick_after_ms");
	*(void **)&api.signal = symbol(library, "unstick_signal");
	*(void **)&api.read = symbol(library, "unstick_read");
	return library;
}

static void *read_in_scope(void *deadline)
{
	struct unstick_scope scope;
	char byte;
	CHECK(api.scope_begin(&scope, token, *(const unstick_time *)deadline) == 0, "unstick_scope_begin");
	atomic_store(&reader_tid, (pid_t)syscall(SYS_gettid));
	foreign_result = after_foreign(read(fds[0], &byte, 1) < 0 ? -errno : 1);
	scope_result = api.scope_end(&scope);
	return NULL;
}

/* A thread reads in a scope with `deadline`, the library is unloaded, then `then` is done; the read ends with `expected`. */
static void unloaded_under(unstick_time deadline, bool then_cancel, int expected)
{
	pthread_t thread;
	void *library = load();
	CHECK(pipe(fds) == 0 && api.token_new(&token, NULL) == 0, "token");
	if (deadline == 0)
		deadline = api.after_ms(100);
	CHECK(pthread_create(&thread, NULL, read_in_scope, &deadline) == 0, "pthread_create");
	WAIT_UNTIL(reader_tid != 0);
	if (then_cancel)
		WAIT_UNTIL(proc_in_call(0, reader_tid, SYS_read));
	CHECK(dlclose(library) == 0, "%s", dlerror());
	if (then_cancel)
		api.token_cancel(token);
	fault_waiting_for("the reader");
	pthread_join(thread, NULL);
	CHECK(foreign_result == expected && scope_result == expected, "%ld, %d", foreign_result, scope_result);
	CHECK(dlopen(LIBRARY, RTLD_NOW | RTLD_NOLOAD) != NULL, "it was unloaded");
}

static void cancel_after(void)
{
	unloaded_under(UNSTICK_NEVER, true, -ECANCELED);
}

static void deadline_after(void)
{
	unloaded_under(0, false, -ETIMEDOUT);
}

static void loaded_again(void)
{
	unloaded_under(UNSTICK_NEVER, true, -ECANCELED);
	int before = api.signal();
	reader_tid = 0;
	unloaded_under(UNSTICK_NEVER, true, -ECANCELED);
	CHECK(before != 0 && api.signal() == before, "signal %d, then %d", before, api.signal());
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {23, "dlclose: a thread still in a scope is freed by a cancel", cancel_after},
	        {23, "dlclose: a thread still in a scope is freed by its deadline", deadline_after},
	        {23, "dlclose and dlopen again: it is the same library still", loaded_again},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
