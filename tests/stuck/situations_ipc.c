/* SPDX-License-Identifier: MIT
 *
 * Groups "ipc" and "proc": POSIX and System V message queues and semaphores; waiting for a child, or for a child's exec.
 * System V objects outlive a process: each is noted in the place's directory, for stuck_sweep().
 */
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

struct message {
	long type;
	char text[4096];
};

static int mq_setup(struct place *p)
{
	struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 100};
	snprintf(p->buf, sizeof p->buf, "/unstick-stuck-%d-%p", (int)getpid(), (void *)p);
	p->fd[0] = mq_open(p->buf, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	if (p->fd[0] < 0)
		return place_refuse(p, "no POSIX message queue");
	mq_unlink(p->buf);
	return 0;
}

static int mq_send_one(struct place *p)
{
	return mq_send(p->fd[0], "x", 1, 0) ? -errno : 0;
}

static int mq_full_setup(struct place *p)
{
	int r = mq_setup(p);
	return r ? r : mq_send_one(p);
}

static long mq_receive_foreign(struct place *p)
{
	return or_errno(mq_receive(p->fd[0], p->buf, 100, NULL));
}

static long mq_receive_own(struct place *p)
{
	return unstick_syscall(SYS_mq_timedreceive, p->fd[0], (long)p->buf, 100, 0, 0, 0);
}

static long mq_send_foreign(struct place *p)
{
	return mq_send(p->fd[0], "x", 1, 0) ? -errno : 0;
}

static long mq_send_own(struct place *p)
{
	return unstick_syscall(SYS_mq_timedsend, p->fd[0], (long)"x", 1, 0, 0, 0);
}

static int mq_send_release(struct place *p)
{
	return mq_receive(p->fd[0], p->buf, 100, NULL) < 0 ? -errno : 0;
}

static int msg_setup(struct place *p)
{
	int id = msgget(IPC_PRIVATE, 0600);
	return id < 0 ? place_refuse(p, "no System V message queue") : place_note(p, "msg", id);
}

static int msg_full_setup(struct place *p)
{
	struct message message = {.type = 1};
	int r = msg_setup(p);
	if (r)
		return r;
	while (msgsnd((int)p->id, &message, sizeof message.text, IPC_NOWAIT) == 0)
		;
	return errno == EAGAIN ? 0 : -errno;
}

static long msgrcv_foreign(struct place *p)
{
	return or_errno(msgrcv((int)p->id, p->buf, 100, 0, 0));
}

static long msgrcv_own(struct place *p)
{
	return unstick_syscall(SYS_msgrcv, p->id, (long)p->buf, 100, 0, 0, 0);
}

static int msgrcv_release(struct place *p)
{
	struct message message = {.type = 1};
	return msgsnd((int)p->id, &message, 1, 0) ? -errno : 0;
}

static long msgsnd_foreign(struct place *p)
{
	struct message message = {.type = 1};
	return or_errno(msgsnd((int)p->id, &message, sizeof message.text, 0));
}

static long msgsnd_own(struct place *p)
{
	struct message message = {.type = 1};
	return unstick_syscall(SYS_msgsnd, p->id, (long)&message, sizeof message.text, 0, 0, 0);
}

static int msgsnd_release(struct place *p)
{
	return msgrcv((int)p->id, p->buf, sizeof p->buf - sizeof(long), 0, IPC_NOWAIT) < 0 ? -errno : 0;
}

static void msg_cleanup(struct place *p)
{
	if (p->id >= 0)
		msgctl((int)p->id, IPC_RMID, NULL);
}

static int sem_setup(struct place *p)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	return id < 0 ? place_refuse(p, "no System V semaphore") : place_note(p, "sem", id);
}

static long semop_foreign(struct place *p)
{
	struct sembuf take = {.sem_op = -1};
	return or_errno(semop((int)p->id, &take, 1));
}

static long semop_own(struct place *p)
{
	struct sembuf take = {.sem_op = -1};
	return unstick_syscall(SYS_semop, p->id, (long)&take, 1, 0, 0, 0);
}

static int semop_release(struct place *p)
{
	struct sembuf give = {.sem_op = 1};
	return semop((int)p->id, &give, 1) ? -errno : 0;
}

static void sem_cleanup(struct place *p)
{
	if (p->id >= 0)
		semctl((int)p->id, 0, IPC_RMID);
}

static int live_until_end_of_file(struct place *p)
{
	char byte;
	close(p->fd[1]);
	return read(p->fd[0], &byte, 1) == 0 ? 3 : 4;
}

static int child_setup(struct place *p)
{
	int r = place_pipe(p);
	return r ? r : place_fork(p, live_until_end_of_file);
}

