/* The smallest store there can be: a sorted array per table, changed in place. For tests of models
 * that must not depend on an engine; read transactions see the present. Threads: one. */
#ifndef TESTS_ARRAY_STORE_H
#define TESTS_ARRAY_STORE_H

#include <chassis/plugin/repository.h>

struct chassis_store *array_store_new(const char *const *tables, unsigned n_tables);
/* Bytes of every table in order, for comparing two stores. */
void array_store_dump(struct chassis_store *store, struct chassis_buf *out);
/* Flip one bit of the `nth` value of a table; false if there is none. */
bool array_store_flip(struct chassis_store *store, unsigned table, size_t nth, size_t bit);

#endif
