/* SPDX-License-Identifier: MIT
 *
 * The victim's thread and its canceller; see victim.h for the hand-over.
 * Invariant: the canceller never wakes a victim that it has not seen blocked, so that no way loses a wake-up here, however racy it
 * would be in a program: latency is what is measured, not safety.
 */
#include "victim.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATIENCE INT64_C(5000000000)

/* The thread that plays all victims but the one-shot ones; it lives as long as any of them is open. */
static struct {
	unsigned users;
	int cpu; /* -1: any */
	pthread_t thread;
	_Atomic uint32_t gate; /* counted up to let it take `victim` */
	struct victim *victim; /* NULL: it ends; written before `gate` */
} player;

void victim_expect(const struct victim *victim, bool as_expected, const char *why)
{
	if (!as_expected)
		die(victim->name, why, "please report it: its figures would mean nothing");
}

void victim_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	(void)benchmark;
	(void)config;
	os_signal_install();
}

static void publish(struct victim *victim)
{
	atomic_fetch_add(&victim->notes, 1);
	os_futex_wake(&victim->notes, 1);
}

/* pthread_cancel() unwinds out of block(): what comes after it in a one-shot thread is run by this. */
static void publish_cleanup(void *arg)
{
	publish(arg);
}

static void *one_shot_main(void *arg)
{
	struct victim *victim = arg;
	pthread_cleanup_push(publish_cleanup, victim);
	atomic_store(&victim->tid, gettid());
	os_futex_wake((_Atomic uint32_t *)&victim->tid, 1);
	victim->spec->block(victim);
	pthread_cleanup_pop(1);
	return NULL;
}

static void *player_main(void *arg)
{
	uint32_t seen = 0;
	for (;;) {
		while (atomic_load(&player.gate) == seen)
			os_futex_wait(&player.gate, seen, INT64_MAX);
		seen++;
		struct victim *victim = player.victim;
		if (!victim)
			return arg;
		atomic_store(&victim->tid, gettid());
		os_futex_wake((_Atomic uint32_t *)&victim->tid, 1);
		victim->spec->block(victim);
		publish(victim);
	}
}

static void start_thread(pthread_t *ret, void *(*run)(void *), void *arg)
{
	int error = os_thread_new(ret, 0, player.cpu, run, arg);
	if (error)
		die_errno("thread", error);
}

static void play(struct victim *victim)
{
	player.victim = victim;
	atomic_fetch_add(&player.gate, 1);
	os_futex_wake(&player.gate, 1);
}

void *victim_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	struct victim *victim = os_alloc(1, sizeof(*victim));
	victim->spec = bench_case->spec;
	victim->name = bench_case->name;
	os_pipe(victim->pipe);
	victim->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (victim->event < 0)
		die_errno("eventfd", errno);
	victim->blocked_arg0 = (unsigned long)victim->pipe[0];
	if (player.users++ == 0) {
		player.cpu = config->pin ? 1 : -1;
		atomic_store(&player.gate, 0);
		start_thread(&player.thread, player_main, NULL);
	}
	return victim;
}

static void begin_to_block(struct victim *victim)
{
	atomic_store(&victim->tid, 0);
	if (victim->spec->one_shot)
		start_thread(&victim->thread, one_shot_main, victim);
	else
		play(victim);
	while (atomic_load(&victim->tid) == 0)
		os_futex_wait((_Atomic uint32_t *)&victim->tid, 0, INT64_MAX);
	os_wait_blocked(atomic_load(&victim->tid), victim->spec->nr, victim->blocked_arg0, victim->name);
}

static void wait_for_note(struct victim *victim, uint32_t before)
{
	int64_t give_up = os_now() + PATIENCE;
	while (atomic_load(&victim->notes) == before) {
		if (!os_futex_wait(&victim->notes, before, give_up) && atomic_load(&victim->notes) == before)
			die(victim->name, "the blocked call was not ended within 5 s", "please report it: this is a lost wake-up");
	}
}

static double sample_one(struct victim *victim)
{
	const struct victim_spec *spec = victim->spec;
	uint32_t before = atomic_load(&victim->notes);
	if (spec->prepare)
		spec->prepare(victim);
	begin_to_block(victim);
	int64_t start = os_now();
	spec->wake(victim);
	wait_for_note(victim, before);
	if (spec->one_shot)
		pthread_join(victim->thread, NULL);
	if (spec->settle)
		spec->settle(victim);
	return (double)(victim->out - start);
}

void victim_block_run(void *instance, unsigned count, struct samples *samples)
{
	for (unsigned i = 0; i < count; i++)
		samples_add(samples, sample_one(instance));
}

void victim_close(void *instance)
{
	struct victim *victim = instance;
	if (--player.users == 0) {
		play(NULL);
		pthread_join(player.thread, NULL);
	}
	close(victim->pipe[0]);
	close(victim->pipe[1]);
	close(victim->event);
	free(victim);
}
