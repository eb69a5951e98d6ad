/* The records of the crud example: names by id, in a repository.
 *
 * Threads: any; each function is one transaction. Ownership: what is read lives in the arena.
 */
#ifndef EXAMPLES_CRUD_NAMES_H
#define EXAMPLES_CRUD_NAMES_H

#include <chassis/chassis.h>
#include <examples/crud/v1/crud.pb-c.h>

extern const char *const names_tables[];
enum { NAMES_TABLES = 1 };

/* CHASSIS_NOT_FOUND, CHASSIS_CORRUPT or what the store says. */
int names_get(struct chassis_store *store, const char *id, struct chassis_arena *arena,
              Examples__Crud__V1__Name **ret_name, struct chassis_error *err);
/* Write under name->id; with `must_exist` only over a record that is there. Durable on return. */
int names_put(struct chassis_store *store, const Examples__Crud__V1__Name *name, bool must_exist,
              struct chassis_error *err);
int names_delete(struct chassis_store *store, const char *id, struct chassis_error *err);

#endif
