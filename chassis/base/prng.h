/* A small seeded pseudo-random generator (xoshiro256**, Blackman and Vigna 2018) for jitter, tests
 * and simulations, and the kernel's generator for secrets.
 *
 * Threads: one owner per struct; chassis_base_random_bytes: any.
 */
#ifndef CHASSIS_BASE_PRNG_H
#define CHASSIS_BASE_PRNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <chassis/uuid.h>

struct chassis_prng {
    uint64_t s[4];
};

/* The same seed gives the same sequence on every machine. */
void chassis_prng_init(struct chassis_prng *p, uint64_t seed);
uint64_t chassis_prng_next(struct chassis_prng *p);
/* Uniform in 0 … bound-1; bound > 0. */
uint64_t chassis_prng_below(struct chassis_prng *p, uint64_t bound);
/* Uniform in [0, 1). */
double chassis_prng_unit(struct chassis_prng *p);
/* True with the given probability. */
bool chassis_prng_chance(struct chassis_prng *p, double probability);
/* Unpredictable bytes from the kernel (getrandom); aborts if the kernel has none. */
void chassis_base_random_bytes(void *out, size_t len);
/* chassis_uuid() by its older name. */
static inline void chassis_base_uuid(char out[CHASSIS_UUID_SIZE])
{
    chassis_uuid(out);
}

#endif
