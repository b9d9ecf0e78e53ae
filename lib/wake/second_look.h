/* SPDX-License-Identifier: MIT
 *
 * The monitor's part of waking: expired scopes are fired, and fired scopes are watched over until they end.
 */
#ifndef UNSTICK_WAKE_SECOND_LOOK_H
#define UNSTICK_WAKE_SECOND_LOOK_H

#include "limit/alarm.h"

alarm_scan second_look_scan;

#endif
