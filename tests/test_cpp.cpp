/* SPDX-License-Identifier: MIT
 *
 * The header from C++17, against the shared library: scopes as objects, an exception through a scope, handles in smart pointers.
 * A plain program that prints TAP: criterion is not needed for this.
 */
#include <unstick.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <unistd.h>

static_assert(!std::is_copy_constructible<unstick_scope_guard>::value, "a scope is where it was begun");
static_assert(!std::is_copy_assignable<unstick_scope_guard>::value, "a scope is where it was begun");
static_assert(sizeof(unstick_scope) == 128, "part of the ABI");

namespace
{

using token_handle = std::unique_ptr<unstick_token, decltype(&unstick_token_unref)>;

token_handle make_token()
{
	unstick_token *token = nullptr;
	if (unstick_token_new(&token, nullptr) != 0)
		throw std::bad_alloc();
	return token_handle(token, unstick_token_unref);
}

bool the_guard_begins_and_ends()
{
	bool inside;
	{
		UNSTICK_SCOPE(scope, nullptr, 0);
		inside = unstick_check() == -ETIMEDOUT && unstick_scope_end(&scope) == -ETIMEDOUT;
	}
	{
		UNSTICK_SCOPE(scope, nullptr, 0);
		inside = inside && unstick_check() == -ETIMEDOUT;
	}
	return inside && unstick_check() == 0;
}

void throw_in_a_scope(unstick_token *token)
{
	UNSTICK_SCOPE(scope, token, UNSTICK_NEVER);
	char byte;
	int fds[2];
	if (pipe(fds) != 0)
		return;
	ssize_t n = unstick_read(fds[0], &byte, 1);
	close(fds[0]);
	close(fds[1]);
	if (n == -ECANCELED)
		throw std::runtime_error("cancelled");
}

bool an_exception_ends_it()
{
	token_handle token = make_token();
	unstick_token_cancel(token.get());
	try {
		throw_in_a_scope(token.get());
	} catch (const std::runtime_error &) {
		return unstick_check() == 0;
	}
	return false;
}

/* In a frame that the next begin lies above: see unstick_scope_begin(). */
__attribute__((noinline)) void leave_by_exception()
{
	volatile char room[4096];
	unstick_scope scope; /* no guard: nobody ends it */
	room[0] = room[sizeof room - 1] = 0;
	unstick_scope_start(&scope, nullptr, 0);
	throw 1;
}

bool a_bare_scope_left_by_an_exception_is_dropped()
{
	try {
		leave_by_exception();
	} catch (int) {
	}
	UNSTICK_SCOPE(scope, nullptr, UNSTICK_NEVER);
	return unstick_check() == 0;
}

bool guards_nest()
{
	token_handle token = make_token();
	UNSTICK_SCOPE(outer, token.get(), UNSTICK_NEVER);
	{
		UNSTICK_SCOPE(inner, nullptr, 0);
		if (unstick_check() != -ETIMEDOUT)
			return false;
	}
	if (unstick_check() != 0)
		return false;
	unstick_token_cancel(token.get());
	return unstick_check() == -ECANCELED;
}

bool posix_form_sets_errno()
{
	errno = 0;
	return unstick_posix(unstick_read(-1, nullptr, 0)) == -1 && errno == EBADF;
}

struct test {
	const char *name;
	bool (*run)();
};

const test tests[] = {
        {"the guard begins and ends", the_guard_begins_and_ends},
        {"an exception ends it", an_exception_ends_it},
        {"a bare scope left by an exception is dropped", a_bare_scope_left_by_an_exception_is_dropped},
        {"guards nest", guards_nest},
        {"the POSIX form sets errno", posix_form_sets_errno},
};

} // namespace

int main()
{
	int failed = 0, number = 0;
	std::printf("1..%zu\n", sizeof tests / sizeof tests[0]);
	for (const test &one : tests) {
		bool ok = one.run();
		failed += !ok;
		std::printf("%s %d - %s\n", ok ? "ok" : "not ok", ++number, one.name);
	}
	return failed != 0;
}
