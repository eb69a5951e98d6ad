/* The types known by name: a hash table with open addressing, filled before it is used. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "proto/message.h"

struct chassis_type_registry {
    const ProtobufCMessageDescriptor **slots;
    size_t n_slots; /* a power of two, at least twice `n` */
    size_t n;
};

struct chassis_type_registry *chassis_type_registry_new(void)
{
    struct chassis_type_registry *types = chassis_base_zalloc(sizeof *types);
    types->n_slots = 64;
    types->slots = chassis_base_zalloc(types->n_slots * sizeof *types->slots);
    return types;
}

void chassis_type_registry_free(struct chassis_type_registry *types)
{
    if (types != NULL) {
        free(types->slots);
        free(types);
    }
}

/* The slot of a name: its own or the empty one where it would go. */
static size_t slot_of(const struct chassis_type_registry *types, struct chassis_view name)
{
    size_t at = chassis_fnv1a(name.data, name.len) & (types->n_slots - 1);
    while (types->slots[at] != NULL &&
           !chassis_view_eq(chassis_view_str(types->slots[at]->name), name)) {
        at = (at + 1) & (types->n_slots - 1);
    }
    return at;
}

void chassis_type_registry_add(struct chassis_type_registry *types,
                               const ProtobufCMessageDescriptor *type)
{
    if (2 * (types->n + 1) > types->n_slots) {
        struct chassis_type_registry bigger = {.n_slots = types->n_slots * 2};
        bigger.slots = chassis_base_zalloc(bigger.n_slots * sizeof *bigger.slots);
        for (size_t i = 0; i < types->n_slots; i++) {
            if (types->slots[i] != NULL) {
                size_t at = slot_of(&bigger, chassis_view_str(types->slots[i]->name));
                bigger.slots[at] = types->slots[i];
                bigger.n++;
            }
        }
        free(types->slots);
        *types = bigger;
    }
    size_t at = slot_of(types, chassis_view_str(type->name));
    types->n += types->slots[at] == NULL;
    types->slots[at] = type;
}

const ProtobufCMessageDescriptor *
chassis_type_registry_find(const struct chassis_type_registry *types, struct chassis_view name)
{
    if (types == NULL || name.len == 0) {
        return NULL;
    }
    return types->slots[slot_of(types, name)];
}
