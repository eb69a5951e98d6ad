/* A bump allocator: the memory of one request, freed in one go.
 *
 * Invariants: every allocation is aligned to 16 bytes; the sum of all allocations never passes
 * `limit`, beyond it chassis_arena_alloc returns NULL, which is how decoding of a hostile message
 * ends cleanly (a peer must not make us allocate without bound).
 * Threads: none of its own; it moves with the request it belongs to.
 */
#ifndef CHASSIS_ARENA_H
#define CHASSIS_ARENA_H

#include <chassis/buf.h>

struct chassis_arena_block;

struct chassis_arena {
    struct chassis_arena_block *blocks; /* newest first */
    uint8_t *next, *end;                /* free room in the newest block */
    size_t used;                        /* bytes handed out */
    size_t limit;                       /* bytes that may be handed out */
};

/* `first` (may be NULL) is caller's memory used before anything is allocated. limit 0 = no limit. */
void chassis_arena_init(struct chassis_arena *arena, void *first, size_t first_len, size_t limit);
void chassis_arena_fini(struct chassis_arena *arena);
/* NULL only when the limit is reached. Memory is not zeroed. */
void *chassis_arena_alloc(struct chassis_arena *arena, size_t len);
/* As alloc, zeroed. */
void *chassis_arena_zalloc(struct chassis_arena *arena, size_t len);
/* Copies; NULL only when the limit is reached. */
char *chassis_arena_strdup(struct chassis_arena *arena, const char *text);
char *chassis_arena_strndup(struct chassis_arena *arena, const void *text, size_t len);
char *chassis_arena_printf(struct chassis_arena *arena, const char *format, ...)
    CHASSIS_PRINTF(2, 3);
struct chassis_view chassis_arena_copy(struct chassis_arena *arena, struct chassis_view view);
#endif
