/* What Blueprint does without serving: `--verify [--repair]`, `--restore FILE [--restore-id ID]`.
 *
 * Threads: main only, before anything is started. Blocking.
 */
#ifndef BP_OFFLINE_H
#define BP_OFFLINE_H

#include <stdbool.h>

struct chassis;

/* True if the command line asked for --verify; then *ret_code is the exit code: 0 sound, 1 damaged
 * or failed, 2 usage. The node must not be running. Words of --restore are taken out for bp_run. */
bool bp_offline(int *argc, char **argv, int *ret_code);
/* What is left, after the chassis was told everything: --restore, or chassis_run. Exit code. */
int bp_run(struct chassis *c);

#endif
