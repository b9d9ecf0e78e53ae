/* SPDX-License-Identifier: MIT
 *
 * See rights.h.
 */
#include "rights.h"

#include <linux/capability.h>

#include "finding.h"

bool rights_lack(const struct unstick_report *report)
{
	return report->nr == -3 && report->expect == UNSTICK_NOT_INSPECTABLE;
}

const char *rights_remedy(void)
{
	if (has_capability(CAP_SYS_PTRACE))
		return "not even root may: its user namespace or a security module forbids it";
	return "run it as root, as their user, or with CAP_SYS_PTRACE";
}
