/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest would try that has taken over a thread of its monitor.  Each attempt is made in a
 * process of its own by a thread of each role: first without a sandbox, where the kernel answers as
 * the table says, then in the sandbox, where the process has to end by it, with a line that names
 * call and thread.
 *
 *	escapes            a line for each attempt: "ok ROLE NAME", or what happened instead
 *	escapes --calls    how many calls each role has
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../../src/host/sandbox_internal.h"
#include "thread.h"

#define P(pointer) ((long)(pointer))

/* ANSWERS: as this host has it, whose kernel may be without the call. */
enum { NOWHERE = -1, ANSWERS = -1, TEXT = 1024, OF_MAIN = BIT(SANDBOX_MAIN) };

/* What the kernel says without a sandbox; 0: it does it.  Others stand for calls that would do harm
 * to this machine, or need what a test has not: the kernel looks at them, and the sandbox has to
 * come first. */
struct escape {
	const char *name;
	long number;
	long arg[6];
	int answer; /* errno */
	uint64_t roles; /* that have the call for a purpose, and are left out */
};

static char file[] = "/etc/shadow", folder[] = "/", nothing[] = "";
static char *const no_words[] = { NULL };
static uint8_t memory[4096] __attribute__((aligned(4096)));
static const struct {
	int16_t family;
	char path[14];
} address = { AF_UNIX, "/run/systemd" };

