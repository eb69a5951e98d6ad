/* The simulated machine: one thread runs every executor of every node in a seeded order over virtual
 * time, above disks that keep a random prefix of what was not synced when they crash.
 *
 * A task costs 100 ns of virtual time, so that a busy world moves on. Of what was not synced when a
 * machine loses power, a random prefix of the writes survives, and of the first write that does not
 * a random set of its 512-byte sectors: sectors are atomic, writes are not. Names (create, rename,
 * unlink) made since the last dir_sync survive as a prefix too. A crashed host's executors drop what
 * is posted to them, its open files fail with -EIO until they are closed.
 *
 * A world has hosts; a host has executors, a disk and a wall clock. Crashing a host drops the tasks
 * and timers of its executors and the unsynced writes of its disk (a random part of them survives,
 * possibly torn in the middle of a write); what the host's objects hold in memory is the test's to
 * free. Equal seeds give equal runs.
 *
 * Threads: one. Ownership: the world owns hosts, executors and disks.
 */
#ifndef CHASSIS_OS_SIM_H
#define CHASSIS_OS_SIM_H

#include <chassis/executor.h>

#include "base/prng.h"
#include "os/disk.h"
#include "os/os.h"

struct chassis_sim;      /* a world */
struct chassis_sim_host; /* a machine in it */

struct chassis_sim *chassis_sim_new(uint64_t seed);
void chassis_sim_free(struct chassis_sim *sim);
struct chassis_prng *chassis_sim_prng(struct chassis_sim *sim);
uint64_t chassis_sim_now_ns(struct chassis_sim *sim);

struct chassis_sim_host *chassis_sim_host_new(struct chassis_sim *sim, const char *name);
/* A new executor on the host; gone at its next crash. `delay_max_ns`: each task starts after a
 * random delay up to this (a slow disk, a busy CPU). */
struct chassis_executor *chassis_sim_executor(struct chassis_sim_host *host, const char *name,
                                              uint64_t delay_max_ns);
/* From now on: another delay. */
void chassis_sim_executor_delay(struct chassis_executor *executor, uint64_t delay_max_ns);
/* Neither tasks nor timers run for so long: a process that was stopped, a machine that swaps. */
void chassis_sim_executor_freeze(struct chassis_executor *executor, uint64_t for_ns);
/* Run `fn` now as a turn of its own on the executor (what it defers runs before this returns): how a
 * test calls code that must run on its owner. Not from inside a task. */
void chassis_sim_call(struct chassis_executor *executor, void (*fn)(void *data), void *data);
struct chassis_disk *chassis_sim_disk(struct chassis_sim_host *host);
struct chassis_clock *chassis_sim_clock(struct chassis_sim_host *host);
/* Tasks and timers of the host are dropped without running, open files are closed, unsynced writes
 * are kept or lost at random. `power` false: a killed process, every write survives. */
void chassis_sim_host_crash(struct chassis_sim_host *host, bool power);
/* Bytes the disk may hold (0 = no limit): writes beyond it fail with -ENOSPC. */
void chassis_sim_disk_limit(struct chassis_sim_host *host, uint64_t bytes);
/* Flip one bit of a file, for damage tests. -ENOENT, -EINVAL (beyond the end). */
int chassis_sim_disk_flip(struct chassis_sim_host *host, const char *path, uint64_t bit);
/* How often a file was synced on this disk, and bytes it holds now. */
uint64_t chassis_sim_disk_syncs(struct chassis_sim_host *host);
uint64_t chassis_sim_disk_used(struct chassis_sim_host *host);

/* Run `fn` on the world's own time after `delay_ns`: the test's events (faults, deliveries). */
void chassis_sim_at(struct chassis_sim *sim, uint64_t delay_ns, void (*fn)(void *data), void *data);
/* Run the next task or timer; false if nothing is left. */
bool chassis_sim_step(struct chassis_sim *sim);
/* Run until virtual time has passed `for_ns` or `done(data)` is true; true if it became true. */
bool chassis_sim_run(struct chassis_sim *sim, uint64_t for_ns, bool (*done)(void *data),
                     void *data);

#endif
