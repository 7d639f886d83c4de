/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists: one line a call, with what it is for.  A call that is not here is one that nobody
 * needs; who adds one says here why.
 */
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>

#include "sandbox_internal.h"

#define VCPU ROLE(VCPU)
#define IO ROLE(IO)
#define API ROLE(API)
#define MIGRATION ROLE(MIGRATION)
#define ALL (VCPU | IO | API | MIGRATION)

/* All that a thread of this process is, and a process is not (clone(2)). */
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)
#define NAMESPACES                                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	 CLONE_NEWPID | CLONE_NEWNET)

/* clang-format off */
#define ANY { .mask = 0 }
#define IF(n, value) { .index = n, .mask = UINT32_MAX, .is = value }
#define IF_NOT(n, bits) { .index = n, .mask = bits }
#define IF_ALL_BUT(n, bits, not) { .index = n, .mask = (bits) | (not), .is = bits }
#define IF_SELF(n) { .index = n, .mask = UINT32_MAX, .is_self = true }
#define IOCTL(request, roles) { SYS_ioctl, roles, IF(1, request) }
/* clang-format on */

const struct sandbox_call sandbox_calls[] = {
	/* Memory, none of it executable.  malloc() gives it back by madvise(). */
	{ SYS_brk, ALL, ANY },
	{ SYS_mmap, ALL, IF_NOT(2, PROT_EXEC) },
	{ SYS_mprotect, ALL, IF_NOT(2, PROT_EXEC) },
	{ SYS_mremap, ALL, ANY },
	{ SYS_munmap, ALL, ANY },
	{ SYS_madvise, ALL, ANY },

	/* Threads and time.  Most clocks are read without a call. */
	{ SYS_futex, ALL, ANY },
	{ SYS_clock_gettime, ALL, ANY },
	{ SYS_exit, ALL, ANY }, /* of the thread */
	{ SYS_restart_syscall, ALL, ANY }, /* a wait that SIGSTOP cut short */

	/* A signal handler, and an end by abort(); any signal is this process's own. */
	{ SYS_rt_sigprocmask, ALL, ANY },
	{ SYS_rt_sigaction, ALL, ANY },
	{ SYS_rt_sigreturn, ALL, ANY },
	{ SYS_getpid, ALL, ANY },
	{ SYS_gettid, ALL, ANY },
	{ SYS_tgkill, ALL, IF_SELF(0) },
	{ SYS_prctl, ALL, IF(0, PR_GET_NAME) }, /* who made a call that is not here */

	/* Eventfds, back ends, connections, and the log, which asks whether it is a terminal. */
	{ SYS_read, ALL, ANY },
	{ SYS_write, ALL, ANY },
	{ SYS_close, ALL, ANY },
	IOCTL(TCGETS, ALL),
	IOCTL(TCSETS, ALL), /* put back, before the process ends */
	{ SYS_readv, IO | MIGRATION, ANY },
	{ SYS_writev, IO | MIGRATION, ANY },
	{ SYS_recvfrom, IO | API | MIGRATION, ANY },
	{ SYS_sendto, ALL, ANY },
	{ SYS_poll, VCPU | IO | MIGRATION, ANY }, /* of a terminal that takes no more, of a peer */

	/* Loops. */
	{ SYS_epoll_wait, IO | API, ANY },
	{ SYS_epoll_ctl, VCPU | IO | API, ANY }, /* a port that takes no more, at once */

	/* A guest runs, with a limit or slowed down, which timers of its thread see to. */
	IOCTL(KVM_RUN, VCPU),
	IOCTL(KVM_GET_REGS, VCPU), /* where it stood, when KVM gives up */
	IOCTL(KVM_KVMCLOCK_CTRL, VCPU), /* it was paused: no lock-up */
	{ SYS_ppoll, VCPU, ANY },
	{ SYS_timer_create, VCPU, ANY },
	{ SYS_timer_settime, VCPU, ANY },
	{ SYS_timer_delete, VCPU, ANY },

	/* It writes to registers: lines, interrupts, doorbells. */
	IOCTL(KVM_IRQ_LINE, VCPU | IO),
	IOCTL(KVM_IOEVENTFD, VCPU),
	IOCTL(KVM_IRQFD, VCPU),
	IOCTL(KVM_SET_GSI_ROUTING, VCPU),

	/* Disks.  A queue's ring is made by its thread, and restricted (disk_uring.c); a pool of
	 * threads stands in where there is none, and does what a ring cannot do. */
	{ SYS_io_uring_setup, IO, ANY },
	{ SYS_io_uring_register, IO, ANY },
	{ SYS_io_uring_enter, IO, ANY },
	{ SYS_preadv, IO, ANY },
	{ SYS_pwritev, IO, ANY },
	{ SYS_fdatasync, IO, ANY },
	IOCTL(BLKDISCARD, IO),
	{ SYS_eventfd2, IO, ANY },
	{ SYS_clone, IO,
	  IF_ALL_BUT(0, THREAD, NAMESPACES) }, /* clone3() says that it is not there */
	{ SYS_set_robust_list, IO, ANY }, /* of the new thread, as is the next */
	{ SYS_rseq, IO, ANY },
	{ SYS_seccomp, IO, ANY }, /* its own filter, which only takes away */
	{ SYS_prctl, IO, IF(0, PR_SET_NAME) },

	/* Networks: offloads and queues that the driver asks for, and the kernel as a back end. */
	IOCTL(TUNSETOFFLOAD, IO),
	IOCTL(TUNSETQUEUE, IO),
	IOCTL(VHOST_SET_FEATURES, IO),
	IOCTL(VHOST_SET_VRING_NUM, IO),
	IOCTL(VHOST_SET_VRING_BASE, IO),
	IOCTL(VHOST_SET_VRING_ADDR, IO),
	IOCTL(VHOST_SET_VRING_KICK, IO),
	IOCTL(VHOST_SET_VRING_CALL, IO),
	IOCTL(VHOST_NET_SET_BACKEND, IO),
	IOCTL(VHOST_GET_VRING_BASE, IO),
	{ SYS_sendmsg, IO, ANY },

	/* Memory that the guest gave back. */
	{ SYS_fallocate, IO | MIGRATION, ANY },

	/* How requests come: an I/O thread waits for more of them at once, or does not. */
	{ SYS_sched_getscheduler, IO, ANY },
	{ SYS_sched_setscheduler, IO, ANY },
	{ SYS_sysinfo, IO, ANY }, /* qsort() asks how much memory there is */
	{ SYS_getrandom, ALL, ANY }, /* the guest's, and keys */

	/* Clients. */
	{ SYS_accept4, API, ANY },
	{ SYS_recvmsg, API, ANY },
	{ SYS_getsockopt, API, ANY },
	{ SYS_geteuid, API, ANY }, /* whose this process is, and who is let in */
	{ SYS_shutdown, IO | API | MIGRATION, ANY },

	/* Pages that changed. */
	IOCTL(KVM_CLEAR_DIRTY_LOG, MIGRATION),
};
const unsigned nsandbox_calls = ARRAY_SIZE(sandbox_calls);