static const struct escape escapes[] = {
	/* Files */
	{ "reads a file of root's", SYS_openat, { AT_FDCWD, P(file), O_RDONLY }, 0, 0 },
	{ "the same by the old call", SYS_open, { P(file), O_RDONLY }, 0, 0 },
	{ "the same by the new call", SYS_openat2, { AT_FDCWD, P(file), P(memory), 24 }, 0, 0 },
	{ "makes a file", SYS_creat, { P(nothing), 0600 }, ENOENT, 0 },
	{ "looks at a file", SYS_newfstatat, { AT_FDCWD, P(file), P(memory), 0 }, 0, 0 },
	{ "looks whether it is there", SYS_access, { P(file), 0 }, 0, 0 },
	{ "reads a link", SYS_readlink, { P("/proc/self/exe"), P(memory), 64 }, 0, 0 },
	{ "opens by handle", SYS_open_by_handle_at, { NOWHERE, P(memory), 0 }, EINVAL, 0 },
	{ "removes a file", SYS_unlinkat, { AT_FDCWD, P(nothing), 0 }, ENOENT, 0 },
	{ "renames a file",
	  SYS_renameat2,
	  { AT_FDCWD, P(nothing), AT_FDCWD, P(nothing), 0 },
	  ENOENT,
	  0 },
	{ "links a file", SYS_linkat, { AT_FDCWD, P(nothing), AT_FDCWD, P(file), 0 }, ENOENT, 0 },
	{ "makes a symbolic link", SYS_symlinkat, { P(nothing), AT_FDCWD, P(file) }, ENOENT, 0 },
	{ "makes a device", SYS_mknodat, { AT_FDCWD, P(nothing), 0600, 0 }, ENOENT, 0 },
	{ "makes a directory", SYS_mkdirat, { AT_FDCWD, P(nothing), 0700 }, ENOENT, 0 },
	{ "changes a mode", SYS_fchmodat, { AT_FDCWD, P(nothing), 0777 }, ENOENT, 0 },
	{ "changes a device's mode", SYS_fchmodat, { AT_FDCWD, P("/dev/null"), 0666 }, 0, 0 },
	{ "the same of what is open", SYS_fchmod, { NOWHERE, 0666 }, EBADF, 0 },
	{ "changes an owner", SYS_fchownat, { AT_FDCWD, P(nothing), 0, 0, 0 }, ENOENT, 0 },
	{ "cuts a file", SYS_truncate, { P(nothing), 0 }, ENOENT, 0 },
	{ "changes its directory", SYS_chdir, { P(folder) }, 0, 0 },
	{ "changes its root", SYS_chroot, { P(folder) }, 0, 0 },
	{ "watches files", SYS_inotify_init1, { 0 }, 0, 0 },
	{ "copies between files", SYS_copy_file_range, { NOWHERE, 0, NOWHERE, 0, 1, 0 }, EBADF, 0 },
	{ "sends a file", SYS_sendfile, { NOWHERE, NOWHERE, 0, 1 }, EBADF, 0 },
	/* Programs and processes */
	{ "executes a program", SYS_execve, { P(nothing), P(no_words), P(no_words) }, ENOENT, 0 },
	{ "the same by a file",
	  SYS_execveat,
	  { NOWHERE, P(nothing), P(no_words), P(no_words), 0 },
	  ENOENT,
	  0 },
	{ "makes a process", SYS_clone, { SIGCHLD }, 0, 0 },
	{ "the same by the old call", SYS_fork, { 0 }, 0, 0 },
	{ "makes a thread", SYS_clone, { CLONE_VM | CLONE_THREAD }, EINVAL, 0 },
	{ "makes a thread elsewhere",
	  SYS_clone,
	  { CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
	    CLONE_NEWPID },
	  EINVAL,
	  0 },
	{ "traces its parent", SYS_ptrace, { PTRACE_PEEKDATA, 1, 0, 0 }, ESRCH, 0 },
	{ "reads another's memory", SYS_process_vm_readv, { 1, P(memory), 0, 0, 0, 0 }, 0, 0 },
	{ "writes another's memory", SYS_process_vm_writev, { 1, P(memory), 0, 0, 0, 0 }, 0, 0 },
	{ "signals all", SYS_kill, { 1, 0 }, 0, 0 },
	{ "signals another's thread", SYS_tgkill, { 1, 1, 0 }, 0, 0 },
	{ "the same by the old call", SYS_tkill, { 1, 0 }, 0, 0 },
	{ "opens another process", SYS_pidfd_open, { 1, 0 }, 0, 0 },
	{ "takes another's file", SYS_pidfd_getfd, { NOWHERE, 0, 0 }, EBADF, 0 },
	{ "compares processes", SYS_kcmp, { 1, 1, 0, 0, 0 }, ANSWERS, 0 },
	{ "has its limits changed", SYS_prlimit64, { 0, RLIMIT_NOFILE, 0, P(memory) }, 0, 0 },
	{ "changes its priority", SYS_setpriority, { PRIO_PROCESS, 0, 0 }, 0, OF_MAIN },
	{ "goes to other processors", SYS_sched_setaffinity, { 0, 8, P(memory) }, EINVAL, OF_MAIN },
	{ "waits for a process", SYS_wait4, { -1, 0, WNOHANG, 0 }, ANSWERS, OF_MAIN },
	/* Memory that is code */
	{ "maps code",
	  SYS_mmap,
	  { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 },
	  0,
	  0 },
	{ "makes memory code", SYS_mprotect, { P(memory), 4096, PROT_READ | PROT_EXEC }, 0, 0 },
	{ "the same by a key",
	  SYS_pkey_mprotect,
	  { P(memory), 4096, PROT_READ | PROT_EXEC, -1 },
	  0,
	  0 },
	{ "becomes another system", SYS_personality, { 0xffffffff }, 0, 0 },
	{ "changes segments", SYS_modify_ldt, { 0, P(memory), 16 }, 0, 0 },
	{ "has page faults to itself", SYS_userfaultfd, { 1 }, ANSWERS, 0 },
	/* Networks */
	{ "makes a connection", SYS_socket, { AF_INET, SOCK_STREAM, 0 }, 0, OF_MAIN },
	{ "sends raw packets", SYS_socket, { AF_PACKET, SOCK_RAW, 0 }, 0, 0 },
	{ "asks the kernel of networks", SYS_socket, { AF_NETLINK, SOCK_RAW, 0 }, 0, OF_MAIN },
	{ "connects", SYS_connect, { NOWHERE, P(&address), sizeof(address) }, EBADF, OF_MAIN },
	{ "listens", SYS_bind, { NOWHERE, P(&address), sizeof(address) }, EBADF, OF_MAIN },
	{ "makes a pair of sockets", SYS_socketpair, { AF_UNIX, SOCK_STREAM, 0, P(memory) }, 0, 0 },
	/* Rights and namespaces */
	{ "becomes root", SYS_setuid, { 0 }, 0, 0 },
	{ "has another group", SYS_setgid, { 0 }, 0, 0 },
	{ "takes capabilities", SYS_capset, { P(memory), P(memory) }, EINVAL, 0 },
	{ "makes a user namespace", SYS_unshare, { CLONE_NEWUSER }, EINVAL, 0 }, /* has threads */
	{ "enters a namespace", SYS_setns, { NOWHERE, 0 }, EBADF, 0 },
	{ "mounts", SYS_mount, { P(nothing), P(nothing), 0, 0, 0 }, ENOENT, 0 },
	{ "mounts by the new calls", SYS_fsopen, { P(nothing), 0 }, ENODEV, 0 },
	{ "unmounts", SYS_umount2, { P(nothing), 0 }, ENOENT, 0 },
	{ "changes the root of all", SYS_pivot_root, { P(nothing), P(nothing) }, ENOENT, 0 },
	{ "may be dumped", SYS_prctl, { PR_SET_DUMPABLE, 1 }, 0, 0 },
	{ "has a filter of its own", SYS_seccomp, { 0, 1, 0 }, EINVAL, 0 },
	{ "reads keys", SYS_keyctl, { 0, 0, 0, 0, 0 }, ANSWERS, 0 },
	/* The kernel and the machine */
	{ "loads a module", SYS_init_module, { P(memory), 0, P(nothing) }, ANSWERS, 0 },
	{ "boots another kernel", SYS_reboot, { 0, 0, 0, 0 }, EINVAL, 0 },
	{ "loads another kernel", SYS_kexec_load, { 0, 17, 0, -1 }, ANSWERS, 0 },
	{ "has a program in the kernel", SYS_bpf, { -1, P(memory), 0 }, EINVAL, 0 },
	{ "counts in the kernel", SYS_perf_event_open, { P(memory), 0, -1, -1, 0 }, ANSWERS, 0 },
	{ "has a ring of its own", SYS_io_uring_setup, { 0, P(memory) }, EINVAL, 0 },
	{ "has more of a ring", SYS_io_uring_register, { NOWHERE, 0, 0, 0 }, ANSWERS, 0 },
	{ "has the ports", SYS_iopl, { 4 }, ANSWERS, 0 },
	{ "sets the clock", SYS_clock_settime, { 99, P(memory) }, EINVAL, 0 },
	{ "swaps", SYS_swapon, { P(nothing), 0 }, ENOENT, 0 },
	{ "names the host", SYS_sethostname, { P(nothing), -1 }, EINVAL, 0 },
	{ "reads the kernel's log", SYS_syslog, { 10, 0, 0 }, ANSWERS, 0 },
	{ "types at a terminal", SYS_ioctl, { NOWHERE, TIOCSTI, P(nothing) }, EBADF, 0 },
	{ "makes a VM", SYS_ioctl, { NOWHERE, KVM_CREATE_VM, 0 }, EBADF, OF_MAIN },
	{ "gives the VM memory",
	  SYS_ioctl,
	  { NOWHERE, KVM_SET_USER_MEMORY_REGION, P(memory) },
	  EBADF,
	  OF_MAIN },
};

