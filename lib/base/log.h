/* SPDX-License-Identifier: MIT
 *
 * One line to the application's log callback; without one to standard error, if the variable UNSTICK_LOG is "stderr"; else nothing.
 * Never called in a signal handler: the callback may be anything. Never waits for standard error: what it does not take is dropped.
 */
#ifndef UNSTICK_BASE_LOG_H
#define UNSTICK_BASE_LOG_H

void log_set(void (*fn)(void *arg, const char *message), void *arg);
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
