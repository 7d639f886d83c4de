/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists: one line a call, with what it is for.  A call that is not here is one that nobody
 * needs; who adds one says here why.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <linux/vhost.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>

#include "sandbox_internal.h"

#define MAIN ROLE(MAIN)
#define VCPU ROLE(VCPU)
#define IO ROLE(IO)
#define DISK ROLE(DISK)
#define API ROLE(API)
#define MIGRATION ROLE(MIGRATION)
#define SPAWNER ROLE(SPAWNER)
#define ALL (MAIN | VCPU | IO | DISK | API | MIGRATION)

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
#define IF_SELF(n) IF(n, SANDBOX_SELF)
#define IOCTL(request, roles) { SYS_ioctl, roles, IF(1, request) }
/* clang-format on */

const struct sandbox_call sandbox_calls[] = {
	/* Memory, none of it executable.  malloc() gives it back by madvise(). */
	{ SYS_brk, ALL, ANY },
	{ SYS_mmap, ALL, IF_NOT(2, PROT_EXEC) },
	{ SYS_munmap, ALL, ANY },
	{ SYS_mprotect, MAIN | SPAWNER, IF_NOT(2, PROT_EXEC) }, /* that the guest has, or has not */
	{ SYS_madvise, ALL, ANY },

	/* Threads and time.  Most clocks are read without a call. */
	{ SYS_futex, ALL, ANY },
	{ SYS_clock_gettime, ALL & ~DISK, ANY },
	{ SYS_exit, ALL, ANY }, /* of the thread */

	/* Signal handlers, and signals to vCPUs. */
	{ SYS_rt_sigprocmask, ALL, ANY },
	{ SYS_rt_sigreturn, ALL, ANY },
	{ SYS_rt_sigaction, MAIN, ANY },
	{ SYS_getpid, MAIN | API | MIGRATION, ANY }, /* the audit log, and who answers */
	{ SYS_gettid, MAIN | VCPU, ANY },
	{ SYS_tgkill, MAIN, IF_SELF(0) },

	/* Eventfds, back ends, connections, and the log, which asks whether it is a terminal. */
	{ SYS_read, ALL & ~DISK, ANY },
	{ SYS_write, ALL, ANY },
	{ SYS_close, MAIN | API | MIGRATION, ANY },
	IOCTL(TCGETS, ALL),
	IOCTL(TCSETS, ALL), /* put back, before the process ends */
	{ SYS_readv, IO, ANY },
	{ SYS_writev, IO, ANY },
	{ SYS_recvmsg, MAIN | API | MIGRATION, ANY },
	{ SYS_sendmsg, ALL & ~(IO | DISK), ANY },
	{ SYS_poll, MAIN | VCPU | MIGRATION, ANY }, /* a terminal that takes no more, a peer */

	/* Loops. */
	{ SYS_epoll_wait, MAIN | IO | API, ANY },
	{ SYS_epoll_ctl, MAIN | VCPU | IO | API, ANY }, /* a port that takes no more, at once */

	/* A guest runs, with a limit or slowed down, which timers of its thread see to. */
	IOCTL(KVM_RUN, MAIN | VCPU), /* main tries whether KVM can (kvm_ring0.c) */
	IOCTL(KVM_GET_REGS, MAIN | VCPU), /* where it stood, when KVM gives up */
	IOCTL(KVM_KVMCLOCK_CTRL, MAIN | VCPU), /* it was paused: no lock-up */
	{ SYS_ppoll, VCPU, ANY },
	{ SYS_timer_create, VCPU, ANY },
	{ SYS_timer_settime, VCPU, ANY },
	{ SYS_timer_delete, VCPU, ANY },

	/* It writes to registers: lines, interrupts, doorbells. */
	IOCTL(KVM_IRQ_LINE, MAIN | VCPU | IO),
	IOCTL(KVM_IOEVENTFD, MAIN | VCPU),
	IOCTL(KVM_IRQFD, MAIN | VCPU),
	IOCTL(KVM_SET_GSI_ROUTING, MAIN | VCPU),

	/* Disks.  Rings were made, and restricted, before (disk_uring.c); a pool of threads
	 * stands in where there is none, and does what a ring cannot do. */
	{ SYS_io_uring_enter, IO, ANY },
	{ SYS_preadv, MAIN | DISK, ANY },
	{ SYS_pwritev, MAIN | DISK, ANY },
	{ SYS_fdatasync, MAIN | DISK, ANY },
	IOCTL(BLKDISCARD, DISK),

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

	/* Memory that the guest gave back. */
	{ SYS_fallocate, MAIN | IO | DISK | MIGRATION, ANY },

	/* How requests come: an I/O thread waits for more of them at once, or does not. */
	{ SYS_sched_getscheduler, IO, ANY },
	{ SYS_sched_setscheduler, IO, ANY },

	/* Clients. */
	{ SYS_accept4, MAIN | API, ANY },
	{ SYS_getsockopt, MAIN | API, ANY },
	{ SYS_shutdown, MAIN | API | MIGRATION, ANY },
	{ SYS_getrandom, MAIN | API | MIGRATION, ANY }, /* keys and names */

	/* Pages that changed. */
	IOCTL(KVM_CLEAR_DIRTY_LOG, MAIN | MIGRATION),

	/* Threads are made, and before an I/O thread is in its role it makes its ring. */
	{ SYS_clone, SPAWNER, IF_ALL_BUT(0, THREAD, NAMESPACES) }, /* clone3() is not there */
	{ SYS_set_robust_list, SPAWNER, ANY },
	{ SYS_rseq, SPAWNER, ANY },
	{ SYS_setpriority, SPAWNER, ANY },
	{ SYS_seccomp, SPAWNER, ANY }, /* its own filter, which only takes away */
	{ SYS_prctl, SPAWNER, IF(0, PR_SET_NAME) },
	{ SYS_prctl, SPAWNER, IF(0, PR_GET_NAME) },
	{ SYS_epoll_create1, SPAWNER, ANY },
	{ SYS_eventfd2, MAIN | SPAWNER, ANY },
	{ SYS_io_uring_setup, SPAWNER, ANY },
	{ SYS_io_uring_register, SPAWNER, ANY },

	/* A machine is made, saved and changed. */
	IOCTL(KVM_GET_API_VERSION, MAIN),
	IOCTL(KVM_CHECK_EXTENSION, MAIN),
	IOCTL(KVM_ENABLE_CAP, MAIN),
	IOCTL(KVM_CREATE_VM, MAIN),
	IOCTL(KVM_CREATE_VCPU, MAIN),
	IOCTL(KVM_CREATE_IRQCHIP, MAIN),
	IOCTL(KVM_CREATE_PIT2, MAIN),
	IOCTL(KVM_GET_VCPU_MMAP_SIZE, MAIN),
	IOCTL(KVM_GET_SUPPORTED_CPUID, MAIN),
	IOCTL(KVM_GET_MSR_INDEX_LIST, MAIN),
	IOCTL(KVM_SET_CPUID2, MAIN),
	IOCTL(KVM_SET_USER_MEMORY_REGION, MAIN),
	IOCTL(KVM_SET_TSS_ADDR, MAIN),
	IOCTL(KVM_SET_IDENTITY_MAP_ADDR, MAIN),
	IOCTL(KVM_GET_TSC_KHZ, MAIN),
	IOCTL(KVM_SET_TSC_KHZ, MAIN),
	IOCTL(KVM_GET_DIRTY_LOG, MAIN),
	IOCTL(KVM_SIGNAL_MSI, MAIN),
	IOCTL(KVM_HAS_DEVICE_ATTR, MAIN),
	IOCTL(KVM_GET_DEVICE_ATTR, MAIN),
	IOCTL(KVM_SET_DEVICE_ATTR, MAIN),
	IOCTL(KVM_SET_REGS, MAIN),
	IOCTL(KVM_GET_SREGS, MAIN),
	IOCTL(KVM_SET_SREGS, MAIN),
	IOCTL(KVM_GET_MSRS, MAIN),
	IOCTL(KVM_SET_MSRS, MAIN),
	IOCTL(KVM_GET_XSAVE, MAIN),
	IOCTL(KVM_GET_XSAVE2, MAIN),
	IOCTL(KVM_SET_XSAVE, MAIN),
	IOCTL(KVM_GET_XCRS, MAIN),
	IOCTL(KVM_SET_XCRS, MAIN),
	IOCTL(KVM_GET_DEBUGREGS, MAIN),
	IOCTL(KVM_SET_DEBUGREGS, MAIN),
	IOCTL(KVM_GET_LAPIC, MAIN),
	IOCTL(KVM_SET_LAPIC, MAIN),
	IOCTL(KVM_GET_MP_STATE, MAIN),
	IOCTL(KVM_SET_MP_STATE, MAIN),
	IOCTL(KVM_GET_VCPU_EVENTS, MAIN),
	IOCTL(KVM_SET_VCPU_EVENTS, MAIN),
	IOCTL(KVM_GET_IRQCHIP, MAIN),
	IOCTL(KVM_SET_IRQCHIP, MAIN),
	IOCTL(KVM_GET_PIT2, MAIN),
	IOCTL(KVM_SET_PIT2, MAIN),
	IOCTL(KVM_GET_CLOCK, MAIN),
	IOCTL(KVM_SET_CLOCK, MAIN),
	{ SYS_memfd_create, MAIN, ANY },
	IOCTL(TIOCGPGRP, MAIN), /* is this process the terminal's */
	{ SYS_sched_setaffinity, MAIN, ANY },

	/* What is open already. */
	{ SYS_fcntl, MAIN, ANY },
	{ SYS_newfstatat, MAIN, IF_ALL_BUT(3, AT_EMPTY_PATH, 0) }, /* fstat() */
	{ SYS_getdents64, MAIN, ANY },
	{ SYS_lseek, MAIN, ANY },
	{ SYS_ftruncate, MAIN, ANY },
	{ SYS_fadvise64, MAIN, ANY },
	{ SYS_fsync, MAIN, ANY },
	{ SYS_flock, MAIN, ANY },
	{ SYS_listen, MAIN, ANY },
	{ SYS_setsockopt, MAIN, ANY },
	IOCTL(BLKGETSIZE64, MAIN),
	IOCTL(BLKSSZGET, MAIN),
	IOCTL(TIOCGPTN, MAIN),
	IOCTL(TIOCSPTLCK, MAIN),
	IOCTL(TIOCGWINSZ, MAIN),
	IOCTL(SIOCGIFNAME, MAIN),
	IOCTL(SIOCGIFFLAGS, MAIN),
	IOCTL(SIOCOUTQ, MAIN),
	IOCTL(TUNGETIFF, MAIN),
	IOCTL(TUNGETFILTER, MAIN),
	IOCTL(TUNATTACHFILTER, MAIN),
	IOCTL(TUNDETACHFILTER, MAIN),
	IOCTL(TUNSETVNETHDRSZ, MAIN),
	IOCTL(TUNSETOFFLOAD, MAIN),
	IOCTL(TUNSETQUEUE, MAIN),
	IOCTL(VHOST_SET_OWNER, MAIN),
	IOCTL(VHOST_GET_FEATURES, MAIN),
	IOCTL(VHOST_SET_MEM_TABLE, MAIN),

	/* The end. */
	{ SYS_exit_group, MAIN, ANY },
};
const unsigned nsandbox_calls = ARRAY_SIZE(sandbox_calls);

const struct sandbox_failing sandbox_failing[] = {
	/* Its flags are in memory, where no filter looks: what makes threads asks clone() then. */
	{ SYS_clone3, ENOSYS },
	{ SYS_mremap, ENOSYS }, /* realloc() copies */
	{ SYS_sysinfo, ENOSYS }, /* qsort() asks how much memory there is */
	{ SYS_restart_syscall, EINTR }, /* a wait that SIGSTOP cut short */
};
const unsigned nsandbox_failing = ARRAY_SIZE(sandbox_failing);

/* What the kernel shows to the broker, which makes them in its stead (broker_calls.c). */
const int sandbox_asked[] = { SYS_openat,   SYS_access, SYS_mkdir,    SYS_mkdirat,   SYS_unlink,
			      SYS_unlinkat, SYS_rmdir,  SYS_renameat, SYS_symlinkat, SYS_fchmodat,
			      SYS_fchmod,   SYS_fchown, SYS_socket,   SYS_bind,      SYS_connect };
const unsigned nsandbox_asked = ARRAY_SIZE(sandbox_asked);
