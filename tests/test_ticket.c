/* SPDX-License-Identifier: MIT
 *
 * Tickets, with made-up signal frames: only exactly the ticket's call matches, and only a match is touched.
 */
#include "helpers.h"
#include "wake/ticket.h"

enum { GENERATION = 5 };

static struct ticket ticket;
static struct task_call call;
static ucontext_t frame;

/* A frame in which the kernel has just ended `call` with -EINTR. The window has a true system call instruction to point behind. */
static void setup(void)
{
	call = (struct task_call){
	        .nr = SYS_read, .args = {11, 12, 13, 14, 15, 16}, .sp = 0x7000, .pc = (unsigned long)(uintptr_t)arch_window_after};
	greg_t *r = frame.uc_mcontext.gregs;
	r[REG_RIP] = (greg_t)call.pc;
	r[REG_RSP] = (greg_t)call.sp;
	r[REG_RAX] = -EINTR;
	r[REG_RDI] = 11, r[REG_RSI] = 12, r[REG_RDX] = 13, r[REG_R10] = 14, r[REG_R8] = 15, r[REG_R9] = 16;
	ticket_write(&ticket, &call, -ECANCELED, GENERATION);
}

TestSuite(ticket, .init = setup);

static int match(void)
{
	return ticket_match(&ticket, &frame, GENERATION);
}

Test(ticket, exactly_its_call_matches)
{
	cr_assert_eq(match(), -ECANCELED);
}

Test(ticket, a_call_that_differs_in_one_register_does_not_match)
{
	static const int registers[] = {REG_RIP, REG_RSP, REG_RAX, REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
	for (size_t i = 0; i < sizeof registers / sizeof registers[0]; i++) {
		frame.uc_mcontext.gregs[registers[i]] ^= 1;
		cr_assert_eq(match(), 0, "register %d of the frame was not looked at", registers[i]);
		frame.uc_mcontext.gregs[registers[i]] ^= 1;
	}
	cr_assert_eq(match(), -ECANCELED);
}

Test(ticket, what_the_kernel_clobbers_is_not_looked_at)
{
	frame.uc_mcontext.gregs[REG_RCX] = 99;
	frame.uc_mcontext.gregs[REG_R11] = 99;
	cr_assert_eq(match(), -ECANCELED);
}

Test(ticket, a_result_of_the_call_is_kept)
{
	static const greg_t results[] = {0, 1, 65536, -EAGAIN, -ECANCELED, -ERANGE};
	for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
		frame.uc_mcontext.gregs[REG_RAX] = results[i];
		cr_assert_eq(match(), 0, "would have replaced the result %lld", (long long)results[i]);
	}
}

Test(ticket, another_generation_does_not_match)
{
	cr_assert_eq(ticket_match(&ticket, &frame, GENERATION + 1), 0);
	cr_assert_eq(ticket_match(&ticket, &frame, 0), 0, "an interrupt's ticket is not a scope's");
}

Test(ticket, a_pc_that_is_behind_no_system_call_does_not_match)
{
	call.pc = (unsigned long)(uintptr_t)arch_window_cut;
	frame.uc_mcontext.gregs[REG_RIP] = (greg_t)call.pc;
	ticket_write(&ticket, &call, -ECANCELED, GENERATION);
	cr_assert_eq(match(), 0);
}

Test(ticket, a_cleared_one_and_one_being_written_match_nothing)
{
	atomic_fetch_add(&ticket.box.sequence, 1);
	cr_assert_eq(match(), 0);
	atomic_fetch_add(&ticket.box.sequence, 1);
	cr_assert_eq(match(), -ECANCELED);
	ticket_clear(&ticket);
	cr_assert_eq(match(), 0);
}

Test(ticket, applied_it_is_the_result_and_nothing_else)
{
	ucontext_t before = frame;
	ticket_apply(&ticket, &frame, match());
	cr_assert_eq(frame.uc_mcontext.gregs[REG_RAX], -ECANCELED);
	cr_assert_eq(ticket.taken, 1);
	frame.uc_mcontext.gregs[REG_RAX] = before.uc_mcontext.gregs[REG_RAX];
	cr_assert_arr_eq(&frame, &before, sizeof frame);
}

/* With SA_RESTART the kernel has gone back onto the instruction, with the number in the result register. */
Test(ticket, a_call_about_to_restart_is_stepped_over)
{
	frame.uc_mcontext.gregs[REG_RIP] -= ARCH_SYSCALL_LENGTH;
	cr_assert_eq(match(), 0, "the number is not there: not that call");
	frame.uc_mcontext.gregs[REG_RAX] = SYS_read;
	cr_assert_eq(match(), -ECANCELED);
	ticket_apply(&ticket, &frame, -ECANCELED);
	cr_assert_eq(frame.uc_mcontext.gregs[REG_RIP], (greg_t)call.pc);
	cr_assert_eq(frame.uc_mcontext.gregs[REG_RAX], -ECANCELED);
}

Test(ticket, eintr_only_is_counted_and_leaves_the_kernels_answer)
{
	ticket_write(&ticket, &call, -EINTR, GENERATION);
	cr_assert_eq(match(), -EINTR);
	ticket_apply(&ticket, &frame, -EINTR);
	cr_assert_eq(frame.uc_mcontext.gregs[REG_RAX], -EINTR);
	cr_assert_eq(frame.uc_mcontext.gregs[REG_RIP], (greg_t)call.pc);
	cr_assert_eq(ticket.taken, 1);
}
