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

/* raw_clone(flags, stack, pidfd, fn, arg): see raw.h.
 * C gives   rdi flags, rsi stack, rdx pidfd, rcx fn, r8 arg
 * Linux has rax nr, rdi flags, rsi stack, rdx parent_tid, r10 child_tid, r8 tls: the last two are not looked at without their flags.
 * What the call preserves, the child has too: fn is kept in r9, arg in r8.
 */
	.globl	raw_clone
	.hidden	raw_clone
	.type	raw_clone, @function
	.balign	16
raw_clone:
	.cfi_startproc
	endbr64
	movq	%rcx, %r9
	movl	$56, %eax
	syscall
	testq	%rax, %rax
	jz	1f
	ret
1:	.cfi_undefined rip
	xorl	%ebp, %ebp
	movq	%r8, %rdi
	call	*%r9
	xorl	%edi, %edi
	movl	$60, %eax
	syscall
	hlt
	.cfi_endproc
	.size	raw_clone, . - raw_clone
	.section .note.GNU-stack, "", @progbits
