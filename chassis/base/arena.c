#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <chassis/arena.h>

#include "base/assert.h"

enum { ALIGNMENT = 16, BLOCK_MIN = 4096 };

struct chassis_arena_block {
    struct chassis_arena_block *next;
    size_t pad; /* keeps what follows aligned to 16 */
};

void chassis_arena_init(struct chassis_arena *arena, void *first, size_t first_len, size_t limit)
{
    *arena = (struct chassis_arena){.limit = limit != 0 ? limit : SIZE_MAX};
    uintptr_t start = ((uintptr_t)first + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    if (first != NULL && start < (uintptr_t)first + first_len) {
        arena->next = (uint8_t *)first + (start - (uintptr_t)first);
        arena->end = (uint8_t *)first + first_len;
    }
}

void chassis_arena_fini(struct chassis_arena *arena)
{
    struct chassis_arena_block *block = arena->blocks;
    while (block != NULL) {
        struct chassis_arena_block *next = block->next;
        free(block);
        block = next;
    }
    *arena = (struct chassis_arena){0};
}

/* A block of its own for a large piece, else a fresh block twice as large as what was used. */
static void grow(struct chassis_arena *arena, size_t len)
{
    size_t room = arena->used < BLOCK_MIN ? BLOCK_MIN : arena->used;
    if (room > 1024UL * 1024UL) {
        room = 1024UL * 1024UL;
    }
    if (room < len) {
        room = len;
    }
    struct chassis_arena_block *block = chassis_base_alloc(sizeof *block + room);
    block->next = arena->blocks;
    arena->blocks = block;
    arena->next = (uint8_t *)(block + 1);
    arena->end = arena->next + room;
}

void *chassis_arena_alloc(struct chassis_arena *arena, size_t len)
{
    if (len > SIZE_MAX / 2) {
        return NULL;
    }
    size_t step = (len + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (step > arena->limit - arena->used) {
        return NULL;
    }
    if (arena->next == NULL || step > (size_t)(arena->end - arena->next)) {
        grow(arena, step);
    }
    void *p = arena->next;
    arena->next += step;
    arena->used += step;
    return p;
}

void *chassis_arena_zalloc(struct chassis_arena *arena, size_t len)
{
    void *p = chassis_arena_alloc(arena, len);
    return p != NULL ? memset(p, 0, len) : NULL;
}

char *chassis_arena_strndup(struct chassis_arena *arena, const void *text, size_t len)
{
    char *p = chassis_arena_alloc(arena, len + 1);
    if (p != NULL) {
        if (len != 0) {
            memcpy(p, text, len);
        }
        p[len] = '\0';
    }
    return p;
}

char *chassis_arena_strdup(struct chassis_arena *arena, const char *text)
{
    return chassis_arena_strndup(arena, text, strlen(text));
}

char *chassis_arena_printf(struct chassis_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHASSIS_ASSERT(n >= 0);
    char *p = chassis_arena_alloc(arena, (size_t)n + 1);
    if (p != NULL) {
        vsnprintf(p, (size_t)n + 1, format, again);
    }
    va_end(again);
    return p;
}

struct chassis_view chassis_arena_copy(struct chassis_arena *arena, struct chassis_view view)
{
    const char *p = chassis_arena_strndup(arena, view.data, view.len);
    return chassis_view(p, p != NULL ? view.len : 0);
}
