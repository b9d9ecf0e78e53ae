/* SPDX-License-Identifier: MIT */
#include "service.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include "lane.h"

unstick_time service_alarm = UNSTICK_NEVER;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of `rung` and `stopping`; nobody holds it while taking the GIL */
static pthread_cond_t changed;
static bool rung, stopping;
bool service_running;
static bool ended; /* guarded by the GIL; the interpreter is about to end */
static pthread_t thread;

void service_ring(void)
{
	pthread_mutex_lock(&mutex);
	rung = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&mutex);
}

void service_wake_by(unstick_time when)
{
	service_alarm = when;
	if (service_running)
		service_ring();
}

/* Until `when`, or rung. false: stopping. */
static bool sleep_until(unstick_time when)
{
	struct timespec end = {.tv_sec = (time_t)(when / 1000000000), .tv_nsec = (long)(when % 1000000000)};
	int over = 0;
	pthread_mutex_lock(&mutex);
	while (!rung && !stopping && over != ETIMEDOUT)
		over = when == UNSTICK_NEVER ? pthread_cond_wait(&changed, &mutex) : pthread_cond_timedwait(&changed, &mutex, &end);
	rung = false;
	bool go_on = !stopping;
	pthread_mutex_unlock(&mutex);
	return go_on;
}

static void *serve(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, "unstick-python");
	prctl(PR_SET_TIMERSLACK, 1UL);
	PyGILState_STATE state = PyGILState_Ensure();
	for (bool go_on = true; go_on;) {
		/* What is asked for while we look at others makes this earlier, and rings. */
		service_alarm = UNSTICK_NEVER;
		unstick_time next = lane_step_all(unstick_now());
		if (next < service_alarm)
			service_alarm = next;
		next = service_alarm;
		Py_BEGIN_ALLOW_THREADS go_on = sleep_until(next);
		Py_END_ALLOW_THREADS
	}
	PyGILState_Release(state);
	return NULL;
}

static int start(void)
{
	pthread_condattr_t clock;
	sigset_t all, before;
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &clock);
	pthread_condattr_destroy(&clock);
	stopping = rung = false;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	int error = pthread_create(&thread, NULL, serve, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

int service_run(void)
{
	if (ended)
		return 0;
	int error = start();
	if (error) {
		python_error(error, "unstick: the thread that watches over scopes cannot be started");
		return -1;
	}
	service_running = true;
	return 0;
}

void service_stop(void)
{
	ended = true;
	if (!service_running)
		return;
	service_running = false;
	Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&mutex);
	stopping = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&mutex);
	pthread_join(thread, NULL);
	Py_END_ALLOW_THREADS
}

/* The thread is not there; the mutex may have been held by it. */
void service_after_fork(void)
{
	static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
	mutex = fresh;
	service_running = false;
	service_alarm = UNSTICK_NEVER;
}
