/* SPDX-License-Identifier: MIT
 *
 * The machine that a result comes from: without it a figure cannot be compared with any other. What cannot be found out is
 * "unknown", never left out.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

struct machine {
	char cpu[96], kernel[160], governor[32], clock[32], date[40], load[32];
	long cpus;      /* online */
	int hypervisor; /* 1: a virtual machine */
};

void machine_describe(struct machine *ret);

#endif
