/* Checksums and hashes.
 *
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78, as in RFC 3720 appendix B.4), by the SSE4.2
 * instruction where the CPU has it. FNV-1a (Fowler, Noll, Vo) for hash tables that no stranger
 * can fill.
 * Threads: any.
 */
#ifndef CHASSIS_BASE_HASH_H
#define CHASSIS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (0 to begin) over `len` bytes. */
uint32_t chassis_crc32c(uint32_t crc, const void *data, size_t len);
uint64_t chassis_fnv1a(const void *data, size_t len);

#endif
