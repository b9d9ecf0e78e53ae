/* SPDX-License-Identifier: MIT
 *
 * raw_syscall(nr, a, b, c, d, e, f): see raw.h.
 * C gives   rdi nr, rsi a, rdx b, rcx c, r8 d, r9 e, 8(%rsp) f
 * Linux has rax nr, rdi a, rsi b, rdx c, r10 d, r8 e, r9 f; it clobbers rcx and r11, and returns in rax.
 */
	.text
	.globl	raw_syscall
	.hidden	raw_syscall
	.type	raw_syscall, @function
	.balign	16
raw_syscall:
	.cfi_startproc
	endbr64
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	ret
	.cfi_endproc
	.size	raw_syscall, . - raw_syscall
	.section .note.GNU-stack, "", @progbits
