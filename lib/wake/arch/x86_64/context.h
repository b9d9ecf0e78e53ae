/* SPDX-License-Identifier: MIT
 *
 * x86-64: the registers of an interrupted thread, as the wake signal's handler sees them.
 * At the instruction after `syscall` the six argument registers hold the arguments still; rcx and r11 are not looked at (the kernel
 * clobbers them, and with FRED does not even write rcx).
 */
#ifndef UNSTICK_WAKE_ARCH_X86_64_CONTEXT_H
#define UNSTICK_WAKE_ARCH_X86_64_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

enum {
	ARCH_SYSCALL_LENGTH = 2, /* 0F 05 */
	/* Where a ucontext holds them. */
	ARCH_PC_OFFSET = offsetof(ucontext_t, uc_mcontext.gregs) + REG_RIP * sizeof(greg_t),
	ARCH_SP_OFFSET = offsetof(ucontext_t, uc_mcontext.gregs) + REG_RSP * sizeof(greg_t),
};

static inline uintptr_t arch_pc(const ucontext_t *context)
{
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
}

static inline void arch_set_pc(ucontext_t *context, uintptr_t pc)
{
	context->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
}

static inline uintptr_t arch_sp(const ucontext_t *context)
{
	return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
}

static inline long arch_result(const ucontext_t *context)
{
	return (long)context->uc_mcontext.gregs[REG_RAX];
}

static inline void arch_set_result(ucontext_t *context, long result)
{
	context->uc_mcontext.gregs[REG_RAX] = result;
}

static inline bool arch_arguments_are(const ucontext_t *context, const unsigned long args[6])
{
	const greg_t *r = context->uc_mcontext.gregs;
	return (unsigned long)r[REG_RDI] == args[0] && (unsigned long)r[REG_RSI] == args[1] &&
	       (unsigned long)r[REG_RDX] == args[2] && (unsigned long)r[REG_R10] == args[3] &&
	       (unsigned long)r[REG_R8] == args[4] && (unsigned long)r[REG_R9] == args[5];
}

/* Does a system call instruction end at `pc`? */
static inline bool arch_after_syscall(uintptr_t pc)
{
	const unsigned char *end = (const unsigned char *)pc;
	return end[-2] == 0x0f && end[-1] == 0x05;
}

#endif