static const struct role {
	const char *name;
	enum sandbox_role role;
} roles[] = {
	{ "main", SANDBOX_MAIN }, { "vcpu", SANDBOX_VCPU }, { "io", SANDBOX_IO },
	{ "disk", SANDBOX_DISK }, { "api", SANDBOX_API },   { "migration", SANDBOX_MIGRATION },
};

static void *attempt(void *arg)
{
	const struct escape *x = arg;
	const long *a = x->arg;
	long r;

	errno = 0;
	r = syscall(x->number, a[0], a[1], a[2], a[3], a[4], a[5]);
	/* One that was made is not part of the test. */
	if (!r && (x->number == SYS_clone || x->number == SYS_fork))
		_exit(0);
	_exit(r < 0 ? errno : 0);
}

static void try_it(const struct escape *x, const struct role *role, enum sandbox_mode mode)
{
	pthread_t thread;
	struct err e;

	if (sandbox_begin(&(struct sandbox_config){ .mode = mode }, &e) || sandbox_finish(&e))
		_exit(250);
	if (thread_new(&thread, role->name, role->role, 0, attempt, (void *)x))
		_exit(251);
	pthread_join(thread, NULL);
	_exit(252);
}

/* As wait() says it; what the process wrote is in text. */
static int result(const struct escape *x, const struct role *role, enum sandbox_mode mode,
		  char text[TEXT])
{
	size_t len = 0;
	int fd[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC))
		exit(2);
	pid = fork();
	if (!pid) {
		dup2(fd[1], STDERR_FILENO);
		close(fd[1]);
		prctl(PR_SET_DUMPABLE, 0); /* no core files */
		try_it(x, role, mode);
	}
	close(fd[1]);
	while ((n = read(fd[0], text + len, TEXT - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fd[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		exit(2);
	return status;
}

/* Not root, the kernel refuses some by itself. */
static bool answers(const struct escape *x, int status)
{
	int answer = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (answer < 0 || answer >= 250)
		return false;
	return x->answer == ANSWERS || answer == x->answer ||
	       (geteuid() && (answer == EPERM || answer == EACCES));
}

/* What the broker is shown, it refuses. */
static bool is_asked(long number)
{
	for (unsigned i = 0; i < nsandbox_asked; i++)
		if (sandbox_asked[i] == number)
			return true;
	return false;
}

static bool fails(const struct escape *x, const struct role *role)
{
	char text[TEXT], wanted[128];
	int status = result(x, role, SANDBOX_OFF, text);

	if (!answers(x, status)) {
		printf("not ok %s %s: without a sandbox the status is %#x\n", role->name, x->name,
		       status);
		return true;
	}
	snprintf(wanted, sizeof(wanted), "the sandbox has no %s(", sandbox_call_name(x->number));
	status = result(x, role, SANDBOX_ON, text);
	if (role->role == SANDBOX_MAIN && is_asked(x->number)) {
		if (WIFEXITED(status) && WEXITSTATUS(status) == EACCES) {
			printf("ok %s %s\n", role->name, x->name);
			return false;
		}
		printf("not ok %s %s: the broker answers %#x, \"%s\"\n", role->name, x->name,
		       status, text);
		return true;
	}
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS || !strstr(text, wanted) ||
	    !strstr(text, role->name)) {
		printf("not ok %s %s: status %#x, \"%s\"\n", role->name, x->name, status, text);
		return true;
	}
	/* Only said, it is made; but for what would go on in the middle of a signal's handler. */
	status = result(x, role, SANDBOX_LOG, text);
	if (x->number != SYS_clone && x->number != SYS_fork &&
	    (!answers(x, status) || !strstr(text, wanted))) {
		printf("not ok %s %s: only logged it is %#x, \"%s\"\n", role->name, x->name, status,
		       text);
		return true;
	}
	printf("ok %s %s\n", role->name, x->name);
	return false;
}

/* A call counts once, however many lines its arguments take. */
static unsigned count_calls(uint64_t of)
{
	bool has[SANDBOX_CALL_MAX] = { 0 };
	unsigned n = 0;

	for (unsigned i = 0; i < nsandbox_calls; i++)
		if ((sandbox_calls[i].roles & of) && !has[sandbox_calls[i].number]) {
			has[sandbox_calls[i].number] = true;
			n++;
		}
	return n;
}

static int print_calls(void)
{
	uint64_t all = 0;

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		printf("| %s | %u |\n", roles[i].name, count_calls(BIT(roles[i].role)));
		all |= BIT(roles[i].role);
	}
	printf("| all of them, and what makes threads | %u |\n",
	       count_calls(all | BIT(SANDBOX_SPAWNER)));
	printf("| asked of the broker, by main | %u |\n", nsandbox_asked);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned failed = 0;

	if (argc > 1)
		return strcmp(argv[1], "--calls") ? 2 : print_calls();
	for (size_t r = 0; r < ARRAY_SIZE(roles); r++)
		for (size_t i = 0; i < ARRAY_SIZE(escapes); i++)
			if (!(escapes[i].roles & BIT(roles[r].role))) {
				fflush(stdout);
				failed += fails(&escapes[i], &roles[r]);
			}
	return failed > 0;
}
