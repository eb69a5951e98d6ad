/* What every Prometheus client tells of its process, under the usual names. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "metrics/registry.h"

/* Start of the text of a small file of /proc; empty when it cannot be read. */
static const char *slurp(const char *path, char *out, size_t size)
{
    out[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        out[fread(out, 1, size - 1, file)] = '\0';
        fclose(file);
    }
    return out;
}

static double memory_pages(const char *format)
{
    char text[256];
    unsigned long long pages;
    if (sscanf(slurp("/proc/self/statm", text, sizeof text), format, &pages) != 1) {
        return NAN;
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double virtual_bytes(void)
{
    return memory_pages("%llu");
}

static double resident_bytes(void)
{
    return memory_pages("%*u %llu");
}

/* Threads that ended are included. */
static double cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return NAN;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return NAN;
    }
    double n = -1; /* the one that reads the directory */
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        n += entry->d_name[0] != '.';
    }
    closedir(dir);
    return n;
}

static double max_fds(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return NAN;
    }
    return limit.rlim_cur == RLIM_INFINITY ? INFINITY : (double)limit.rlim_cur;
}

static double threads(void)
{
    char text[4096];
    const char *line = strstr(slurp("/proc/self/status", text, sizeof text), "\nThreads:");
    unsigned n;
    return line != NULL && sscanf(line, " Threads: %u", &n) == 1 ? n : NAN;
}

/* Start in ticks after boot (field 22 of /proc/self/stat) plus the time of the boot. */
static double start_time_seconds(void)
{
    char text[1024];
    const char *after_name = strrchr(slurp("/proc/self/stat", text, sizeof text), ')');
    unsigned long long ticks, boot;
    if (after_name == NULL ||
        sscanf(after_name,
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ticks) != 1) {
        return NAN;
    }
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) {
        return NAN;
    }
    bool found = false;
    while (!found && fgets(text, sizeof text, file) != NULL) {
        found = sscanf(text, "btime %llu", &boot) == 1;
    }
    fclose(file);
    return found ? (double)boot + (double)ticks / (double)sysconf(_SC_CLK_TCK) : NAN;
}

void chassis_metrics_process(void)
{
    static const struct {
        const char *name, *help;
        double (*read)(void);
    } rows[] = {
        {"process_cpu_seconds_total", "User and system CPU time in seconds.", cpu_seconds},
        {"process_max_fds", "Limit of open file descriptors.", max_fds},
        {"process_open_fds", "Open file descriptors.", open_fds},
        {"process_resident_memory_bytes", "Resident memory in bytes.", resident_bytes},
        {"process_start_time_seconds", "Start of the process since the epoch in seconds.",
         start_time_seconds},
        {"process_threads", "Threads of the process.", threads},
        {"process_virtual_memory_bytes", "Virtual memory in bytes.", virtual_bytes},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        chassis_metrics_double_fn(rows[i].name, rows[i].help, rows[i].read);
    }
}
