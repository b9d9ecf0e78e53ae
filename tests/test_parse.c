/* SPDX-License-Identifier: MIT
 *
 * Words of the command line (tools/parse.h).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "parse.h"

Test(parse, durations)
{
	static const struct {
		const char *word;
		int64_t ns;
	} good[] = {{"30", 30000000000},    {"30s", 30000000000},  {"0.5", 500000000},
	            {"250ms", 250000000},   {"1.5m", 90000000000}, {"2h", 7200000000000},
	            {"1d", 86400000000000}, {".5s", 500000000},    {"0", 0}};
	static const char *const bad[] = {"",    "s",   "-1",  "+1",  "1 s",   "1x",     "0x10",
	                                  "1e3", "nan", "inf", "1s1", "101d1", "40000d", "1.2.3"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t ns = -1;
		cr_expect(parse_duration(good[i].word, &ns) && ns == good[i].ns, "%s: %lld", good[i].word, (long long)ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ns = -1;
		cr_expect(!parse_duration(bad[i], &ns) && ns == -1, "%s: %lld", bad[i], (long long)ns);
	}
}

Test(parse, errors_by_name_and_number)
{
	int error = 0;
	cr_expect(parse_errno("ECANCELED", &error) && error == ECANCELED);
	cr_expect(parse_errno("EAGAIN", &error) && error == EAGAIN);
	cr_expect(parse_errno("110", &error) && error == ETIMEDOUT);
	cr_expect(parse_errno("ecanceled", &error) && error == ECANCELED);
	cr_expect(parse_errno("EWOULDBLOCK", &error) && error == EAGAIN);
	cr_expect(parse_errno("enotsup", &error) && error == EOPNOTSUPP);
	cr_expect(parse_errno("EOPNOTSUPP", &error) && error == EOPNOTSUPP);
	cr_expect(parse_errno("EDEADLOCK", &error) && error == EDEADLK);
	error = -1;
	cr_expect(!parse_errno("0", &error) && !parse_errno("-5", &error) && !parse_errno("ENOTHING", &error) &&
	          !parse_errno("4095", &error) && !parse_errno("512", &error) && !parse_errno("", &error));
	cr_expect_eq(error, -1);
}

Test(parse, calls_by_name_and_number)
{
	long nr = -1;
	cr_expect(parse_call("recvfrom", &nr) && nr == SYS_recvfrom);
	cr_expect(parse_call("read", &nr) && nr == 0);
	cr_expect(parse_call("202", &nr) && nr == SYS_futex);
	cr_expect(!parse_call("recv", &nr) && !parse_call("", &nr) && !parse_call("-1", &nr));
}

Test(parse, signals_by_name_and_number)
{
	int sig = 0;
	cr_expect(parse_signal("TERM", &sig) && sig == SIGTERM);
	cr_expect(parse_signal("SIGINT", &sig) && sig == SIGINT);
	cr_expect(parse_signal("RTMIN+1", &sig) && sig == SIGRTMIN + 1);
	cr_expect(parse_signal("9", &sig) && sig == SIGKILL);
	cr_expect(!parse_signal("0", &sig) && !parse_signal("65", &sig) && !parse_signal("TERMINATE", &sig) &&
	          !parse_signal("", &sig));
}

Test(parse, threads)
{
	pid_t pid = -1, tid = -1;
	cr_expect(parse_thread("1234", &pid, &tid) && pid == 1234 && tid == 0);
	cr_expect(parse_thread("1234/1240", &pid, &tid) && pid == 1234 && tid == 1240);
	static const char *const bad[] = {"",  "/",  "0",     "1/", "/1",          "1/0",
	                                  "a", "1a", "1/2/3", "-1", "99999999999", "1/99999999999"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(!parse_thread(bad[i], &pid, &tid), "%s", bad[i]);
}

Test(parse, durations_are_short_to_read)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} some[] = {{0, "0.0s"},     {99, "99.0s"},     {100, "1m40s"},   {3599, "59m59s"},
	            {3600, "1h00m"}, {86399, "23h59m"}, {190800, "2d05h"}};
	char text[16];

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		format_duration(some[i].seconds * 1000000000, text, sizeof(text));
		cr_expect_str_eq(text, some[i].text);
	}
}
