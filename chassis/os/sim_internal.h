/* What sim.c (world, executors) and sim_disk.c share. */
#ifndef CHASSIS_OS_SIM_INTERNAL_H
#define CHASSIS_OS_SIM_INTERNAL_H

#include "os/sim.h"

struct sim_disk;

struct sim_disk *sim_disk_new(struct chassis_prng *prng);
void sim_disk_free(struct sim_disk *disk);
struct chassis_disk *sim_disk_base(struct sim_disk *disk);
void sim_disk_crash(struct sim_disk *disk, bool power);
void sim_disk_limit(struct sim_disk *disk, uint64_t bytes);
int sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t bit);
uint64_t sim_disk_syncs(const struct sim_disk *disk);
uint64_t sim_disk_used(const struct sim_disk *disk);

#endif
