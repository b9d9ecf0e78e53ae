/* SPDX-License-Identifier: MIT */
#include "wake/ticket.h"

#include <errno.h>
#include <string.h>

struct content {
	uint64_t generation;
	int64_t error; /* 0: none */
	int64_t nr;
	uint64_t pc, sp;
	unsigned long args[6];
};

#define CONTENT_WORDS (sizeof(struct content) / sizeof(uint64_t))
_Static_assert(sizeof(struct content) % sizeof(uint64_t) == 0 && CONTENT_WORDS <= SEQBOX_WORDS, "a box of words");

void ticket_write(struct ticket *ticket, const struct task_call *call, int error, uint64_t generation)
{
	uint64_t words[CONTENT_WORDS];
	struct content content = {.generation = generation, .error = error, .nr = call->nr, .pc = call->pc, .sp = call->sp};
	memcpy(content.args, call->args, sizeof content.args);
	memcpy(words, &content, sizeof words);
	seqbox_write(&ticket->box, words, CONTENT_WORDS);
}

void ticket_clear(struct ticket *ticket)
{
	static const struct task_call none = {.nr = -1};
	ticket_write(ticket, &none, 0, 0);
}

int ticket_match(struct ticket *ticket, const ucontext_t *context, uint64_t generation)
{
	uint64_t words[CONTENT_WORDS];
	struct content wanted;
	if (!seqbox_read(&ticket->box, words, CONTENT_WORDS))
		return 0;
	memcpy(&wanted, words, sizeof wanted);
	if (wanted.error == 0 || wanted.generation != generation)
		return 0;
	if (arch_sp(context) != wanted.sp || !arch_arguments_are(context, wanted.args))
		return 0;
	uintptr_t pc = arch_pc(context);
	long result = arch_result(context);
	bool interrupted = pc == wanted.pc && result == -EINTR;
	/* siginterrupt(3), or a copy of our sigaction with SA_RESTART: the kernel has gone back to the instruction and
	 * restored nr. */
	bool restarting = pc + ARCH_SYSCALL_LENGTH == wanted.pc && result == wanted.nr;
	if (!(interrupted || restarting) || !arch_after_syscall(wanted.pc))
		return 0;
	return (int)wanted.error;
}

void ticket_apply(struct ticket *ticket, ucontext_t *context, int error)
{
	if (arch_result(context) != -EINTR)
		arch_set_pc(context, arch_pc(context) + ARCH_SYSCALL_LENGTH);
	arch_set_result(context, error == TICKET_ZERO ? 0 : error);
	atomic_fetch_add_explicit(&ticket->taken, 1, memory_order_release);
}
