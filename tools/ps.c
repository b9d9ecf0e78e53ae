/* SPDX-License-Identifier: MIT
 *
 * unstick ps.
 */
#include "command.h"

int ps_main(int argc, char **argv)
{
	(void)argc;
	return complain_usage("%s: not written yet", argv[0]);
}
