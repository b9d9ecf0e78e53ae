/* SPDX-License-Identifier: MIT
 *
 * One trial of the matrix: one situation, one way to block in it, one moment at which it is cut short. Run in a process of its own.
 */
#ifndef STUCK_TRIAL_H
#define STUCK_TRIAL_H

#include "situations.h"

enum moment {
	MOMENT_BEFORE,         /* the token has fired before the scope begins */
	MOMENT_DURING,         /* the token fires once the thread is seen to be blocked */
	MOMENT_AFTER,          /* the call has finished first; then the token fires, inside the scope */
	MOMENT_RACE,           /* released and cancelled at once */
	MOMENT_DEADLINE,       /* the scope's deadline passes */
	MOMENT_TOKEN_DEADLINE, /* the token gets a deadline while the thread is blocked */
	MOMENT_INTERRUPT,      /* unstick_thread_interrupt(), no scope */
	MOMENT_LOOK,           /* unstick_look(), nothing is cut short */
	MOMENTS,
};

enum verdict { TRIAL_PASSED, TRIAL_FAILED, TRIAL_SKIPPED };

const char *moment_name(enum moment moment);
bool trial_makes_sense(const struct situation *situation, enum stuck_way way, enum moment moment);
/* `why` tells what failed, or why it was skipped. */
enum verdict trial_run(const struct situation *situation, enum stuck_way way, enum moment moment, char *why, size_t size);

#endif
