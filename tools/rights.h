/* SPDX-License-Identifier: MIT
 *
 * What this process may do with others, as far as it is the same for all messages.
 */
#ifndef TOOLS_RIGHTS_H
#define TOOLS_RIGHTS_H

#include <stdbool.h>

#include <unstick.h>

/* What to do about a thread that may not be looked into or traced: "run it as root, ..."; for who is that already, what is in the way. */
const char *rights_remedy(void);

/* The report has nothing of the thread but its name: the right to see its call is missing. */
bool rights_lack(const struct unstick_report *report);

#endif
