/* SPDX-License-Identifier: MIT
 *
 * The x86-64 window; its contract is ../window.txt.
 * C gives   rdi w, rsi nr, rdx a, rcx b, r8 c, r9 d, 8(%rsp) e, 16(%rsp) f
 * Linux has rax nr, rdi a, rsi b, rdx c, r10 d, r8 e, r9 f; it clobbers rcx and r11 only.
 * rbx holds w from before `start` to the return: the kernel and the handler keep it.
 */
#define STATE		0
#define MARKER		8
#define MARKER_SP	16
#define FIRED		2

	.text
	.globl	arch_window, arch_window_start, arch_window_syscall, arch_window_after, arch_window_cut
	.hidden	arch_window, arch_window_start, arch_window_syscall, arch_window_after, arch_window_cut
	.type	arch_window, @function
	.balign	64
arch_window:
	.cfi_startproc
	endbr64
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%rdi			/* the cookie that marker_sp points to */
	.cfi_adjust_cfa_offset 8
	movq	%rdi, %rbx
	movq	%rsi, %rax
	movq	%rdx, %rdi
	movq	%rcx, %rsi
	movq	%r8, %rdx
	movq	%r9, %r10
	movq	24(%rsp), %r8
	movq	32(%rsp), %r9
	leaq	1(%rax), %rcx
	shlq	$32, %rcx
	movl	%edi, %r11d
	orq	%r11, %rcx
arch_window_start:
	movq	%rsp, MARKER_SP(%rbx)
	movq	%rcx, MARKER(%rbx)
	testb	$FIRED, STATE(%rbx)
	jnz	arch_window_cut
arch_window_syscall:
	syscall
arch_window_after:
	movq	$0, MARKER(%rbx)
	movq	$0, (%rsp)
	popq	%rcx
	.cfi_remember_state
	.cfi_adjust_cfa_offset -8
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	.cfi_restore_state
arch_window_cut:
	movq	$0, MARKER(%rbx)
	movq	$0, (%rsp)
	movabsq	$0x8000000000000000, %rax
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	.cfi_endproc
	.size	arch_window, . - arch_window
	.section .note.GNU-stack, "", @progbits
