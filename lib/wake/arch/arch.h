/* SPDX-License-Identifier: MIT
 *
 * What the wake layer needs from an architecture. The contract is window.txt; nothing else here is architecture-dependent.
 */
#ifndef UNSTICK_WAKE_ARCH_H
#define UNSTICK_WAKE_ARCH_H

#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* The part of a thread's record that the window touches; the offsets are known to window.S. */
struct window {
	/* thread.h: generation, ARMED, FIRED, POKING. The window only loads it. */
	_Atomic uint64_t state;
	/* (nr + 1) << 32 | fd while an own call is under way, else 0. Written on the owner's thread only, or while the record is free. */
	_Atomic uint64_t marker;
	/* Stack pointer of that call; a pointer to this window lies there while its frame exists. Likewise. */
	_Atomic uint64_t marker_sp;
};

_Static_assert(offsetof(struct window, state) == 0, "window.S");
_Static_assert(offsetof(struct window, marker) == 8, "window.S");
_Static_assert(offsetof(struct window, marker_sp) == 16, "window.S");

/* The call was not made: no kernel result has this value. */
#define ARCH_CUT LONG_MIN

long arch_window(struct window *w, long nr, long a, long b, long c, long d, long e, long f);

extern const char arch_window_start[] __attribute__((visibility("hidden")));
extern const char arch_window_syscall[] __attribute__((visibility("hidden")));
extern const char arch_window_after[] __attribute__((visibility("hidden")));
extern const char arch_window_cut[] __attribute__((visibility("hidden")));

#if defined(__x86_64__) && defined(__LP64__)
#include "wake/arch/x86_64/context.h"
#else
#error "no window for this architecture: see lib/wake/arch/window.txt"
#endif

#endif