static int child_release(struct place *p)
{
	close(p->fd[1]);
	p->fd[1] = -1;
	return 0;
}

/* The child's pid is the result of wait4: made to 0, so that the table can name it. */
static long reaped(struct place *p, long r, const int *status)
{
	if (r < 0)
		return r;
	return r == p->child && WIFEXITED(*status) && WEXITSTATUS(*status) == 3 ? 0 : -EPROTO;
}

static long wait4_foreign(struct place *p)
{
	int status = 0;
	return reaped(p, or_errno(waitpid(p->child, &status, 0)), &status);
}

static long wait4_own(struct place *p)
{
	int status = 0;
	return reaped(p, unstick_syscall(SYS_wait4, p->child, (long)&status, 0, 0, 0, 0), &status);
}

static long waitid_foreign(struct place *p)
{
	siginfo_t info;
	return or_errno(waitid(P_PID, (id_t)p->child, &info, WEXITED));
}

static long waitid_own(struct place *p)
{
	siginfo_t info;
	return unstick_syscall(SYS_waitid, P_PID, p->child, (long)&info, WEXITED, 0, 0);
}

/* posix_spawn() returns after the child's exec; its child opens a FIFO first, which waits. */
static int spawn_setup(struct place *p)
{
	int r = place_name(p, "fifo");
	return r ? r : mkfifo(p->path, 0600) ? -errno : 0;
}

static long spawn_foreign(struct place *p)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = {"true", NULL}, *envp[] = {NULL};
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, p->path, O_RDONLY, 0);
	int r = posix_spawn(&p->child, "/bin/true", &actions, NULL, argv, envp); /* reaped with the place */
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* For reading too: so it succeeds though the child may not have come to its open yet. */
static int spawn_release(struct place *p)
{
	p->fd[1] = open(p->path, O_RDWR | O_CLOEXEC);
	return p->fd[1] < 0 ? -errno : 0;
}

/* clang-format off */
const struct situation situations_ipc[] = {
	{.name = "mq-receive", .group = "ipc", .summary = "mq_receive from an empty queue", .nr = {SYS_mq_timedreceive}, .done = 1,
	 .setup = mq_setup, .foreign = mq_receive_foreign, .own = mq_receive_own, .release = mq_send_one},
	{.name = "mq-send", .group = "ipc", .summary = "mq_send to a full queue", .nr = {SYS_mq_timedsend},
	 .setup = mq_full_setup, .foreign = mq_send_foreign, .own = mq_send_own, .release = mq_send_release},
	{.name = "msgrcv", .group = "ipc", .summary = "msgrcv from an empty queue", .nr = {SYS_msgrcv}, .done = 1, .setup = msg_setup,
	 .foreign = msgrcv_foreign, .own = msgrcv_own, .release = msgrcv_release, .cleanup = msg_cleanup},
	{.name = "msgsnd", .group = "ipc", .summary = "msgsnd to a full queue", .nr = {SYS_msgsnd}, .setup = msg_full_setup,
	 .foreign = msgsnd_foreign, .own = msgsnd_own, .release = msgsnd_release, .cleanup = msg_cleanup},
	{.name = "semop", .group = "ipc", .summary = "semop on a semaphore of value 0", .nr = {SYS_semop, SYS_semtimedop}, .setup = sem_setup,
	 .foreign = semop_foreign, .own = semop_own, .release = semop_release, .cleanup = sem_cleanup},
	{.name = "wait4", .group = "proc", .summary = "waitpid for a child that lives", .nr = {SYS_wait4},
	 .flags = STUCK_SCOPE_ONLY | STUCK_CHILD,
	 .setup = child_setup, .foreign = wait4_foreign, .own = wait4_own, .release = child_release},
	{.name = "waitid", .group = "proc", .summary = "waitid for a child that lives", .nr = {SYS_waitid},
	 .flags = STUCK_SCOPE_ONLY | STUCK_CHILD,
	 .setup = child_setup, .foreign = waitid_foreign, .own = waitid_own, .release = child_release},
	{.name = "posix-spawn", .group = "proc", .summary = "posix_spawn whose child waits before its exec", .nr = {SYS_clone3, SYS_clone},
	 .flags = STUCK_UNTOUCHED | STUCK_NO_RETRY | STUCK_NO_TSAN, .cut = STUCK_CUT_NEVER, .kind = {UNSTICK_UNINTERRUPTIBLE, UNSTICK_LEFT_ALONE},
	 .setup = spawn_setup, .foreign = spawn_foreign, .release = spawn_release},
	{0},
};
/* clang-format on */
