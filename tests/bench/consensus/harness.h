/* What both sides of the consensus benchmark share: three processes, the leader's own process drives
 * `outstanding` commands of 256 bytes (or a fixed rate), one line of results on standard output.
 *
 *     PROGRAM outstanding seconds rate directory
 * Latency is from the call that proposes (with a rate: from the moment it was due) to its answer.
 */
#ifndef DRAFT_BENCH_CONSENSUS_HARNESS_H
#define DRAFT_BENCH_CONSENSUS_HARNESS_H

#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NODES = 3, COMMAND_BYTES = 256, WARMUP_MS = 1000, SAMPLES_MAX = 1 << 23 };

struct harness {
    unsigned outstanding, seconds, rate;
    char directory[256];
    unsigned ports[NODES];
    unsigned index; /* of this process */
    uint64_t begun_ns, counted, errors;
    uint32_t *samples_us;
};

static inline uint64_t harness_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static inline void harness_lead(struct harness *h)
{
    h->samples_us = calloc(SAMPLES_MAX, sizeof *h->samples_us);
    h->begun_ns = harness_now() + WARMUP_MS * 1000000ULL;
}

static inline int harness_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* One answer; true when the run is over (the line was printed). */
static inline int harness_answer(struct harness *h, uint64_t asked_ns, int status)
{
    uint64_t now = harness_now();
    if (status != 0) {
        h->errors++;
    }
    if (now < h->begun_ns || asked_ns < h->begun_ns) {
        return 0;
    }
    if (h->counted < SAMPLES_MAX) {
        h->samples_us[h->counted++] = (uint32_t)((now - asked_ns) / 1000);
    }
    if (now - h->begun_ns < (uint64_t)h->seconds * 1000000000ULL) {
        return 0;
    }
    double s = (double)(now - h->begun_ns) / 1e9;
    qsort(h->samples_us, h->counted, sizeof *h->samples_us, harness_cmp);
    printf("{\"commits_per_s\": %.0f, \"p50_us\": %u, \"p99_us\": %u, \"errors\": %llu}\n",
           (double)h->counted / s, h->samples_us[h->counted / 2],
           h->samples_us[h->counted * 99 / 100], (unsigned long long)h->errors);
    fflush(stdout);
    return 1;
}

static inline unsigned harness_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        perror("bind");
        exit(1);
    }
    close(fd);
    return ntohs(a.sin_port);
}

/* Forks the nodes, waits for the one that leads to print and exit, ends the others. */
static inline int harness_main(int argc, char **argv, int (*node)(struct harness *h))
{
    struct harness h = {0};
    pid_t children[NODES];
    if (argc != 5) {
        fprintf(stderr, "usage: %s outstanding seconds rate directory\n", argv[0]);
        return 2;
    }
    h.outstanding = (unsigned)atoi(argv[1]);
    h.seconds = (unsigned)atoi(argv[2]);
    h.rate = (unsigned)atoi(argv[3]);
    snprintf(h.directory, sizeof h.directory, "%s", argv[4]);
    mkdir(h.directory, 0700);
    for (unsigned i = 0; i < NODES; i++) {
        h.ports[i] = harness_port();
    }
    for (unsigned i = 0; i < NODES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            h.index = i;
            _exit(node(&h));
        }
    }
    int status = 0;
    pid_t done = waitpid(-1, &status, 0);
    for (unsigned i = 0; i < NODES; i++) {
        if (children[i] != done) {
            kill(children[i], SIGKILL);
            waitpid(children[i], NULL, 0);
        }
    }
    struct rusage r;
    getrusage(RUSAGE_CHILDREN, &r);
    fprintf(stderr, "cpu of all nodes: %.2f s\n",
            (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
                (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#endif
