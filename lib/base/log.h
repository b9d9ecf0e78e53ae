/* SPDX-License-Identifier: MIT
 *
 * One line to the application's log callback; nothing without one. Never called in a signal handler.
 */
#ifndef UNSTICK_BASE_LOG_H
#define UNSTICK_BASE_LOG_H

void log_set(void (*fn)(void *arg, const char *message), void *arg);
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
