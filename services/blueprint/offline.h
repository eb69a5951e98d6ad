/* What Blueprint does without serving: `--verify [--repair]`.
 *
 * Threads: main only, before anything is started. Blocking.
 */
#ifndef BP_OFFLINE_H
#define BP_OFFLINE_H

#include <stdbool.h>

/* True if the command line asked for it; then *ret_code is the exit code: 0 sound, 1 damaged or
 * failed, 2 usage. The node must not be running. */
bool bp_offline(int argc, char **argv, int *ret_code);

#endif
