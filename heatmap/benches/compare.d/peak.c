/* `peak FILE COMMAND...` runs a command and writes its peak resident memory in KiB to FILE. The kernel counts what the
 * process that starts a command had in memory as the command's too: that must be a small one, not an interpreter. */
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
    pid_t child;
    int status = 1;
    struct rusage usage;
    if (argc < 3 || posix_spawnp(&child, argv[2], NULL, NULL, argv + 2, environ) != 0) {
        fprintf(stderr, "usage: peak FILE COMMAND...\n");
        return 2;
    }
    FILE *out = fopen(argv[1], "w");
    if (!out || wait4(child, &status, 0, &usage) != child) {
        perror(argv[1]);
        return 2;
    }
    fprintf(out, "%ld\n", usage.ru_maxrss);
    fclose(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
