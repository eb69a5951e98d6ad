#include "base/prng.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void chassis_prng_init(struct chassis_prng *p, uint64_t seed)
{
    /* splitmix64 fills the state, as the authors of xoshiro advise. */
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ULL;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        p->s[i] = z ^ (z >> 31);
    }
}

uint64_t chassis_prng_next(struct chassis_prng *p)
{
    uint64_t *s = p->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t chassis_prng_below(struct chassis_prng *p, uint64_t bound)
{
    CHASSIS_ASSERT(bound > 0);
    uint64_t threshold = -bound % bound;
    uint64_t r;
    do {
        r = chassis_prng_next(p);
    } while (r < threshold);
    return r % bound;
}

double chassis_prng_unit(struct chassis_prng *p)
{
    return (double)(chassis_prng_next(p) >> 11) * 0x1.0p-53;
}

bool chassis_prng_chance(struct chassis_prng *p, double probability)
{
    return chassis_prng_unit(p) < probability;
}

void chassis_base_random_bytes(void *out, size_t len)
{
    uint8_t *next = out;
    while (len != 0) {
        ssize_t n = getrandom(next, len, 0);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            CHASSIS_PANIC("getrandom: %s", strerror(errno));
        }
        next += n;
        len -= (size_t)n;
    }
}

void chassis_uuid(char out[CHASSIS_UUID_SIZE])
{
    uint8_t b[16];
    chassis_base_random_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}
