/* SPDX-License-Identifier: MIT
 *
 * Lists of jobs, each under its pool's lock: a job is in one of them at a time. Adding and removing take constant time.
 */
#include "pool/job.h"

void job_list_init(struct job_list *list)
{
	*list = (struct job_list){.last = &list->first};
}

void job_list_add(struct job_list *list, struct unstick_job *job)
{
	job->next = NULL;
	job->back = list->last;
	*list->last = job;
	list->last = &job->next;
	list->count++;
}

void job_list_remove(struct job_list *list, struct unstick_job *job)
{
	*job->back = job->next;
	if (job->next)
		job->next->back = job->back;
	else
		list->last = job->back;
	list->count--;
}

struct unstick_job *job_take_queued(struct unstick_pool *pool, unsigned most_threads)
{
	lock_take(&pool->lock);
	struct unstick_job *job = pool->threads <= most_threads ? pool->queue.first : NULL;
	if (job) {
		job_list_remove(&pool->queue, job);
		atomic_store(&job->state, 0); /* nobody else's any more */
		pool->ending++;
	}
	lock_drop(&pool->lock);
	return job;
}
