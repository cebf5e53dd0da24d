/* Starts a program that ends with us and inherits nothing but three descriptors.
 *
 * Not subprocess: what asks for a signal at the parent's end has to run between fork and
 * exec, where Python code must not in a process with threads. */
#include "linux.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_OTHER 3 /* descriptor after standard error */

struct start {
    const char *path;
    char **arguments, **environment;
    int input, output;
    pid_t parent;
};

/* Handlers are the parent's code, and nothing of it may run here any more. What is
 * ignored stays so, as after nohup, but for what Python alone ignores. */
static void default_signals(void)
{
    struct sigaction action;

    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) < 0 || action.sa_handler == SIG_DFL)
            continue;
        if (action.sa_handler == SIG_IGN && number != SIGPIPE && number != SIGXFSZ)
            continue;
        action.sa_flags = 0;
        action.sa_handler = SIG_DFL;
        sigaction(number, &action, NULL);
    }
}

/* Ours are closed by exec; whoever opened one otherwise shall not matter. */
static void close_others(void)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, FIRST_OTHER, ~0U, 0) == 0)
        return;
#endif
    for (long fd = FIRST_OTHER; fd < sysconf(_SC_OPEN_MAX); fd++)
        close((int)fd);
}

/* In the child, which has the parent's memory until it executes: vfork(2). Returns the
 * errno of what failed. */
static int become(const struct start *start)
{
    sigset_t none;
    int input, output;

    /* Above the three, so that no dup2 below overwrites or keeps one. */
    input = fcntl(start->input, F_DUPFD, FIRST_OTHER);
    output = fcntl(start->output, F_DUPFD, FIRST_OTHER);
    if (input < 0 || output < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 ||
        dup2(output, 2) < 0 || setpgid(0, 0) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0)
        return errno;
    /* It may have ended before it was asked for the signal. */
    if (getppid() != start->parent)
        return ESRCH;
    close_others();
    default_signals();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(start->path, start->arguments, start->environment);
    return errno;
}

/* Executes path in a process group of its own: input is its standard input, output its
 * standard output and error, and all else is closed. SIGTERM comes when the calling
 * thread ends. Returns its process id, to be waited for. */
int linux_spawn(const char *path, char **arguments, char **environment, int input,
                int output)
{
    const struct start start = {path, arguments, environment, input, output, getpid()};
    volatile int failed = 0;
    sigset_t all, before;
    pid_t child;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    child = vfork();
    if (child == 0) {
        failed = become(&start);
        _exit(127);
    }
    if (child < 0)
        failed = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        return child;
    if (child > 0)
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
    return -failed;
}
